"""The operations of DARTS' cells, as they are searched: batch norms without affine terms.

They belong to their spaces, not to the registry: pools have a batch norm here and none in
NAS-Bench-201's cell. Reference: Liu, Simonyan and Yang, ICLR 2019, appendix A.1. Shapes: B images,
C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from optnas.base.lazy import lazy
from optnas.spaces.operations.base import Norm, Operation, Shape, Site

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F  # noqa: N812
    from torch import Tensor
else:
    torch = lazy("torch")
    F = lazy("torch.nn.functional")

Weights = Mapping[str, "Tensor"]


def _one_norm(site: Site) -> dict[str, int]:
    return {"norm": site.outputs}


def _max(x_BCHW: Tensor, stride: int) -> Tensor:
    return F.max_pool2d(x_BCHW, 3, stride, padding=1)


def _average(x_BCHW: Tensor, stride: int) -> Tensor:
    return F.avg_pool2d(x_BCHW, 3, stride, padding=1, count_include_pad=False)


def pool(of: Callable[[Tensor, int], Tensor]) -> Operation:
    """A 3x3 pool with padding 1, then batch norm.

    Args:
        of: the pool, from input and stride.
    """

    def call(x_BCHW: Tensor, site: Site, weights: Weights, norm: Norm) -> Tensor:
        return norm(of(x_BCHW, site.stride), "norm")

    return Operation(call, norms=_one_norm)


def max_pool_3x3() -> Operation:
    """Largest pixel of a 3x3 window, batch norm."""
    return pool(_max)


def avg_pool_3x3() -> Operation:
    """Average of the pixels of a 3x3 window that lie in the image, batch norm."""
    return pool(_average)


def derived_max_pool_3x3() -> Operation:
    """Largest pixel of a 3x3 window: as derived cells have it, without batch norm."""
    return Operation(lambda x, site, weights, norm: _max(x, site.stride))


def derived_avg_pool_3x3() -> Operation:
    """Average of a 3x3 window: as derived cells have it, without batch norm."""
    return Operation(lambda x, site, weights, norm: _average(x, site.stride))


def noise() -> Operation:
    """N(0, 1) in every pixel, whatever the input; other numbers for each batch.

    Reference: Zela et al., ICLR 2020, section 4 and appendix: S4.
    """
    return Operation(lambda x, site, weights, norm: weights["noise"], noise=True)


def halved(x_BCHW: Tensor, weights: Weights) -> Tensor:
    """ReLU, and two 1x1 convolutions of stride 2, the second one pixel further, joined."""
    x = x_BCHW.relu()
    parts = [F.conv2d(x, weights["conv_1.weight"], stride=2)]
    parts.append(F.conv2d(x[:, :, 1:, 1:], weights["conv_2.weight"], stride=2))
    return torch.cat(parts, dim=1)


def halved_filters(inputs: int, outputs: int) -> dict[str, Shape]:
    """Filters of `halved`.

    Args:
        inputs: channels of its input.
        outputs: of its output.

    Raises:
        ValueError: an odd number of outputs.
    """
    if outputs % 2:
        raise ValueError(f"an odd number of channels, {outputs}, cannot be halved")
    return {f"conv_{i}.weight": (outputs // 2, inputs, 1, 1) for i in (1, 2)}


def skip_connect() -> Operation:
    """The identity; where the size is halved `halved` and a batch norm."""

    def filters(site: Site) -> dict[str, Shape]:
        return {} if site.keeps_size else halved_filters(site.inputs, site.outputs)

    def norms(site: Site) -> dict[str, int]:
        return {} if site.keeps_size else _one_norm(site)

    def call(x_BCHW: Tensor, site: Site, weights: Weights, norm: Norm) -> Tensor:
        return x_BCHW if site.keeps_size else norm(halved(x_BCHW, weights), "norm")

    return Operation(call, filters, norms)


def depthwise(kernel: int, dilation: int, times: int) -> Operation:
    """Some times: ReLU, K x K convolution of each channel, 1x1 convolution, batch norm.

    Args:
        kernel: K, odd; the padding keeps the size.
        dilation: of the K x K convolution.
        times: how often; the first time with the site's stride and, as channels go, all but the
            last time to as many as before.
    """
    padding = dilation * (kernel // 2)

    def outputs(site: Site, i: int) -> int:
        return site.outputs if i == times - 1 else site.inputs

    def filters(site: Site) -> dict[str, Shape]:
        found: dict[str, Shape] = {}
        for i in range(times):
            found[f"depth_{i}.weight"] = (site.inputs, 1, kernel, kernel)
            found[f"point_{i}.weight"] = (outputs(site, i), site.inputs, 1, 1)
        return found

    def norms(site: Site) -> dict[str, int]:
        return {f"norm_{i}": outputs(site, i) for i in range(times)}

    def call(x_BCHW: Tensor, site: Site, weights: Weights, norm: Norm) -> Tensor:
        for i in range(times):
            depth = weights[f"depth_{i}.weight"]
            stride = site.stride if i == 0 else 1
            y = F.conv2d(x_BCHW.relu(), depth, None, stride, padding, dilation, len(depth))
            x_BCHW = norm(F.conv2d(y, weights[f"point_{i}.weight"]), f"norm_{i}")
        return x_BCHW

    return Operation(call, filters, norms)


def sep_conv_3x3() -> Operation:
    """Separable convolution of 3x3, twice."""
    return depthwise(3, dilation=1, times=2)


def sep_conv_5x5() -> Operation:
    """Separable convolution of 5x5, twice."""
    return depthwise(5, dilation=1, times=2)


def dil_conv_3x3() -> Operation:
    """Separable convolution of 3x3 with dilation 2, once."""
    return depthwise(3, dilation=2, times=1)


def dil_conv_5x5() -> Operation:
    """Separable convolution of 5x5 with dilation 2, once."""
    return depthwise(5, dilation=2, times=1)
