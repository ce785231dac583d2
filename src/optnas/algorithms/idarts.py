"""iDARTS: alpha moves seldom, along the implicit gradient by a few terms of a Neumann series."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName
from optnas.algorithms.composed import composed
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne


@register(
    "algorithm",
    "idarts",
    needs=("step-number",),
    paper="iDARTS: Differentiable Architecture Search with Stochastic Implicit Gradients",
    year=2021,
)
def idarts(
    every: AtLeastOne = 4,
    hypergradient: HypergradientName = "neumann",
) -> Algorithm:
    """DARTS whose alpha moves in one step of an epoch in several, by `neumann`.

    A = softmax(alpha). Of the steps of an epoch the first, and every ``every``-th after it, moves
    alpha; the others leave it where it is. The batches of the gradient are those of its own step.

    Args:
        every: T, weight steps to one of alpha; the count begins anew with each epoch.
        hypergradient: the gradient that moves alpha. A published K counts the products with the
            Hessian: K = 2 is ``terms = 3``, the default.

    Reference: Zhang et al., ICML 2021, and its published code; deviations in
    docs/algorithms/idarts.md.
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.unperturbed,
        hypergradient=parts.seldom(hypergradient, every),
        discretization=parts.argmax_per_edge,
    )
