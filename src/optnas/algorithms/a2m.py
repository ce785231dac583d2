"""A2M: alpha descends the validation loss a step uphill, as SAM does with network weights."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, ComputeHypergradient, HypergradientName
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.composed import composed
from optnas.algorithms.parts.hypergradients import RelaxNow, asked
from optnas.base.registry import register
from optnas.base.schema import NotNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

Reading = Literal["published", "paper"]


@register("hypergradient", "uphill", needs=("full-precision",))
def uphill(
    rho: NotNegative = 0.01,
    displacement: Positive = 0.01,
    reading: Reading = "published",
    hypergradient: HypergradientName = "first-order",
) -> ComputeHypergradient:
    """Gradient of L(alpha + rho g(alpha)), g another hypergradient and L what that descends.

    With u = alpha + rho g(alpha) and v = g(u) this is v + rho H v, H the derivative of g at alpha
    (``paper``), or at u (``published``), taken as

        H v = (g(. + e v) - g(. - e v)) / (2 e)

    Args:
        rho: length of the step uphill in the gradient, which is not normalised.
        displacement: e.
        reading: where H is taken.
        hypergradient: g.

    Returns:
        The part: four evaluations of g, of which the first moves running statistics. Its loss and
        penalty are those at u. Where g leaves alpha alone, so does this one.

    Reference: Gambella, Pittorino and Roveri, arXiv 2503.10404, and its published code.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        first = hypergradient(problem, alpha_EO, relax)
        g_EO = first.gradient_EO
        if g_EO is None:
            return first
        still = dataclasses.replace(problem, update=False)
        alpha_EO = alpha_EO.detach()
        u_EO = alpha_EO + rho * g_EO
        above = asked(hypergradient, still, u_EO, relax)
        v_EO = above.gradient_EO
        assert v_EO is not None
        centre_EO = alpha_EO if reading == "paper" else u_EO
        ahead_EO, back_EO = (
            hypergradient(still, centre_EO + e * v_EO, relax).gradient_EO
            for e in (displacement, -displacement)
        )
        assert ahead_EO is not None
        assert back_EO is not None
        curved_EO = (ahead_EO - back_EO) / (2 * displacement)
        return above._replace(gradient_EO=v_EO + rho * curved_EO, statistics=first.statistics)

    return part


@register(
    "algorithm",
    "a2m",
    needs=("full-precision",),
    paper="Architecture-Aware Minimization (A2M): How to Find Flat Minima in Neural "
    "Architecture Search",
    year=2025,
)
def a2m(
    rho: NotNegative = 0.01,
    displacement: Positive = 0.01,
    reading: Reading = "published",
    hypergradient: HypergradientName = "first-order",
) -> Algorithm:
    """DARTS whose alpha descends L_val(w, softmax(alpha + rho d L_val / d alpha)), see `uphill`.

    Args:
        rho: length of the step uphill in the gradient.
        displacement: e of the difference of gradients.
        reading: where the second derivative is taken: ``published`` or ``paper``.
        hypergradient: the gradient that is taken uphill.

    Reference: Gambella, Pittorino and Roveri, arXiv 2503.10404, and its published code; deviations
    in docs/algorithms/a2m.md.
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.unperturbed,
        hypergradient=uphill(rho, displacement, reading, hypergradient),
        discretization=parts.argmax_per_edge,
    )
