"""The space of NAS-Bench-Macro: eight layers in a row, three operations, 6,561 networks.

A "cell" of this space is the whole network between stem and head. Source: Su et al., Prioritized
Architecture Sampling with Monto-Carlo Tree Search, CVPR 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from optnas.base.registry import register
from optnas.spaces.base import Architecture, Space
from optnas.spaces.wiring import Wiring

if TYPE_CHECKING:
    from optnas.spaces.network.protocol import FixedNetwork, SearchNetwork, Sizes

LAYERS = 8
# The first layers of stages of 2, 3 and 3: they halve height and width and double the channels.
FIRST = (0, 2, 5)


def _chain(
    space: Space, *, auxiliary: bool = False, head_affine: bool = True, **sizes: Any
) -> SearchNetwork:
    from optnas.spaces.network.chain import Chain

    return Chain(space, auxiliary=auxiliary, head_affine=head_affine, **sizes)


def _fixed_chain(architecture: Architecture, **sizes: Unpack[Sizes]) -> FixedNetwork:
    from optnas.spaces.network.chain import FixedChain

    return FixedChain(architecture, **sizes)


# The official order is that of the benchmark's keys, one digit a layer.
NAS_BENCH_MACRO = Space.of_wirings(
    "nas-bench-macro",
    (Wiring("chain", LAYERS + 1, tuple((i, i + 1) for i in range(LAYERS)), strided=FIRST),),
    ("identity", "mb3_k3", "mb6_k5"),
    none=None,
    skip=0,
    weighted=(1, 2),
    network=_chain,
    fixed=_fixed_chain,
    halvings=len(FIRST),
)


@register("space", "nas-bench-macro")
def nas_bench_macro() -> Space:
    """The space of NAS-Bench-Macro, whose every network has been trained three times."""
    return NAS_BENCH_MACRO
