"""What the layouts on disk share: files found by name, and labels checked.

Shape letters as in `optnas.data.sets.base`.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from optnas.base.errors import UserError
from optnas.base.files import inside, regular
from optnas.data.sets.base import Stamps, stamps

# Hubs name the parts of a data set by their place: train-00000-of-00002.parquet, later with a hash
# behind it.
SHARD = re.compile(r"-(\d+)-of-(\d+)(?=[-.])")
# What the parts of a data set are called, by the names of their files.
PARTS = {"train": "training", "test": "test"}
FIX_FILE = "copy the file again"
NO_FOLDER = "or take data.name=digits, which comes with the package"


def needs_folder(folder: Path | None, name: str, *layouts: str) -> Path:
    """The data folder, or an error that says what it should hold.

    Args:
        folder: the data folder, if the user named one.
        name: the data set's name.
        layouts: the files that would do, as paths below the folder.

    Raises:
        UserError: none was named.
    """
    if folder is None:
        raise UserError(
            f"{name} needs a data folder",
            key="data.folder",
            remedy=f"{fix(*layouts)}; {NO_FOLDER}",
        )
    return Path(folder)


def fix(*layouts: str) -> str:
    """The remedy for missing files: where they should lie."""
    return f"set OPTNAS_DATA or data.folder=FOLDER, where FOLDER holds {' or '.join(layouts)}"


def matching(folder: Path, pattern: str, remedy: str) -> tuple[Path, ...]:
    """The files of a folder that match a pattern, sorted by name; each part once, and all of them.

    A folder may hold what an earlier download left there: two names of one part, or of one content.
    Their images would count twice, so such a folder is refused.

    Args:
        folder: where they lie.
        pattern: such as ``train-*.parquet``.
        remedy: what to do if there are none.

    Returns:
        At least one path.

    Raises:
        UserError: there is no such folder or file; a part is missing or there twice, or two files
            have the same content.
    """
    if not folder.is_dir():
        raise UserError("there is no such folder", where=folder, remedy=remedy)
    files = tuple(path for path in inside(folder, pattern) if path.is_file())
    if not files:
        raise UserError(f"the folder has no {pattern}", where=folder, remedy=remedy)
    _check_parts(folder, files)
    _check_contents(files, stamps(files))
    return files


def _check_parts(folder: Path, files: Sequence[Path]) -> None:
    """Where names tell places, every place of one numbering is there once."""
    places = [SHARD.search(path.name) for path in files]
    if not any(places):
        return
    found: dict[int, Path] = {}
    totals: dict[int, Path] = {}
    for path, place in zip(files, places, strict=True):
        if place is None:
            raise UserError(
                f"its name tells no place, and that of {files[places.index(None) - 1].name} does",
                where=path,
                remedy="keep the files of one copy of the data set, and move the others away",
            )
        number, total = map(int, place.groups())
        totals.setdefault(total, path)
        if len(totals) > 1 or number in found:
            other = found.get(number) or next(iter(totals.values()))
            raise UserError(
                f"belongs to another copy of the data set than {other.name}",
                where=path,
                remedy="keep the files of one copy, and move the others away",
            )
        found[number] = path
    (total,) = totals
    missing = sorted(set(range(total)) - set(found))
    if missing or len(found) != total:
        raise UserError(
            f"the parts are numbered 0 to {total - 1}, and "
            + (f"part {missing[0]} is missing" if missing else f"part {max(found)} is there"),
            where=folder,
            remedy=f"copy all {total} files there",
        )


@functools.lru_cache(maxsize=64)
def _check_contents(files: tuple[Path, ...], changed: Stamps) -> None:
    """Two files of one content are one file under two names."""
    sizes = [size for _, size, _ in changed]
    seen: dict[str, Path] = {}
    for path, size in zip(files, sizes, strict=True):
        if sizes.count(size) == 1:
            continue
        with regular(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest in seen:
            raise UserError(
                f"has the same content as {seen[digest].name}: its images would count twice",
                where=path,
                remedy="move one of them away",
            )
        seen[digest] = path


def of_published(size: int, published: int, title: str, where: Path) -> str:
    """What to say of a data set whose number of images is known.

    Args:
        size: how many were found.
        published: how many there are.
        title: what the images are, such as ``training images of CIFAR-10``.
        where: where they lie, for the error.

    Returns:
        A clause for the note: empty if all are there.

    Raises:
        UserError: there are more than were published.
    """
    if size > published:
        raise UserError(
            f"holds {size:,} images, and there are {published:,} {title}",
            where=where,
            remedy="keep the files of one copy, and move the others away",
        )
    return "" if size == published else f"; only {size:,} of {published:,} {title}"


def named(folder: Path, names: Sequence[str], remedy: str) -> tuple[Path, ...]:
    """The files of a folder with these names, in this order.

    Args:
        folder: where they lie.
        names: all of them are needed.
        remedy: what to do if one is missing.

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
