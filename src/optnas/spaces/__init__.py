"""Search spaces: a cell as data, its string codec, its canonical forms and its picture.

A space is one file that builds a `Space` and registers it; nothing outside this package knows any
space by name. No module here imports torch, and the drawing imports matplotlib when it draws.
"""

from collections.abc import Mapping
from typing import Any

from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, Origins, UserError
from optnas.base.schema import name_in
from optnas.spaces.base import Architecture, Space, lexicographic
from optnas.spaces.canonical import (
    edge_expressions,
    function_string,
    functions,
    is_connected,
    supernet_string,
    unique_string,
    without_dead_edges,
)
from optnas.spaces.drawing import draw_cell
from optnas.spaces.narrowing import CANDIDATES, as_lists, narrowed
from optnas.spaces.nasbench201 import NAS_BENCH_201

__all__ = [
    "CANDIDATES",
    "NAS_BENCH_201",
    "Architecture",
    "Space",
    "build_space",
    "complete_space",
    "draw_cell",
    "edge_expressions",
    "function_string",
    "functions",
    "is_connected",
    "lexicographic",
    "narrowed",
    "supernet_string",
    "unique_string",
    "without_dead_edges",
]


def complete_space(section: Mapping[str, Any]) -> dict[str, Any]:
    """A ``[space]`` section with every setting: the space's own, and ``candidates``.

    Raises:
        UserError: there is no such space, or a setting of it is unknown or ill-typed.
    """
    name = name_in(section, "space")
    own = {key: each for key, each in section.items() if key not in ("name", CANDIDATES)}
    factory = registry.find("space", name, key="space.name")
    settings = registry.complete_settings(factory, own, section="space", besides=(CANDIDATES,))
    return {"name": name, **settings, CANDIDATES: as_lists(section.get(CANDIDATES, []))}


def build_space(section: Mapping[str, Any], *, where: object = COMMAND_LINE) -> Space:
    """The space a ``[space]`` section names.

    Args:
        section: ``name``, a registered name or ``./file.py:Object``, the space's own settings, and
            the ``candidates`` that it is narrowed to, as of `narrowed`.
        where: the file it was written in, for the error.

    Returns:
        The space; what is not given of its settings is at its default.

    Raises:
        UserError: there is no such space, a setting of it is wrong, or it is none that could be
            searched.
    """
    with Origins(where).told():
        table = complete_space(section)
        candidates = table.pop(CANDIDATES)
        try:
            space = registry.build("space", table, section="space")
            reason = None if isinstance(space, Space) else f"a {type(space).__name__}, no Space"
        except (TypeError, ValueError) as error:
            reason = str(error)
        if reason is not None:
            raise UserError(
                f"no space can be made of it ({reason})",
                key="space.name",
                value=table["name"],
                remedy="mend the function that returns it",
            )
        return narrowed(space, candidates)
