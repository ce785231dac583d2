"""Is a response first rising, then falling? The two-lines test, with seeds as blocks.

A significant quadratic term is no evidence for an inverted U: a curve that rises and flattens has
one. Two lines that rise and fall are.

Shapes: N seeds, L levels of the setting.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optnas.analysis.estimates import Floats
from optnas.analysis.paired import sign_flip


class TwoLines(NamedTuple):
    """What a two-lines test found.

    ``p_inverted`` and ``p_upright`` are one-sided p-values for an inverted U and for a U;
    ``breakpoint`` is the level at which the better of the two shapes turns, ``left`` and ``right``
    the mean slopes on either side of it.
    """

    p_inverted: float
    p_upright: float
    breakpoint: float
    left: float
    right: float


def _slopes(levels: Floats, y_NL: Floats) -> Floats:
    centred = levels - levels.mean()
    return np.asarray(y_NL @ centred / (centred @ centred))


def two_lines(levels_L: npt.ArrayLike, y_NL: npt.ArrayLike, seed: int = 0) -> TwoLines:
    """Two-lines test of an inverted U and of a U, on curves measured once per seed.

    For each inner level c, one least-squares slope per seed over the levels up to c and one over
    the levels from c; sign-flip tests of both slopes; the larger of the two p-values, since both
    must hold. The smallest over the L - 2 inner levels, times their number (Bonferroni). A slope
    over three levels or more weighs them unequally, so that its test is not exact: it assumes that
    slopes without an effect are symmetric about 0. Where one level is worse than all others, which
    are alike, an inverted U may be shown in up to 5 % of studies instead of 2.5 %.

    Args:
        levels_L: the setting's values, ascending, at least three.
        y_NL: the response.
        seed: of drawn sign vectors, see `sign_flip`.

    Returns:
        The tests of both shapes, inverted U and U.

    Reference: Simonsohn, AMPPS 2018. Deviation: slopes within seeds and sign flips instead of one
    regression with robust errors; all inner levels and Bonferroni instead of the Robin Hood
    breakpoint, which needs a smooth fit that five levels do not carry.

    Example:
        >>> two_lines([0.0, 1.0, 2.0], [[0.0, 1.0, 0.0]] * 6).p_inverted
        0.015625
    """
    levels_L, y_NL = np.asarray(levels_L, float), np.asarray(y_NL, float)
    inner = range(1, len(levels_L) - 1)
    found = []
    for c in inner:
        left = sign_flip(_slopes(levels_L[: c + 1], y_NL[:, : c + 1]), seed=seed)
        right = sign_flip(_slopes(levels_L[c:], y_NL[:, c:]), seed=seed)
        found.append(
            TwoLines(
                min(1.0, len(inner) * max(left.p_greater, right.p_less)),
                min(1.0, len(inner) * max(left.p_less, right.p_greater)),
                float(levels_L[c]),
                left.mean,
                right.mean,
            )
        )
    best = min(found, key=lambda each: min(each.p_inverted, each.p_upright))
    return best._replace(
        p_inverted=min(each.p_inverted for each in found),
        p_upright=min(each.p_upright for each in found),
    )
