"""A search space as data: nodes, edges, operations, and the codec between cells and strings.

A cell is a directed acyclic graph. Node 0 is its input, the last node its output, each node the sum
of what its incoming edges bring, and each edge carries one operation. A `Space` says which edges
and operations there are; an `Architecture` is one choice of one operation per edge.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from optnas.base.errors import COMMAND_LINE, UserError, did_you_mean

Operations = tuple[int, ...]
Order = Callable[[int, int], Sequence[Operations]]


def lexicographic(edge_count: int, operation_count: int) -> list[Operations]:
    """All cells, the last edge varying fastest: the order of a space that publishes none.

    Args:
        edge_count: edges of the cell.
        operation_count: operations an edge may carry.

    Returns:
        Every tuple of operation indices, ``operation_count ** edge_count`` of them.

    Example:
        >>> lexicographic(2, 2)
        [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    return list(itertools.product(range(operation_count), repeat=edge_count))


@dataclass(frozen=True)
class Space:
    """The cells one may search: immutable, hashable, comparable.

    Args:
        name: the name users write.
        nodes: number of nodes; 0 is the input and ``nodes - 1`` the output.
        edges: (source, target) pairs with source < target, sorted by target, then by source.
        operations: names of the candidate operations, the same on every edge.
        none: index of the operation that outputs zero.
        skip: index of the identity.
        weighted: indices of the operations with weights of their own; two edges with the same one
            of these compute different functions of the same input.
        order: gives every cell in the official order, from the numbers of edges and operations.

    Raises:
        ValueError: edges are out of order or not forward, or an operation index is out of range.
    """

    name: str
    nodes: int
    edges: tuple[tuple[int, int], ...]
    operations: tuple[str, ...]
    none: int
    skip: int
    weighted: tuple[int, ...] = ()
    order: Order = field(default=lexicographic, repr=False)

    def __post_init__(self) -> None:
        forward = all(0 <= source < target < self.nodes for source, target in self.edges)
        if not forward or list(self.edges) != sorted(set(self.edges), key=lambda edge: edge[::-1]):
            raise ValueError(f"edges of {self.name} must run forward, sorted by target and source")
        if not {self.none, self.skip, *self.weighted} <= set(range(len(self.operations))):
            raise ValueError(f"an operation index of {self.name} is out of range")

    @property
    def edge_count(self) -> int:
        """Number of edges, the rows of alpha."""
        return len(self.edges)

    @property
    def operation_count(self) -> int:
        """Number of candidate operations, the columns of alpha."""
        return len(self.operations)

    @property
    def size(self) -> int:
        """Number of cells, ``operation_count ** edge_count``."""
        return int(self.operation_count**self.edge_count)

    def architecture(self, operation_indices: Iterable[int]) -> Architecture:
        """The cell with these operations.

        Args:
            operation_indices: one index per edge, Python or numpy integers.

        Returns:
            The cell; a wrong number of indices or one out of range is a ``ValueError``.
        """
        return Architecture(tuple(operator.index(index) for index in operation_indices), self)

    def parse(
        self, text: str, *, where: object = COMMAND_LINE, key: str = "architecture"
    ) -> Architecture:
        """The cell a string such as ``|op~0|+|op~0|op~1|`` stands for.

        Args:
            text: the string; white space around it is ignored.
            where: the file or command line it was written in, for the error.
            key: its dotted key, for the error.

        Returns:
            The cell whose `Architecture.string` is the text.

        Raises:
            UserError: the text has another shape, or names an operation that is not in the space.
        """
        tokens = [token for part in text.strip().split("+") for token in part.strip("|").split("|")]
        chosen = [token.partition("~")[0] for token in tokens]
        if len(chosen) != self.edge_count or text.strip() != self._join(chosen):
            raise UserError(
                f"this is no cell of {self.name}",
                where=where,
                key=key,
                value=text,
                remedy=f"write {self._join(['op'] * self.edge_count)}"
                f" with each op one of: {', '.join(self.operations)}",
            )
        for name in chosen:
            if name not in self.operations:
                raise UserError(
                    f"'{name}' is no operation of {self.name}",
                    where=where,
                    key=key,
                    value=text,
                    remedy=did_you_mean(name, self.operations),
                )
        return self.architecture([self.operations.index(name) for name in chosen])

    def architecture_at(self, index: int) -> Architecture:
        """The cell at a place of the official order.

        Args:
            index: from 0 to ``size - 1``.

        Raises:
            UserError: there is no such place.
        """
        if not 0 <= index < self.size:
            raise UserError(
                f"{self.name} has {self.size} cells",
                key="index",
                value=index,
                remedy=f"use 0 to {self.size - 1}",
            )
        return Architecture(_in_order(self)[index], self)

    def index(self, architecture: Architecture) -> int:
        """The place of a cell in the official order.

        Args:
            architecture: a cell of this space.

        Returns:
            The place, from 0.

        Raises:
            ValueError: the cell belongs to another space.
        """
        if architecture.space != self:
            raise ValueError(f"a cell of {architecture.space.name} has no place in {self.name}")
        return _places(self)[architecture.operations]

    def all(self) -> Iterator[Architecture]:
        """Every cell, in the official order.

        Yields:
            The cells, one by one.
        """
        for operations in _in_order(self):
            yield Architecture(operations, self)

    def _join(self, names: Sequence[str]) -> str:
        # One group per target node: |op~source|op~source|, groups joined by +.
        groups: dict[int, str] = {}
        for name, (source, target) in zip(names, self.edges, strict=True):
            groups[target] = groups.get(target, "|") + f"{name}~{source}|"
        return "+".join(groups.values())


@dataclass(frozen=True)
class Architecture:
    """One cell of a space: one operation per edge.

    Args:
        operations: operation indices in the order of ``space.edges``.
        space: the space it belongs to.

    Raises:
        ValueError: the number of indices is not that of the edges, or one is out of range.
    """

    operations: Operations
    space: Space = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.operations) != self.space.edge_count:
            raise ValueError(
                f"{self.space.name} has {self.space.edge_count} edges, not {len(self.operations)}"
            )
        if not all(0 <= index < self.space.operation_count for index in self.operations):
            raise ValueError(
                f"operation indices of {self.space.name} end at"
                f" {self.space.operation_count - 1}: {self.operations}"
            )

    @property
    def operation_names(self) -> tuple[str, ...]:
        """The operations' names, in the order of the edges."""
        return tuple(self.space.operations[index] for index in self.operations)

    @property
    def string(self) -> str:
        """``|op~0|+|op~0|op~1|+...``: one group per node, ``operation~source`` per edge."""
        return self.space._join(self.operation_names)

    def __str__(self) -> str:
        return self.string

    def count(self, name: str) -> int:
        """How many edges carry an operation.

        Raises:
            ValueError: the space has no such operation.
        """
        if name not in self.space.operations:
            remedy = did_you_mean(name, self.space.operations)
            raise ValueError(f"{self.space.name} has no operation {name!r}; {remedy}")
        return self.operation_names.count(name)


@functools.cache
def _in_order(space: Space) -> Sequence[Operations]:
    return space.order(space.edge_count, space.operation_count)


@functools.cache
def _places(space: Space) -> dict[Operations, int]:
    return {operations: place for place, operations in enumerate(_in_order(space))}
