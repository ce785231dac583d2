"""SNAS: each step draws operation weights from the concrete distribution of softmax(alpha)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Progress, Relax
from optnas.algorithms.composed import composed
from optnas.base.errors import UserError
from optnas.base.registry import register

if TYPE_CHECKING:
    from torch import Tensor


@register("relaxation", "soft-gumbel", needs=("draw",))
def soft_gumbel(tau_start: float = 10.0, tau_end: float = 1.0) -> Relax:
    """A = softmax((log p + g) / tau), p = softmax(alpha), g = -log(-log u) with u ~ U(0, 1).

    tau = start + (end - start) (epoch - 1) / epochs. Where A is judged there is no draw: A = p, the
    probability with which each operation is an edge's largest.

    Args:
        tau_start: temperature of the first epoch.
        tau_end: temperature that it moves towards.

    Raises:
        UserError: a temperature is not positive.

    Reference: Xie et al., ICLR 2019; schedule of the code published with DrNAS.
    """
    for key, tau in (("tau_start", tau_start), ("tau_end", tau_end)):
        if tau <= 0:
            raise UserError("a temperature is positive", key=key, value=tau, remedy="raise it")

    def relax(alpha_EO: Tensor, progress: Progress) -> Tensor:
        if progress.draw is None:
            return alpha_EO.softmax(-1)
        tau = tau_start + (tau_end - tau_start) * progress.fraction
        return ((alpha_EO.log_softmax(-1) + parts.gumbel(progress.draw, alpha_EO)) / tau).softmax(
            -1
        )

    return relax


@register(
    "algorithm",
    "snas",
    needs=("draw",),
    paper="SNAS: Stochastic Neural Architecture Search",
    year=2019,
)
def snas(
    tau_start: float = 10.0,
    tau_end: float = 1.0,
    hypergradient: HypergradientName = "first-order",
) -> Algorithm:
    """Stochastic architecture search with soft samples, see `soft_gumbel`.

    Each step of either level draws anew; what is recorded is judged at softmax(alpha).

    Args:
        tau_start: temperature of the first epoch.
        tau_end: temperature that it moves towards.
        hypergradient: the gradient that moves alpha.

    Reference: Xie et al., ICLR 2019. Deviations: two levels, no resource constraint (as in the code
    published with DrNAS), see docs/algorithms/snas.md.
    """
    return composed(
        relaxation=soft_gumbel(tau_start, tau_end),
        perturbation=parts.unperturbed,
        hypergradient=hypergradient,
        discretization=parts.argmax_per_edge,
    )
