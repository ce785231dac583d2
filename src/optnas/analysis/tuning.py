"""Learning-rate arms: the same rate for both optimizers, each one's default, each one tuned.

"SGD against Adam" means nothing before it is said at which learning rates. Every verdict belongs to
one arm. The first two are found in a table; the third comes from a sweep on other seeds, or from
two, of w and then of alpha. A study declares further ones by name (`optnas.study.declare`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optnas.analysis.runs import SEED, Mask, Runs, plain
from optnas.analysis.sweeps import ALGORITHM, ARCH, PAIR, RATES, SYMBOLS, WEIGHT, Choice, choose
from optnas.analysis.sweeps import responses as responses
from optnas.base.errors import UserError
from optnas.search import protocols

ARMS = ("same", "default", "tuned")
SHOWN = 6  # of rates that belong to no arm


@dataclass(frozen=True)
class RateArm:
    """A learning-rate arm.

    Args:
        name: ``same``, ``default``, ``tuned`` or another.
        rows: values by dotted setting; a run belongs to the arm if it has all values of one row.
        tuned_on: seeds on which the rates were chosen; their runs are left out of every verdict.
        remarks: what else is to be known of the choice: runs that diverged or are missing, a rate
            at the edge of the sweep.
    """

    name: str
    rows: tuple[Mapping[str, Any], ...]
    tuned_on: frozenset[int] = frozenset()
    remarks: tuple[str, ...] = ()

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
        return ", ".join(sorted({each for row in self.rows for each in _words(row)}))

    def __str__(self) -> str:
        return f"{self.rates} ({'; '.join(self.remarks)})" if self.remarks else self.rates


def _words(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{row[f'{part}.name']} {row[f'{part}.lr']:g} on {symbol}"
        for part, symbol in SYMBOLS.items()
        if f"{part}.name" in row  # a choice for one part names no optimizer of the other
    ]


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


def in_no_arm(runs: Runs, arms: Sequence[RateArm]) -> str:
    """How many runs belong to no learning-rate arm, and at which rates; empty if all belong.

    Args:
        runs: those of a table.
        arms: all arms by which it is judged.
    """
    if not arms or not len(runs):
        return ""
    outside = ~np.logical_or.reduce([arm.belongs(runs) for arm in arms])
    if not outside.any():
        return ""
    columns = [*PAIR[1:], *RATES]
    rates = runs.settings.loc[outside, columns].drop_duplicates()
    told = [" with ".join(_words(row)) for row in rates.sort_values(columns).to_dict("records")]
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    verb = "runs belong" if outside.sum() > 1 else "run belongs"
    return (
        f"{outside.sum()} {verb} to no learning-rate arm and to no verdict but those at any rate: "
        f'{"; ".join(told[:SHOWN])}{more} (a study names a set of rates: rates = "NAME" in a grid)'
    )


def tune(sweep: pd.DataFrame, by: Sequence[str] = PAIR) -> RateArm:
    """The rates of the lowest mean final validation loss (`optnas.analysis.sweeps.choose`).

    Args:
        sweep: a tidy table of a learning-rate sweep, on seeds that no verdict uses.
        by: what is tuned apart.

    Returns:
        The arm ``tuned``, with the seeds of the sweep.

    Raises:
        UserError: as `responses`; or all runs of some combination diverged.
    """
    return arm_of(choose(sweep, by), by)


def arm_of(choice: Choice, by: Sequence[str] = PAIR) -> RateArm:
    """The arm ``tuned`` of one sweep.

    Args:
        choice: its best rates.
        by: what was tuned apart.
    """
    rows = tuple(
        {str(key): value for key, value in row.items()}
        for row in choice.best.sort_index()[[*by, *RATES]].to_dict("records")
    )
    return RateArm("tuned", rows, choice.seeds, choice.remarks)


def tune_in_turn(weights: pd.DataFrame, archs: pd.DataFrame) -> RateArm:
    """The best rate of each optimizer of w, then of each of alpha; the pairs are their product.

    Args:
        weights: a tidy table of a sweep of w, alpha's optimizer and rate the same in all runs.
        archs: one of a sweep of alpha, the optimizer and rate of w the same in all runs.

    Returns:
        The arm ``tuned``, with the seeds of both sweeps. It is remarked if the second was not at
        the best w of the first.

    Raises:
        UserError: a sweep varies the other part too, they are of different algorithms, or as
            `tune`.
    """
    (held_w,) = _held(archs, "the sweep of alpha", WEIGHT)
    _held(weights, "the sweep of w", ARCH)
    w, a = best_of(weights, WEIGHT), best_of(archs, ARCH)
    rows = tuple(
        {key: {**of_w, **of_a}[key] for key in (*PAIR, *RATES)}
        for of_w, of_a in itertools.product(_parts(w, WEIGHT), _parts(a, ARCH))
        if of_w[ALGORITHM] == of_a[ALGORITHM]
    )
    if not rows:
        names = [", ".join(sorted(set(each.best[ALGORITHM]))) for each in (w, a)]
        raise UserError(
            f"one is of {names[0]}, the other of {names[1]}",
            where="the sweeps of w and alpha",
            remedy="give two sweeps of one algorithm",
        )
    remarks = [*w.remarks, *a.remarks]
    name, rate = w.best.iloc[0][[f"{WEIGHT}.name", f"{WEIGHT}.lr"]]
    if held_w != (name, rate):
        remarks.append(
            f"the sweep of alpha has {held_w[0]} {held_w[1]:g} on w, that of w prefers "
            f"{name} {rate:g}"
        )
    return RateArm("tuned", rows, w.seeds | a.seeds, tuple(remarks))


def best_of(sweep: pd.DataFrame, section: str) -> Choice:
    """The best rate of each optimizer of one part.

    Args:
        sweep: a tidy table of a sweep of that part alone.
        section: ``weight_optimizer`` or ``arch_optimizer``.

    Raises:
        UserError: as `tune`.
    """
    return choose(sweep, (ALGORITHM, f"{section}.name"))


def settings_of(sweep: pd.DataFrame, section: str) -> list[tuple[str, float]]:
    """The optimizers of one part with their rates, as a sweep has them.

    Args:
        sweep: its tidy table.
        section: ``weight_optimizer`` or ``arch_optimizer``.
    """
    pairs = sweep[[f"{section}.name", f"{section}.lr"]].drop_duplicates()
    return sorted((str(name), float(rate)) for name, rate in pairs.itertuples(index=False))


def _held(sweep: pd.DataFrame, where: str, section: str) -> list[tuple[str, float]]:
    found = settings_of(sweep, section)
    if len(found) > 1:
        told = ", ".join(f"{name} {rate:g}" for name, rate in found)
        raise UserError(
            f"has several settings of {SYMBOLS[section]}: {told}",
            where=where,
            remedy="give the sweep of w first, then that of alpha, each alone",
        )
    return found


def _parts(choice: Choice, section: str) -> list[dict[str, Any]]:
    best = choice.best.sort_index()[[ALGORITHM, f"{section}.name", f"{section}.lr"]]
    return [{str(k): v for k, v in row.items()} for row in best.to_dict("records")]
