"""The spaces of DARTS: a normal and a reduction cell, fourteen edges each.

Each cell reads the outputs of the two cells before it; its output is its four inner nodes, joined.
A derived cell keeps the two strongest edges into each node, each with one operation.

References: Liu, Simonyan and Yang, ICLR 2019, section 3 and appendix A: ``darts``. Zela et al.,
ICLR 2020, section 4, and their published code: S1 to S4, spaces in which DARTS learns skips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optnas.base.registry import register
from optnas.spaces.base import Architecture, Space
from optnas.spaces.operations import darts as operations
from optnas.spaces.operations.nasbench201 import none
from optnas.spaces.wiring import Wiring

if TYPE_CHECKING:
    from optnas.spaces.network.protocol import RegularizedNetwork, SearchNetwork

EDGES = tuple((source, target) for target in range(2, 6) for source in range(target))
INPUTS = tuple(place for place, (source, _) in enumerate(EDGES) if source < 2)
NORMAL = Wiring("normal", 6, EDGES, inputs=2, output="concat", kept=2)
REDUCE = Wiring("reduce", 6, EDGES, inputs=2, output="concat", strided=INPUTS, kept=2)
OPERATIONS = {
    "none": none,
    "max_pool_3x3": operations.max_pool_3x3,
    "avg_pool_3x3": operations.avg_pool_3x3,
    "skip_connect": operations.skip_connect,
    "sep_conv_3x3": operations.sep_conv_3x3,
    "sep_conv_5x5": operations.sep_conv_5x5,
    "dil_conv_3x3": operations.dil_conv_3x3,
    "dil_conv_5x5": operations.dil_conv_5x5,
    "noise": operations.noise,
}
# In the network of one architecture.
DERIVED = OPERATIONS | {
    "max_pool_3x3": operations.derived_max_pool_3x3,
    "avg_pool_3x3": operations.derived_avg_pool_3x3,
}
# The two candidates of each edge of S1, the columns of alpha in their order.
MAX, AVG, SKIP, SEP3, DIL3, DIL5 = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
S1_NORMAL = (
    *((SKIP, DIL3), (SKIP, DIL5)),
    *((SKIP, DIL5), (SKIP, SEP3), (SKIP, DIL3)),
    *((MAX, SKIP), (SKIP, SEP3), (SKIP, SEP3), (SKIP, DIL3)),
    *((SKIP, SEP3), (MAX, SKIP), (SKIP, DIL3), (DIL3, DIL5), (DIL3, DIL5)),
)
S1_REDUCE = (
    *((MAX, AVG), (MAX, DIL3)),
    *((MAX, AVG), (MAX, AVG), (SKIP, DIL5)),
    *((MAX, AVG), (MAX, SEP3), (SKIP, DIL3), (SKIP, DIL5)),
    *((MAX, AVG), (MAX, AVG), (SKIP, DIL5), (SKIP, DIL5), (SKIP, DIL5)),
)


def network(space: Space, *, auxiliary: bool = False, **sizes: Any) -> SearchNetwork:
    """The network that is searched; torch is loaded here."""
    from optnas.spaces.network.darts import TwoInputs

    return TwoInputs(space, auxiliary=auxiliary, **sizes)


def fixed(
    architecture: Architecture, *, auxiliary: bool = False, **sizes: Any
) -> RegularizedNetwork:
    """The network of one architecture; torch is loaded here."""
    from optnas.spaces.network.darts_fixed import FixedTwoInputs

    return FixedTwoInputs(architecture, DERIVED, auxiliary=auxiliary, **sizes)


def of(
    name: str, names: tuple[str, ...], by_edge: tuple[tuple[str, ...], ...] | None = None
) -> Space:
    """The cells of DARTS with some of its operations.

    Args:
        name: of the space.
        names: of the operations, ``none`` among them.
        by_edge: those of each edge, in the order of alpha's columns; by default all on each.
    """
    return Space.of_wirings(
        name,
        (NORMAL, REDUCE),
        names,
        none=names.index("none"),
        skip=names.index(SKIP) if SKIP in names else None,
        weighted=tuple(place for place, each in enumerate(names) if "conv" in each),
        own={each: OPERATIONS[each] for each in names},
        network=network,
        fixed=fixed,
        multiple=4,  # two halvings, each of even sides
        columns=tuple(tuple(map(names.index, each)) for each in by_edge or ()),
    )


DARTS = of("darts", tuple(name for name in OPERATIONS if name != "noise"))
S1 = of("darts-s1", ("none", MAX, AVG, SKIP, SEP3, DIL3, DIL5), S1_NORMAL + S1_REDUCE)
S2 = of("darts-s2", ("none", SKIP, SEP3), 28 * ((SKIP, SEP3),))
S3 = of("darts-s3", ("none", SKIP, SEP3))
S4 = of("darts-s4", ("none", "noise", SEP3), 28 * (("noise", SEP3),))


@register("space", "darts")
def darts() -> Space:
    """The space of DARTS; no table of its cells exists."""
    return DARTS


@register("space", "darts-s1")
def darts_s1() -> Space:
    """S1 of RobustDARTS: on each edge the two operations that a search had left there."""
    return S1


@register("space", "darts-s2")
def darts_s2() -> Space:
    """S2 of RobustDARTS: identity and separable convolution."""
    return S2


@register("space", "darts-s3")
def darts_s3() -> Space:
    """S3 of RobustDARTS: zero, identity and separable convolution, where DARTS learns skips."""
    return S3


@register("space", "darts-s4")
def darts_s4() -> Space:
    """S4 of RobustDARTS: noise and separable convolution."""
    return S4
