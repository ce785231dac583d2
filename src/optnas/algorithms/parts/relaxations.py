"""From architecture parameters to operation weights. Shapes: E edges, O operations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optnas.algorithms.base import Draw, EpochsOrRun, Progress, Relax
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import NotNegative
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


def gumbel(draw: Draw, like_EO: Tensor) -> Tensor:
    """Standard Gumbel noise of a draw: g = -log(-log u) with u ~ U(0, 1).

    Args:
        draw: the randomness of the step.
        like_EO: for shape, type and place of the noise.
    """
    uniform_EO = draw.uniform(like_EO).clamp(min=torch.finfo(torch.float64).tiny)
    return -(-uniform_EO.log()).log().to(like_EO)


@register("relaxation", "softmax-with-skip", needs=("auxiliary-skip",))
def softmax_with_skip(
    beta: NotNegative = 1.0, decay_epochs: EpochsOrRun = 0, *, space: Space
) -> Relax:
    """A = softmax(alpha) + beta max(0, 1 - (epoch - 1) / D) on the column of each edge's skip.

    Equal to an auxiliary skip connection of that weight beside every edge whose skip is the
    identity. On a strided edge the network takes what a row has over 1 for the weight of an
    auxiliary skip of its own.

    Args:
        beta: weight in the first epoch.
        decay_epochs: D, the epochs after which nothing of it would be left; 0 for those of the run.
        space: the search space; the program supplies it, for the column of its skip.

    Reference: Chu et al., ICLR 2021, equation 2.
    """
    entries = space.skip_entries("the algorithm has an auxiliary one beside each")

    def relax(alpha_EO: Tensor, progress: Progress) -> Tensor:
        boost_EO = torch.zeros_like(alpha_EO)
        elapsed = max(progress.epoch - 1, 0) / (decay_epochs or progress.epochs)
        for rows, column in entries:  # an assignment would be sent
            boost_EO[rows, column].fill_(beta * max(0.0, 1 - elapsed))
        return softmax(alpha_EO, progress) + boost_EO

    return relax


def log_floored(log_EO: Tensor, floor: float) -> Tensor:
    """log(u / sum_o u) with u = max(exp(log), floor)."""
    return log_EO.clamp(min=math.log(floor)).log_softmax(-1)
