"""Converted tables in the user's cache folder; losing them costs time, never a run.

A file is named by the checksum of the data it was made from, so new data never meets an old file.
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from optnas.base.files import regular, write_atomically
from optnas.spaces.tables.table import Accuracies

LAYOUT = "v1"

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The user's cache folder, from ``OPTNAS_HOME``, ``XDG_CACHE_HOME`` or the home folder.

    Returns:
        ``$OPTNAS_HOME``, else ``$XDG_CACHE_HOME/optnas``, else ``~/.cache/optnas``; it need not
        exist. Without a home folder Python's ``RuntimeError`` passes through.
    """
    if home := os.environ.get("OPTNAS_HOME"):
        return Path(home)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "optnas"
    return Path.home() / ".cache" / "optnas"


def cached(
    name: str,
    checksum: str,
    datasets: tuple[str, ...],
    cells: int,
    convert: Callable[[], Mapping[str, Accuracies]],
) -> Mapping[str, Accuracies]:
    """Accuracies from the cache, or converted now and stored for the next time.

    Args:
        name: the table's name.
        checksum: SHA-256 of the source data, in hexadecimal.
        datasets: the data sets the table must have.
        cells: the number of accuracies of each.
        convert: reads the source data.

    Returns:
        Data set to accuracies. A cached file that cannot be read is rebuilt; a folder that cannot
        be written is done without.
    """
    try:
        path = cache_folder() / "tables" / f"{name}-{LAYOUT}-{checksum}.npz"
    except RuntimeError as error:
        _log.debug("no cache folder: %s", error)
        return convert()
    found = _read(path, datasets, cells)
    if found is not None:
        return found
    accuracies = convert()
    try:
        _write(path, accuracies)
    except OSError as error:
        _log.debug("table not cached: %s", error)
    return accuracies


def _read(path: Path, datasets: tuple[str, ...], cells: int) -> dict[str, Accuracies] | None:
    try:
        # numpy leaves a damaged file open if it is given the path.
        with regular(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {dataset: arrays[dataset] for dataset in datasets}
    except FileNotFoundError:
        return None
    # What numpy and zipfile raise on damaged bytes: bad header, bad sum, unknown method, no entry.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        _log.debug("cached table %s is damaged, rebuilding it: %s", path, error)
        return None
    good = all(v.shape == (cells,) and v.dtype == np.float64 for v in found.values())
    return found if good else None


def _write(path: Path, accuracies: Mapping[str, Accuracies]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: np.savez(file, **accuracies))  # type: ignore[arg-type]
