"""The candidate operations a supernet can run, told from their names in the space."""

from __future__ import annotations

import re
from dataclasses import dataclass

from optnas.spaces.base import Space


@dataclass(frozen=True)
class Roles:
    """Which column of the operation weights plays which part.

    Attributes:
        convolutions: column -> kernel size of its ReLU-convolution-batch-norm block.
        pools: columns of 3x3 average pools.
        identities: columns of skip connections.
    """

    convolutions: dict[int, int]
    pools: tuple[int, ...]
    identities: tuple[int, ...]


def roles(space: Space) -> Roles:
    """Sort a space's operations by what the supernet has to compute for them.

    ``none`` plays no part: it costs nothing and gets no gradient.

    Returns:
        The columns by role.

    Raises:
        ValueError: the supernet knows no such operation.
    """
    convolutions, pools, identities = {}, [], []
    for column, name in enumerate(space.operations):
        if match := re.fullmatch(r"nor_conv_(\d)x\1", name):
            convolutions[column] = int(match[1])
        elif name == "avg_pool_3x3":
            pools.append(column)
        elif column == space.skip:
            identities.append(column)
        elif column != space.none:
            raise ValueError(f"the supernet knows no operation {name!r}")
    return Roles(convolutions, tuple(pools), tuple(identities))
