"""The relaxations of DARTS and DARTS-."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Relax
from optnas.base.registry import register
from optnas.spaces.base import Space


@register("relaxation", "softmax")
def softmax() -> Relax:
    """See `optnas.algorithms.parts.relaxations.softmax`."""
    return parts.softmax


@register("relaxation", "softmax-with-skip")
def softmax_with_skip(beta: float = 1.0, *, space: Space) -> Relax:
    """See `optnas.algorithms.parts.relaxations.softmax_with_skip`.

    Args:
        beta: weight of the auxiliary skip in the first epoch.
        space: the search space; the program supplies it, for the column of its skip.

    Returns:
        The relaxation.
    """
    return parts.softmax_with_skip(beta, space.skip)
