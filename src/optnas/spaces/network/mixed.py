"""One mixed cell, computed node by node so that what leaves a node is computed once.

Shapes: B images, C channels, H x W pixels, E edges, O operations; K edges leave a node.
"""

from __future__ import annotations

import itertools
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
from optnas.spaces.network.dropout import Drop
from optnas.spaces.network.protocol import ONE_SHOT, SKIP_DROPOUT, TANGENTS
from optnas.spaces.operations.base import Operation, Shape, Site

# By operation, its entries by edge: numbers of their own.
Entries = Mapping[int, Mapping[int, Tensor]]
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
        operations: of the space, by index.
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
    def candidates(self) -> list[tuple[int, ...]]:
        """The operation of each column of the operation weights, by edge."""
        return [self.space.columns_at(edge) for edge in range(self.space.edge_count)]

    @cached_property
    def used(self) -> tuple[int, ...]:
        """Operations other than ``none`` that are a candidate of some edge."""
        return tuple(sorted(set(itertools.chain(*self.candidates)) - {self.space.none}))

    @cached_property
    def convolutions(self) -> dict[int, int]:
        """Operations that are run as one convolution per node, with their kernel sizes."""
        kernels = {o: self.operations[o].kernel for o in self.used}
        return {o: kernel for o, kernel in kernels.items() if kernel is not None}

    @cached_property
    def shared(self) -> tuple[int, ...]:
        """Operations without weights, computed once per node."""
        return tuple(o for o in self.used if self.operations[o].weightless(self.site))

    @cached_property
    def alone(self) -> dict[tuple[int, int], Placed]:
        """All other operations, by edge and index."""
        merged = {self.space.none, *self.convolutions, *self.shared}
        return {
            (edge, o): Placed(self.operation_name(edge, o), self.operations[o], self.site)
            for edge, own in enumerate(self.candidates)
            for o in own
            if o not in merged
        }

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """Tangents pass through merged convolutions, and weightless operations that say so."""
        walked = not self.alone and all(self.operations[c].tangents for c in self.shared)
        return frozenset({ONE_SHOT, SKIP_DROPOUT} | ({TANGENTS} if walked else set()))

    def filters(self) -> dict[str, Shape]:
        """Names and shapes of the leaf filters, one per edge and convolution."""
        merged = {
            self.filter_name(edge, o): (self.channels, self.channels, kernel, kernel)
            for edge, own in enumerate(self.candidates)
            for o, kernel in self.convolutions.items()
            if o in own
        }
        return merged | {
            n: s for placed in self.alone.values() for n, s in placed.filters().items()
        }

    def operation_name(self, edge: int, operation: int) -> str:
        """The prefix of an operation's weights."""
        return f"{self.name}.edges.{edge}.{self.space.operations[operation]}"

    def filter_name(self, edge: int, operation: int) -> str:
        """The name of the leaf filter of a convolution that is run merged."""
        return f"{self.operation_name(edge, operation)}.weight"

    @cached_property
    def leaving(self) -> dict[tuple[int, int], list[int]]:
        """By node and operation the edges that leave the node and have it as a candidate."""
        found: dict[tuple[int, int], list[int]] = {}
        for edge, (source, _) in enumerate(self.space.edges):
            for o in self.candidates[edge]:
                found.setdefault((source, o), []).append(edge)
        return found

    @cached_property
    def convolved(self) -> list[dict[int, list[int]]]:
        """By node the convolutions that leave it, each with its edges."""
        return [
            {o: self.leaving[node, o] for o in self.convolutions if (node, o) in self.leaving}
            for node in range(self.space.nodes - 1)
        ]

    @cached_property
    def joined(self) -> list[list[int]]:
        """By node the edges that leave it along some convolution."""
        return [sorted(set(itertools.chain(*each.values()))) for each in self.convolved]

    def norms(self) -> dict[str, BatchNorm]:
        """Merged batch norms with the unmerged names of their channel groups, and all others."""
        merged = {
            self.norm_name(node, o): BatchNorm(
                [self.operation_name(edge, o) for edge in edges], self.channels
            )
            for node, convolved in enumerate(self.convolved)
            for o, edges in convolved.items()
        }
        return merged | {n: b for placed in self.alone.values() for n, b in placed.norms().items()}

    def weightless(self, operation: int, x_BCHW: Tensor) -> Tensor:
        """An operation without weights."""
        return self.operations[operation].call(x_BCHW, self.site, {}, _no_norm)

    def norm_name(self, node: int, operation: int) -> str:
        """The name of the merged batch norm behind one node's convolutions of one kind."""
        return f"{self.name}.nodes.{node}.{self.space.operations[operation]}"

    def forward(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        normalise: Normalise,
        drop: Drop | None = None,
    ) -> Tensor:
        """The cell's last node; arguments as of `SearchCell.forward`.

        What is left of a skip's output on an edge is ``drop`` of it; without ``drop`` all of it is.
        """
        entries = self._entries(op_weights_EO)

        def convolve(source: int, active_BCHW: Tensor) -> Iterator[tuple[int, Tensor]]:
            for o, edges in self.convolved[source].items():
                joined = torch.cat([weights[self.filter_name(edge, o)] for edge in edges])
                affine = self._repeated(entries, edges, o)
                y = F.conv2d(active_BCHW, joined, padding=self.convolutions[o] // 2)
                y = normalise(y, self.norm_name(source, o), affine, None)
                yield from zip(edges, y.split(self.channels, dim=1), strict=True)
                del y

        return self._through(x_BCHW, entries, weights, normalise, convolve, drop)

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
        for source, convolved in enumerate(self.convolved):
            terms = []
            for o, edges in convolved.items():
                scale, shift = scale_and_shift(self.norm_name(source, o))
                affine = self._repeated(entries, edges, o)
                joined = torch.cat([weights[self.filter_name(edge, o)] for edge in edges])
                joined = joined * (affine * scale)[:, None, None, None]
                joined = F.pad(joined, [(size - self.convolutions[o]) // 2] * 4)
                terms.append(
                    Folded(
                        self._among(self.joined[source], edges, joined),
                        self._among(self.joined[source], edges, affine * shift),
                    )
                )
            if terms:
                filters, biases = zip(*terms, strict=True)
                found[source] = Folded(sum(filters[1:], filters[0]), sum(biases[1:], biases[0]))
        return found

    def _among(self, every: Sequence[int], edges: Sequence[int], channels: Tensor) -> Tensor:
        """The channels of some edges among those of more, which are 0."""
        if edges == every:
            return channels
        own = dict(zip(edges, channels.split(self.channels), strict=True))
        zero = torch.zeros_like(own[edges[0]])
        return torch.cat([own.get(edge, zero) for edge in every])

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
                yield from zip(self.joined[source], y.split(self.channels, dim=1), strict=True)

        def judge(x: Tensor, held: Mapping[str, Tensor], normalise: Normalise) -> Tensor:
            return self._through(x, entries, held, normalise, convolve)

        return judge

    def _entries(self, op_weights_EO: Tensor) -> Entries:
        """Every entry that is used, column by column.

        The derivative of all entries of a column is one stack, where that of each entry taken by
        itself is a matrix of zeros: on a GPU thousands of small kernels in a step.
        """
        found: dict[int, dict[int, Tensor]] = {o: {} for o in self.used}
        for column in range(self.space.operation_count):
            here = [own[column] for own in self.candidates]
            if any(o != self.space.none for o in here):
                for edge, entry in enumerate(op_weights_EO[:, column].unbind()):
                    if here[edge] in found:
                        found[here[edge]][edge] = entry
        return found

    def _repeated(self, entries: Entries, edges: Sequence[int], operation: int) -> Tensor:
        """The operation weights of some edges, each repeated over the channels."""
        chosen_K = torch.stack([entries[operation][edge] for edge in edges])
        return chosen_K.repeat_interleave(self.channels)

    def _through(
        self,
        x_BCHW: Tensor,
        entries: Entries,
        weights: Mapping[str, Tensor],
        normalise: Normalise,
        convolve: Convolve,
        drop: Drop | None = None,
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
            for o in self.shared:
                if (source, o) in self.leaving:
                    y = self.weightless(o, value_BCHW)
                    for edge in self.leaving[source, o]:
                        left = drop(y) if drop is not None and o == self.space.skip else y
                        arrive(edge, entries[o][edge] * left, own=True)
                        del left
                    del y
            for (edge, o), placed in self.alone.items():
                if self.space.edges[edge][0] == source:
                    y = placed(value_BCHW, weights, normalise)
                    arrive(edge, entries[o][edge] * y, own=True)
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
