"""The skeleton of a network around its cells, and the supernet: the skeleton around mixed cells.

Shapes: B images, E edges, O operations, S channels of all batch norms together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.base.errors import UserError
from optnas.spaces.base import Space
from optnas.spaces.network.cells import Cell, MakeCell, Normalise, SearchCell
from optnas.spaces.network.dropout import dropping
from optnas.spaces.network.layers import Layers
from optnas.spaces.network.mixed import MixedCell
from optnas.spaces.network.protocol import Output, SearchNetwork, Sizes
from optnas.spaces.network.statistics import Statistics
from optnas.spaces.operations.base import Operation, Site

STAGES = 3

AnyCell = TypeVar("AnyCell", bound=Cell)
RunCell = Callable[[AnyCell, Tensor, Mapping[str, Tensor], Normalise], Tensor]


class Skeleton(Layers, Generic[AnyCell]):
    """Stem, three stages of cells with residual reductions between them, linear head.

    stem conv3x3(C)-BN; ``cells`` cells at C; residual block of stride 2 to 2C; ``cells`` at 2C;
    residual block to 4C; ``cells`` at 4C; BN-ReLU-global average pool-linear. It holds the network
    weights and no batch-norm buffers.

    Source: Dong and Yang, ICLR 2020, section 2 (16 channels and 5 cells per stage there).

    Args:
        make_cell: makes a cell from its name and its channels.
        channels: C of the first stage.
        cells: cells per stage.
        classes: width of the head.
        image_channels: channels of the images.
        generator: CPU generator of the initial network weights; it advances.
        head_affine: whether the head's batch norm has a weight and a bias.
        dtype: of the network weights.
        device: of the network weights.

    Attributes:
        weights: the network weights by name, leaves that require gradients; one per edge and
            convolution, so that per-tensor optimizers see what published code shows them.
    """

    def __init__(
        self,
        make_cell: Callable[[str, int], AnyCell],
        *,
        channels: int,
        cells: int,
        classes: int,
        image_channels: int,
        generator: torch.Generator,
        head_affine: bool = True,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        super().__init__(generator, dtype, device)
        widths = [channels * 2**stage for stage in range(STAGES)]
        self.stages = [
            [make_cell(f"cells.{stage * cells + i}", width) for i in range(cells)]
            for stage, width in enumerate(widths)
        ]
        self.convolution("stem.conv", image_channels, channels, 3)
        self.norm("stem.norm", channels)
        for stage, width in enumerate(widths):
            if stage:
                self._reduction(f"reductions.{stage - 1}", widths[stage - 1], width)
            for cell in self.stages[stage]:
                self.add(cell, affine=cell.affine)
        self.norm("head.norm", widths[-1], affine=head_affine)
        self.linear("head.linear", widths[-1], classes)

    def _reduction(self, name: str, inputs: int, outputs: int) -> None:
        self.convolution(f"{name}.conv_a", inputs, outputs, 3)
        self.norm(f"{name}.norm_a", outputs)
        self.convolution(f"{name}.conv_b", outputs, outputs, 3)
        self.norm(f"{name}.norm_b", outputs)
        self.convolution(f"{name}.shortcut", inputs, outputs, 1)

    def run(
        self,
        run_cell: RunCell[AnyCell],
        x_BCHW: Tensor,
        weights: Mapping[str, Tensor] | None,
        statistics: Statistics | None,
        update: bool,
    ) -> Output:
        """Logits of a batch, in a mode of `SearchNetwork.__call__`.

        Args:
            run_cell: a cell's output from the cell, its input, the weights and the batch norm.
            x_BCHW: normalised images; channels-last memory is fastest on a CPU.
            weights: network weights to use instead of the network's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.

        Returns:
            Logits and statistics.

        Raises:
            ValueError: there are no statistics to update.
        """
        held, normalise, after = self.begin(weights, statistics, update)
        x = self.stem(x_BCHW, held, normalise)
        return Output(self.after_stem(run_cell, x, held, normalise), after)

    def stem(
        self, x_BCHW: Tensor, weights: Mapping[str, Tensor], normalise: Callable[..., Tensor]
    ) -> Tensor:
        """The input of the first cell, which no cell has a part in.

        Args:
            x_BCHW: normalised images.
            weights: network weights.
            normalise: batch norm by name.

        Returns:
            The convolution and batch norm of the images, channels-last.
        """
        x = x_BCHW.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, weights["stem.conv.weight"], padding=1)
        return normalise(x, "stem.norm")

    def after_stem(
        self,
        run_cell: RunCell[AnyCell],
        x_BCHW: Tensor,
        weights: Mapping[str, Tensor],
        normalise: Callable[..., Tensor],
    ) -> Tensor:
        """All that follows the stem.

        Args:
            run_cell: as of `run`.
            x_BCHW: what `stem` returned.
            weights: network weights.
            normalise: batch norm by name.

        Returns:
            Logits, ``[B, K]``.
        """
        x = x_BCHW
        for stage, cells in enumerate(self.stages):
            if stage:
                x = _reduce(x, f"reductions.{stage - 1}", weights, normalise)
            for cell in cells:
                x = run_cell(cell, x, weights, normalise)
        x = normalise(x, "head.norm").relu().mean(dim=(2, 3))
        return F.linear(x, weights["head.linear.weight"], weights["head.linear.bias"])


class Supernet(Skeleton[SearchCell], SearchNetwork):
    """The skeleton around mixed cells, which all share the operation weights.

    The operation weights are an argument: the supernet holds no architecture parameters.
    Deviation from the published search code: none in the arithmetic; merged per node, see
    `MixedCell`.

    Args:
        space: edges and candidate operations of the cell.
        mixed_cell: makes another mixed cell.
        **sizes: as of `Skeleton`.

    Raises:
        UserError: the space's cells do not fit the skeleton, or it says wrongly which operations
            have weights.
    """

    def __init__(self, space: Space, mixed_cell: MakeCell | None = None, **sizes: Unpack[Sizes]):
        self.space = space
        candidates = space.candidates()
        _check(space, candidates)

        def own_cell(name: str, width: int) -> SearchCell:
            return MixedCell(name, width, space, candidates)

        def another_cell(name: str, width: int) -> SearchCell:
            assert mixed_cell is not None
            return mixed_cell(name, width, space)

        super().__init__(own_cell if mixed_cell is None else another_cell, **sizes)
        every = [cell for cells in self.stages for cell in cells]
        self.cells = len(every)
        self.offers = every[0].offers
        self._places = {cell.name: place for place, cell in enumerate(every)}

    def _own(self, cell: SearchCell, op_weights: Tensor) -> Tensor:
        """The operation weights of one cell, of ``[E, O]`` or ``[L, E, O]``."""
        return op_weights if op_weights.ndim == 2 else op_weights[self._places[cell.name]]

    def __call__(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None,
        update: bool = False,
        draw: int = 0,
        skip_dropout: float = 0.0,
    ) -> Output:
        """Logits of a batch under given operation weights; modes as of `SearchNetwork.__call__`.

        Args:
            x_BCHW: normalised images.
            op_weights_EO: operation weights, any real matrix, or ``[L, E, O]`` with a matrix for
                each of the L cells; gradients flow to them.
            weights: network weights to use instead of the supernet's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.
            draw: seed of what is drawn on this batch.
            skip_dropout: share of the elements of a skip's output on an edge that is dropped.

        Returns:
            Logits and statistics.

        Raises:
            ValueError: there are operation weights for another number of cells.
        """
        if op_weights_EO.ndim == 3 and len(op_weights_EO) != self.cells:
            raise ValueError(f"{len(op_weights_EO)} matrices for {self.cells} cells")
        more: dict[str, Any] = {}  # for cells that offer it
        if skip_dropout:
            more["drop"] = dropping(skip_dropout, torch.Generator().manual_seed(draw))

        def run_cell(
            cell: SearchCell, x: Tensor, held: Mapping[str, Tensor], normalise: Normalise
        ) -> Tensor:
            return cell.forward(x, self._own(cell, op_weights_EO), held, normalise, **more)

        return self.run(run_cell, x_BCHW, weights, statistics, update)

    forward = __call__

    @torch.no_grad()
    def judged_by(
        self, op_weights_EO: Tensor, statistics: Statistics
    ) -> Callable[[Tensor], Tensor]:
        """The network at fixed operation weights and statistics, for many batches.

        The same function of the images as `forward` without ``update``, to rounding: batch norms
        and operation weights are folded into the filters of the cells once. No gradients.

        Args:
            op_weights_EO: operation weights, as of a call.
            statistics: running statistics to normalise by.

        Returns:
            Normalised images to logits.
        """

        def scale_and_shift(name: str) -> tuple[Tensor, Tensor]:
            return self.scale_and_shift(name, statistics)

        judges = {
            cell.name: cell.judged(self._own(cell, op_weights_EO), self.weights, scale_and_shift)
            for cells in self.stages
            for cell in cells
        }

        def run_cell(
            cell: SearchCell, x: Tensor, held: Mapping[str, Tensor], normalise: Normalise
        ) -> Tensor:
            return judges[cell.name](x, held, normalise)

        @torch.no_grad()
        def logits(x_BCHW: Tensor) -> Tensor:
            return self.run(run_cell, x_BCHW, None, statistics, update=False).logits_BK

        return logits


def _check(space: Space, candidates: Sequence[Operation]) -> None:
    """Refuse cells that do not fit the skeleton, and weights that are not told."""
    check_fits(space)
    found = {
        column
        for column, operation in enumerate(candidates)
        if column != space.none and not operation.weightless(Site(1, 1))
    }
    if found != set(space.weighted):
        raise UserError(
            f"says that operations {sorted(space.weighted)} have weights of their own,"
            f" and {sorted(found)} have",
            key="space.name",
            value=space.name,
            remedy=f"write weighted={tuple(sorted(found))} in the space",
        )


def check_fits(space: Space) -> None:
    """Refuse cells that do not keep channels and sides from one input to a sum.

    Raises:
        UserError: they do not.
    """
    if not space.is_one_sum or space.strided:
        raise UserError(
            "its cells do not fit the skeleton of NAS-Bench-201, of one kind and size",
            key="space.name",
            value=space.name,
            remedy="give the space a network of its own, Space(network=...)",
        )


def _reduce(
    x: Tensor, name: str, weights: Mapping[str, Tensor], normalise: Callable[..., Tensor]
) -> Tensor:
    y = F.conv2d(x.relu(), weights[f"{name}.conv_a.weight"], stride=2, padding=1)
    y = normalise(y, f"{name}.norm_a").relu()
    y = F.conv2d(y, weights[f"{name}.conv_b.weight"], padding=1)
    shortcut = F.conv2d(F.avg_pool2d(x, 2), weights[f"{name}.shortcut.weight"])
    result: Tensor = shortcut + normalise(y, f"{name}.norm_b")
    return result
