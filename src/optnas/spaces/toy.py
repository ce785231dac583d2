"""A cell small enough to know by heart: three nodes, three edges, four operations, 64 cells.

Every function its cells can compute was trained by ``optnas benchmark train toy``; the table ships
with the package. Numbers of edges and operations, and the columns of zero and identity, differ on
purpose from those of larger spaces: what works here takes none of them for granted.
"""

from __future__ import annotations

from optnas.base.registry import register
from optnas.spaces.base import Space

TOY = Space(
    name="toy",
    nodes=3,
    edges=((0, 1), (0, 2), (1, 2)),
    operations=("skip_connect", "nor_conv_3x3", "avg_pool_3x3", "none"),
    none=3,
    skip=0,
    weighted=(1,),
)


@register("space", "toy")
def toy() -> Space:
    """The space of 64 cells whose every function is trained in minutes on one core."""
    return TOY
