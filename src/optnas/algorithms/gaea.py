"""GAEA: operation weights move on the simplex by exponentiated gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.lazy import lazy
from optnas.base.registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register(
    "algorithm",
    "gaea",
    on_simplex=True,
    paper="Geometry-Aware Gradient Algorithms for Neural Architecture Search",
    year=2021,
)
def gaea(
    floor: Annotated[float, Field(gt=0, lt=1)] = 1e-5,
    hypergradient: HypergradientName = "first-order",
) -> Algorithm:
    """DARTS whose operation weights theta = softmax(alpha) are multiplied, not added to.

    The architecture optimizer steps on alpha = log theta along g = d L_val / d theta:

        alpha' = alpha - step(g),    u = max(exp(alpha'), floor),    theta = u / sum_o u

    and alpha becomes log theta. With plain SGD, theta' is proportional to theta exp(-lr g): the
    published rule. Any other optimizer takes its own step of log theta. Theta starts uniform.

    Args:
        floor: least u.
        hypergradient: the gradient of L_val, taken in theta.

    Reference: Li, Khodak, Balcan and Talwalkar, ICLR 2021, and its published code; see
    docs/algorithms/gaea.md.
    """

    def in_theta(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        return hypergradient(problem, relax(alpha_EO.detach()), lambda theta_EO: theta_EO)

    return Algorithm(
        relax=parts.softmax,
        perturb=parts.unperturbed,
        hypergradient=in_theta,
        discretize=parts.argmax_per_edge,
        initial=lambda space, generator: torch.full(
            (space.edge_count, space.operation_count),
            -math.log(space.operation_count),
            dtype=torch.float64,
        ),
        project=lambda alpha_EO: parts.log_floored(alpha_EO, floor),
    )
