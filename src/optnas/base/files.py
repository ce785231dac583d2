"""Files that are either the old ones or the new ones, whatever happens in between."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import importlib.util
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from optnas.base.errors import UserError

TEMPORARY = ".partial"
_HALF_WRITTEN = re.compile(rf"(?P<name>.+)\.(?P<process>[0-9]{{1,9}}){re.escape(TEMPORARY)}")


def in_package(package: str, name: str) -> Path | None:
    """A file of an installed package, found without importing it.

    Args:
        package: the package's name.
        name: the file's path inside it.

    Returns:
        The file, None if the package or the file is not there.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec else []
    paths = (Path(folder) / name for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def present(path: Path) -> bool:
    """Whether something has this name: a link that leads nowhere is damage, and no absent file.

    Raises:
        PermissionError: it cannot be told: a folder above may not be entered.
    """
    try:
        os.lstat(path)
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False
    return True


def with_name_of_its_own(path: Path) -> Path:
    """The path, from the root where it ends in ``.`` or ``..``: its last part is then a name."""
    return path.resolve() if path.name in ("", "..") else path


def inside(folder: Path, pattern: str) -> list[Path]:
    """What a folder holds under names of a pattern, sorted; nothing of one that is not there.

    Args:
        folder: the folder.
        pattern: of the names, such as ``*.toml``.

    Raises:
        PermissionError: the folder may not be read; `Path.glob` would find nothing.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(folder / name for name in names if fnmatch.fnmatchcase(name, pattern))


def regular(path: Path) -> Path:
    """The path itself, unless opening it could wait for ever or reading it never end.

    Args:
        path: what is to be read as a file; it need not exist.

    Raises:
        UserError: it is a pipe, a socket or a device, or no path at all.
    """
    try:
        mode = path.stat().st_mode
    except OSError:  # whoever opens it tells why
        return path
    except ValueError as error:  # a null byte in it
        raise UserError(f"is no path ({error})", where=path, remedy="check the path") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(
            "is a pipe, a socket or a device, and no file",
            where=path,
            remedy="put its content into a file, and name that",
        )
    return path


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(
    path: Path, write: Callable[[IO[bytes]], Any], *, keep: Path | None = None
) -> None:
    """Replace a file in one step: temporary file beside it, fsync, rename, fsync of the folder.

    What killed processes left of the same file is removed first.

    Args:
        path: the file.
        write: writes the content to the open temporary file.
        keep: where what stood there before is kept; there is a file at ``path`` at every moment.
    """
    # The process is in the name: two may write one cache file at the same time.
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    drop_leftovers(path.parent, path.name)
    try:
        with temporary.open("wb") as file:
            # Held, so that another machine, which does not know the process, lets it be.
            with contextlib.suppress(OSError):
                _grab(file.fileno())
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if keep is not None and path.exists():
                drop_leftovers(keep.parent, keep.name)
                _keep(path, keep)
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def drop_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what processes that are gone left half-written; nothing where that is refused.

    Args:
        folder: where they wrote.
        name: the file that they wrote; None for every file.
    """
    left: list[os.DirEntry[str]] = []
    with contextlib.suppress(OSError):
        left += os.scandir(folder)
    for entry in left:
        match = _HALF_WRITTEN.fullmatch(entry.name)
        with contextlib.suppress(OSError):
            if (
                match
                and name in (None, match["name"])
                and not _alive(int(match["process"]))
                and not is_locked(Path(entry.path))
            ):
                os.unlink(entry.path)


def replaced(path: Path) -> str | None:
    """The name of what a process set a folder aside for, None for a path of another name."""
    match = _HALF_WRITTEN.fullmatch(path.name)
    return match["name"][1:] if match and match["name"].startswith(".") else None


def _alive(process: int) -> bool:
    """Whether a process of this machine has this id, whoever it belongs to."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _keep(path: Path, other: Path) -> None:
    """Give a file a second name, whatever had that name before."""
    partial = other.with_name(f"{other.name}.{os.getpid()}{TEMPORARY}")
    try:
        partial.unlink(missing_ok=True)
        try:
            os.link(path, partial)
        except OSError:  # a file system without second names
            shutil.copyfile(path, partial)
        os.rename(partial, other)
    finally:
        # Where both names are one file already, as a kill may leave them, a rename does nothing.
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(what: str, *, key: str, path: Path) -> Iterator[None]:
    """Tell bad input where a file the user named cannot be written.

    Args:
        what: the file, in words.
        key: the option that named it.
        path: its value.

    Yields:
        Nothing.

    Raises:
        UserError: the block could not write.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {what} ({error.strerror})",
            key=key,
            value=str(path),
            remedy="choose a folder that can be written",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step."""
    write_atomically(path, lambda file: file.write(content))


def append_text(path: Path, text: str) -> int:
    """Append to a text file and wait until it is on disk.

    Args:
        path: the file.
        text: what to append, whole lines.

    Returns:
        The length of the file after it, in bytes.
    """
    with regular(path).open("ab") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def append_lines(path: Path, text: str) -> None:
    """As `append_text`, beginning a line even where a power cut or a full disk tore the last one.

    Args:
        path: the file, whose readers leave out a torn line.
        text: what to append, whole lines.
    """
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    append_text(path, ("\n" if torn else "") + text)


ATTEMPTS = 5


def _grab(descriptor: int, *, shared: bool = False, pause: float = 0.0) -> bool:
    time.sleep(pause)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def lock(path: Path, busy: Exception) -> Iterator[None]:
    """Hold a file alone, made if it is not there. The kernel frees it however the process ends.

    Args:
        path: the file; an ``OSError`` says that it cannot be opened for writing.
        busy: raised if another process holds it.

    Yields:
        Nothing; the file is held inside the block.
    """
    # As open() makes files: in a folder that a group shares, others of it go on with the run.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
    try:
        # `is_locked` elsewhere may hold it for an instant.
        if not any(_grab(descriptor, pause=0.02 * attempt) for attempt in range(ATTEMPTS)):
            raise busy
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds the file at this moment; one that is not there is not held.

    Raises:
        PermissionError: it cannot be told: the file may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except PermissionError:
        raise
    except OSError:
        return False
    try:
        return not _grab(descriptor, shared=True)
    finally:
        os.close(descriptor)
