"""The operations of NAS-Bench-Macro: blocks of MobileNetV2, and an identity that may downsample.

Reference: Su et al., CVPR 2021, section 4.1, and the code published with the benchmark. Shapes: B
images, C channels, H x W pixels.
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


@register("operation", "identity")
def identity() -> Operation:
    """The identity where the size is kept, else a strided 1x1 convolution and a batch norm."""

    def filters(site: Site) -> dict[str, Shape]:
        return {} if site.keeps_size else {"weight": (site.outputs, site.inputs, 1, 1)}

    def norms(site: Site) -> dict[str, int]:
        return {} if site.keeps_size else {"norm": site.outputs}

    def call(x_BCHW: Tensor, site: Site, weights: Mapping[str, Tensor], norm: Norm) -> Tensor:
        if site.keeps_size:
            return x_BCHW
        return norm(F.conv2d(x_BCHW, weights["weight"], stride=site.stride), "norm")

    return Operation(call, filters, norms)


def inverted_residual(kernel: int, expansion: int) -> Operation:
    """Widen, filter each channel, narrow; the input is added where the size is kept.

    conv1x1 to tC channels, BN, ReLU; K x K convolution of each channel, BN, ReLU; conv1x1, BN.

    Args:
        kernel: K, odd; the stride is that of this convolution.
        expansion: t, with C the channels of the input.

    Reference: Sandler et al., CVPR 2018. Deviation: ReLU in place of ReLU6, as the benchmark has
    it.
    """

    def filters(site: Site) -> dict[str, Shape]:
        hidden = expansion * site.inputs
        return {
            "expand.weight": (hidden, site.inputs, 1, 1),
            "depth.weight": (hidden, 1, kernel, kernel),
            "project.weight": (site.outputs, hidden, 1, 1),
        }

    def norms(site: Site) -> dict[str, int]:
        hidden = expansion * site.inputs
        return {"expand.norm": hidden, "depth.norm": hidden, "project.norm": site.outputs}

    def call(x_BCHW: Tensor, site: Site, weights: Mapping[str, Tensor], norm: Norm) -> Tensor:
        depth = weights["depth.weight"]
        y = norm(F.conv2d(x_BCHW, weights["expand.weight"]), "expand.norm").relu()
        y = F.conv2d(y, depth, stride=site.stride, padding=kernel // 2, groups=len(depth))
        y = norm(y, "depth.norm").relu()
        y = norm(F.conv2d(y, weights["project.weight"]), "project.norm")
        return y + x_BCHW if site.keeps_size else y

    return Operation(call, filters, norms)


@register("operation", "mb3_k3")
def mb3_k3() -> Operation:
    """Block of MobileNetV2: expansion 3, 3x3."""
    return inverted_residual(kernel=3, expansion=3)


@register("operation", "mb6_k5")
def mb6_k5() -> Operation:
    """Block of MobileNetV2: expansion 6, 5x5."""
    return inverted_residual(kernel=5, expansion=6)
