"""One mixed cell, computed node by node so that what leaves a node is computed once.

Shapes: B images, C channels, H x W pixels, E edges, O operations; K edges leave a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.spaces.base import Space
from optnas.spaces.network.cells import (
    BatchNorm,
    Judge,
    Normalise,
    Placed,
    ScaleAndShift,
    SearchCell,
)
from optnas.spaces.network.protocol import ONE_SHOT, TANGENTS
from optnas.spaces.operations.base import Operation, Shape, Site

# By column of the operation weights, its entries by edge: numbers of their own.
Entries = Mapping[int, Sequence[Tensor]]
# What the convolutions of a node's rectified value bring to the edges that leave it.
Convolve = Callable[[int, Tensor], Iterator[tuple[int, Tensor]]]


class Folded(NamedTuple):
    """All convolutions that leave a node with their batch norms and operation weights, as one.

    Attributes:
        filters: of the edges that leave the node, joined along the output channels.
        bias: likewise.
    """

    filters: Tensor
    bias: Tensor


@dataclass(frozen=True)
class MixedCell(SearchCell):
    """A cell in which every edge runs all candidate operations, weighted.

    x_i = sum over edges j->i of sum_o A[e, o] o(x_j), with A the operation weights.

    The arithmetic is that of one module per edge and operation, arranged for speed:

    1. All edges that leave a node share one ReLU, one of each operation without weights (identity,
       average pool) and, for each kernel size of ReLU-convolution-batch-norm, one convolution whose
       filters are those of the edges, joined along the output channels.
    2. A [e, o] BN(y) with BN free of affine terms *is* a batch norm whose affine weight is A[e, o],
       repeated over the channels: no multiplication, and the gradient of A[e, o] falls out of the
       batch norm's backward.
    3. ``none`` is not computed.

    Every other operation is computed edge by edge, as its file says.

    Attributes:
        name: prefix of its weights, such as ``cells.0``.
        channels: C, kept by every node.
        space: nodes and edges.
        operations: what each column of the operation weights weighs.
    """

    name: str
    channels: int
    space: Space
    operations: tuple[Operation, ...]

    @cached_property
    def site(self) -> Site:
        """Where all its operations stand."""
        return Site(self.channels, self.channels)

    @cached_property
    def convolutions(self) -> dict[int, int]:
        """Columns that are run as one convolution per node, with their kernel sizes."""
        return {
            column: operation.kernel
            for column, operation in enumerate(self.operations)
            if operation.kernel is not None
        }

    @cached_property
    def shared(self) -> tuple[int, ...]:
        """Columns of operations without weights, computed once per node."""
        return tuple(
            column
            for column, operation in enumerate(self.operations)
            if column != self.space.none and operation.weightless(self.site)
        )

    @cached_property
    def alone(self) -> dict[tuple[int, int], Placed]:
        """All other operations, by edge and column."""
        merged = {self.space.none, *self.convolutions, *self.shared}
        return {
            (edge, column): Placed(self.operation_name(edge, column), operation, self.site)
            for edge in range(self.space.edge_count)
            for column, operation in enumerate(self.operations)
            if column not in merged
        }

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """Tangents pass through merged convolutions, and weightless operations that say so."""
        walked = not self.alone and all(self.operations[c].tangents for c in self.shared)
        return frozenset({ONE_SHOT, TANGENTS} if walked else {ONE_SHOT})

    def filters(self) -> dict[str, Shape]:
        """Names and shapes of the leaf filters, one per edge and convolution."""
        merged = {
            self.filter_name(edge, column): (self.channels, self.channels, kernel, kernel)
            for edge in range(self.space.edge_count)
            for column, kernel in self.convolutions.items()
        }
        return merged | {
            n: s for placed in self.alone.values() for n, s in placed.filters().items()
        }

    def operation_name(self, edge: int, column: int) -> str:
        """The prefix of an operation's weights."""
        return f"{self.name}.edges.{edge}.{self.space.operations[column]}"

    def filter_name(self, edge: int, column: int) -> str:
        """The name of the leaf filter of a convolution that is run merged."""
        return f"{self.operation_name(edge, column)}.weight"

    def leaving(self, node: int) -> list[int]:
        """Edges that leave a node."""
        return [edge for edge, (source, _) in enumerate(self.space.edges) if source == node]

    def norms(self) -> dict[str, BatchNorm]:
        """Merged batch norms with the unmerged names of their channel groups, and all others."""
        merged = {
            self.norm_name(node, column): BatchNorm(
                [self.operation_name(edge, column) for edge in self.leaving(node)], self.channels
            )
            for node in range(self.space.nodes - 1)
            for column in self.convolutions
        }
        return merged | {n: b for placed in self.alone.values() for n, b in placed.norms().items()}

    def weightless(self, column: int, x_BCHW: Tensor) -> Tensor:
        """An operation without weights."""
        return self.operations[column].call(x_BCHW, self.site, {}, _no_norm)

    def norm_name(self, node: int, column: int) -> str:
        """The name of the merged batch norm behind one node's convolutions of one kind."""
        return f"{self.name}.nodes.{node}.{self.space.operations[column]}"

    def forward(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        normalise: Normalise,
    ) -> Tensor:
        """The cell's last node; arguments as of `SearchCell.forward`."""
        entries = self._entries(op_weights_EO)

        def convolve(source: int, active_BCHW: Tensor) -> Iterator[tuple[int, Tensor]]:
            edges = self.leaving(source)
            for column, kernel in self.convolutions.items():
                joined = torch.cat([weights[self.filter_name(edge, column)] for edge in edges])
                affine = self._repeated(entries, edges, column)
                y = F.conv2d(active_BCHW, joined, padding=kernel // 2)
                y = normalise(y, self.norm_name(source, column), affine, None)
                yield from zip(edges, y.split(self.channels, dim=1), strict=True)
                del y

        return self._through(x_BCHW, entries, weights, normalise, convolve)

    def folded(
        self,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        scale_and_shift: ScaleAndShift,
    ) -> dict[int, Folded]:
        """The convolutions of each node where batch norms have fixed statistics.

        A (W * x - mean) / s = (A W / s) * x - A mean / s: a convolution with a bias. A smaller
        filter is a larger one with zeros around it, so the kinds of an edge add up.

        Args:
            op_weights_EO: any real matrix.
            weights: filters by name.
            scale_and_shift: of a batch norm's name: 1 / s and -mean / s a channel.

        Returns:
            By source node.
        """
        size = max(self.convolutions.values(), default=1)
        found, entries = {}, self._entries(op_weights_EO)
        for source in range(self.space.nodes - 1):
            edges, terms = self.leaving(source), []
            for column, kernel in self.convolutions.items():
                scale, shift = scale_and_shift(self.norm_name(source, column))
                affine = self._repeated(entries, edges, column)
                joined = torch.cat([weights[self.filter_name(edge, column)] for edge in edges])
                joined = joined * (affine * scale)[:, None, None, None]
                terms.append(Folded(F.pad(joined, [(size - kernel) // 2] * 4), affine * shift))
            if terms:
                filters, biases = zip(*terms, strict=True)
                found[source] = Folded(sum(filters[1:], filters[0]), sum(biases[1:], biases[0]))
        return found

    def judged(
        self,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        scale_and_shift: ScaleAndShift,
    ) -> Judge:
        """The cell with what `folded` makes of its convolutions.

        Args:
            op_weights_EO: any real matrix.
            weights: filters by name.
            scale_and_shift: as of `folded`.

        Returns:
            The same function as `forward`, to rounding.
        """
        folded = self.folded(op_weights_EO, weights, scale_and_shift)
        entries = self._entries(op_weights_EO)

        def convolve(source: int, active_BCHW: Tensor) -> Iterator[tuple[int, Tensor]]:
            if source in folded:
                filters, bias = folded[source]
                y = F.conv2d(active_BCHW, filters, bias, padding=filters.shape[-1] // 2)
                yield from zip(self.leaving(source), y.split(self.channels, dim=1), strict=True)

        def judge(x: Tensor, held: Mapping[str, Tensor], normalise: Normalise) -> Tensor:
            return self._through(x, entries, held, normalise, convolve)

        return judge

    def _entries(self, op_weights_EO: Tensor) -> Entries:
        """Every entry that is used, column by column.

        The derivative of all entries of a column is one stack, where that of each entry taken by
        itself is a matrix of zeros: on a GPU thousands of small kernels in a step.
        """
        return {
            column: op_weights_EO[:, column].unbind()
            for column in range(len(self.operations))
            if column != self.space.none
        }

    def _repeated(self, entries: Entries, edges: Sequence[int], column: int) -> Tensor:
        """The operation weights of some edges, each repeated over the channels."""
        chosen_K = torch.stack([entries[column][edge] for edge in edges])
        return chosen_K.repeat_interleave(self.channels)

    def _through(
        self,
        x_BCHW: Tensor,
        entries: Entries,
        weights: Mapping[str, Tensor],
        normalise: Normalise,
        convolve: Convolve,
    ) -> Tensor:
        """The last node: the one place that knows what arrives where."""
        # Sums are built in place and every intermediate is dropped as soon as it is added: half the
        # memory of a step. Legal for double backward: neither a product with an operation weight
        # nor a sum keeps its result for its derivative.
        nodes: list[Tensor | None] = [x_BCHW] + [None] * (self.space.nodes - 1)

        def arrive(edge: int, term_BCHW: Tensor, *, own: bool) -> None:
            target = self.space.edges[edge][1]
            so_far = nodes[target]
            if so_far is None:
                # What shares memory with other terms must not be added to.
                nodes[target] = term_BCHW if own else term_BCHW.clone()
            else:
                so_far.add_(term_BCHW)

        for source in range(self.space.nodes - 1):
            value_BCHW = nodes[source]
            assert value_BCHW is not None, "the space has a node without a way in"
            nodes[source] = None
            edges = self.leaving(source)
            for column in self.shared:
                y = self.weightless(column, value_BCHW)
                for edge in edges:
                    arrive(edge, entries[column][edge] * y, own=True)
                del y
            for (edge, column), placed in self.alone.items():
                if edge in edges:
                    y = placed(value_BCHW, weights, normalise)
                    arrive(edge, entries[column][edge] * y, own=True)
                    del y
            active_BCHW = value_BCHW.relu()
            del value_BCHW
            for edge, part in convolve(source, active_BCHW):
                arrive(edge, part, own=False)
                del part
        last = nodes[-1]
        assert last is not None
        return last


def _no_norm(y: Tensor, name: str) -> Tensor:
    raise AssertionError(f"a batch norm {name!r} that was not declared")
