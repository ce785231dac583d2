"""The operations of NAS-Bench-201's cell.

Reference: Dong and Yang, ICLR 2020, section 2.1. Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.spaces.operations.base import Norm, Operation, Shape, Site

if TYPE_CHECKING:
    import torch.nn.functional as F  # noqa: N812
    from torch import Tensor
else:
    F = lazy("torch.nn.functional")


def relu_conv_norm(kernel: int) -> Operation:
    """ReLU, convolution of K x K with padding K // 2 and no bias, batch norm.

    Args:
        kernel: K, odd.
    """

    def filters(site: Site) -> dict[str, Shape]:
        return {"weight": (site.outputs, site.inputs, kernel, kernel)}

    def norms(site: Site) -> dict[str, int]:
        return {"norm": site.outputs}

    def call(x_BCHW: Tensor, site: Site, weights: Mapping[str, Tensor], norm: Norm) -> Tensor:
        y = F.conv2d(x_BCHW.relu(), weights["weight"], stride=site.stride, padding=kernel // 2)
        return norm(y, "norm")

    return Operation(call, filters, norms, kernel=kernel)


@register("operation", "none")
def none() -> Operation:
    """Zero. Networks do not compute the column of a space's ``none``."""

    def call(x_BCHW: Tensor, site: Site, weights: Mapping[str, Tensor], norm: Norm) -> Tensor:
        batch, _, height, width = x_BCHW.shape
        sides = (-(-height // site.stride), -(-width // site.stride))
        return x_BCHW.new_zeros(batch, site.outputs, *sides)

    return Operation(call)


@register("operation", "skip_connect")
def skip_connect() -> Operation:
    """The identity, where the size is kept."""

    def call(x_BCHW: Tensor, site: Site, weights: Mapping[str, Tensor], norm: Norm) -> Tensor:
        return x_BCHW

    return Operation(call, _kept, tangents=True)


@register("operation", "nor_conv_1x1")
def nor_conv_1x1() -> Operation:
    """ReLU, 1x1 convolution, batch norm."""
    return relu_conv_norm(1)


@register("operation", "nor_conv_3x3")
def nor_conv_3x3() -> Operation:
    """ReLU, 3x3 convolution, batch norm."""
    return relu_conv_norm(3)


@register("operation", "nor_conv_5x5")
def nor_conv_5x5() -> Operation:
    """ReLU, 5x5 convolution, batch norm; not of NAS-Bench-201."""
    return relu_conv_norm(5)


@register("operation", "nor_conv_7x7")
def nor_conv_7x7() -> Operation:
    """ReLU, 7x7 convolution, batch norm; not of NAS-Bench-201."""
    return relu_conv_norm(7)


@register("operation", "avg_pool_3x3")
def avg_pool_3x3() -> Operation:
    """Average of the pixels of a 3x3 window that lie in the image, where the size is kept."""

    def call(x_BCHW: Tensor, site: Site, weights: Mapping[str, Tensor], norm: Norm) -> Tensor:
        from optnas.spaces.network.pool import average_pool

        return average_pool(x_BCHW)

    return Operation(call, _kept, tangents=True)


def _kept(site: Site) -> dict[str, Shape]:
    """No filters, where the output is shaped as the input."""
    if not site.keeps_size:
        raise ValueError("stands only where channels, height and width are kept")
    return {}
