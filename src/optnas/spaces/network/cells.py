"""What a skeleton has to know of the cells it is built around, and an operation at its place.

Shapes: B images, C channels, H x W pixels, E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from optnas.spaces.base import Space
from optnas.spaces.operations.base import Operation, Shape, Site

# Batch norm of a value: the value, the name of the layer, affine weight and bias if it has any.
Normalise = Callable[[Tensor, str, Tensor | None, Tensor | None], Tensor]
# Of an operation's input and site: the next numbers of a stream, shaped as its output.
Noise = Callable[[Tensor, Site], Tensor]
# Of a batch norm's name: 1 / s and -mean / s of each channel.
ScaleAndShift = Callable[[str], tuple[Tensor, Tensor]]
# A cell's output of its input, the network weights and the batch norm.
Judge = Callable[[Tensor, Mapping[str, Tensor], Normalise], Tensor]


class BatchNorm(NamedTuple):
    """A batch norm: names of its equal groups of channels, and the channels of a group."""

    parts: list[str]
    channels: int


class HasLayers(Protocol):
    """What has filters and batch norms: a cell, or an operation at its place."""

    def filters(self) -> Mapping[str, Shape]:
        """Names, ending in ``.weight``, and shapes of filters."""
        ...

    def norms(self) -> Mapping[str, BatchNorm]:
        """Batch norms by name."""
        ...


class Cell(HasLayers, Protocol):
    """A cell, as far as its weights go.

    Attributes:
        name: prefix of its weights, such as ``cells.0``.
        affine: whether its batch norms have weights and biases of their own.
    """

    name: str
    affine: ClassVar[bool]


class SearchCell(Cell, Protocol):
    """A mixed cell. A class of one's own names it as its base and inherits what is written here.

    Attributes:
        offers: what its network then offers, see `optnas.spaces.network.protocol`. With
            ``skip-dropout`` among it `forward` is called with the keyword ``drop`` in steps that
            drop: what is left of the output of a skip on an edge, asked for each edge by itself.
    """

    affine: ClassVar[bool] = False
    offers: frozenset[str] = frozenset()

    def forward(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        normalise: Normalise,
    ) -> Tensor:
        """The cell's output.

        Args:
            x_BCHW: the cell's input, node 0.
            op_weights_EO: any real matrix.
            weights: filters by name.
            normalise: batch norm by name: input, name, affine weight, affine bias.

        Returns:
            The output, shaped as the input.
        """
        ...

    def judged(
        self,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        scale_and_shift: ScaleAndShift,
    ) -> Judge:
        """The cell where operation weights and statistics are fixed, for many batches.

        Args:
            op_weights_EO: any real matrix.
            weights: filters by name.
            scale_and_shift: of a batch norm with the fixed statistics.

        Returns:
            The same function as `forward`, to rounding.
        """

        def judge(x: Tensor, held: Mapping[str, Tensor], normalise: Normalise) -> Tensor:
            return self.forward(x, op_weights_EO, held, normalise)

        return judge


# Name, channels and space -> mixed cell.
MakeCell = Callable[[str, int, Space], SearchCell]


@dataclass(frozen=True)
class Placed:
    """An operation at its place in a network.

    Attributes:
        name: prefix of its weights, such as ``cells.0.edges.2.nor_conv_3x3``.
        operation: the operation.
        site: where it stands.
    """

    name: str
    operation: Operation
    site: Site

    def filters(self) -> dict[str, Shape]:
        """Names and shapes of its filters."""
        return {f"{self.name}.{key}": s for key, s in self.operation.filters(self.site).items()}

    def norms(self) -> dict[str, BatchNorm]:
        """Its batch norms by name."""
        return {
            f"{self.name}.{key}": BatchNorm([f"{self.name}.{key}"], channels)
            for key, channels in self.operation.norms(self.site).items()
        }

    def __call__(
        self,
        x_BCHW: Tensor,
        weights: Mapping[str, Tensor],
        normalise: Normalise,
        noise: Noise | None = None,
    ) -> Tensor:
        """Its output.

        Args:
            x_BCHW: the edge's input.
            weights: filters of the network by name.
            normalise: batch norm by name.
            noise: draws what an operation reads that declares ``noise``.
        """
        own = {key: weights[f"{self.name}.{key}"] for key in self.operation.filters(self.site)}
        if self.operation.noise and noise is not None:
            own["noise"] = noise(x_BCHW, self.site)

        def norm(y: Tensor, key: str) -> Tensor:
            return normalise(y, f"{self.name}.{key}", None, None)

        return self.operation.call(x_BCHW, self.site, own, norm)
