"""Before and after a study: what its size can show.

With few seeds the sign-flip test is coarse: it rejects at the largest multiple of 2 / 2^n that the
level allows, and its power is less than that of a t-test (62 % instead of 80 % with six seeds). So
up to `SIMULATED` seeds the test itself is run on drawn normal contrasts; beyond, the noncentral t
comes close enough.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from scipy import optimize, stats

from optnas.analysis.estimates import Floats
from optnas.analysis.paired import smallest_p

ALPHA = 0.05
POWER = 0.8
MOST = 100_000
SIMULATED = 12
STUDIES = 2000  # drawn at least; more with fewer seeds: an error of 0.011 at most, 0.004 with 6


def fewest_seeds(alpha: float = ALPHA) -> int:
    """The fewest seeds with which a sign-flip test can reach a two-sided level.

    Returns:
        ceil(1 - log2(alpha)), 6 for 0.05.

    Example:
        >>> fewest_seeds()
        6
    """
    return math.ceil(1 - math.log2(alpha) - 1e-12)


def _t_power(noncentrality: float, degrees: int, alpha: float) -> float:
    critical = stats.t.ppf(1 - alpha / 2, degrees)
    # From the other tail on, the noncentral t of large arguments is nan where it is 1.
    upper = stats.nct.sf(critical, degrees, noncentrality)
    lower = stats.nct.cdf(-critical, degrees, noncentrality)
    return float(np.nan_to_num(upper, nan=1.0) + np.nan_to_num(lower, nan=0.0))


@functools.cache
def _studies(n: int) -> tuple[Floats, Floats]:
    """Standard normal contrasts of S studies, and half of the sign vectors, V x n.

    The sums of a sign vector and of its opposite are equal in size, so half of them will do.
    """
    studies = max(STUDIES, 2**19 // 2 ** (n - 1))
    values_SN = np.random.default_rng(n).normal(size=(studies, n))
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=n - 1)))
    signs_VN = np.hstack([np.ones((len(signs), 1)), signs])
    return values_SN, signs_VN


def _simulated(n: int, effect: float, alpha: float) -> float:
    values_SN, signs_VN = _studies(n)
    shifted_SN = values_SN + effect
    observed_S = np.abs(shifted_SN.sum(axis=1))
    sums_SV = np.abs(shifted_SN @ signs_VN.T)
    # Two-sided, since twice the smaller one-sided p is the share of sums at least as large.
    p_S = (sums_SV >= observed_S[:, None] * (1 - 1e-12)).mean(axis=1)
    return float((p_S <= alpha + 1e-12).mean())


def paired(n: int, effect: float, alpha: float = ALPHA) -> float:
    """Power of the two-sided sign-flip test on n normal contrasts.

    Up to `SIMULATED` seeds that of the test itself, on `STUDIES` drawn studies or more, the same
    for every effect. Beyond, that of the t-test: noncentral t with n - 1 degrees of freedom and
    noncentrality sqrt(n) dz. 0 where the test cannot reach the level.

    Args:
        n: seeds.
        effect: dz, mean of the contrasts over their standard deviation.
        alpha: two-sided level.

    Returns:
        The chance of a significant result.

    Example:
        >>> round(paired(20, 0.66), 2)
        0.8
    """
    if smallest_p(n) > alpha:
        return 0.0
    if n <= SIMULATED:
        return _simulated(n, abs(effect), alpha)
    return _t_power(math.sqrt(n) * abs(effect), n - 1, alpha)


def detectable(
    n: int,
    spread: float = 1.0,
    *,
    power: float = POWER,
    alpha: float = ALPHA,
) -> float:
    """The gap that n seeds would show with this power.

    Args:
        n: seeds.
        spread: standard deviation of the contrasts.
        power: chance of seeing it.
        alpha: two-sided level.

    Returns:
        The gap in units of the spread given; infinite where the level is out of reach.

    Example:
        >>> round(detectable(20), 2)
        0.66
    """
    return spread * _detectable(n, power, alpha)


@functools.lru_cache(maxsize=256)
def _detectable(n: int, power: float, alpha: float) -> float:
    if n < 2 or paired(n, 1e3, alpha) < power:
        return math.inf
    return float(optimize.brentq(lambda d: paired(n, d, alpha) - power, 0.0, 1e3, xtol=1e-3))


def needed(effect: float, spread: float, *, power: float = POWER, alpha: float = ALPHA) -> int:
    """How many seeds show a gap with this power.

    Args:
        effect: the gap.
        spread: standard deviation of the contrasts.
        power: chance of seeing it.
        alpha: two-sided level.

    Returns:
        The fewest, at most `MOST`, which stands for more than anyone will run.

    Example:
        >>> needed(1.0, 1.0)
        11
    """
    if effect == 0:
        return MOST
    if spread == 0:
        return fewest_seeds(alpha)
    low, high = fewest_seeds(alpha) - 1, fewest_seeds(alpha)
    while high < MOST and paired(high, effect / spread, alpha) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = paired(middle, effect / spread, alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    return min(high, MOST)
