"""What a space must be to be searched, told where it is built."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from optnas.spaces.wiring import Edge, Wiring

# What an operation of this name is, wherever it comes from: the field that holds its index.
MEANS = {"none": "none", "skip_connect": "skip"}


class _Parts(Protocol):
    """What is looked at of an `optnas.spaces.base.Space`: that file imports this one."""

    @property
    def name(self) -> str: ...

    @property
    def edges(self) -> tuple[Edge, ...]: ...

    @property
    def wirings(self) -> tuple[Wiring, ...]: ...

    @property
    def columns(self) -> tuple[tuple[int, ...], ...]: ...

    @property
    def operations(self) -> tuple[str, ...]: ...

    @property
    def operation_count(self) -> int: ...

    @property
    def none(self) -> int | None: ...

    @property
    def skip(self) -> int | None: ...

    @property
    def weighted(self) -> tuple[int, ...]: ...

    @property
    def keeps_some(self) -> bool: ...

    @property
    def own(self) -> Mapping[str, Callable[[], Any]]: ...


def check_sound(space: _Parts) -> None:
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


def _check_operations(space: _Parts) -> None:
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
