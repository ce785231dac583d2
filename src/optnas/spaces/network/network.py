"""The skeleton of a network around its cells, and the supernet: the skeleton around mixed cells.

Shapes: B images, E edges, O operations, S channels of all batch norms together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, NotRequired, Protocol, TypedDict, TypeVar, Unpack

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.spaces.base import Space
from optnas.spaces.network.initial import uniform_fan_in
from optnas.spaces.network.mixed import MixedCell, Normalise
from optnas.spaces.network.operations import roles
from optnas.spaces.network.statistics import Statistics

STAGES = 3
MOMENTUM = 0.1
EPSILON = 1e-5


class Output(NamedTuple):
    """What a forward pass hands back: logits, and the statistics as they are after it."""

    logits_BK: Tensor
    statistics: Statistics | None


class Cell(Protocol):
    """What a skeleton has to know of the cells it is built around."""

    @property
    def affine(self) -> bool:
        """Whether its batch norms have weights and biases of their own."""
        ...

    def filters(self) -> dict[str, tuple[int, int, int, int]]:
        """Names and shapes of the cell's filters."""
        ...

    def norms(self) -> dict[str, list[str]]:
        """Names of the cell's batch norms, each with the names of its channel groups."""
        ...


AnyCell = TypeVar("AnyCell", bound=Cell)
RunCell = Callable[[AnyCell, Tensor, Mapping[str, Tensor], Normalise], Tensor]


class Sizes(TypedDict):
    """The keywords of a `Skeleton`, for those that pass them on."""

    channels: int
    cells: int
    classes: int
    image_channels: int
    generator: torch.Generator
    dtype: NotRequired[torch.dtype]
    device: NotRequired[torch.device | str]


class Skeleton(Generic[AnyCell]):
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
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        widths = [channels * 2**stage for stage in range(STAGES)]
        self.stages = [
            [make_cell(f"cells.{stage * cells + i}", width) for i in range(cells)]
            for stage, width in enumerate(widths)
        ]
        # norm name -> unmerged names of its equal channel groups, and the channels of a group
        self._norms: dict[str, tuple[list[str], int]] = {}
        self.weights: dict[str, Tensor] = {}
        self._generator, self._dtype, self._device = generator, dtype, device
        self._convolution("stem.conv", image_channels, channels, 3)
        self._affine_norm("stem.norm", channels)
        for stage, width in enumerate(widths):
            if stage:
                self._reduction(f"reductions.{stage - 1}", widths[stage - 1], width)
            for cell in self.stages[stage]:
                for name, shape in cell.filters().items():
                    self._convolution(name.removesuffix(".weight"), shape[1], shape[0], shape[2])
                for norm, parts in cell.norms().items():
                    self._norms[norm] = (parts, width)
                    if cell.affine:
                        self._affine(norm, width)
        self._affine_norm("head.norm", widths[-1])
        self._leaf("head.linear.weight", (classes, widths[-1]), widths[-1])
        self._leaf("head.linear.bias", (classes,), widths[-1])
        self._offsets: dict[str, slice] = {}
        total = 0
        for name, (parts, width) in self._norms.items():
            self._offsets[name] = slice(total, total + len(parts) * width)
            total += len(parts) * width
        self._statistics_size = total

    def _leaf(self, name: str, shape: tuple[int, ...], fan_in: int) -> None:
        values = uniform_fan_in(shape, fan_in, self._generator, self._dtype)
        self.weights[name] = values.to(self._device).requires_grad_()

    def _convolution(self, name: str, inputs: int, outputs: int, kernel: int) -> None:
        self._leaf(f"{name}.weight", (outputs, inputs, kernel, kernel), inputs * kernel**2)

    def _affine_norm(self, name: str, channels: int) -> None:
        self._norms[name] = ([name], channels)
        self._affine(name, channels)

    def _affine(self, name: str, channels: int) -> None:
        for suffix, value in (("weight", 1.0), ("bias", 0.0)):
            leaf = torch.full((channels,), value, dtype=self._dtype, device=self._device)
            self.weights[f"{name}.{suffix}"] = leaf.requires_grad_()

    def _reduction(self, name: str, inputs: int, outputs: int) -> None:
        self._convolution(f"{name}.conv_a", inputs, outputs, 3)
        self._affine_norm(f"{name}.norm_a", outputs)
        self._convolution(f"{name}.conv_b", outputs, outputs, 3)
        self._affine_norm(f"{name}.norm_b", outputs)
        self._convolution(f"{name}.shortcut", inputs, outputs, 1)

    def initial_statistics(self) -> Statistics:
        """Running means of 0 and variances of 1, as torch's BatchNorm2d starts."""
        mean_S = torch.zeros(self._statistics_size, dtype=self._dtype, device=self._device)
        return Statistics(mean_S, torch.ones_like(mean_S))

    def named_statistics(self, statistics: Statistics) -> dict[str, tuple[Tensor, Tensor]]:
        """Running mean and variance under the name of each convolution or batch norm.

        Args:
            statistics: a value of this network.

        Returns:
            name -> (mean, variance), views.
        """
        named: dict[str, tuple[Tensor, Tensor]] = {}
        for name, (parts, width) in self._norms.items():
            means = statistics.mean_S[self._offsets[name]].split(width)
            variances = statistics.variance_S[self._offsets[name]].split(width)
            named.update(zip(parts, zip(means, variances, strict=True), strict=True))
        return named

    def run(
        self,
        run_cell: RunCell[AnyCell],
        x_BCHW: Tensor,
        weights: Mapping[str, Tensor] | None,
        statistics: Statistics | None,
        update: bool,
    ) -> Output:
        """Logits of a batch; the modes are said at each call.

        | ``statistics`` | ``update`` | normalised by | statistics handed back |
        |---|---|---|---|
        | None | False | the batch | None |
        | a value | True | the batch | a new value, moved towards the batch by 0.1 |
        | a value | False | the value | the same value |

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
        if update and statistics is None:
            raise ValueError("update=True needs statistics to update")
        held = self.weights if weights is None else weights
        after = statistics.clone() if update and statistics is not None else statistics

        def normalise(
            y: Tensor, name: str, weight: Tensor | None = None, bias: Tensor | None = None
        ) -> Tensor:
            # In training mode F.batch_norm moves the running values it is handed in place;
            # they are views of the clone made above, never of the caller's value.
            here = self._offsets[name]
            return F.batch_norm(
                y,
                None if after is None else after.mean_S[here],
                None if after is None else after.variance_S[here],
                held.get(f"{name}.weight") if weight is None else weight,
                held.get(f"{name}.bias") if bias is None else bias,
                training=update or after is None,
                momentum=MOMENTUM,
                eps=EPSILON,
            )

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


class Supernet(Skeleton[MixedCell]):
    """The skeleton around mixed cells, which all share the operation weights.

    The operation weights are an argument: the supernet holds no architecture parameters.
    Deviation from the published search code: none in the arithmetic; merged per node, see
    `MixedCell`.

    Args:
        space: edges and candidate operations of the cell.
        **sizes: as of `Skeleton`.
    """

    def __init__(self, space: Space, **sizes: Unpack[Sizes]):
        self.space = space
        columns = roles(space)
        super().__init__(lambda name, width: MixedCell(name, width, space, columns), **sizes)

    def forward(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None,
        update: bool = False,
    ) -> Output:
        """Logits of a batch under given operation weights; for the modes see `Skeleton.run`.

        Args:
            x_BCHW: normalised images.
            op_weights_EO: operation weights, any real matrix; gradients flow to them.
            weights: network weights to use instead of the supernet's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.

        Returns:
            Logits and statistics.
        """

        def run_cell(
            cell: MixedCell, x: Tensor, held: Mapping[str, Tensor], normalise: Normalise
        ) -> Tensor:
            return cell.forward(x, op_weights_EO, held, normalise)

        return self.run(run_cell, x_BCHW, weights, statistics, update)

    __call__ = forward

    @torch.no_grad()
    def judged_by(
        self, op_weights_EO: Tensor, statistics: Statistics
    ) -> Callable[[Tensor], Tensor]:
        """The network at fixed operation weights and statistics, for many batches.

        The same function of the images as `forward` without ``update``, to rounding: batch norms
        and operation weights are folded into the filters of the cells once. No gradients.

        Args:
            op_weights_EO: operation weights, any real matrix.
            statistics: running statistics to normalise by.

        Returns:
            Normalised images to logits.
        """

        def scale_and_shift(name: str) -> tuple[Tensor, Tensor]:
            here = self._offsets[name]
            scale = (statistics.variance_S[here] + EPSILON).rsqrt()
            return scale, -statistics.mean_S[here] * scale

        folded = {
            cell.name: cell.folded(op_weights_EO, self.weights, scale_and_shift)
            for cells in self.stages
            for cell in cells
        }

        def run_cell(
            cell: MixedCell, x: Tensor, held: Mapping[str, Tensor], normalise: Normalise
        ) -> Tensor:
            return cell.judge(x, op_weights_EO, folded[cell.name])

        @torch.no_grad()
        def logits(x_BCHW: Tensor) -> Tensor:
            return self.run(run_cell, x_BCHW, None, statistics, update=False).logits_BK

        return logits


def _reduce(
    x: Tensor, name: str, weights: Mapping[str, Tensor], normalise: Callable[..., Tensor]
) -> Tensor:
    y = F.conv2d(x.relu(), weights[f"{name}.conv_a.weight"], stride=2, padding=1)
    y = normalise(y, f"{name}.norm_a").relu()
    y = F.conv2d(y, weights[f"{name}.conv_b.weight"], padding=1)
    shortcut = F.conv2d(F.avg_pool2d(x, 2), weights[f"{name}.shortcut.weight"])
    result: Tensor = shortcut + normalise(y, f"{name}.norm_b")
    return result
