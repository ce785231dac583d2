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


def two_branches(cell: Cell) -> dict[str, float]:
    """Phi of `Cell.branched` by reading: of each half with the last node, added.

        phi_B = sum_{s < h/2} a3(s -> h-1)^2 prod_{t < s} a2(t -> s)^2
                + sum_{h/2 <= s <= h-2} a3(s -> h-1)^2 prod_{h/2 <= t < s} a2(t -> s)^2

    Args:
        cell: the deep cell.

    Source: Zhou et al., NeurIPS 2020, theorem 4, without its constants.
    """
    half, last = cell.nodes // 2, cell.nodes - 1
    found = dict.fromkeys(READINGS, 0.0)
    for nodes in (range(half), range(half, last)):
        place = {node: k for k, node in enumerate([*nodes, last])}
        edges = [edge for edge in cell.edges if edge[0] in place and edge[1] in place]
        part = Cell(
            cell.channels,
            cell.activation,
            {(place[s], place[t]): cell.skip[s, t] for s, t in edges},
            {(place[s], place[t]): cell.conv[s, t] for s, t in edges},
        )
        for reading, each in phi(part).items():
            found[reading] += each.phi
    return found


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
