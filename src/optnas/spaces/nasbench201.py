"""The cell of NAS-Bench-201: four nodes, six edges, five operations, 15,625 cells.

Reference: NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, ICLR 2020.
"""

from __future__ import annotations

import random

from optnas.base.registry import register
from optnas.spaces.base import Operations, Space, lexicographic

ORDER_SEED = 88


def official_order(edge_count: int, operation_count: int) -> list[Operations]:
    """All cells in the order of the benchmark's own files, where cell 0 has index 0.

    The benchmark's generation script lists the product of the operations over the six edges and
    shuffles that list with Python's generator seeded by 88. Checked row by row against the 15,625
    rows of the published order.

    Args:
        edge_count: 6.
        operation_count: 5.

    Returns:
        The 15,625 tuples of operation indices.
    """
    cells = lexicographic(edge_count, operation_count)
    random.Random(ORDER_SEED).shuffle(cells)
    return cells


NAS_BENCH_201 = Space(
    name="nas-bench-201",
    nodes=4,
    edges=((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)),
    operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    none=0,
    skip=1,
    weighted=(2, 3),
    order=official_order,
)


@register("space", "nas-bench-201")
def nas_bench_201() -> Space:
    """The space of NAS-Bench-201, whose every cell has been trained and tabulated."""
    return NAS_BENCH_201
