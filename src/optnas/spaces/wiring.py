"""How cells are wired: nodes, edges, which of them halve the sides, which a derived cell keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Edge = tuple[int, int]


@dataclass(frozen=True)
class Wiring:
    """How the cells of one kind are wired.

    Args:
        name: of the kind, such as ``normal``.
        nodes: number of nodes; the first ``inputs`` of them are the cell's inputs.
        edges: (source, target) pairs with source < target, sorted by target, then by source.
        inputs: how many inputs there are: outputs of the cells before, the last one last.
        output: ``sum``: the last node; ``concat``: all nodes that are no inputs, joined along the
            channels.
        strided: places in ``edges`` of those that halve height and width.
        kept: how many edges into each node a derived cell keeps, the strongest, with no ``none``
            among their operations; 0 is all of them, with whatever operation.

    Raises:
        ValueError: edges are out of order or not forward, or a strided one is not there.
    """

    name: str
    nodes: int
    edges: tuple[Edge, ...]
    inputs: int = 1
    output: Literal["sum", "concat"] = "sum"
    strided: tuple[int, ...] = ()
    kept: int = 0

    def __post_init__(self) -> None:
        # Lists would have no hash.
        object.__setattr__(self, "edges", tuple(tuple(edge) for edge in self.edges))
        object.__setattr__(self, "strided", tuple(self.strided))
        forward = all(
            0 <= source < target and self.inputs <= target < self.nodes
            for source, target in self.edges
        )
        if not forward or list(self.edges) != sorted(set(self.edges), key=lambda edge: edge[::-1]):
            raise ValueError(f"edges of {self.name} must run forward, sorted by target and source")
        if not set(self.strided) <= set(range(len(self.edges))):
            raise ValueError(f"a strided edge of {self.name} is out of range")
