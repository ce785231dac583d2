"""Learning-rate arms: the same rate for both optimizers, each one's default, each one tuned.

"SGD against Adam" means nothing before it is said at which learning rates. Every verdict belongs to
one arm. The first two are found in a table; the third comes from a sweep on other seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optnas.analysis.runs import SEED, Mask, Runs, plain
from optnas.base.errors import UserError
from optnas.search import protocols

WEIGHT, ARCH = "weight_optimizer", "arch_optimizer"
PAIR = ("algorithm.name", f"{WEIGHT}.name", f"{ARCH}.name")
RATES = (f"{WEIGHT}.lr", f"{ARCH}.lr")
ARMS = ("same", "default", "tuned")


@dataclass(frozen=True)
class RateArm:
    """A learning-rate arm.

    Args:
        name: ``same``, ``default``, ``tuned`` or another.
        rows: values by dotted setting; a run belongs to the arm if it has all values of one row.
        tuned_on: seeds on which the rates were chosen; their runs are left out of every verdict.
    """

    name: str
    rows: tuple[Mapping[str, Any], ...]
    tuned_on: frozenset[int] = frozenset()

    def belongs(self, runs: Runs) -> Mask:
        """Which runs are in the arm."""
        mask = np.zeros(len(runs), bool)
        for row in self.rows:
            matches = np.ones(len(runs), bool)
            for column, value in row.items():
                keys = np.array([plain(each) for each in runs.settings[column]], dtype=object)
                matches &= keys == plain(value)
            mask |= matches
        return np.asarray(mask & ~runs.settings[SEED].isin(self.tuned_on).to_numpy())

    def __str__(self) -> str:
        told = sorted(
            {
                f"{row[f'{part}.name']} {row[f'{part}.lr']:g} on {symbol}"
                for row in self.rows
                for part, symbol in ((WEIGHT, "w"), (ARCH, "alpha"))
            }
        )
        return ", ".join(told)


def rate_arms(runs: Runs) -> list[RateArm]:
    """The arms ``default`` and ``same`` as far as a table holds them.

    Default: the protocol's rate of each optimizer, or, where no run has it, that of most runs; the
    arm is then called ``as run``. Same: every rate that two weight optimizers were run with.

    Returns:
        The arms, the default one first.
    """
    if not len(runs) or not set(RATES) <= set(runs.settings):
        return []
    weight, exact_w = _defaults(runs, WEIGHT)
    arch, exact_a = _defaults(runs, ARCH)
    arms = [RateArm("default" if exact_w and exact_a else "as run", _rows(weight, arch))]
    for rate, names in _shared(runs).items():
        same = _rows(dict.fromkeys(names, rate), arch)
        arms.append(RateArm("same" if len(_shared(runs)) == 1 else f"same {rate:g}", same))
    return arms


def _rows(weight: Mapping[str, float], arch: Mapping[str, float]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {f"{WEIGHT}.name": w, f"{WEIGHT}.lr": w_rate, f"{ARCH}.name": a, f"{ARCH}.lr": a_rate}
        for (w, w_rate), (a, a_rate) in itertools.product(weight.items(), arch.items())
    )


def _defaults(runs: Runs, section: str) -> tuple[dict[str, float], bool]:
    """The rate of each optimizer, and whether all are the protocol's."""
    tables = _protocol_tables(runs, section)
    found, exact = {}, True
    known = runs.settings.dropna(subset=[f"{section}.lr"])
    for name, rates in known.groupby(f"{section}.name")[f"{section}.lr"]:
        declared = tables.get(str(name), {}).get("lr")
        if declared is not None and np.isclose(rates.to_numpy(float), declared).any():
            found[str(name)] = float(declared)
        else:
            found[str(name)] = float(rates.mode().iloc[0])
            exact = exact and declared is None
    return found, exact


def _protocol_tables(runs: Runs, section: str) -> Mapping[str, Mapping[str, Any]]:
    if "protocol" not in runs.settings:
        return {}
    name = str(runs.settings["protocol"].mode().iloc[0])
    # A protocol of the user's own may lie anywhere by now.
    tables = protocols.load(name)[1] if name in protocols.names() else {}
    return tables.get(f"{section}s", {})


def _shared(runs: Runs) -> dict[float, list[str]]:
    """Rates that two or more weight optimizers were run with."""
    found: dict[float, list[str]] = {}
    pairs = runs.settings[[f"{WEIGHT}.name", f"{WEIGHT}.lr"]].drop_duplicates()
    for name, rate in pairs.itertuples(index=False):
        found.setdefault(float(rate), []).append(str(name))
    return {rate: names for rate, names in sorted(found.items()) if len(names) > 1}


def responses(sweep: pd.DataFrame, by: Sequence[str] = PAIR) -> pd.DataFrame:
    """The whole learning-rate response: final validation loss of the supernet at each rate.

    Args:
        sweep: a tidy table of a learning-rate sweep.
        by: what is tuned apart.

    Returns:
        One row per combination of ``by`` and both rates: n, mean final valid_loss.

    Raises:
        UserError: some combination was given more trials than another: an unequal budget.
    """
    runs = Runs(sweep)
    last = runs.table.groupby("id").tail(1)
    found = last.groupby([*by, *RATES])["valid_loss"].agg(n="size", valid_loss="mean").reset_index()
    trials = found.groupby(list(by)).size()
    if trials.nunique() > 1:
        most, fewest = trials.idxmax(), trials.idxmin()
        raise UserError(
            f"unequal budgets: {most} has {trials.max()} learning rates, {fewest} {trials.min()}",
            where="table",
            remedy="give every combination equally many",
        )
    return found


def tune(sweep: pd.DataFrame, by: Sequence[str] = PAIR) -> RateArm:
    """The rates of the lowest mean final validation loss; the benchmark is never asked.

    Args:
        sweep: a tidy table of a learning-rate sweep, on seeds that no verdict uses.
        by: what is tuned apart.

    Returns:
        The arm ``tuned``, with the seeds of the sweep.
    """
    found = responses(sweep, by)
    best = found.loc[found.groupby(list(by))["valid_loss"].idxmin(), [*by, *RATES]]
    rows = tuple({str(key): value for key, value in row.items()} for row in best.to_dict("records"))
    return RateArm("tuned", rows, frozenset(int(seed) for seed in Runs(sweep).settings[SEED]))
