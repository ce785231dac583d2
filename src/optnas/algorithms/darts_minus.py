"""DARTS-: DARTS with an auxiliary skip connection on every edge that fades out."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, EpochsOrRun, HypergradientName
from optnas.algorithms.composed import composed
from optnas.base.registry import register
from optnas.base.schema import NotNegative
from optnas.spaces.base import Space


@register(
    "algorithm",
    "darts-minus",
    needs=("auxiliary-skip",),
    paper="DARTS-: Robustly Stepping out of Performance Collapse Without Indicators",
    year=2021,
)
def darts_minus(
    beta: NotNegative = 1.0,
    hypergradient: HypergradientName = "first-order",
    decay_epochs: EpochsOrRun = 0,
    *,
    space: Space,
) -> Algorithm:
    """DARTS with an auxiliary skip.

    Edge j -> i computes sum_o A[e, o] o(x_j) + beta_t x_j with
    beta_t = beta max(0, 1 - (epoch - 1) / D): beta in the first epoch, beta / D in epoch D. Where
    skip is the identity (all of NAS-Bench-201) that is softmax(alpha) + beta_t on the skip column.
    On a strided edge the network has an auxiliary skip with weights of its own, of weight beta_t.

    Args:
        beta: weight of the auxiliary skip in the first epoch.
        hypergradient: the gradient that moves alpha.
        decay_epochs: D; 0 for the run's own number of epochs.
        space: the search space; the program supplies it, for the column of its skip.

    Returns:
        The algorithm's parts. Validation accuracy is recorded with and without the skip.

    Reference: Chu et al., ICLR 2021. Deviation: the schedule spans the run's own length by default
    (published code: 50 epochs whatever the length).
    """
    return composed(
        relaxation=parts.softmax_with_skip(beta, decay_epochs, space=space),
        perturbation=parts.unperturbed,
        hypergradient=hypergradient,
        discretization=parts.argmax_per_edge,
        also_validate={"without_skip": parts.softmax},
    )
