"""The leaves and batch norms of a network, with statistics that are values.

What the networks of this package stand on, and one of your own may: see docs/extending.md.
Shapes: S channels of all batch norms together.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.spaces.network.cells import BatchNorm, HasLayers, Normalise
from optnas.spaces.network.initial import uniform_fan_in
from optnas.spaces.network.statistics import Statistics
from optnas.spaces.operations.base import Shape

MOMENTUM = 0.1
EPSILON = 1e-5


class Pass(NamedTuple):
    """One forward pass: the weights it uses, its batch norm by name, statistics after it."""

    weights: Mapping[str, Tensor]
    normalise: Normalise
    statistics: Statistics | None


class Layers:
    """Leaves that are drawn from a generator, batch norms without buffers.

    Args:
        generator: CPU generator of the initial network weights; it advances.
        dtype: of the network weights.
        device: of the network weights.

    Attributes:
        weights: the network weights by name, leaves that require gradients, in the order in which
            they were added.
    """

    def __init__(
        self,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        self.weights: dict[str, Tensor] = {}
        self._norms: dict[str, BatchNorm] = {}
        self._offsets: dict[str, slice] = {}
        self._size = 0
        self._generator, self._dtype, self._device = generator, dtype, device

    def leaf(self, name: str, shape: Shape, fan_in: int) -> None:
        """Add a leaf, uniform on (-1/sqrt(fan_in), 1/sqrt(fan_in)) as torch's layers begin."""
        values = uniform_fan_in(shape, fan_in, self._generator, self._dtype)
        self.weights[name] = values.to(self._device).requires_grad_()

    def convolution(self, name: str, inputs: int, outputs: int, kernel: int) -> None:
        """Add ``NAME.weight``, the filters of a convolution without bias."""
        self.leaf(f"{name}.weight", (outputs, inputs, kernel, kernel), inputs * kernel**2)

    def linear(self, name: str, inputs: int, outputs: int) -> None:
        """Add ``NAME.weight`` and ``NAME.bias``."""
        self.leaf(f"{name}.weight", (outputs, inputs), inputs)
        self.leaf(f"{name}.bias", (outputs,), inputs)

    def norm(self, name: str, layer: BatchNorm | int, *, affine: bool = True) -> None:
        """Add a batch norm.

        Args:
            name: of it.
            layer: its channels.
            affine: whether it has ``NAME.weight`` and ``NAME.bias`` of its own, 1 and 0.
        """
        layer = BatchNorm([name], layer) if isinstance(layer, int) else layer
        self._norms[name] = layer
        end = self._size + len(layer.parts) * layer.channels
        self._offsets[name], self._size = slice(self._size, end), end
        if affine:
            for suffix, value in (("weight", 1.0), ("bias", 0.0)):
                leaf = torch.full((layer.channels,), value, dtype=self._dtype, device=self._device)
                self.weights[f"{name}.{suffix}"] = leaf.requires_grad_()

    def add(self, part: HasLayers, *, affine: bool) -> None:
        """Add all filters and batch norms of a cell, or of an operation at its place."""
        for name, shape in part.filters().items():
            self.leaf(name, shape, math.prod(shape[1:]))
        for name, layer in part.norms().items():
            self.norm(name, layer, affine=affine)

    def initial_statistics(self) -> Statistics:
        """Running means of 0 and variances of 1, as torch's BatchNorm2d starts."""
        mean_S = torch.zeros(self._size, dtype=self._dtype, device=self._device)
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

    def scale_and_shift(self, name: str, statistics: Statistics) -> tuple[Tensor, Tensor]:
        """1 / s and -mean / s of each channel of a batch norm under fixed statistics."""
        here = self._offsets[name]
        scale = (statistics.variance_S[here] + EPSILON).rsqrt()
        return scale, -statistics.mean_S[here] * scale

    def begin(
        self,
        weights: Mapping[str, Tensor] | None,
        statistics: Statistics | None,
        update: bool,
    ) -> Pass:
        """Begin a forward pass, in a mode of `optnas.spaces.network.protocol.SearchNetwork`.

        Args:
            weights: network weights to use instead of the network's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.

        Returns:
            The pass; its statistics move while its batch norm is called.

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
            mean = None if after is None else after.mean_S[here]
            variance = None if after is None else after.variance_S[here]
            weight = held.get(f"{name}.weight") if weight is None else weight
            bias = held.get(f"{name}.bias") if bias is None else bias
            with readable(mean, variance, weight, bias):
                return F.batch_norm(
                    y,
                    mean,
                    variance,
                    weight,
                    bias,
                    training=update or after is None,
                    momentum=MOMENTUM,
                    eps=EPSILON,
                )

        return Pass(held, normalise, after)


def readable(*of_channels: object) -> AbstractContextManager[None]:
    """Torch's own batch norm inside the block where cuDNN's would read past what it may.

    cuDNN reads what a layer has for each channel 16 bytes at a time, and statistics that are views
    may begin in between: the process then loses the GPU ("misaligned address", cuDNN of torch 2.11
    with CUDA 13.0).

    Args:
        of_channels: what `F.batch_norm` is given beside the activation.
    """
    held = [each for each in of_channels if isinstance(each, Tensor) and each.is_cuda]
    if all(each.data_ptr() % 16 == 0 for each in held):
        return contextlib.nullcontext()
    return _without_cudnn()


@contextlib.contextmanager
def _without_cudnn() -> Iterator[None]:
    """Torch's own `cudnn.flags` reads and changes further flags, and may fail at that."""
    cudnn = torch.backends.cudnn
    before, cudnn.enabled = cudnn.enabled, False
    try:
        yield
    finally:
        cudnn.enabled = before
