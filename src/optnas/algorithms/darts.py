"""DARTS: softmax relaxation, first-order or unrolled hypergradient, argmax per edge."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName
from optnas.algorithms.composed import composed
from optnas.base.registry import register


@register("algorithm", "darts", paper="DARTS: Differentiable Architecture Search", year=2019)
def darts(hypergradient: HypergradientName = "first-order") -> Algorithm:
    """Differentiable architecture search.

    A = softmax(alpha) per edge. Each iteration moves alpha along d L_val(w', A)/d alpha, with
    w' = w (first order) or w' = the weight optimizer's next step (unrolled), then w along
    d L_train(w, A)/d w.

    Args:
        hypergradient: the gradient that moves alpha.

    Reference: Liu, Simonyan and Yang, ICLR 2019. Deviation: the unrolled step is that of the
    configured optimizer (published: SGD with momentum whatever the optimizer).
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.unperturbed,
        hypergradient=hypergradient,
        discretization=parts.argmax_per_edge,
    )
