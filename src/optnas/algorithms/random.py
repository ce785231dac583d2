"""The control: alpha stays where it was drawn, only the network weights are trained."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm
from optnas.algorithms.composed import composed
from optnas.base.registry import register


@register("algorithm", "random", paper=None, year=None)
def random() -> Algorithm:
    """A supernet trained under its initial, nearly uniform operation weights.

    The derived cell is the argmax of the initial noise, a uniformly random cell. No validation
    batch is seen: running statistics move half as often where an alpha step would move them.
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.unperturbed,
        hypergradient=parts.frozen,
        discretization=parts.argmax_per_edge,
    )
