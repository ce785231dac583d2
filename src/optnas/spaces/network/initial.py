"""PyTorch's default initialisation, drawn from a named generator instead of the global one."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def uniform_fan_in(
    shape: tuple[int, ...], fan_in: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Uniform on (-1/sqrt(fan_in), 1/sqrt(fan_in)): what torch's Conv2d and Linear start from.

    torch writes it as Kaiming uniform with a = sqrt(5): gain sqrt(2 / (1 + 5)), bound
    gain sqrt(3 / fan_in) = 1 / sqrt(fan_in). Drawn in double precision on the CPU, so that the
    values depend on neither device nor dtype.

    Args:
        shape: of the tensor.
        fan_in: inputs that feed one output.
        generator: a CPU generator; it advances.
        dtype: of the result.

    Returns:
        A fresh tensor on the CPU.
    """
    bound = 1 / math.sqrt(fan_in)
    draws = torch.rand(shape, generator=generator, dtype=torch.float64)
    return ((2 * draws - 1) * bound).to(dtype)
