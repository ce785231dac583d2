"""The network of one architecture, to be trained from scratch: no operation weights, no dead edges.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.spaces import Architecture, without_dead_edges
from optnas.spaces.network.mixed import Normalise
from optnas.spaces.network.network import Output, Sizes, Skeleton
from optnas.spaces.network.operations import Roles, roles
from optnas.spaces.network.pool import average_pool
from optnas.spaces.network.statistics import Statistics


@dataclass(frozen=True)
class FixedCell:
    """A cell with one operation per edge; its batch norms have weights and biases.

    x_i = sum over edges j->i of o_e(x_j). Edges that no path from input to output uses are left
    out; a cell that is not connected is zero.

    Attributes:
        name: prefix of its weights, such as ``cells.0``.
        channels: C, kept by every node.
        architecture: the cell, without dead edges.
        roles: what each operation does.
    """

    name: str
    channels: int
    architecture: Architecture
    roles: Roles
    affine: ClassVar[bool] = True

    def convolutions(self) -> dict[int, int]:
        """Kernel size of each edge that carries a convolution."""
        return {
            edge: self.roles.convolutions[column]
            for edge, column in enumerate(self.architecture.operations)
            if column in self.roles.convolutions
        }

    def filters(self) -> dict[str, tuple[int, int, int, int]]:
        """Names and shapes of the filters, named as in a supernet."""
        return {
            f"{self._edge_name(edge)}.weight": (self.channels, self.channels, kernel, kernel)
            for edge, kernel in self.convolutions().items()
        }

    def norms(self) -> dict[str, list[str]]:
        """The batch norm behind each convolution."""
        names = [f"{self._edge_name(edge)}.norm" for edge in self.convolutions()]
        return {name: [name] for name in names}

    def _edge_name(self, edge: int) -> str:
        return f"{self.name}.edges.{edge}.{self.architecture.operation_names[edge]}"

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
        space, kernels = self.architecture.space, self.convolutions()
        nodes: dict[int, Tensor] = {0: x_BCHW}
        for edge, column in enumerate(self.architecture.operations):
            if column == space.none:
                continue
            source, target = space.edges[edge]
            y = nodes[source]
            if edge in kernels:
                name = self._edge_name(edge)
                y = F.conv2d(y.relu(), weights[f"{name}.weight"], padding=kernels[edge] // 2)
                y = normalise(y, f"{name}.norm", None, None)
            elif column in self.roles.pools:
                y = average_pool(y)
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
    """

    def __init__(self, architecture: Architecture, **sizes: Unpack[Sizes]):
        columns, live = roles(architecture.space), without_dead_edges(architecture)
        super().__init__(lambda name, width: FixedCell(name, width, live, columns), **sizes)

    def forward(
        self,
        x_BCHW: Tensor,
        *,
        statistics: Statistics | None,
        update: bool = False,
    ) -> Output:
        """Logits of a batch; for the modes see `Skeleton.run`.

        Args:
            x_BCHW: normalised images.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.

        Returns:
            Logits and statistics.
        """
        return self.run(FixedCell.forward, x_BCHW, None, statistics, update)

    __call__ = forward
