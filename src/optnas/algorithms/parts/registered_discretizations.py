"""Argmax per edge."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Discretize
from optnas.base.registry import register


@register("discretization", "argmax-per-edge")
def argmax_per_edge() -> Discretize:
    """See `optnas.algorithms.parts.discretizations.argmax_per_edge`."""
    return parts.argmax_per_edge
