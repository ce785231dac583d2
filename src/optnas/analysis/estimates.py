"""Robust centres of a response over seeds, and bootstrap intervals around any statistic.

Shapes: S values of a stratum, D bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
# A statistic reduces the last axis of an array.
Statistic = Callable[[Floats], Floats]

DRAWS = 2000


class Interval(NamedTuple):
    """An estimate between two ends; an end may be infinite."""

    estimate: float
    low: float
    high: float


def iqm(values: npt.ArrayLike) -> Floats:
    """Interquartile mean: the mean of what is left without the lowest and highest quarter.

    floor(S / 4) values are dropped at either end of the last axis. Below four values nothing is.

    Args:
        values: at least one value along the last axis.

    Returns:
        The mean over the last axis.

    Reference: Agarwal et al., NeurIPS 2021.

    Example:
        >>> float(iqm([0.0, 90.0, 92.0, 1000.0]))
        91.0
    """
    return np.asarray(stats.trim_mean(np.asarray(values, float), 0.25, axis=-1))


def median(values: npt.ArrayLike) -> Floats:
    """The median over the last axis."""
    return np.asarray(np.median(np.asarray(values, float), axis=-1))


def bootstrap(
    strata: Sequence[npt.ArrayLike],
    statistic: Statistic = iqm,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic of pooled values, resampled within each stratum.

    A stratum is what was fixed by design, such as an arm or a data set: each resample holds as many
    values of it as there are. With few seeds the interval is too short (it cannot reach beyond the
    values seen): for a verdict use `optnas.analysis.paired`.

    Args:
        strata: the values of each stratum.
        statistic: reduces the last axis.
        level: coverage aimed at.
        draws: resamples.
        seed: of the resampling.

    Returns:
        The statistic of the values themselves and the ends of its interval.

    Example:
        >>> bootstrap([[1.0, 1.0, 1.0]])
        Interval(estimate=1.0, low=1.0, high=1.0)
    """
    generator = np.random.default_rng(seed)
    arrays = [np.asarray(values, float) for values in strata]
    resampled_DS = np.concatenate(
        [values[generator.integers(len(values), size=(draws, len(values)))] for values in arrays],
        axis=1,
    )
    low, high = np.quantile(statistic(resampled_DS), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(np.concatenate(arrays))), float(low), float(high))
