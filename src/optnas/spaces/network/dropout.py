"""What a step leaves of the outputs of skips. Shapes: B images, C channels, H x W pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# The output of a skip -> what is left of it.
Drop = Callable[[Tensor], Tensor]


def dropping(share: float, generator: torch.Generator) -> Drop:
    """What drops a share p of the elements of a tensor.

        y = x m / (1 - p),  each m on its own 0 with probability p, else 1

    Numbers of single precision on the CPU, so that they depend on neither device nor dtype.

    Args:
        share: p, from 0 to below 1.
        generator: of the CPU; each call advances it.
    """

    def drop(x_BCHW: Tensor) -> Tensor:
        kept = torch.rand(x_BCHW.shape, generator=generator, dtype=torch.float32) >= share
        return x_BCHW * (kept.to(x_BCHW, memory_format=torch.channels_last) / (1 - share))

    return drop
