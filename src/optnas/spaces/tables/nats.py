"""The table ``nats-tss``: valid and test accuracies after 12 and 200 epochs, imported once.

``optnas benchmark import`` reads the authors' archive (`optnas.spaces.tables.nats_archive`) and
leaves one small file, ``nas-bench-201/nats-tss.npz``, in the data folder or, without one, in the
user's cache folder. It holds three arrays, questions x cells: trial mean and standard deviation in
millionths of a percent, -1 where there is none, and the number of trials. A millionth is finer than
any difference of two means (an accuracy is a count of at most 25,000 images) and coarser than the
noise of the archive's floats, so that equal cells stay equal.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from optnas.base.cache import cache_folder
from optnas.base.errors import UserError
from optnas.base.files import regular, write_atomically
from optnas.base.registry import register
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.tables.nats_archive import ARCHIVE, COVERAGE, Summary, read_archive
from optnas.spaces.tables.table import Measurements, Table, TableSource

NAME = "nats-tss"
CELLS = NAS_BENCH_201.size
RELATIVE_PATH = "nas-bench-201/nats-tss.npz"
FORMAT = 1
PER_PERCENT = 10**6  # the stored integers
DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
OBTAIN = f"run: optnas benchmark import PATH, PATH being {ARCHIVE} or a tar of it"
PROVENANCE = (
    "NATS-Bench, topology search space, official archive v1.0: accuracy of each cell,"
    " the mean over its trials; spread is their standard deviation with n - 1."
)


def path_to_write(folder: Path | None) -> Path:
    """Where an import goes: the data folder, else the user's cache folder.

    Returns:
        The path, which need not exist.
    """
    return (folder or cache_folder()) / RELATIVE_PATH


def table_path(folder: Path | None) -> Path | None:
    """Where the table is: in the data folder, else in the user's cache folder.

    Returns:
        The file, None if it is in neither.
    """
    if folder is not None and path_to_write(folder).is_file():
        return path_to_write(folder)
    try:
        path = path_to_write(None)
    except RuntimeError:  # no home, hence no cache, see `cache_folder`
        return None
    return path if path.is_file() else None


@dataclass(frozen=True)
class Imported:
    """What an import left: the file, and how many of the space's cells are in it."""

    path: Path
    held: int
    size: int


def import_archive(
    archive: Path,
    folder: Path | None,
    *,
    allow_partial: bool = False,
    on_cell: Callable[[int], None] = lambda done: None,
) -> Imported:
    """Convert the authors' archive to the table's file; nothing is written before the end.

    Args:
        archive: the folder or tar.
        folder: the data folder; None writes to the user's cache folder.
        allow_partial: also accept an archive that lacks cells. The table then answers for those it
            has and refuses the others, and all that needs every cell.
        on_cell: called with the number of cells read so far.

    Returns:
        Where it was written, and how many cells it has.

    Raises:
        UserError: the archive cannot be read or lacks cells, or nothing can be written.
    """
    try:
        path = path_to_write(folder)
    except RuntimeError as error:
        raise UserError(
            f"there is no place for the table ({error})", remedy="give a folder with --data"
        ) from error
    _check_writable(path)
    summary = read_archive(archive, on_cell)
    held, size = int(summary.held.sum()), NAS_BENCH_201.size
    if held < size and not allow_partial:
        first = int(np.argmin(summary.held))
        raise UserError(
            f"{size - held} of {size} cells are missing, the first is {first}",
            where=archive,
            remedy="fetch the whole archive, or allow it with --allow-partial",
        )
    save(summary, path, archive=archive.resolve().name)
    return Imported(path, held, size)


def _check_writable(path: Path) -> None:
    """Tell before minutes of reading, not after."""
    nearest = next(parent for parent in path.resolve().parents if parent.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        _refuse_to_write(path, "not writable")


def _refuse_to_write(path: Path, reason: str | None) -> NoReturn:
    raise UserError(
        f"cannot write the table ({reason})",
        where=path,
        remedy="give another folder with --data, or empty OPTNAS_DATA to use the cache folder",
    )


def save(summary: Summary, path: Path, *, archive: str) -> None:
    """Write the table's file in one step.

    Args:
        summary: what was read.
        path: the file.
        archive: name of the archive it was read from.

    Raises:
        UserError: it cannot be written.
    """
    facts = {
        "format": FORMAT,
        "archive": archive,
        "questions": COVERAGE.questions,
        "cells": int(summary.held.sum()),
    }

    def write(file: IO[bytes]) -> None:
        np.savez_compressed(
            file,
            facts=np.array(json.dumps(facts)),
            accuracy=_packed(summary.accuracy_QN),
            spread=_packed(summary.spread_QN),
            count=summary.count_QN.astype(np.int16),
        )

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, write)
    except OSError as error:
        _refuse_to_write(path, error.strerror)


def _packed(values: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.int32]:
    return np.rint(np.where(np.isnan(values), -1, values * PER_PERCENT)).astype(np.int32)


def _unpacked(values: np.typing.NDArray[np.int32]) -> np.typing.NDArray[np.float64]:
    return np.where(values < 0, np.nan, values / PER_PERCENT)


def load(folder: Path | None) -> Table:
    """Read the table.

    Returns:
        The table; `Table.held` says which cells it has if it was imported from a part.

    Raises:
        UserError: it was not imported, or its file is damaged.
    """
    path = table_path(folder)
    if path is None:
        raise UserError("it was not imported", where=f"table {NAME}", remedy=OBTAIN)
    facts, arrays = _read(path)
    summary = Summary(
        _unpacked(arrays["accuracy"]), _unpacked(arrays["spread"]), arrays["count"].astype(np.int64)
    )
    held = summary.held
    measurements = {
        question: Measurements(*columns)
        for question, *columns in zip(
            COVERAGE.questions,
            summary.accuracy_QN,
            summary.spread_QN,
            summary.count_QN,
            strict=True,
        )
    }
    return Table(
        name=NAME,
        space_name=NAS_BENCH_201.name,
        provenance=f"{PROVENANCE} Read from {facts['archive']}.",
        measurements=measurements,
        folder=folder,
        held=None if held.all() else held,
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.typing.NDArray[Any]]]:
    shape = (len(COVERAGE.questions), NAS_BENCH_201.size)
    questions = [list(question) for question in COVERAGE.questions]
    try:
        with _opened(path) as stored:
            facts = _facts(stored)
            arrays = {key: stored[key] for key in ("accuracy", "spread", "count")}
        good = (
            facts["format"] == FORMAT
            and facts.get("questions") == questions
            and all(v.shape == shape and v.dtype.kind == "i" for v in arrays.values())
        )
    # What numpy, zipfile and json raise on damaged bytes.
    except DAMAGE as error:
        raise UserError(
            f"the imported table is damaged ({error})", where=path, remedy=OBTAIN
        ) from error
    if not good:
        raise UserError("not a table of this version of optnas", where=path, remedy=OBTAIN)
    return facts, arrays


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    # numpy leaves a damaged file open if it is given the path.
    with regular(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
        yield stored


def _facts(stored: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(str(stored["facts"]))
    return facts


def _present(folder: Path | None) -> bool:
    """Whether it answers for every cell; a damaged file says so when it is loaded."""
    path = table_path(folder)
    if path is None:
        return False
    try:
        # Asked whenever settings are resolved: the numbers themselves are not read.
        with _opened(path) as stored:
            return bool(_facts(stored)["cells"] == CELLS)
    except DAMAGE:
        return True


@register("table", NAME)
def nats_tss() -> TableSource:
    """The official archive of NATS-Bench: valid and test, 12 and 200 epochs, trials counted."""
    return TableSource(
        name=NAME,
        space_name=NAS_BENCH_201.name,
        provenance=PROVENANCE,
        coverage=COVERAGE,
        obtain=OBTAIN,
        present=_present,
        load=load,
    )
