"""The space of DARTS: a normal and a reduction cell, fourteen edges each, eight operations.

Each cell reads the outputs of the two cells before it; its output is its four inner nodes, joined.
A derived cell keeps the two strongest edges into each node, each with one operation.

Reference: Liu, Simonyan and Yang, ICLR 2019, section 3 and appendix A. ``darts-s3`` is that of Zela
et al., ICLR 2020, section 4: three operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optnas.base.registry import register
from optnas.spaces.base import Space
from optnas.spaces.operations import darts as operations
from optnas.spaces.operations.nasbench201 import none
from optnas.spaces.wiring import Wiring

if TYPE_CHECKING:
    from optnas.spaces.network.protocol import SearchNetwork

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
}


def network(space: Space, **sizes: Any) -> SearchNetwork:
    """The network that is searched; torch is loaded here."""
    from optnas.spaces.network.darts import TwoInputs

    return TwoInputs(space, **sizes)


def of(name: str, names: tuple[str, ...]) -> Space:
    """The cells of DARTS with some of its operations, ``none`` first.

    Args:
        name: of the space.
        names: of the operations, in the order of alpha's columns.
    """
    return Space.of_wirings(
        name,
        (NORMAL, REDUCE),
        names,
        none=names.index("none"),
        skip=names.index("skip_connect"),
        weighted=tuple(place for place, each in enumerate(names) if "conv" in each),
        own={each: OPERATIONS[each] for each in names},
        network=network,
    )


DARTS = of("darts", tuple(OPERATIONS))
S3 = of("darts-s3", ("none", "skip_connect", "sep_conv_3x3"))


@register("space", "darts")
def darts() -> Space:
    """The space of DARTS; no table of its cells exists."""
    return DARTS


@register("space", "darts-s3")
def darts_s3() -> Space:
    """S3 of RobustDARTS: zero, identity and separable convolution, where DARTS learns skips."""
    return S3
