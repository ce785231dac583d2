"""Does the effect of one factor depend on another? Contrasts within seeds, and aligned ranks.

Shapes: N seeds; A, B, C levels of factors.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from optnas.analysis.estimates import Floats
from optnas.analysis.paired import interval, sign_flip

PERMUTATIONS = 2000


def factorial(values: npt.ArrayLike, factors: Sequence[str]) -> pd.DataFrame:
    """Every main effect and interaction of factors with two levels each, tested within seeds.

    The contrast of a set of factors is the product of their differences (level 0 minus level 1),
    averaged over the levels of all other factors: for w-optimizer x a-optimizer
    r(0,0) - r(0,1) - r(1,0) + r(1,1). It is one number per seed, so `sign_flip` applies.

    Args:
        values: [N, 2, 2, ...], one axis per factor.
        factors: their names, in order of the axes.

    Returns:
        One row per effect: effect (such as ``w x a``), n, estimate, low, high, p.

    Example:
        >>> factorial([[[1.0, 0.0], [0.0, 1.0]]] * 6, ["w", "a"])["estimate"].tolist()
        [0.0, 0.0, 2.0]
    """
    values = np.asarray(values, float)
    rows = []
    for size in range(1, len(factors) + 1):
        for chosen in itertools.combinations(range(len(factors)), size):
            contrast_N = _contrast(values, chosen)
            estimate, low, high = interval(contrast_N)
            rows.append(
                {
                    "effect": " x ".join(factors[axis] for axis in chosen),
                    "n": len(contrast_N),
                    "estimate": estimate,
                    "low": low,
                    "high": high,
                    "p": sign_flip(contrast_N).p,
                }
            )
    return pd.DataFrame(rows)


def _contrast(values: Floats, chosen: Sequence[int]) -> Floats:
    for axis in reversed(range(1, values.ndim)):
        first, second = np.take(values, 0, axis), np.take(values, 1, axis)
        values = first - second if axis - 1 in chosen else (first + second) / 2
    return values


def _interaction(values_NAB: Floats) -> Floats:
    """Sum of squares of the interaction of cell means; leading axes are kept."""
    means_AB = values_NAB.mean(axis=-3)
    rows, columns = means_AB.mean(axis=-1, keepdims=True), means_AB.mean(axis=-2, keepdims=True)
    overall = means_AB.mean(axis=(-2, -1), keepdims=True)
    return np.asarray(((means_AB - rows - columns + overall) ** 2).sum(axis=(-2, -1)))


def aligned_ranks(
    values_NAB: npt.ArrayLike, permutations: int = PERMUTATIONS, seed: int = 0
) -> float:
    """Interaction of two factors with any number of levels, by ranks, in a complete block design.

    Values are aligned (seed means and both main effects taken off), ranked over everything, and
    the sum of squares of the interaction is compared with its values when the aligned ranks are
    shuffled within each seed. Ranks keep one collapsed run from deciding alone.

    Args:
        values_NAB: one value per seed and cell.
        permutations: shuffles drawn.
        seed: of the drawing.

    Returns:
        (1 + shuffles with at least the observed sum) / (1 + shuffles). Approximate: aligned values
        are exchangeable only up to the estimation of the main effects.

    Reference: Hodges and Lehmann 1962; Higgins and Tashtoush 1994.
    """
    values_NAB = np.asarray(values_NAB, float)
    n, a, b = values_NAB.shape
    aligned = (
        values_NAB
        - values_NAB.mean(axis=(1, 2), keepdims=True)
        - values_NAB.mean(axis=(0, 2), keepdims=True)
        - values_NAB.mean(axis=(0, 1), keepdims=True)
        + 2 * values_NAB.mean()
    )
    # Rounded, so that equal values stay equal after the subtractions.
    scale = np.abs(aligned).max() or 1.0
    _, index, counts = np.unique(
        np.round(aligned / scale, 9), return_inverse=True, return_counts=True
    )
    ranks_NAB = (np.cumsum(counts) - (counts - 1) / 2)[index].reshape(n, a, b)
    generator = np.random.default_rng(seed)
    drawn = np.broadcast_to(ranks_NAB.reshape(n, -1), (permutations, n, a * b))
    shuffled = generator.permuted(drawn, axis=-1).reshape(permutations, n, a, b)
    exceed = np.count_nonzero(_interaction(shuffled) >= _interaction(ranks_NAB) * (1 - 1e-9))
    return float((1 + exceed) / (1 + permutations))
