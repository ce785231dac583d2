"""A search space as data: nodes, edges, operations, and the codec between cells and strings.

A cell is a directed acyclic graph whose nodes are sums of what their incoming edges bring, and each
edge carries one operation. A `Wiring` says which edges the cells of one kind have, a `Space` which
kinds and operations there are; an `Architecture` is one choice of one operation per edge.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, UserError, did_you_mean
from optnas.spaces import genotype
from optnas.spaces.operations.base import Operation
from optnas.spaces.sound import check_sound
from optnas.spaces.wiring import Edge, Wiring

if TYPE_CHECKING:
    from optnas.spaces.network.protocol import BuildFixed, BuildNetwork

Operations = tuple[int, ...]
Order = Callable[[int, int], Sequence[Operations]]
# Of sides in the skeleton of NAS-Bench-201, whose two halvings are even ones.
SKELETON_MULTIPLE = 4


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


class Joint(NamedTuple):
    """A node of a cell that edges lead into.

    Attributes:
        kind: of the cell.
        node: its number.
        rows: of alpha, of the edges into it.
    """

    kind: Wiring
    node: int
    rows: range


@dataclass(frozen=True)
class Space:
    """The cells one may search: immutable, hashable, comparable.

    Args:
        name: the name users write.
        nodes: number of nodes; 0 is the input and ``nodes - 1`` the output.
        edges: (source, target) pairs with source < target, sorted by target, then by source. Of
            several kinds of cell, those of one kind after the other: the rows of alpha.
        operations: names of the operations that an edge of an architecture may carry.
        none: index of the operation that outputs zero, None where there is none.
        skip: index of the identity, None where there is none; on a strided edge it is no identity.
        weighted: indices of the operations with weights of their own; two edges with the same one
            of these compute different functions of the same input.
        order: gives every cell in the official order, from the numbers of edges and of columns of
            alpha: one column per edge.
        own: operations by name that are defined beside the space: factories, as those registered;
            they come before registered ones of the same name.
        network: builds the network that is searched; None is the skeleton of NAS-Bench-201 around
            the space's cells, `optnas.spaces.network.Supernet`.
        wirings: the kinds of cell; by default one, of these nodes and edges. For several see
            `of_wirings`.
        fixed: builds the network of one architecture, to be trained from scratch, where the space
            brings a network of its own; None if none is known.
        halvings: how often the network halves height and width.
        columns: by edge, which operations the columns of alpha stand for there, as many on each; by
            default all operations in their order. An operation that is in no edge's columns, such
            as ``none`` where only edges are left out, is no candidate of a search.
        multiple: what height and width of an image have to be a multiple of in networks of its own;
            the skeleton needs 4 besides.
        within: the space that its cells are some of, whose tables answer for them, see
            `optnas.spaces.narrowing`; None where it is no such part.

    Raises:
        ValueError: edges are out of order or not forward, an operation index is out of range or not
            that of the operation called ``none`` or ``skip_connect``, an operation is there twice,
            an edge has fewer than two, or one in ``own`` is no function.
    """

    name: str
    nodes: int
    edges: tuple[Edge, ...]
    operations: tuple[str, ...]
    none: int | None
    skip: int | None
    weighted: tuple[int, ...] = ()
    order: Order = field(default=lexicographic, repr=False)
    own: Mapping[str, Callable[[], Operation]] = field(
        default_factory=dict, repr=False, compare=False
    )
    network: BuildNetwork | None = field(default=None, repr=False)
    wirings: tuple[Wiring, ...] = ()
    fixed: BuildFixed | None = field(default=None, repr=False)
    halvings: int = 2
    columns: tuple[tuple[int, ...], ...] = ()
    multiple: int = 1
    within: Space | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("edges", "columns"):
            rows = tuple(tuple(row) for row in getattr(self, name))
            object.__setattr__(self, name, rows)
        for name in ("operations", "weighted", "wirings"):  # lists would have no hash
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.wirings:
            object.__setattr__(self, "wirings", (Wiring(self.name, self.nodes, self.edges),))
        check_sound(self)

    @classmethod
    def of_wirings(
        cls,
        name: str,
        wirings: tuple[Wiring, ...],
        operations: tuple[str, ...],
        none: int | None,
        skip: int | None,
        **more: Any,
    ) -> Space:
        """A space of several kinds of cell, or of one with strided edges or joined outputs.

        Args:
            name: as of `Space`.
            wirings: the kinds, in the order of alpha's rows.
            operations: as of `Space`.
            none: as of `Space`.
            skip: as of `Space`.
            **more: the other arguments of `Space`.
        """
        nodes = max(wiring.nodes for wiring in wirings)
        edges = tuple(edge for wiring in wirings for edge in wiring.edges)
        return cls(name, nodes, edges, operations, none, skip, wirings=wirings, **more)

    @property
    def whole(self) -> Space:
        """The space that its cells are some of; itself where it is no part of one."""
        return self.within or self

    @property
    def side_multiple(self) -> int:
        """What height and width of an image have to be a multiple of, in the network it has."""
        return math.lcm(self.multiple, SKELETON_MULTIPLE if self.network is None else 1)

    @property
    def is_one_sum(self) -> bool:
        """Whether there is one kind of cell, from one input to its last node."""
        first, *more = self.wirings
        return not more and first.inputs == 1 and first.output == "sum"

    def one_sum(self) -> Wiring:
        """The one kind of cell, from one input to its last node.

        Raises:
            UserError: the cells are others.
        """
        if not self.is_one_sum:
            raise UserError(
                "this looks at one kind of cell, from one input to the sum in its last node",
                key="space.name",
                value=self.name,
                remedy="choose another space",
            )
        return self.wirings[0]

    @property
    def strided(self) -> frozenset[int]:
        """Rows of alpha of those edges that halve height and width."""
        found, before = set(), 0
        for wiring in self.wirings:
            found |= {before + edge for edge in wiring.strided}
            before += len(wiring.edges)
        return frozenset(found)

    @property
    def keeps_some(self) -> bool:
        """Whether derived cells leave edges out."""
        return any(wiring.kept for wiring in self.wirings)

    @property
    def joints(self) -> list[Joint]:
        """Every node that edges lead into, kind by kind."""
        found, before = [], 0
        for wiring in self.wirings:
            for node, into in itertools.groupby(wiring.edges, lambda edge: edge[1]):
                rows = range(before, before + len(list(into)))
                found.append(Joint(wiring, node, rows))
                before = rows.stop
        return found

    def kept(self, choice: Sequence[int], strength_E: Sequence[float]) -> list[int]:
        """A choice of operations with ``none`` on the edges that a derived cell leaves out.

        Args:
            choice: one operation per edge; an edge with ``none`` stands behind all others.
            strength_E: of each edge; of equally strong ones the first is kept.

        Raises:
            UserError: so few edges into a node have an operation that one with ``none`` would stay.
        """
        left = list(choice)
        for kind, node, rows in self.joints:
            ranked = sorted(rows, key=lambda e: (choice[e] == self.none, -strength_E[e]))
            if kind.kept and any(choice[e] == self.none for e in ranked[: kind.kept]):
                raise UserError(
                    f"derived cells keep {kind.kept} edges into each node, and the algorithm chose"
                    f" none for them at node {node} of {kind.name}",
                    key="space.name",
                    value=self.name,
                    remedy="choose another algorithm, or a space whose cells keep every edge",
                )
            for edge in ranked[kind.kept :] if kind.kept else ():
                assert self.none is not None
                left[edge] = self.none
        return left

    def check_ways_in(self, operations: Sequence[int], **told: Any) -> None:
        """Refuse a cell with a node whose edges all carry ``none``.

        Args:
            operations: one per edge.
            **told: where the cell was written, under which key and how, for the error.

        Raises:
            UserError: there is such a node.
        """
        for kind, node, rows in self.joints:
            if all(operations[edge] == self.none for edge in rows):
                raise UserError(
                    f"node {node} of {kind.name} has no way in",
                    remedy="give one of its edges another operation than none",
                    **told,
                )

    def columns_at(self, edge: int) -> tuple[int, ...]:
        """The operations that the columns of alpha stand for on an edge."""
        return self.columns[edge] if self.columns else tuple(range(len(self.operations)))

    def chosen(self, columns: Sequence[int]) -> list[int]:
        """The operations of a choice of one column per edge."""
        return [self.columns_at(edge)[column] for edge, column in enumerate(columns)]

    @property
    def candidate_names(self) -> list[list[str]]:
        """Names of the operations of each edge, in the order of alpha's columns."""
        every = range(self.edge_count)
        return [[self.operations[o] for o in self.columns_at(edge)] for edge in every]

    @property
    def of_candidates(self) -> dict[str, Any]:
        """Key and value of the setting that says what the candidates are, for an error."""
        if self.within is None:
            return {"key": "space.name", "value": self.name}
        names = self.candidate_names
        return {"key": "space.candidates", "value": names[0] if self.is_uniform else names}

    @property
    def is_uniform(self) -> bool:
        """Whether every edge has the same candidates."""
        return len(set(self.columns)) <= 1

    def column_of(self, operation: int | None) -> int | None:
        """The column of alpha that stands for an operation on every edge, None if none does."""
        if not self.columns:
            return operation
        places = {each.index(operation) if operation in each else None for each in self.columns}
        return places.pop() if len(places) == 1 else None

    def entries_of(self, operation: int | None) -> list[tuple[slice, int]]:
        """Where alpha has an operation: rows and column, one pair where every edge has it in one.

        Args:
            operation: its index; None is that of no operation.
        """
        column = self.column_of(operation)
        if column is not None:
            return [(slice(None), column)]
        return [
            (slice(edge, edge + 1), self.columns_at(edge).index(operation))
            for edge in range(self.edge_count)
            if operation in self.columns_at(edge)
        ]

    def means(
        self, rows: Sequence[Sequence[float]], edges: Iterable[int] | None = None
    ) -> dict[str, float]:
        """The mean of each operation's entries, over those edges that have it as a candidate.

        Args:
            rows: a matrix of edges and columns of alpha, such as operation weights.
            edges: which edges, by default all.

        Returns:
            By name, in the order of ``operations``; without those that none of the edges has.
        """
        found: dict[int, list[float]] = {}
        for edge in range(self.edge_count) if edges is None else edges:
            for operation, value in zip(self.columns_at(edge), rows[edge], strict=True):
                found.setdefault(operation, []).append(value)
        return {self.operations[o]: fmean(found[o]) for o in sorted(found)}

    def one_hot(self, operations: Sequence[int]) -> list[list[float]]:
        """Operation weights of one cell: 1 in the column of each edge's operation, 0 elsewhere.

        The row of an operation that is no candidate of its edge, such as ``none`` of an edge that
        is left out, is 0.

        Args:
            operations: one per edge.
        """
        return [
            [float(each == chosen) for each in self.columns_at(edge)]
            for edge, chosen in enumerate(operations)
        ]

    def skip_column(self, who: str) -> int:
        """The column of the identity.

        Args:
            who: asks for it, as a clause.

        Raises:
            UserError: there is none that would be every edge's.
        """
        column = self.column_of(self.skip)
        if column is None:
            raise self._without_skips(f", in one column of alpha, and {who}")
        return column

    def _without_skips(self, who: str) -> UserError:
        return UserError(
            f"not every edge has a skip connection as a candidate{who}",
            **self.of_candidates,
            remedy="choose another space or algorithm"
            + ("" if self.within is None else ", or other candidates"),
        )

    def skip_entries(self, who: str) -> list[tuple[slice, int]]:
        """Where alpha has the skip of each edge, as of `entries_of`.

        Args:
            who: asks for it, as a clause.

        Raises:
            UserError: an edge has none.
        """
        if any(self.skip not in self.columns_at(edge) for edge in range(self.edge_count)):
            raise self._without_skips(f", and {who}")
        return self.entries_of(self.skip)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of alpha's columns: operations, or ``candidate 1`` and so on where edges differ."""
        first = self.columns_at(0)
        if self.is_uniform:
            return tuple(self.operations[o] for o in first)
        return tuple(f"candidate {place}" for place in range(1, len(first) + 1))

    def is_identity(self, edge: int, operation: int) -> bool:
        """Whether an operation is the identity on an edge."""
        return operation == self.skip and edge not in self.strided

    def has_weights(self, edge: int, operation: int) -> bool:
        """Whether an operation has weights of its own on an edge."""
        return operation in self.weighted or (operation == self.skip and edge in self.strided)

    def candidates(self) -> tuple[Operation, ...]:
        """The operations, built.

        Raises:
            UserError: the space does not bring one, and none of this name is registered.
        """
        return tuple(self._factory(name)() for name in self.operations)

    def check_operations(self) -> None:
        """Refuse operations that are not there, as `candidates` does, building none."""
        for name in self.operations:
            self._factory(name)

    def check_takes(self, keyword: str, who: str) -> None:
        """Refuse a network that does not take what it is to be built from.

        Args:
            keyword: a keyword of `optnas.spaces.network.Supernet` that others may leave out.
            who: asks for it, as a clause.

        Raises:
            UserError: the space's network has no such keyword.
        """
        build = self.network
        if build is not None and keyword not in inspect.signature(build).parameters:
            raise UserError(
                f"its network takes no {keyword}, and {who}",
                key="space.name",
                value=self.name,
                remedy="choose another space, or leave that out",
            )

    @property
    def regularized(self) -> bool:
        """Whether networks of single architectures may have an auxiliary head and drop paths."""
        return self.fixed is not None and "auxiliary" in inspect.signature(self.fixed).parameters

    def _factory(self, name: str) -> Callable[[], Operation]:
        return self.own.get(name) or registry.find("operation", name, key="space.operations")

    @property
    def edge_count(self) -> int:
        """Number of edges, the rows of alpha."""
        return len(self.edges)

    @property
    def operation_count(self) -> int:
        """Number of candidate operations of an edge, the columns of alpha."""
        return len(self.columns_at(0))

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
        """The cell a string such as ``|op~0|+|op~0|op~1|``, or ``(0, 3, 1)``, stands for.

        Args:
            text: the string, or the indices of its operations in the order of the edges, with
                commas between them and perhaps brackets around; white space around it is ignored.
            where: the file or command line it was written in, for the error.
            key: its dotted key, for the error.

        Returns:
            The cell whose `Architecture.string`, `Architecture.operations` or
            `Architecture.genotype` is the text.

        Raises:
            UserError: the text has another shape, or names an operation that is not in the space.
        """
        indices = _indices(text)
        if indices is not None:
            return self._of_indices(indices, text, where, key)
        if text.strip().startswith(genotype.BEGINS):
            none = self._left_out(where=where, key=key)
            names = genotype.read(text, self.wirings, self.operations, none, where=where, key=key)
            return self._held([self.operations.index(name) for name in names], where, key, text)
        groups = re.split("[+ ]", text.strip())
        tokens = [token for group in groups for token in group.strip("|").split("|")]
        chosen = [token.partition("~")[0] for token in tokens]
        if len(chosen) != self.edge_count or text.strip() != self._join(chosen):
            raise UserError(
                f"this is no cell of {self.name}",
                where=where,
                key=key,
                value=text,
                remedy=f"write {self.example} with each op one of: {', '.join(self.operations)}",
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
        return self._held([self.operations.index(name) for name in chosen], where, key, text)

    def _held(self, indices: Sequence[int], where: object, key: str, text: str) -> Architecture:
        """The cell, if each edge has its operation; one that is left out has none."""
        for edge, operation in enumerate(indices):
            here = self.columns_at(edge)
            if operation not in here and not (self.keeps_some and operation == self.none):
                source, target = self.edges[edge]
                raise UserError(
                    f"edge {source} to {target} of {self.name} has no"
                    f" {self.operations[operation]} as a candidate",
                    where=where,
                    key=key,
                    value=text,
                    remedy=f"use one of: {', '.join(self.operations[o] for o in here)}",
                )
        if self.keeps_some:
            self.check_ways_in(indices, where=where, key=key, value=text)
        return self.architecture(indices)

    def _of_indices(self, indices: list[int], text: str, where: object, key: str) -> Architecture:
        if len(indices) == self.edge_count and max(indices) < len(self.operations):
            return self._held(indices, where, key, text)
        raise UserError(
            f"this is no cell of {self.name}",
            where=where,
            key=key,
            value=text,
            remedy=f"write {self.edge_count} indices from 0 to {len(self.operations) - 1}:"
            f" {', '.join(f'{i} {name}' for i, name in enumerate(self.operations))}",
        )

    def architecture_at(self, index: int) -> Architecture:
        """The cell at a place of the official order.

        Args:
            index: from 0 to ``size - 1``.

        Raises:
            UserError: there is no such place.
        """
        if self.keeps_some:
            raise UserError(
                f"cells of {self.name} have no index",
                key="index",
                value=index,
                remedy=f"write one as {self.example}, or as a genotype",
            )
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

    def places_in_whole(self) -> list[int]:
        """The place of every cell in the official order of the whole space."""
        places = _places(self.whole)
        return [places[operations] for operations in _in_order(self)]

    def _left_out(self, **told: Any) -> str:
        """The operation on edges that a derived cell leaves out."""
        if self.none is None or not self.keeps_some:
            raise UserError(
                f"cells of {self.name} have no genotype, they keep every edge",
                remedy=f"write {self.example}, or name the space of the genotype",
                **told,
            )
        return self.operations[self.none]

    @property
    def example(self) -> str:
        """How a cell is written, with ``op`` for every operation."""
        return self._join(["op"] * self.edge_count)

    def _join(self, names: Sequence[str]) -> str:
        # One group per target node: |op~source|op~source|, groups joined by +, kinds by a blank.
        rest, kinds = iter(names), []
        for wiring in self.wirings:
            groups: dict[int, str] = {}
            for source, target in wiring.edges:
                groups[target] = groups.get(target, "|") + f"{next(rest)}~{source}|"
            kinds.append("+".join(groups.values()))
        return " ".join(kinds)


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
        last = len(self.space.operations) - 1
        if not all(0 <= index <= last for index in self.operations):
            raise ValueError(
                f"operation indices of {self.space.name} end at {last}: {self.operations}"
            )

    @property
    def operation_names(self) -> tuple[str, ...]:
        """The operations' names, in the order of the edges."""
        return tuple(self.space.operations[index] for index in self.operations)

    @property
    def in_whole(self) -> Architecture:
        """The same cell, of the space that its own is a part of."""
        return Architecture(self.operations, self.space.whole)

    @property
    def string(self) -> str:
        """``|op~0|+|op~0|op~1|+...``: one group per node, ``operation~source`` per edge.

        Cells of several kinds have a blank between them.
        """
        return self.space._join(self.operation_names)

    @property
    def genotype(self) -> str:
        """As code around DARTS writes it, see `optnas.spaces.genotype`.

        Raises:
            UserError: the space's derived cells keep every edge, or this cell keeps another number
                of them than those do.
        """
        space = self.space
        return genotype.written(space.wirings, self.operation_names, space._left_out())

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


def _indices(text: str) -> list[int] | None:
    """Operation indices such as ``0, 3, 1``, perhaps in brackets; None of another text."""
    text = text.strip()
    if text[:1] + text[-1:] in ("()", "[]"):
        text = text[1:-1].strip()
    parts = [part.strip() for part in text.removesuffix(",").split(",")]
    listed = "," in text and all(re.fullmatch("[0-9]{1,9}", part) for part in parts)
    return [int(part) for part in parts] if listed else None


@functools.cache
def _in_order(space: Space) -> Sequence[Operations]:
    if space.within is not None and space.order is not lexicographic:
        # The whole space's order without some cells is none that fewer columns would have.
        columns = [space.columns_at(edge) for edge in range(space.edge_count)]
        return [
            operations
            for operations in _in_order(space.within)
            if all(each in own for each, own in zip(operations, columns, strict=True))
        ]
    cells = space.order(space.edge_count, space.operation_count)
    if not space.columns:
        return cells
    own = [tuple(space.chosen(columns)) for columns in cells]
    if space.within is None:
        return own
    places = [{o: p for p, o in enumerate(space.within.columns_at(e))} for e in range(len(own[0]))]
    return sorted(own, key=lambda cell: [each[o] for each, o in zip(places, cell, strict=True)])


@functools.cache
def _places(space: Space) -> dict[Operations, int]:
    return {operations: place for place, operations in enumerate(_in_order(space))}
