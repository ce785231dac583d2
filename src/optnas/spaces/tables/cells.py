"""Whether a table's cells are those of a space: two spaces may have one name."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.spaces import Space, build_space


def space_of(name: str) -> Space | None:
    """The registered space of a name; None if there is none, or none without settings."""
    if name not in registry.names("space"):
        return None
    with contextlib.suppress(UserError):
        return build_space({"name": name})
    return None


@functools.cache
def difference(space: Space, held: Space) -> str | None:
    """The first thing in which the cells of a space, or their places, are not those of another.

    Args:
        space: one.
        held: the other, small enough to be listed: a table holds a number for each of its cells.

    Returns:
        A clause about the first, None if their cells are the same in the same order.
    """
    if space.operations != held.operations:
        told = f"its operations are {_listed(space.operations)}"
        return f"{told} where the table's are {_listed(held.operations)}"
    if (space.nodes, space.edges) != (held.nodes, held.edges):
        return f"its edges are {_listed(space.edges)} where the table's are {_listed(held.edges)}"
    if _wired(space) != _wired(held):
        return "its cells have other inputs, outputs or strides"
    if any(space.columns_at(e) != held.columns_at(e) for e in range(space.edge_count)):
        return "its edges have other operations as candidates"
    if space.order is not held.order and list(space.all()) != [
        space.architecture(cell.operations) for cell in held.all()
    ]:
        return "its cells have another order"
    return None


def check_same(
    space: Space, held: Space | None, *, key: str = "space.name", value: object = None
) -> None:
    """Refuse a space that only has the name of a table's.

    Args:
        space: whose cells are asked for.
        held: whose cells the table holds; None if that is not known.
        key: the dotted key of the space, for the error.
        value: what it was set to, for the error; the space's name if it is None.

    Raises:
        UserError: it is another space.
    """
    told = None if held is None or space is held else difference(space, held)
    if told is not None:
        raise UserError(
            f"the space is called {space.name}, but is not the {space.name} of the table: {told}",
            key=key,
            value=space.name if value is None else value,
            remedy="give it a name of its own, and a table of its own or benchmark.table=none",
        )


def _wired(space: Space) -> list[tuple[object, ...]]:
    return [
        (each.nodes, each.edges, each.inputs, each.output, each.strided, each.kept)
        for each in space.wirings
    ]


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
