"""Arrays in the user's cache folder; losing them costs time, never a run.

A file is named by what its arrays were made from, so new data never meets an old file. Two
processes that make the same file at once both put a whole one in place.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optnas.base.files import TEMPORARY, regular, write_atomically

# Converted benchmark tables; decoded halves of data sets.
PLACES = ("tables", "halves")
# Bytes that one of the places may hold; those not used for longest go first.
LIMIT = 2 << 30

_log = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]


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


def digest(*parts: str | bytes) -> str:
    """A name for what arrays were made from: SHA-256 over the parts, in hexadecimal."""
    content = hashlib.sha256()
    for part in parts:
        content.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return content.hexdigest()


def cached(
    place: str,
    name: str,
    good: Callable[[Arrays], bool],
    convert: Callable[[], Arrays],
) -> Arrays:
    """Arrays from the cache, or made now and stored for the next time.

    Args:
        place: one of `PLACES`.
        name: of the file, without its ending: it says what the arrays were made from.
        good: whether arrays found there have the names, shapes and types that are needed.
        convert: makes them.

    Returns:
        The arrays. A cached file that cannot be read is made anew; a folder that cannot be written
        is done without.
    """
    try:
        path = cache_folder() / place / f"{name}.npz"
    except RuntimeError as error:
        _log.debug("no cache folder: %s", error)
        return convert()
    found = _read(path)
    if found is not None and good(found):
        with contextlib.suppress(OSError):
            os.utime(path)  # used last now, see `LIMIT`
        return found
    made = convert()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: np.savez(file, **made))  # type: ignore[arg-type]
        _keep_within(path)
    except OSError as error:
        _log.debug("not cached: %s", error)
    return made


def _read(path: Path) -> Arrays | None:
    try:
        # numpy leaves a damaged file open if it is given the path.
        with regular(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except FileNotFoundError:
        return None
    # What numpy and zipfile raise on damaged bytes: bad header, bad sum, unknown method, no entry.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        _log.debug("cached file %s is damaged, made anew: %s", path, error)
        return None


def _keep_within(newest: Path) -> None:
    files = sorted(_files(newest.parent), key=lambda each: each.used)
    held = sum(each.size for each in files)
    for each in files:
        if held > LIMIT and each.path != newest:
            each.path.unlink(missing_ok=True)
            held -= each.size


@dataclass(frozen=True)
class Cached:
    """A file of the cache.

    Attributes:
        path: the file.
        size: in bytes.
        used: when it was written or used last, in seconds since 1970.
    """

    path: Path
    size: int
    used: float


def contents() -> dict[str, list[Cached]]:
    """The files of each place, the newest first."""
    folder = cache_folder()
    return {place: sorted(_files(folder / place), key=lambda each: -each.used) for place in PLACES}


def _files(folder: Path) -> list[Cached]:
    found = []
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process cleared it
            state = path.stat()
            if path.suffix == ".npz" or path.name.endswith(TEMPORARY):
                found.append(Cached(path, state.st_size, state.st_mtime))
    return found


def clear() -> int:
    """Remove every file of the cache; what a process reads at the moment it has read whole.

    Returns:
        Bytes that were removed.
    """
    removed = 0
    for files in contents().values():
        for each in files:
            each.path.unlink(missing_ok=True)
            removed += each.size
    return removed
