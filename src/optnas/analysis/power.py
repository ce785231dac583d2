"""Before and after a study: what its size can show.

Closed forms for normal contrasts and exact enumeration for rates. The sign-flip test of this
project has nearly the power of the t-test that the closed form describes, and none at all where its
smallest reachable p is above the level.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, stats

from optnas.analysis.proportions import fisher

ALPHA = 0.05
POWER = 0.8
MOST = 100_000


def smallest_p(n: int) -> float:
    """The smallest two-sided p that a sign-flip test on n seeds can reach, 2 / 2^n.

    Returns:
        At most 1.

    Example:
        >>> smallest_p(6)
        0.03125
    """
    return min(1.0, 2.0 ** (1 - n))


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


def paired(n: int, effect: float, alpha: float = ALPHA) -> float:
    """Power of a two-sided test on n paired contrasts.

    Noncentral t with n - 1 degrees of freedom and noncentrality sqrt(n) dz; 0 where a sign-flip
    test cannot reach the level.

    Args:
        n: seeds.
        effect: dz, mean of the contrasts over their standard deviation.
        alpha: two-sided level.

    Returns:
        The chance of a significant result.

    Example:
        >>> round(paired(10, 1.0), 2)
        0.8
    """
    if smallest_p(n) > alpha:
        return 0.0
    return _t_power(math.sqrt(n) * abs(effect), n - 1, alpha)


def unpaired(n: int, effect: float, alpha: float = ALPHA) -> float:
    """Power of a two-sided t-test between two arms of n runs each.

    Args:
        n: runs per arm.
        effect: d, difference of the means over the common standard deviation.
        alpha: two-sided level.

    Returns:
        The chance of a significant result.

    Example:
        >>> round(unpaired(10, 1.33), 2)
        0.8
    """
    return _t_power(math.sqrt(n / 2) * abs(effect), 2 * n - 2, alpha)


def detectable(
    n: int,
    spread: float = 1.0,
    *,
    power: float = POWER,
    alpha: float = ALPHA,
    test: Callable[[int, float, float], float] = paired,
) -> float:
    """The gap that n seeds would show with this power.

    Args:
        n: seeds.
        spread: standard deviation of the contrasts (of an arm, for `unpaired`).
        power: chance of seeing it.
        alpha: two-sided level.
        test: `paired` or `unpaired`.

    Returns:
        The gap in units of the spread given; infinite where the level is out of reach.

    Example:
        >>> round(detectable(20), 2)
        0.66
    """
    return spread * _detectable(n, power, alpha, test)


@functools.lru_cache(maxsize=256)
def _detectable(
    n: int, power: float, alpha: float, test: Callable[[int, float, float], float]
) -> float:
    if n < 2 or test(n, 1e3, alpha) < power:
        return math.inf
    return float(optimize.brentq(lambda d: test(n, d, alpha) - power, 0.0, 1e3))


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
        10
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


@functools.cache
def rates(n: int, x: float, y: float, alpha: float = ALPHA) -> float:
    """Power of Fisher's exact test between two arms of n runs, by enumeration of all outcomes.

    Args:
        n: runs per arm.
        x: rate of one arm.
        y: rate of the other.
        alpha: two-sided level.

    Returns:
        The chance of a significant result.

    Example:
        >>> round(rates(15, 0.2, 0.8), 2)
        0.87
    """
    events = np.arange(n + 1)
    chance_XY = np.outer(stats.binom.pmf(events, n, x), stats.binom.pmf(events, n, y))
    significant_XY = np.array(
        [[fisher(int(a), n, int(b), n) <= alpha for b in events] for a in events]
    )
    return float(chance_XY[significant_XY].sum())
