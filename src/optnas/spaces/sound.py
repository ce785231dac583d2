"""What a space must be to be searched, told where it is built."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optnas.spaces.base import Space

# What an operation of this name is, wherever it comes from: the field that holds its index.
MEANS = {"none": "none", "skip_connect": "skip"}


def check_sound(space: Space) -> None:
    """Refuse a space whose parts contradict each other.

    Args:
        space: the space, its kinds of cell known.

    Raises:
        ValueError: they do.
    """
    name = space.name
    if space.edges != tuple(edge for wiring in space.wirings for edge in wiring.edges):
        raise ValueError(f"edges of {name} are not those of its wirings")
    _check_operations(space)
    if space.columns and not (
        len(space.columns) == len(space.edges) and len(set(map(len, space.columns))) == 1
    ):
        raise ValueError(f"{name} needs columns for each edge, as many on each")
    if space.operation_count < 2:
        raise ValueError(f"{name} leaves a search no choice: an edge needs two operations or more")
    if space.none is None and space.keeps_some:
        raise ValueError(f"{name} leaves edges out and has no operation that outputs zero")


def _check_operations(space: Space) -> None:
    names = space.operations
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise ValueError(f"{space.name} has the operation {twice[0]} twice")
    named = {space.skip, space.none, *space.weighted, *itertools.chain(*space.columns)} - {None}
    if not named <= set(range(len(names))):
        raise ValueError(f"an operation index of {space.name} is out of range")
    for operation, key in MEANS.items():
        said = getattr(space, key)
        if operation in names and said != names.index(operation):
            told = "None" if said is None else f"{said}, which is {names[said]}"
            raise ValueError(
                f"{key} of {space.name} is {told}: {operation} is {names.index(operation)}"
            )
    for operation, factory in space.own.items():
        if not callable(factory):
            raise ValueError(
                f"own operation {operation} of {space.name} is a {type(factory).__name__}: give a "
                "function that returns an Operation"
            )
