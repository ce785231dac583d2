"""DrNAS: each step draws operation weights from a Dirichlet distribution that alpha shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, ComputeHypergradient, HypergradientName, Progress
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.composed import composed
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import NotNegative

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

# Logarithms between which gamma variates are sought, and how often the interval is halved.
LEAST_LOG, HALVINGS = -708.0, 60


@register("relaxation", "dirichlet", needs=("draw",), itself=True)
def dirichlet(alpha_EO: Tensor, progress: Progress) -> Tensor:
    """A[e] ~ Dir(c[e]) with c = elu(alpha) + 1, differentiable in alpha through the draw.

    A = x / sum_o x with x[e, o] the u-quantile of the gamma distribution of shape c[e, o],
    u ~ U(0, 1), found by bisection of its logarithm, so that a draw is the same on every device and
    no step waits. The derivative is the implicit one of the marginal beta distributions. Where A is
    judged there is no draw: A = c / sum_o c, the mean.

    Reference: Chen et al., ICLR 2021, and its published code.
    """
    c_EO = _concentration(alpha_EO)
    if progress.draw is None:
        return c_EO / c_EO.sum(-1, keepdim=True)
    held_EO = c_EO.detach().double()
    drawn_EO = _drawn(held_EO, progress.draw.uniform(alpha_EO))
    total_EO = held_EO.sum(-1, keepdim=True).expand_as(held_EO)
    # What torch.distributions differentiates by, which takes no generator and so is not used.
    slope_EO = torch._dirichlet_grad(drawn_EO, held_EO, total_EO).to(c_EO)
    op_weights_EO = drawn_EO.to(c_EO)
    # 0 with the derivative of a move of c: dA[j] / dc[k] = slope[k] ((j = k) - A[j]).
    move_EO = slope_EO * (c_EO - c_EO.detach())
    return op_weights_EO + (move_EO - op_weights_EO * move_EO.sum(-1, keepdim=True))


def _concentration(alpha_EO: Tensor) -> Tensor:
    """elu(alpha) + 1 without the loss of digits where alpha is far below 0."""
    return alpha_EO.clamp(max=0).exp() + alpha_EO.relu()


def _drawn(c_EO: Tensor, uniform_EO: Tensor) -> Tensor:
    low_EO = torch.full_like(c_EO, LEAST_LOG)
    high_EO = (c_EO + 12 * c_EO.sqrt() + 40).log()
    for _ in range(HALVINGS):
        middle_EO = (low_EO + high_EO) / 2
        below_EO = torch.special.gammainc(c_EO, middle_EO.exp()) < uniform_EO
        low_EO = torch.where(below_EO, middle_EO, low_EO)
        high_EO = torch.where(below_EO, high_EO, middle_EO)
    info = torch.finfo(torch.float64)
    return high_EO.softmax(-1).clamp(info.tiny, 1 - info.eps / 2)


@register("hypergradient", "dirichlet-kl")
def dirichlet_kl(
    weight: NotNegative = 0.001, hypergradient: HypergradientName = "first-order"
) -> ComputeHypergradient:
    """Another hypergradient plus that of c sum_e KL(Dir(elu(alpha[e]) + 1) || Dir(1)).

    Args:
        weight: c.
        hypergradient: the gradient it is added to.

    Returns:
        The part. Where the other leaves alpha alone, so does this one.

    Reference: Chen et al., ICLR 2021, and its published code.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        found = hypergradient(problem, alpha_EO, relax)
        if found.gradient_EO is None:
            return found
        leaf_EO = alpha_EO.detach().requires_grad_()
        c_EO = _concentration(leaf_EO)
        total_E, of_one = c_EO.sum(-1), math.lgamma(leaf_EO.shape[-1])
        spread_EO = (c_EO - 1) * (c_EO.digamma() - total_E[:, None].digamma())
        kl_E = total_E.lgamma() - of_one - c_EO.lgamma().sum(-1) + spread_EO.sum(-1)
        penalty = weight * kl_E.sum()
        (added_EO,) = torch.autograd.grad(penalty, leaf_EO)
        return found.plus(added_EO, penalty.detach())

    return part


@register(
    "algorithm",
    "drnas",
    needs=("draw",),
    paper="DrNAS: Dirichlet Neural Architecture Search",
    year=2021,
)
def drnas(kl: float = 0.0, hypergradient: HypergradientName = "first-order") -> Algorithm:
    """Differentiable architecture search with Dirichlet samples, see `dirichlet`.

    Each step of either level draws anew; what is recorded is judged at the mean.

    Args:
        kl: weight of the penalty `dirichlet_kl`; 0 leaves it out, and the pull towards Dir(1) to
            the decay of the architecture optimizer.
        hypergradient: the gradient that moves alpha.

    Raises:
        UserError: the weight is negative.

    Reference: Chen et al., ICLR 2021. Deviations: one stage, all channels and operations; judged at
    the mean (published code: at a draw), see docs/algorithms/drnas.md.
    """
    if kl < 0:
        raise UserError("is not negative", key="kl", value=kl, remedy="raise it")
    return composed(
        relaxation=dirichlet,
        perturbation=parts.unperturbed,
        hypergradient=dirichlet_kl(kl, hypergradient) if kl else hypergradient,
        discretization=parts.argmax_per_edge,
    )
