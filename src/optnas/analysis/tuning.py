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
from optnas.base.records import FINISHED
from optnas.search import protocols

WEIGHT, ARCH = "weight_optimizer", "arch_optimizer"
PAIR = ("algorithm.name", f"{WEIGHT}.name", f"{ARCH}.name")
RATES = (f"{WEIGHT}.lr", f"{ARCH}.lr")
ARMS = ("same", "default", "tuned")
SHOWN = 4  # rates with diverged runs that are named


@dataclass(frozen=True)
class RateArm:
    """A learning-rate arm.

    Args:
        name: ``same``, ``default``, ``tuned`` or another.
        rows: values by dotted setting; a run belongs to the arm if it has all values of one row.
        tuned_on: seeds on which the rates were chosen; their runs are left out of every verdict.
        remark: what else is to be known of the choice: runs that diverged or are missing.
    """

    name: str
    rows: tuple[Mapping[str, Any], ...]
    tuned_on: frozenset[int] = frozenset()
    remark: str = ""

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

    @property
    def rates(self) -> str:
        """In words, such as ``Adam 0.001 on w, Adam 0.0003 on alpha``."""
        told = sorted(
            {
                f"{row[f'{part}.name']} {row[f'{part}.lr']:g} on {symbol}"
                for row in self.rows
                for part, symbol in ((WEIGHT, "w"), (ARCH, "alpha"))
            }
        )
        return ", ".join(told)

    def __str__(self) -> str:
        return f"{self.rates} ({self.remark})" if self.remark else self.rates


def rate_arms(runs: Runs) -> list[RateArm]:
    """The arms ``default`` and ``same`` as far as a table holds them.

    Default: the protocol's rate of each optimizer. Where no run has it, or the protocol knows no
    such optimizer, it is the rate of most runs, and the arm is called ``as run``. Same: every rate
    that two weight optimizers were run with.

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
            exact = False
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
        One row per combination of ``by`` and both rates: n, the runs that ended; diverged, how many
        of them did; valid_loss, the mean at the last epoch of the others, NaN where all diverged.

    Raises:
        UserError: some combination was given more trials than another: an unequal budget.
    """
    last = _ends(sweep)
    last = last.assign(diverged=last["state"] == "diverged")
    last["valid_loss"] = last["valid_loss"].mask(last["diverged"])
    found = (
        last.groupby([*by, *RATES])
        .agg(n=("id", "size"), diverged=("diverged", "sum"), valid_loss=("valid_loss", "mean"))
        .reset_index()
    )
    trials = found.groupby(list(by)).size()
    if trials.nunique() > 1:
        most, fewest = trials.idxmax(), trials.idxmin()
        raise UserError(
            f"unequal budgets: {most} has {trials.max()} learning rates, {fewest} {trials.min()}",
            where="table",
            remedy="give every combination equally many",
        )
    return found


def _ends(sweep: pd.DataFrame) -> pd.DataFrame:
    """The last record of each run that ended, diverged ones included."""
    Runs(sweep)  # refuses what is no tidy table
    ended = sweep[sweep["state"].isin(FINISHED)].sort_values(["id", "epoch"], kind="stable")
    return ended.groupby("id").tail(1)


def tune(sweep: pd.DataFrame, by: Sequence[str] = PAIR) -> RateArm:
    """The rates of the lowest mean final validation loss; the benchmark is never asked.

    Rates of which runs diverged rank behind all others, by the share that did: a mean over the
    seeds that survived would praise them.

    Args:
        sweep: a tidy table of a learning-rate sweep, on seeds that no verdict uses.
        by: what is tuned apart.

    Returns:
        The arm ``tuned``, with the seeds of the sweep.

    Raises:
        UserError: as `responses`; or all runs of some combination diverged.
    """
    found = responses(sweep, by)
    for key, each in found.groupby(list(by)):
        if each["valid_loss"].isna().all():
            raise UserError(
                f"all runs of {', '.join(map(str, key))} diverged ({each['n'].sum()})",
                where="the sweep",
                remedy="add lower learning rates to it, or leave the combination out",
            )
    ranked = found.assign(share=found["diverged"] / found["n"]).sort_values(["share", "valid_loss"])
    best = ranked.groupby(list(by)).head(1).sort_index()
    rows = tuple(
        {str(key): value for key, value in row.items()}
        for row in best[[*by, *RATES]].to_dict("records")
    )
    seeds = frozenset(int(seed) for seed in sweep[SEED].unique())
    return RateArm("tuned", rows, seeds, _remark(sweep, found, best, by))


def _remark(sweep: pd.DataFrame, found: pd.DataFrame, best: pd.DataFrame, by: Sequence[str]) -> str:
    """What a choice owes to runs that diverged or have not ended; empty if there are none."""
    unstable = found[found["diverged"] > 0]
    chosen = unstable.index.isin(best.index)
    missing = sweep.loc[~sweep["state"].isin(FINISHED), "id"].nunique()
    remarks = []
    if chosen.any():
        remarks.append(f"chosen although runs of it diverged: {_diverged(unstable[chosen], by)}")
    if not chosen.all():
        remarks.append(f"ranked last, as runs diverged: {_diverged(unstable[~chosen], by)}")
    if missing:
        verb = "runs of the sweep are" if missing > 1 else "run of the sweep is"
        remarks.append(f"{missing} {verb} not finished, and not counted")
    return "; ".join(remarks)


def _diverged(rows: pd.DataFrame, by: Sequence[str]) -> str:
    told = [
        f"{', '.join(str(row[key]) for key in by)} at "
        f"{', '.join(f'{row[key]:g}' for key in RATES)} ({row['diverged']} of {row['n']} runs)"
        for row in rows.head(SHOWN).to_dict("records")
    ]
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"{', '.join(told)}{more}"
