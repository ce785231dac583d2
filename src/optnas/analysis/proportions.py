"""Collapse and other yes-or-no outcomes: rates with intervals."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from optnas.analysis.estimates import Interval

COLLAPSE_SKIPS = 4
Method = Literal["exact", "wilson"]


def collapsed(
    skips: npt.ArrayLike, accuracy: npt.ArrayLike, random_cell: float
) -> npt.NDArray[np.bool_]:
    """Whether a derived cell is a collapse: four or more skips, or worse than a random cell.

    Args:
        skips: skip connections among the six edges.
        accuracy: benchmark accuracy of the cell, percent.
        random_cell: mean accuracy of all cells of that table and data set, percent.

    Returns:
        One truth value per run.

    Example:
        >>> collapsed([4, 0, 1], [93.0, 93.0, 54.3], random_cell=87.06).tolist()
        [True, False, True]
    """
    return np.asarray(
        (np.asarray(skips) >= COLLAPSE_SKIPS) | (np.asarray(accuracy) < random_cell), bool
    )


def rate(events: int, n: int, *, level: float = 0.95, method: Method = "exact") -> Interval:
    """A rate and its interval.

    Args:
        events: how often it happened.
        n: out of how many.
        level: coverage.
        method: ``exact`` (Clopper-Pearson: at least this coverage, wide) or ``wilson`` (about this
            coverage on average).

    Returns:
        Rate and ends, all between 0 and 1.

    Example:
        >>> round(rate(0, 6).high, 3)
        0.459
    """
    ends = stats.binomtest(events, n).proportion_ci(level, method=method)
    return Interval(events / n, float(ends.low), float(ends.high))
