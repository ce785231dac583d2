"""The 3x3 average pool, arranged for speed. Shapes: B images, C channels, H x W pixels."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary


def average_pool(x_BCHW: Tensor) -> Tensor:
    """Average of the pixels of a 3x3 window that lie in the image, at every pixel.

    A convolution channel by channel with ones, divided by the number of pixels: what
    ``F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)`` gives, in half the time,
    and differentiable as often as one likes.

    Returns:
        The averages, shaped as the input.
    """
    if has_torch_function_unary(x_BCHW):
        averages: Tensor = handle_torch_function(average_pool, (x_BCHW,), x_BCHW)
        return averages
    channels, height, width = x_BCHW.shape[1:]
    ones, share = _constants(channels, height, width, x_BCHW.dtype, x_BCHW.device)
    return F.conv2d(x_BCHW, ones, padding=1, groups=channels) * share


@functools.lru_cache(maxsize=64)
def _constants(
    channels: int, height: int, width: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The filters, and one over the number of pixels in each window."""
    # What is made in inference mode could never be differentiated through.
    with torch.inference_mode(False):
        ones = torch.ones(channels, 1, 3, 3, dtype=dtype, device=device)
        pixels = F.conv2d(ones.new_ones(1, 1, height, width), ones[:1], padding=1)
        return ones, 1 / pixels
