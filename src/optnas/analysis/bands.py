"""A mean over seeds at every epoch, and a bootstrap band around it.

Shapes: S seeds, E epochs, D draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optnas.analysis.estimates import DRAWS, Floats


class Band(NamedTuple):
    """A mean and its interval at each epoch; NaN where no seed has a value.

    ``low`` and ``high`` are NaN where one seed alone has a value: it has no spread.
    """

    n: npt.NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats


def band(
    values_SE: npt.ArrayLike, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Band:
    """Percentile bootstrap of the mean over seeds, epoch by epoch.

    At each epoch the seeds that have a value are resampled; the same resamples serve all epochs at
    which the same seeds do, so the band of an epoch is that of
    ``estimates.bootstrap([values], mean)``. It holds at each epoch, not for the whole curve at
    once, and with few seeds it is too short: it never reaches beyond the values seen.

    Args:
        values_SE: one row per seed, NaN where the seed has no value.
        level: coverage aimed at.
        draws: resamples.
        seed: of the resampling.

    Returns:
        Number of seeds, mean and ends, each [E].

    Example:
        >>> band([[1.0, 2.0], [3.0, float("nan")]]).mean.tolist()
        [2.0, 2.0]
    """
    values_SE = np.atleast_2d(np.asarray(values_SE, float))
    known_SE = ~np.isnan(values_SE)
    n = known_SE.sum(axis=0)
    mean, low, high = (np.full(values_SE.shape[1], np.nan) for _ in range(3))
    for mask_S in np.unique(known_SE, axis=1).T:
        at_E = (known_SE == mask_S[:, None]).all(axis=0)
        count = int(mask_S.sum())
        if count == 0:
            continue
        found_SE = values_SE[np.ix_(mask_S, at_E)]
        mean[at_E] = found_SE.mean(axis=0)
        if count > 1:
            shares_DS = _resampled_shares(count, draws, seed)
            ends = np.quantile(shares_DS @ found_SE, [(1 - level) / 2, (1 + level) / 2], axis=0)
            low[at_E], high[at_E] = ends
    return Band(n, mean, low, high)


def _resampled_shares(count: int, draws: int, seed: int) -> Floats:
    """How much of each resample every value makes, [D, S]."""
    chosen_DS = np.random.default_rng(seed).integers(count, size=(draws, count))
    shares_DS = np.zeros((draws, count))
    np.add.at(shares_DS, (np.arange(draws)[:, None], chosen_DS), 1.0 / count)
    return shares_DS
