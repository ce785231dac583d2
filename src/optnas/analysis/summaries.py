"""The statistics applied to a tidy table: its runs in, a table of results out.

Each function looks at the value of a column at every run's last epoch. It compares what it is
given: filter the table to comparable runs first. `optnas.analysis.claims.judge` does that itself.

Shapes: N seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optnas.analysis import estimates, paired, proportions
from optnas.analysis.alike import MEASURE, REMEDY, SETTINGS, label_of, unlike
from optnas.analysis.curves import ARM, searched
from optnas.analysis.effects import probability_of_improvement
from optnas.analysis.estimates import DRAWS, Floats
from optnas.analysis.interactions import factorial
from optnas.analysis.multiplicity import holm
from optnas.base.errors import UserError, did_you_mean

SEED = "search.seed"


def finals(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The last epoch, from epoch 1, of every run that is done and has a value there in all columns.

    Returns:
        One row per run, with the columns of the table.

    Raises:
        UserError: the table lacks a column, or the runs did not measure it alike.
    """
    for column in columns:
        if column not in table:
            raise UserError(
                "the table has no such column",
                key="column",
                value=column,
                remedy=did_you_mean(column, map(str, table)),
            )
    done = table[(table["state"] == "done") & searched(table["epoch"])].sort_values(
        ["id", "epoch"], kind="stable"
    )
    last = done.groupby("id").tail(1).dropna(subset=list(columns))
    for column in columns:
        label = label_of(column, table.columns)
        told = None if label is None else unlike(label, last[f"{MEASURE}{label}{SETTINGS}"])
        if told is not None:
            raise UserError(
                told, key="column", value=column, remedy=f"{REMEDY}, or filter the table"
            )
    return last


def centres(
    table: pd.DataFrame, column: str, by: Sequence[str] = ARM, *, draws: int = DRAWS
) -> pd.DataFrame:
    """Mean, interquartile mean and median of each arm, the last two with bootstrap intervals.

    Args:
        table: a tidy table.
        column: the response.
        by: settings that make an arm.
        draws: of the bootstrap.

    Returns:
        One row per arm: the settings of ``by``, n, mean, iqm, iqm_low, iqm_high, median,
        median_low, median_high.
    """
    rows = []
    for key, values in finals(table, column).groupby(list(by))[column]:
        x_N = values.to_numpy(float)
        iqm = estimates.bootstrap([x_N], draws=draws)
        median = estimates.bootstrap([x_N], estimates.median, draws=draws)
        rows.append((*key, len(x_N), x_N.mean(), *iqm, *median))
    ends = [f"{name}{end}" for name in ("iqm", "median") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*by, "n", "mean", *ends])


def differences(
    table: pd.DataFrame,
    column: str,
    axis: str,
    plus: Any,
    minus: Any,
    by: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Seed-paired differences along one setting, at each combination of the others.

    Args:
        table: a tidy table.
        column: the response.
        axis: the setting that differs.
        plus: its value in the arm that counts positive.
        minus: its value in the other.
        by: the other settings; by default what is left of `optnas.analysis.curves.ARM`.

    Returns:
        One row per combination: the settings of ``by``, n (seeds that have both), estimate, low,
        high and p of the exact sign-flip test, p_holm over the rows, and improvement, the
        probability that a run of ``plus`` is above one of ``minus``.
    """
    by = [key for key in ARM if key != axis] if by is None else list(by)
    rows = []
    for key, group in finals(table, column).groupby(by):
        x_N2 = _blocks(group, column, {axis: (plus, minus)})
        if not len(x_N2):
            continue
        contrast_N = x_N2[:, 0] - x_N2[:, 1]
        improvement = probability_of_improvement(x_N2[:, 0], x_N2[:, 1])
        p = paired.sign_flip(contrast_N).p
        rows.append((*key, len(contrast_N), *paired.interval(contrast_N), p, improvement))
    names = [*by, "n", "estimate", "low", "high", "p", "improvement"]
    found = pd.DataFrame(rows, columns=names)
    found.insert(len(names) - 1, "p_holm", holm(found["p"].to_numpy(float)))
    return found


def effects(
    table: pd.DataFrame, column: str, factors: Mapping[str, tuple[Any, Any]]
) -> pd.DataFrame:
    """Every main effect and interaction of settings with two values each, tested within seeds.

    Args:
        table: a tidy table.
        column: the response.
        factors: both values of each setting, such as ``{"weight_optimizer.name": ("SGD", "Adam"),
            "arch_optimizer.name": ("SGD", "Adam")}``.

    Returns:
        As `optnas.analysis.interactions.factorial`, over the seeds that have every combination,
        with p_holm over the rows.

    Raises:
        UserError: the table lacks the column, or no seed has every combination.
    """
    values = _blocks(finals(table, column), column, factors)
    if not len(values):
        raise UserError(
            "no seed has a run of every combination",
            where="table",
            key=", ".join(factors),
            remedy="run the same seeds in every arm: search.seed",
        )
    found = factorial(values, list(factors))
    return found.assign(p_holm=holm(found["p"].to_numpy(float)))


def collapse_rates(
    table: pd.DataFrame,
    random_cell: float,
    column: str = "benchmark.cifar10",
    by: Sequence[str] = ARM,
) -> pd.DataFrame:
    """How often the cell at the end is a collapse, in each arm.

    Args:
        table: a tidy table.
        random_cell: mean accuracy of all cells, see `optnas.analysis.references`.
        column: the accuracy.
        by: settings that make an arm.

    Returns:
        One row per arm: the settings of ``by``, n, events, rate, low, high (Clopper-Pearson).
    """
    last = finals(table, column, "skips")
    last = last.assign(collapsed=proportions.collapsed(last["skips"], last[column], random_cell))
    rows = [
        (*key, len(each), int(each.sum()), *proportions.rate(int(each.sum()), len(each)))
        for key, each in last.groupby(list(by))["collapsed"]
    ]
    return pd.DataFrame(rows, columns=[*by, "n", "events", "rate", "low", "high"])


def _blocks(last: pd.DataFrame, column: str, factors: Mapping[str, tuple[Any, Any]]) -> Floats:
    """[N, 2, ...]: values by seed and level of each factor, over the seeds with a number in all."""
    shape = (2,) * len(factors)
    cells = last.groupby([SEED, *factors])[column].mean()
    blocks = []
    for seed in sorted(set(last[SEED])):
        keys = [(seed, *levels) for levels in itertools.product(*factors.values())]
        if all(key in cells.index for key in keys):
            block = np.array([cells[key] for key in keys], float)
            if np.isfinite(block).all():  # a diverged run has infinite losses
                blocks.append(block.reshape(shape))
    return np.array(blocks).reshape(-1, *shape)
