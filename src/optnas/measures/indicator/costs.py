"""What a cell's stand-alone network costs, and other ways to rank cells without training.

The network is that of NAS-Bench-201: 16 channels, 5 cells per stage, affine batch norms, 32x32
images, 10 classes. Every edge counts, dead ones too, as the benchmark built them. A space that
brings a network of its own is asked for that of the cell, of the same sizes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from optnas.spaces.base import Architecture
from optnas.spaces.operations.base import Operation, Site

CHANNELS, CELLS, SIDE, CLASSES, IMAGE_CHANNELS = 16, 5, 32, 10, 3
WIDTHS = (CHANNELS, 2 * CHANNELS, 4 * CHANNELS)


def parameters(cell: Architecture) -> int:
    """Number of network weights.

    A convolution with kernel k at C channels has k^2 C^2 weights, a batch norm 2 C.

    Returns:
        The number, that of the NATS-Bench archive times a million.
    """
    if cell.space.network is not None:
        return _counted(cell)[0]
    stem = 9 * IMAGE_CHANNELS * CHANNELS + 2 * CHANNELS
    reductions = sum(9 * c * 2 * c + 9 * 4 * c * c + 2 * c * c + 2 * 4 * c for c in WIDTHS[:-1])
    head = 2 * WIDTHS[-1] + WIDTHS[-1] * CLASSES + CLASSES
    sites = [(operation, Site(c, c)) for operation in _built(cell) for c in WIDTHS]
    cells = CELLS * sum(
        _filters(operation, site) + 2 * sum(operation.norms(site).values())
        for operation, site in sites
    )
    return stem + reductions + head + cells


def flops(cell: Architecture) -> int:
    """Multiplications of convolutions and head, and the head's additions of the bias, per image.

    k^2 C^2 per pixel of the output; batch norms, pools and sums are not counted.

    Returns:
        The number, that of the NATS-Bench archive times a million.
    """
    if cell.space.network is not None:
        return _counted(cell)[1]
    sides = [SIDE >> stage for stage in range(len(WIDTHS))]
    stem = SIDE**2 * 9 * IMAGE_CHANNELS * CHANNELS
    reductions = sum(
        s * s * (9 * c * 2 * c + 9 * 4 * c * c + 2 * c * c)
        for s, c in zip(sides[1:], WIDTHS[:-1], strict=True)
    )
    head = WIDTHS[-1] * CLASSES + CLASSES
    pairs = list(zip(sides, WIDTHS, strict=True))
    cells = CELLS * sum(
        s * s * _filters(operation, Site(c, c)) for operation in _built(cell) for s, c in pairs
    )
    return stem + reductions + head + cells


@functools.lru_cache(maxsize=10_000)
def _counted(cell: Architecture) -> tuple[int, int]:
    """Weights, and multiplications per image, of the network that a space brings for a cell.

    Both are 0 of all cells, so that nothing is ranked, where it brings none.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode  # takes seconds to import

    build = cell.space.fixed
    if build is None:
        return 0, 0
    network = build(
        cell,
        channels=CHANNELS,
        cells=CELLS,
        classes=CLASSES,
        image_channels=IMAGE_CHANNELS,
        generator=torch.Generator().manual_seed(0),
    )
    image = torch.zeros(1, IMAGE_CHANNELS, SIDE, SIDE)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image, statistics=network.initial_statistics())
    weights = sum(weight.numel() for weight in network.weights.values())
    return weights, counter.get_total_flops() // 2


def _built(cell: Architecture) -> list[Operation]:
    """The operations that the edges of a cell carry."""
    candidates = cell.space.candidates()
    return [candidates[index] for index in cell.operations if index != cell.space.none]


def _filters(operation: Operation, site: Site) -> int:
    """Number of weights of an operation's filters, which act on each pixel of its output."""
    return sum(math.prod(shape) for shape in operation.filters(site).values())


def convolutions_3x3(cell: Architecture) -> int:
    """How many edges carry a ReLU-convolution-batch-norm of 3x3."""
    return [operation.kernel for operation in _built(cell)].count(3)


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
