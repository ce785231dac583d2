"""DARTS: softmax relaxation, first-order or unrolled hypergradient, argmax per edge."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, DerivativeName, HypergradientName
from optnas.base.registry import register


@register("algorithm", "darts")
def darts(
    hypergradient: HypergradientName = "first-order", derivative: DerivativeName = "exact"
) -> Algorithm:
    """Differentiable architecture search.

    A = softmax(alpha) per edge. Each iteration moves alpha along d L_val(w', A)/d alpha, with
    w' = w (first order) or w' = the weight optimizer's next step (unrolled), then w along
    d L_train(w, A)/d w.

    Args:
        hypergradient: ``first-order`` or ``unrolled``.
        derivative: how the unrolled hypergradient differentiates; first order has no choice.

    Returns:
        The algorithm's parts.

    Reference: Liu, Simonyan and Yang, ICLR 2019. Deviation: the unrolled step is that of the
    configured optimizer (published: SGD with momentum whatever the optimizer).
    """
    return Algorithm(
        relax=parts.softmax,
        perturb=parts.unperturbed,
        hypergradient=parts.hypergradient(hypergradient, derivative),
        discretize=parts.argmax_per_edge,
    )
