"""The networks of a space: the one that is searched, and those of its architectures."""

from __future__ import annotations

from typing import Any, Unpack

from optnas.spaces.base import Architecture, Space
from optnas.spaces.network.cells import MakeCell
from optnas.spaces.network.fixed import Network
from optnas.spaces.network.network import Supernet
from optnas.spaces.network.protocol import (
    BuildFixed,
    BuildNetwork,
    FixedNetwork,
    SearchNetwork,
    Sizes,
)


def build_network(
    space: Space,
    mixed_cell: MakeCell | None = None,
    *,
    auxiliary: bool = False,
    **sizes: Unpack[Sizes],
) -> SearchNetwork:
    """The network of a space, at its initial weights.

    Args:
        space: the space; one without a network of its own has `Supernet`.
        mixed_cell: makes the mixed cell of an algorithm that brings one.
        auxiliary: whether operation weights may hold an auxiliary skip, which is a branch of its
            own where edges are strided; elsewhere it is more weight on the skip.
        **sizes: of the network.

    Raises:
        UserError: the space's network takes no other mixed cell or auxiliary skip, or its
            operations are not there.
    """
    build: BuildNetwork = space.network or Supernet
    if sizes.get("head_affine"):
        del sizes["head_affine"]  # what every network does of itself
    more: dict[str, Any] = {}
    if mixed_cell is not None:
        space.check_takes("mixed_cell", "the algorithm brings one")
        more["mixed_cell"] = mixed_cell
    if auxiliary and space.strided:
        space.check_takes("auxiliary", "the algorithm has an auxiliary skip")
        more["auxiliary"] = True
    return build(space, **more, **sizes)


def build_fixed(architecture: Architecture, **sizes: Unpack[Sizes]) -> FixedNetwork:
    """The network of one architecture, at its initial weights, to be trained from scratch.

    Args:
        architecture: of a space; one without a network of its own has `Network`.
        **sizes: of the network; and ``auxiliary``, whether there is an auxiliary head, where
            `Space.regularized`.

    Raises:
        UserError: no such network is known for the space.
    """
    build: BuildFixed = architecture.space.fixed or Network
    return build(architecture, **sizes)
