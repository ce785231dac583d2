"""The rate phi of the theorem at given weights, in its readings; see `measures.operations.phi`."""

from __future__ import annotations

from optnas.measures.operations.phi import READINGS as READINGS
from optnas.measures.operations.phi import Rate, rate
from optnas.spaces.base import Space
from optnas.theory.cell import Cell, Edge


def three_operations(nodes: int, edges: list[Edge]) -> Space:
    """The space of the theorem's cell: zero, skip and convolution on every edge."""
    names = ("zero", "skip", "convolution")
    return Space("theorem", nodes, tuple(edges), names, none=0, skip=1, weighted=(2,))


def phi(cell: Cell, auxiliary: float = 0.0) -> dict[str, Rate]:
    """Phi and its elasticities by reading.

    Args:
        cell: sizes and weights, without the auxiliary skip.
        auxiliary: weight of an auxiliary skip on every edge.

    Example:
        >>> from optnas.theory.cell import uniform
        >>> found = phi(uniform(4, 1, "tanh", 0.2, 0.2))["deck"]
        >>> round(found.skip_elasticity, 3), found.conv_elasticity
        (0.083, 2.0)
    """
    space = three_operations(cell.nodes, cell.edges)
    skip_E = [cell.skip[edge] for edge in cell.edges]
    conv_EO = [[cell.conv[edge]] for edge in cell.edges]
    auxiliary_E = [auxiliary] * len(skip_E)
    return {name: rate(space, name, skip_E, conv_EO, auxiliary_E) for name in READINGS}
