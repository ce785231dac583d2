"""Any choice of four parts, each a setting of its own; the named algorithms are presets of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from optnas.algorithms.base import Algorithm, HypergradientName
from optnas.base.registry import register
from optnas.base.schema import Part


@register("algorithm", "composed", paper=None, year=None)
def composed(
    relaxation: Annotated[Any, Part("relaxation")] = "softmax",
    perturbation: Annotated[Any, Part("perturbation")] = "none",
    hypergradient: HypergradientName = "first-order",
    discretization: Annotated[Any, Part("discretization")] = "argmax-per-edge",
    also_validate: Annotated[Mapping[str, Any], Part("relaxation", many=True)] = MappingProxyType(
        {}
    ),
) -> Algorithm:
    """An algorithm put together in the settings; the defaults are DARTS.

    Args:
        relaxation: alpha -> operation weights.
        perturbation: what happens to the operation weights in the weight step.
        hypergradient: the gradient that moves alpha.
        discretization: alpha -> one operation per edge.
        also_validate: relaxations by name, under each of which validation accuracy is recorded as
            ``valid_accuracy_NAME``.
    """
    return Algorithm(
        relax=relaxation,
        perturb=perturbation,
        hypergradient=hypergradient,
        discretize=discretization,
        also_validate=also_validate,
    )
