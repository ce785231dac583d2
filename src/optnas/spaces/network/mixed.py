"""One mixed cell, computed node by node so that what leaves a node is computed once.

Shapes: B images, C channels, H x W pixels, E edges, O operations; K edges leave a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.spaces.base import Space
from optnas.spaces.network.operations import Roles
from optnas.spaces.network.pool import average_pool

Normalise = Callable[[Tensor, str, Tensor | None, Tensor | None], Tensor]
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
class MixedCell:
    """A cell in which every edge runs all candidate operations, weighted.

    x_i = sum over edges j->i of sum_o A[e, o] o(x_j), with A the operation weights.

    The arithmetic is that of one module per edge and operation, arranged for speed:

    1. All edges that leave a node share one ReLU, one average pool and, for each kernel size, one
       convolution whose filters are those of the edges, joined along the output channels.
    2. A [e, o] BN(y) with BN free of affine terms *is* a batch norm whose affine weight is A[e, o],
       repeated over the channels: no multiplication, and the gradient of A[e, o] falls out of the
       batch norm's backward.
    3. ``none`` is not computed.

    Attributes:
        name: prefix of its weights, such as ``cells.0``.
        channels: C, kept by every node.
        space: nodes, edges and operations.
        roles: what each column of the operation weights does.
    """

    name: str
    channels: int
    space: Space
    roles: Roles
    affine: ClassVar[bool] = (
        False  # the operation weights are the affine weights of its batch norms
    )

    def filters(self) -> dict[str, tuple[int, int, int, int]]:
        """Names and shapes of the leaf filters, one per edge and convolution."""
        return {
            self.filter_name(edge, column): (self.channels, self.channels, kernel, kernel)
            for edge in range(len(self.space.edges))
            for column, kernel in self.roles.convolutions.items()
        }

    def filter_name(self, edge: int, column: int) -> str:
        """The name of one leaf filter."""
        return f"{self.name}.edges.{edge}.{self.space.operations[column]}.weight"

    def leaving(self, node: int) -> list[int]:
        """Edges that leave a node."""
        return [edge for edge, (source, _) in enumerate(self.space.edges) if source == node]

    def norms(self) -> dict[str, list[str]]:
        """Merged batch norms: their names, each with the unmerged names of its channel groups."""
        return {
            self.norm_name(node, column): [
                self.filter_name(edge, column).removesuffix(".weight")
                for edge in self.leaving(node)
            ]
            for node in range(self.space.nodes - 1)
            for column in self.roles.convolutions
        }

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
        """The cell's last node.

        Args:
            x_BCHW: the cell's input, node 0.
            op_weights_EO: any real matrix.
            weights: filters by name.
            normalise: batch norm by name: input, name, affine weight, affine bias.

        Returns:
            The last node, shaped as the input.
        """

        def convolve(source: int, active_BCHW: Tensor) -> Iterator[tuple[int, Tensor]]:
            edges = self.leaving(source)
            for column, kernel in self.roles.convolutions.items():
                joined = torch.cat([weights[self.filter_name(edge, column)] for edge in edges])
                affine = op_weights_EO[edges, column].repeat_interleave(self.channels)
                y = F.conv2d(active_BCHW, joined, padding=kernel // 2)
                y = normalise(y, self.norm_name(source, column), affine, None)
                yield from zip(edges, y.split(self.channels, dim=1), strict=True)
                del y

        return self._through(x_BCHW, op_weights_EO, convolve)

    def folded(
        self,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        scale_and_shift: Callable[[str], tuple[Tensor, Tensor]],
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
        size = max(self.roles.convolutions.values(), default=1)
        found = {}
        for source in range(self.space.nodes - 1):
            edges, terms = self.leaving(source), []
            for column, kernel in self.roles.convolutions.items():
                scale, shift = scale_and_shift(self.norm_name(source, column))
                affine = op_weights_EO[edges, column].repeat_interleave(self.channels)
                joined = torch.cat([weights[self.filter_name(edge, column)] for edge in edges])
                joined = joined * (affine * scale)[:, None, None, None]
                terms.append(Folded(F.pad(joined, [(size - kernel) // 2] * 4), affine * shift))
            if terms:
                filters, biases = zip(*terms, strict=True)
                found[source] = Folded(sum(filters[1:], filters[0]), sum(biases[1:], biases[0]))
        return found

    def judge(self, x_BCHW: Tensor, op_weights_EO: Tensor, folded: Mapping[int, Folded]) -> Tensor:
        """The cell's last node, from what `folded` made of its convolutions.

        Args:
            x_BCHW: the cell's input, node 0.
            op_weights_EO: as of `folded`.
            folded: by source node.

        Returns:
            The last node, shaped as the input.
        """

        def convolve(source: int, active_BCHW: Tensor) -> Iterator[tuple[int, Tensor]]:
            if source in folded:
                filters, bias = folded[source]
                y = F.conv2d(active_BCHW, filters, bias, padding=filters.shape[-1] // 2)
                yield from zip(self.leaving(source), y.split(self.channels, dim=1), strict=True)

        return self._through(x_BCHW, op_weights_EO, convolve)

    def _through(self, x_BCHW: Tensor, op_weights_EO: Tensor, convolve: Convolve) -> Tensor:
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
            for column in self.roles.identities:
                for edge in edges:
                    arrive(edge, op_weights_EO[edge, column] * value_BCHW, own=True)
            if self.roles.pools:
                pooled = average_pool(value_BCHW)
                for column in self.roles.pools:
                    for edge in edges:
                        arrive(edge, op_weights_EO[edge, column] * pooled, own=True)
                del pooled
            active_BCHW = value_BCHW.relu()
            del value_BCHW
            for edge, part in convolve(source, active_BCHW):
                arrive(edge, part, own=False)
                del part
        last = nodes[-1]
        assert last is not None
        return last
