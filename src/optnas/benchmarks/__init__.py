"""Tabulated accuracies of every cell of a space, and the questions one may ask them.

Two tables are known: ``official`` reads a file in the user's data folder, ``analog-nasbench`` the
data file of an installed distribution. Every number they give says which table it came from.
"""

from __future__ import annotations

import os
from pathlib import Path

from optnas.benchmarks import analog, official
from optnas.benchmarks.table import COVERAGE, Coverage, Table
from optnas.errors import UserError, did_you_mean

__all__ = [
    "COVERAGE",
    "Coverage",
    "Table",
    "data_folder",
    "default_table",
    "load_table",
    "table_names",
]

DATA_VARIABLE = "OPTNAS_DATA"


def data_folder(option: Path | None) -> Path | None:
    """The folder with the user's data sets and tables; the one place that reads the environment.

    Args:
        option: what the user gave explicitly, if anything.

    Returns:
        The option, else the variable ``OPTNAS_DATA``, else None.
    """
    if option is not None:
        return option
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else None


def table_names() -> list[str]:
    """The names `load_table` accepts, sorted."""
    return sorted(COVERAGE)


def default_table(folder: Path | None) -> str:
    """The table to use when the user names none: the official one where its file is present.

    Args:
        folder: the data folder, from `data_folder`.

    Returns:
        ``official`` or ``analog-nasbench``.
    """
    present = folder is not None and official.table_path(folder).is_file()
    return official.NAME if present else analog.NAME


def load_table(name: str, *, folder: Path | None) -> Table:
    """Read a table, from the user's cache after the first time.

    Args:
        name: one of `table_names`.
        folder: the data folder, from `data_folder`; only the official table needs it.

    Returns:
        The table.

    Raises:
        UserError: there is no such table, no folder, or its file is missing or damaged.
    """
    if name not in COVERAGE:
        raise UserError(
            "there is no benchmark table of this name",
            key="table",
            value=name,
            remedy=did_you_mean(name, table_names()),
        )
    if name == analog.NAME:
        return analog.load()
    if folder is None:
        raise UserError(
            "the official table needs a data folder",
            key="table",
            value=name,
            remedy=f"set {DATA_VARIABLE} to the folder that holds {official.RELATIVE_PATH},"
            f" or use {analog.NAME}",
        )
    return official.load(folder)
