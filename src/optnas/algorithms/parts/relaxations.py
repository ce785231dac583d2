"""From architecture parameters to operation weights. Shapes: E edges, O operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms.base import Progress, Relax
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("relaxation", "softmax", itself=True)
def softmax(alpha_EO: Tensor, progress: Progress) -> Tensor:
    """A[e, o] = exp(alpha[e, o]) / sum_o' exp(alpha[e, o']).

    Args:
        alpha_EO: architecture parameters, unbounded.
        progress: not used; relaxations share one signature.

    Returns:
        Operation weights, rows on the simplex.

    Reference: Liu et al., ICLR 2019, equation 2.
    """
    del progress
    return alpha_EO.softmax(dim=-1)


@register("relaxation", "softmax-with-skip")
def softmax_with_skip(beta: float = 1.0, *, space: Space) -> Relax:
    """A = softmax(alpha) + beta (1 - t) on the skip column, t the elapsed share of the search.

    Equal to an auxiliary skip connection of weight beta (1 - t) beside every edge, because skip
    is the identity there.

    Args:
        beta: weight in the first epoch.
        space: the search space; the program supplies it, for the column of its skip.

    Reference: Chu et al., ICLR 2021, equation 2.
    """

    def relax(alpha_EO: Tensor, progress: Progress) -> Tensor:
        boost_O = torch.zeros_like(alpha_EO[0])
        boost_O[space.skip] = beta * (1 - progress.fraction)
        return softmax(alpha_EO, progress) + boost_O

    return relax
