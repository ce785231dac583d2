"""What a cell's stand-alone network costs, and other ways to rank cells without training.

The network is that of NAS-Bench-201: 16 channels, 5 cells per stage, affine batch norms, 32x32
images, 10 classes. Every edge counts, dead ones too, as the benchmark built them.
"""

from __future__ import annotations

from collections.abc import Callable

from optnas.spaces.base import Architecture
from optnas.spaces.network.operations import roles

CHANNELS, CELLS, SIDE, CLASSES, IMAGE_CHANNELS = 16, 5, 32, 10, 3
WIDTHS = (CHANNELS, 2 * CHANNELS, 4 * CHANNELS)


def parameters(cell: Architecture) -> int:
    """Number of network weights.

    A convolution with kernel k at C channels has k^2 C^2 weights and its batch norm 2 C.

    Returns:
        The number, that of the NATS-Bench archive times a million.
    """
    stem = 9 * IMAGE_CHANNELS * CHANNELS + 2 * CHANNELS
    reductions = sum(9 * c * 2 * c + 9 * 4 * c * c + 2 * c * c + 2 * 4 * c for c in WIDTHS[:-1])
    head = 2 * WIDTHS[-1] + WIDTHS[-1] * CLASSES + CLASSES
    cells = CELLS * sum(k * k * c * c + 2 * c for k in kernels(cell) for c in WIDTHS)
    return stem + reductions + head + cells


def flops(cell: Architecture) -> int:
    """Multiplications of convolutions and head, and the head's additions of the bias, per image.

    k^2 C^2 per pixel of the output; batch norms, pools and sums are not counted.

    Returns:
        The number, that of the NATS-Bench archive times a million.
    """
    sides = [SIDE >> stage for stage in range(len(WIDTHS))]
    stem = SIDE**2 * 9 * IMAGE_CHANNELS * CHANNELS
    reductions = sum(
        s * s * (9 * c * 2 * c + 9 * 4 * c * c + 2 * c * c)
        for s, c in zip(sides[1:], WIDTHS[:-1], strict=True)
    )
    head = WIDTHS[-1] * CLASSES + CLASSES
    pairs = list(zip(sides, WIDTHS, strict=True))
    cells = CELLS * sum(s * s * k * k * c * c for k in kernels(cell) for s, c in pairs)
    return stem + reductions + head + cells


def kernels(cell: Architecture) -> list[int]:
    """Kernel sizes of the convolutions of a cell."""
    columns = roles(cell.space).convolutions
    return [columns[index] for index in cell.operations if index in columns]


def convolutions_3x3(cell: Architecture) -> int:
    """How many edges carry a 3x3 convolution."""
    return kernels(cell).count(3)


def fewer_skips(cell: Architecture) -> int:
    """Minus the number of edges that carry the identity."""
    return -cell.operations.count(cell.space.skip)


# Ways to rank cells without any training, which a supernet has to beat.
BASELINES: dict[str, Callable[[Architecture], int]] = {
    "convolutions_3x3": convolutions_3x3,
    "fewer_skips": fewer_skips,
    "parameters": parameters,
    "flops": flops,
}
