"""Collapse and other yes-or-no outcomes: rates with intervals, exact comparisons of two rates."""

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


def fisher(x_events: int, x_n: int, y_events: int, y_n: int) -> float:
    """Fisher's exact test, two-sided, that two *unpaired* arms have one rate.

    Args:
        x_events: events of one arm.
        x_n: its runs.
        y_events: events of the other.
        y_n: its runs.

    Returns:
        The p-value.

    Example:
        >>> round(fisher(5, 6, 0, 6), 4)
        0.0152
    """
    table = [[x_events, x_n - x_events], [y_events, y_n - y_events]]
    return float(stats.fisher_exact(table).pvalue)


def mcnemar(x_N: npt.ArrayLike, y_N: npt.ArrayLike) -> float:
    """McNemar's exact test, two-sided, that two arms *paired by seed* have one rate.

    With b seeds where only the first arm had the event and c where only the second had it, the
    p-value is that of b successes among b + c fair coins. Seeds on which the arms agree say
    nothing. It equals `optnas.analysis.paired.sign_flip` of the differences.

    Args:
        x_N: truth values of one arm, by seed.
        y_N: truth values of the other, same seeds in the same order.

    Returns:
        The p-value, 1 if the arms agree on every seed.

    Example:
        >>> mcnemar([1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0])
        0.03125
    """
    x_N, y_N = np.asarray(x_N, bool), np.asarray(y_N, bool)
    b, c = int((x_N & ~y_N).sum()), int((~x_N & y_N).sum())
    return 1.0 if b + c == 0 else float(stats.binomtest(b, b + c).pvalue)
