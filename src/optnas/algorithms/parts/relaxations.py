"""From architecture parameters to operation weights. Shapes: E edges, O operations."""

from __future__ import annotations

import torch
from torch import Tensor

from optnas.algorithms.base import Progress, Relax


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


def softmax_with_skip(beta: float, skip: int) -> Relax:
    """A = softmax(alpha) + beta (1 - t) on the skip column, t the elapsed share of the search.

    Equal to an auxiliary skip connection of weight beta (1 - t) beside every edge, because skip
    is the identity there.

    Args:
        beta: weight in the first epoch.
        skip: column of the identity operation.

    Returns:
        The relaxation.

    Reference: Chu et al., ICLR 2021, equation 2.
    """

    def relax(alpha_EO: Tensor, progress: Progress) -> Tensor:
        boost_O = torch.zeros_like(alpha_EO[0])
        boost_O[skip] = beta * (1 - progress.fraction)
        return softmax(alpha_EO, progress) + boost_O

    return relax
