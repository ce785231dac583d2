"""The first-order and the unrolled hypergradient, and none."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import ComputeHypergradient, DerivativeName
from optnas.base.registry import register


@register("hypergradient", "first-order")
def first_order() -> ComputeHypergradient:
    """See `optnas.algorithms.parts.hypergradients.first_order`."""
    return parts.first_order


@register("hypergradient", "unrolled")
def unrolled(derivative: DerivativeName = "exact") -> ComputeHypergradient:
    """See `optnas.algorithms.parts.hypergradients.unrolled`.

    Args:
        derivative: ``exact`` or ``finite-difference``.

    Returns:
        The hypergradient.
    """
    return parts.unrolled(derivative)


@register("hypergradient", "frozen")
def frozen() -> ComputeHypergradient:
    """See `optnas.algorithms.parts.hypergradients.frozen`."""
    return parts.frozen
