"""What the layouts on disk share: files found by name, and labels checked.

Shape letters as in `optnas.data.sets.base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optnas.base.errors import UserError

FIX_FILE = "copy the file again"


def needs_folder(folder: Path | None, name: str, *layouts: str) -> Path:
    """The data folder, or an error that says what it should hold.

    Args:
        folder: the data folder, if the user named one.
        name: the data set's name.
        layouts: the files that would do, as paths below the folder.

    Returns:
        The folder.

    Raises:
        UserError: none was named.
    """
    if folder is None:
        raise UserError(f"{name} needs a data folder", key="data.folder", remedy=fix(*layouts))
    return Path(folder)


def fix(*layouts: str) -> str:
    """The remedy for missing files: where they should lie."""
    return f"set OPTNAS_DATA or data.folder=FOLDER, where FOLDER holds {' or '.join(layouts)}"


def matching(folder: Path, pattern: str, remedy: str) -> tuple[Path, ...]:
    """The files of a folder that match a pattern, sorted by name.

    Args:
        folder: where they lie.
        pattern: such as ``train-*.parquet``.
        remedy: what to do if there are none.

    Returns:
        At least one path.

    Raises:
        UserError: there is no such folder or file.
    """
    if not folder.is_dir():
        raise UserError("there is no such folder", where=folder, remedy=remedy)
    files = tuple(sorted(folder.glob(pattern)))
    if not files:
        raise UserError(f"the folder has no {pattern}", where=folder, remedy=remedy)
    return files


def named(folder: Path, names: Sequence[str], remedy: str) -> tuple[Path, ...]:
    """The files of a folder with these names, in this order.

    Args:
        folder: where they lie.
        names: all of them are needed.
        remedy: what to do if one is missing.

    Returns:
        Their paths.

    Raises:
        UserError: there is no such folder, or a file is missing.
    """
    if not folder.is_dir():
        raise UserError("there is no such folder", where=folder, remedy=remedy)
    for name in names:
        if not (folder / name).is_file():
            raise UserError(f"the folder has no {name}", where=folder, remedy=remedy)
    return tuple(folder / name for name in names)


def checked_label(label: int | None, labels: range, path: Path, key: str) -> int:
    """A label as a number, if it is one of those that may occur.

    Args:
        label: as the file has it.
        labels: those that may occur.
        path: the file.
        key: which label of it, for the error.

    Returns:
        The label.

    Raises:
        UserError: it is missing or another.
    """
    if label is None or label not in labels:
        raise UserError(
            f"the label is not in {labels.start} to {labels.stop - 1}",
            where=path,
            key=key,
            value="null" if label is None else label,
            remedy=f"number the classes {labels.start} to {labels.stop - 1}",
        )
    return int(label)
