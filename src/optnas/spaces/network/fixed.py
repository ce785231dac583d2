"""The network of one architecture, to be trained from scratch: no operation weights, no dead edges.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from optnas.base.errors import UserError
from optnas.spaces.base import Architecture
from optnas.spaces.canonical import without_dead_edges
from optnas.spaces.network.cells import BatchNorm, Cell, Normalise, Placed
from optnas.spaces.network.network import Skeleton, check_fits
from optnas.spaces.network.protocol import Output, Sizes
from optnas.spaces.network.statistics import Statistics
from optnas.spaces.operations.base import Operation, Shape, Site


@dataclass(frozen=True)
class FixedCell(Cell):
    """A cell with one operation per edge; its batch norms have weights and biases.

    x_i = sum over edges j->i of o_e(x_j). Edges that no path from input to output uses are left
    out; a cell that is not connected is zero.

    Attributes:
        name: prefix of its weights, such as ``cells.0``.
        channels: C, kept by every node.
        architecture: the cell, without dead edges.
        operations: what each operation index stands for.
    """

    name: str
    channels: int
    architecture: Architecture
    operations: tuple[Operation, ...]
    affine: ClassVar[bool] = True

    @cached_property
    def placed(self) -> dict[int, Placed]:
        """The operation of each edge that is not zero; weights are named as in a supernet."""
        space, site = self.architecture.space, Site(self.channels, self.channels)
        return {
            edge: Placed(
                f"{self.name}.edges.{edge}.{space.operations[column]}",
                self.operations[column],
                site,
            )
            for edge, column in enumerate(self.architecture.operations)
            if column != space.none
        }

    def filters(self) -> dict[str, Shape]:
        """Names and shapes of the filters."""
        return {n: s for placed in self.placed.values() for n, s in placed.filters().items()}

    def norms(self) -> dict[str, BatchNorm]:
        """The batch norms by name."""
        return {n: b for placed in self.placed.values() for n, b in placed.norms().items()}

    def forward(
        self, x_BCHW: Tensor, weights: Mapping[str, Tensor], normalise: Normalise
    ) -> Tensor:
        """The cell's last node.

        Args:
            x_BCHW: the cell's input, node 0.
            weights: filters by name.
            normalise: batch norm by name.

        Returns:
            The last node, shaped as the input.
        """
        space = self.architecture.space
        nodes: dict[int, Tensor] = {0: x_BCHW}
        for edge, placed in self.placed.items():
            source, target = space.edges[edge]
            y = placed(nodes[source], weights, normalise)
            nodes[target] = nodes[target] + y if target in nodes else y
        last = nodes.get(space.nodes - 1)
        return torch.zeros_like(x_BCHW) if last is None else last


class Network(Skeleton[FixedCell]):
    """The skeleton around copies of one cell, each with weights of its own.

    Source: Dong and Yang, ICLR 2020, section 2, whose networks have affine batch norms in the cells
    too. Deviation: dead edges are left out; they change no output.

    Args:
        architecture: the cell.
        **sizes: as of `Skeleton`.

    Raises:
        UserError: the space's cells are searched in another network.
    """

    def __init__(self, architecture: Architecture, **sizes: Unpack[Sizes]):
        space = architecture.space
        if space.network is not None:
            raise UserError(
                "no stand-alone network is known for a space that brings its own",
                key="space.name",
                value=space.name,
                remedy="choose a space without a network of its own",
            )
        check_fits(space)
        operations, live = space.candidates(), without_dead_edges(architecture)
        super().__init__(lambda name, width: FixedCell(name, width, live, operations), **sizes)

    def forward(
        self,
        x_BCHW: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None,
        update: bool = False,
    ) -> Output:
        """Logits of a batch; for the modes see `SearchNetwork.__call__`.

        Args:
            x_BCHW: normalised images.
            weights: network weights to use instead of the network's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.

        Returns:
            Logits and statistics.
        """
        return self.run(FixedCell.forward, x_BCHW, weights, statistics, update)

    __call__ = forward
