"""Responses over epochs: anytime curves, best against final epoch, equal train loss.

Shapes: E epochs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from optnas.analysis.estimates import DRAWS, bootstrap
from optnas.base.records import FIRST_EPOCH

ARM = ("algorithm.name", "weight_optimizer.name", "arch_optimizer.name")


def searched(epoch_E: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which epochs are epochs of the search: those from epoch 1.

    Epoch 0 is recorded before any step. Every response that is one number per run leaves it out.

    Args:
        epoch_E: the epochs of records.

    Returns:
        [E], true where the epoch counts.

    Example:
        >>> searched([0, 1, 2]).tolist()
        [False, True, True]
    """
    return np.asarray(epoch_E) >= FIRST_EPOCH


def anytime(
    table: pd.DataFrame,
    column: str,
    by: Sequence[str] = ARM,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """A response over epochs for each arm: centre and interval over seeds.

    What one would hold if the search were stopped at that epoch, epoch 0 (before any step)
    included. Epochs at which a run did not record the column are left out for that run, so n may
    change along a curve.

    Args:
        table: a tidy table; filter it to comparable runs first.
        column: the response.
        by: settings that make an arm.
        level: coverage of the percentile bootstrap over seeds, epoch by epoch: not a band that
            holds the whole curve.
        draws: resamples.

    Returns:
        One row per arm and epoch: the settings of ``by``, epoch, n, mean, iqm, low, high.
    """
    known = table[[*by, "epoch", column]].dropna()
    rows = []
    for key, values in known.groupby([*by, "epoch"], sort=True)[column]:
        center, low, high = bootstrap([values.to_numpy(float)], level=level, draws=draws)
        rows.append((*key, len(values), values.mean(), center, low, high))
    return pd.DataFrame(rows, columns=[*by, "epoch", "n", "mean", "iqm", "low", "high"])


def best_and_final(table: pd.DataFrame, column: str, keep: Sequence[str] = ARM) -> pd.DataFrame:
    """What each run ends with, and the best it held on the way, from epoch 1 on.

    The best epoch is an *oracle*: it is chosen by the response it reports, which nobody had during
    the search. Its gap to the final epoch grows with the number of epochs even where nothing
    changes but noise.

    Args:
        table: a tidy table.
        column: the response; larger is better.
        keep: settings to keep beside the id.

    Returns:
        One row per run: id, the settings of ``keep``, search.seed, final, oracle_best,
        oracle_epoch, drop.
    """
    known = table[searched(table["epoch"])].dropna(subset=[column]).sort_values(["id", "epoch"])
    if known.empty:
        return pd.DataFrame(
            columns=["id", *keep, "search.seed", "final", "oracle_best", "oracle_epoch", "drop"]
        )
    last = known.groupby("id").tail(1).set_index("id")
    best = known.loc[known.groupby("id")[column].idxmax()].set_index("id")
    found = last[[*keep, "search.seed"]].assign(
        final=last[column], oracle_best=best[column], oracle_epoch=best["epoch"]
    )
    return found.assign(drop=found["oracle_best"] - found["final"]).reset_index()


def at_loss(loss_E: npt.ArrayLike, values_E: npt.ArrayLike, level: float) -> float:
    """A value where the train loss first falls to a level, linear between the epochs around it.

    With i the first epoch whose loss is at most the level and s = (loss[i-1] - level) /
    (loss[i-1] - loss[i]): values[i-1] + s (values[i] - values[i-1]). Counts such as skips become
    fractions.

    Args:
        loss_E: train loss by epoch.
        values_E: the value at the end of the same epochs.
        level: the train loss to compare at.

    Returns:
        The value; that of the first epoch if it is below the level already, NaN if none is.

    Example:
        >>> at_loss([2.0, 1.0, 0.5], [0.0, 2.0, 3.0], 1.5)
        1.0
    """
    loss_E, values_E = np.asarray(loss_E, float), np.asarray(values_E, float)
    reached = np.flatnonzero(loss_E <= level)
    if len(reached) == 0:
        return float("nan")
    i = int(reached[0])
    if i == 0:
        return float(values_E[0])
    share = (loss_E[i - 1] - level) / (loss_E[i - 1] - loss_E[i])
    return float(values_E[i - 1] + share * (values_E[i] - values_E[i - 1]))


def common_loss(losses: Sequence[npt.ArrayLike]) -> float:
    """The lowest train loss that every run reaches: the largest of the smallest losses.

    Args:
        losses: train loss by epoch, of each run to be compared.

    Returns:
        The level at which `at_loss` can compare them all.
    """
    return max(float(np.nanmin(np.asarray(loss_E, float))) for loss_E in losses)
