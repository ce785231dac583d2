"""The network that is searched in a space."""

from __future__ import annotations

from typing import Unpack

from optnas.spaces.base import Space
from optnas.spaces.network.cells import MakeCell
from optnas.spaces.network.network import Supernet
from optnas.spaces.network.protocol import BuildNetwork, SearchNetwork, Sizes


def build_network(
    space: Space, mixed_cell: MakeCell | None = None, **sizes: Unpack[Sizes]
) -> SearchNetwork:
    """The network of a space, at its initial weights.

    Args:
        space: the space; one without a network of its own has `Supernet`.
        mixed_cell: makes the mixed cell of an algorithm that brings one.
        **sizes: of the network.

    Raises:
        UserError: the space's network takes no other mixed cell, or its operations are not there.
    """
    build: BuildNetwork = space.network or Supernet
    if sizes.get("head_affine"):
        del sizes["head_affine"]  # what every network does of itself
    if mixed_cell is None:
        return build(space, **sizes)
    space.check_takes("mixed_cell", "the algorithm brings one")
    return build(space, mixed_cell=mixed_cell, **sizes)
