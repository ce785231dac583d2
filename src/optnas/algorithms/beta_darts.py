"""beta-DARTS: DARTS with a penalty on alpha whose weight grows over the search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, ComputeHypergradient, HypergradientName
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.composed import composed
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.registry import register
from optnas.base.schema import NotNegative

if TYPE_CHECKING:
    from torch import Tensor


# A step on the simplex is along the gradient in theta = softmax(alpha), that in alpha over theta.
# Of the penalty it is c_t / E for each operation of a row, which the sum of 1 takes out again.
@register("hypergradient", "beta-decay", needs=("off-simplex",))
def beta_decay(
    weight: NotNegative = 50.0, hypergradient: HypergradientName = "first-order"
) -> ComputeHypergradient:
    """Another hypergradient plus that of c_t mean_e logsumexp_o alpha[e, o].

    The penalty's gradient is c_t softmax(alpha) / E, E the number of edges: each row of alpha is
    pulled down in proportion to its operation weights, the largest most. c_t = weight (t - 1) / T
    in epoch t of T: 0 in the first, below ``weight`` in the last.

    Args:
        weight: c, in nats, that c_t grows towards.
        hypergradient: the gradient it is added to.

    Returns:
        The part. Where the other leaves alpha alone, so does this one.

    Reference: Ye et al., CVPR 2022, and its published code.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        found = hypergradient(problem, alpha_EO, relax)
        if found.gradient_EO is None:
            return found
        c, held_EO = weight * problem.progress.fraction, alpha_EO.detach()
        added_EO = c * held_EO.softmax(-1) / len(held_EO)
        return found.plus(added_EO, c * held_EO.logsumexp(-1).mean())

    return part


@register(
    "algorithm",
    "beta-darts",
    needs=("off-simplex",),
    paper="beta-DARTS: Beta-Decay Regularization for Differentiable Architecture Search",
    year=2022,
)
def beta_darts(
    weight: NotNegative = 50.0, hypergradient: HypergradientName = "first-order"
) -> Algorithm:
    """DARTS whose alpha descends L_val(w, softmax(alpha)) + c_t mean_e logsumexp_o alpha[e, o].

    Args:
        weight: c that c_t = c (t - 1) / T grows towards, see `beta_decay`.
        hypergradient: the gradient of L_val.

    Reference: Ye et al., CVPR 2022. Deviation: the schedule spans the run's own length (published
    code: weight 50 after 100 epochs, whatever the length).
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.unperturbed,
        hypergradient=beta_decay(weight, hypergradient),
        discretization=parts.argmax_per_edge,
    )
