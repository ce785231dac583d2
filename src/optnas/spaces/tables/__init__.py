"""Tabulated accuracies of every cell of a space, and the questions one may ask them.

A table is one file here (`TableSource`); `optnas.base.registry` finds it. Every number a table
gives says which table it came from.
"""

from __future__ import annotations

from pathlib import Path

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.folder import Place, folder_path
from optnas.spaces import Space
from optnas.spaces.tables.coverage import Coverage, Question
from optnas.spaces.tables.folders import DATA_VARIABLE, data_folder
from optnas.spaces.tables.table import (
    KIND,
    Measurements,
    Table,
    TableSource,
    find_source,
    sources,
)

__all__ = [
    "DATA_VARIABLE",
    "NO_TABLE",
    "Coverage",
    "Measurements",
    "Question",
    "Table",
    "TableSource",
    "data_folder",
    "default_table",
    "find_source",
    "load_table",
    "sources",
    "table_names",
]

# What a run on a space without a table names: no accuracy is recorded.
NO_TABLE = Table("none", "", "No table was asked.", {})
# Which table answers when the user names none: the first of these that is there, then any other of
# the space. The one place that knows tables by name.
PREFERENCE = ("official", "nats-tss", "analog-nasbench")


def table_names() -> list[str]:
    """The names of all registered tables, sorted."""
    return registry.names(KIND)


def default_table(folder: Path | None, space: Space) -> str:
    """The table to use when the user names none: the preferred one of those that are there.

    Args:
        folder: the data folder, from `data_folder`.
        space: the space whose cells are asked for.

    Returns:
        The table's name; if no table is present, that of the preferred one, so that loading it says
        how to get it.

    Raises:
        UserError: no table holds cells of the space, or only those of another of its name.
    """
    preferred = [find_source(name) for name in PREFERENCE]
    candidates = [source for source in preferred if source.space_name == space.name]
    found = next((each for each in candidates if each.present(folder) and each.holds(space)), None)
    if found is not None:
        return found.name
    # The others are declared only now: one that cannot be is no obstacle to a preferred one.
    candidates += [source for source in sources(space.name) if source.name not in PREFERENCE]
    if not candidates:
        raise UserError(
            f"no benchmark table holds cells of {space.name}",
            key="benchmark.table",
            value="auto",
            remedy=f"set benchmark.table={NO_TABLE.name} to do without,"
            " or name one as ./file.py:Object",
        )
    if not any(each.holds(space) for each in candidates):
        candidates[0].check_holds(space)
    candidates = [each for each in candidates if each.holds(space)]
    return next((each for each in candidates if each.present(folder)), candidates[0]).name


def load_table(name: str, *, folder: Place | None) -> Table:
    """Read a table, from the user's cache after the first time.

    Args:
        name: one of `table_names`, ``./file.py:Object``, or ``none``.
        folder: the data folder, such as `data_folder` says.

    Returns:
        The table, with every cell of its space. A name that is not there, or a table that is
        missing, damaged or lacks cells, is a `UserError`.
    """
    if name == NO_TABLE.name:
        return NO_TABLE
    table = find_source(name).load(None if folder is None else folder_path(folder))
    table.require_whole()
    return table
