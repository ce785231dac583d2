"""Seed-paired differences: an exact test, the exact interval that belongs to it, equivalence.

A seed is a block: runs of one seed share data, order and initial values, so a contrast between arms
is one number per seed. Under the hypothesis that the arms do not differ, each number may as well
have had the other sign. All 2^n sign vectors are enumerated up to `EXACT` seeds; beyond, they are
drawn.

Shapes: N seeds.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optnas.analysis.estimates import Floats, Interval

EXACT = 20  # seeds up to which all sign vectors are enumerated: 2^20 sums
DRAWS = 50_000
TIE = 1e-12  # sums closer than this, relative to sum |d|, count as equal


@dataclass(frozen=True)
class SignFlip:
    """What a sign-flip test found.

    Args:
        n: seeds.
        mean: mean of the contrasts.
        p_greater: small when the mean is above the hypothesis.
        p_less: small when it is below.
        smallest: `smallest_p` of n.
        error: standard error of the one-sided p; 0 where it is exact.
    """

    n: int
    mean: float
    p_greater: float
    p_less: float
    smallest: float
    error: float

    @property
    def p(self) -> float:
        """Two-sided: twice the smaller one-sided p, at most 1."""
        return min(1.0, 2 * min(self.p_greater, self.p_less))


def smallest_p(n: int) -> float:
    """The smallest two-sided p that n seeds can reach: 2 / 2^n.

    Returns:
        At most 1, and not below 2 / (DRAWS + 1) where sign vectors are drawn.

    Example:
        >>> smallest_p(6)
        0.03125
    """
    drawn = 2 / (DRAWS + 1) if n > EXACT else 0.0
    return min(1.0, max(2.0 ** (1 - n), drawn))


@functools.lru_cache(maxsize=4)
def _subsets(n: int, seed: int) -> Floats:
    """Drawn subsets of n seeds, each seed in or out by a fair coin: DRAWS x n zeros and ones."""
    packed = np.random.default_rng(seed).integers(256, size=(DRAWS, -(-n // 8)), dtype=np.uint8)
    subsets = np.unpackbits(packed, axis=1, count=n).astype(float)
    subsets.flags.writeable = False
    return subsets


def _signed_sums(values_N: Floats, seed: int) -> Floats:
    """Sums of +-d over all sign vectors, or over drawn ones with the observed one among them."""
    if len(values_N) > EXACT:
        drawn = values_N.sum() - 2 * (_subsets(len(values_N), seed) @ values_N)
        return np.append(drawn, values_N.sum())
    sums = np.zeros(1)
    for value in values_N:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _finite(values_N: npt.ArrayLike) -> Floats:
    """The values; no comparison with a NaN is true, so that it would count as the smallest p."""
    finite_N = np.asarray(values_N, float)
    if not np.isfinite(finite_N).all():
        raise ValueError("a contrast is not finite: leave out the seeds that have none")
    return finite_N


def sign_flip(values_N: npt.ArrayLike, against: float = 0.0, seed: int = 0) -> SignFlip:
    """Sign-flip permutation test that contrasts are symmetric about a value.

    p_greater = #{s in {-1, 1}^n : sum_i s_i d_i >= sum_i d_i} / 2^n with d_i = value_i - against,
    p_less likewise. Exact if flipping a sign leaves the distribution of the contrast as it is,
    which two exchangeable arms guarantee. For a plain level (a correlation against 0) it is the
    assumption of symmetry.

    Args:
        values_N: one contrast per seed, finite, at least one.
        against: the hypothesis.
        seed: of the drawn sign vectors, where there are too many to enumerate.

    Raises:
        ValueError: a contrast or the hypothesis is not finite.

    Example:
        >>> sign_flip([1.0, 2.0, 3.0, 1.0, 2.0, 4.0]).p
        0.03125
    """
    values_N = _finite(np.asarray(values_N, float) - against)
    n = len(values_N)
    sums = _signed_sums(values_N, seed)
    observed, tie = values_N.sum(), TIE * np.abs(values_N).sum()
    greater, less = np.mean(sums >= observed - tie), np.mean(sums <= observed + tie)
    worst = min(greater, less)
    error = 0.0 if n <= EXACT else math.sqrt(worst * (1 - worst) / DRAWS)
    return SignFlip(
        n,
        float(values_N.mean() + against),
        float(greater),
        float(less),
        smallest_p(n),
        error,
    )


def _subset_means(values_N: Floats, seed: int) -> Floats:
    """Sorted means of all non-empty subsets, or of drawn ones."""
    if len(values_N) > EXACT:
        subsets = _subsets(len(values_N), seed)
        sums, counts = subsets @ values_N, subsets.sum(axis=1)
        return np.sort(sums[counts > 0] / counts[counts > 0])
    sums, counts = np.zeros(1), np.zeros(1)
    for value in values_N:
        sums = np.concatenate([sums, sums + value])
        counts = np.concatenate([counts, counts + 1])
    return np.sort(sums[1:] / counts[1:])


def interval(values_N: npt.ArrayLike, level: float = 0.95, seed: int = 0) -> Interval:
    """The values that a two-sided sign-flip test does not reject: the mean between exact ends.

    The means of the 2^n - 1 non-empty subsets cut the line into 2^n pieces that are equally likely
    to hold the centre. With k = floor(2^n (1 - level) / 2), the k-th smallest and k-th largest are
    the ends; with k = 0 (n < 6 at 95 %) no finite interval has that level, and the ends are
    infinite.

    Args:
        values_N: one contrast per seed.
        level: coverage, at least this.
        seed: of drawn subsets, where there are too many to enumerate.

    Returns:
        The mean and the ends.

    Raises:
        ValueError: a contrast is not finite.

    Reference: Hartigan, JASA 1969 (typical values).

    Example:
        >>> interval([1.0, 2.0, 3.0, 1.0, 2.0, 5.0])[1:]
        (1.0, 5.0)
    """
    values_N = _finite(values_N)
    means = _subset_means(values_N, seed)
    k = math.floor((len(means) + 1) * (1 - level) / 2 + 1e-9)
    ends = (-math.inf, math.inf) if k == 0 else (float(means[k - 1]), float(means[-k]))
    return Interval(float(values_N.mean()), *ends)


def equivalence(values_N: npt.ArrayLike, margin: float, seed: int = 0) -> float:
    """Two one-sided tests (TOST): p of the hypothesis that the contrast is at least a margin off.

    p = max(p_greater against -margin, p_less against +margin). Small means: equal but for less
    than the margin. An insignificant difference is no equivalence; this is.

    Args:
        values_N: one contrast per seed.
        margin: the largest difference that does not matter, positive, in units of the contrast.
        seed: as for `sign_flip`.

    Returns:
        The p-value; at least 2^-n.

    Reference: Schuirmann, 1987. Deviation: sign flips instead of t-tests.

    Example:
        >>> equivalence([0.1, -0.1, 0.05, 0.0, -0.05, 0.1], margin=0.25)
        0.015625
    """
    above = sign_flip(values_N, -margin, seed).p_greater
    below = sign_flip(values_N, margin, seed).p_less
    return max(above, below)


def less_than_half(values_N: npt.ArrayLike, other_N: npt.ArrayLike, seed: int = 0) -> float:
    """One-sided p of the hypothesis that a contrast is at least half as large as another.

    |a| < |b| / 2 means that, for the sign s of b, both s b / 2 - a and s b / 2 + a lie above 0: the
    larger of their two p-values. Either sign may be the right one, so that the smaller p of the two
    is doubled. Small means: less than half, in size, of a difference that is there.

    Args:
        values_N: the contrast a, one number per seed.
        other_N: the contrast b, of the same seeds.
        seed: as for `sign_flip`.

    Returns:
        The p-value; at least 2 / 2^n.

    Example:
        >>> less_than_half([0.1, -0.1, 0.2, 0.0, -0.2, 0.1], [-2.0, -1.0, -3.0, -2.0, -1.0, -2.0])
        0.03125
    """
    a_N, b_N = np.asarray(values_N, float), np.asarray(other_N, float)
    sides = [
        max(
            sign_flip(sign * b_N / 2 - a_N, seed=seed).p_greater,
            sign_flip(sign * b_N / 2 + a_N, seed=seed).p_greater,
        )
        for sign in (1, -1)
    ]
    return min(1.0, 2 * min(sides))


def beyond(values_N: npt.ArrayLike, margin: float, seed: int = 0) -> float:
    """One-sided p of the hypothesis that the contrast is within a margin: small means it is not.

    p = min(p_greater against margin, p_less against -margin); the two cannot both be small.

    Args:
        values_N: one contrast per seed.
        margin: positive.
        seed: as for `sign_flip`.

    Returns:
        The p-value of the nearer side.
    """
    above = sign_flip(values_N, margin, seed).p_greater
    below = sign_flip(values_N, -margin, seed).p_less
    return min(above, below)
