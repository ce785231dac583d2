"""Does the effect of one factor depend on another? Contrasts within seeds.

Shapes: N seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from optnas.analysis.estimates import Floats
from optnas.analysis.paired import interval, sign_flip


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
