"""Images and labels in idx files, as MNIST was distributed and sets in its place are.

A file begins with two zero bytes, the type (8: bytes), the number of dimensions and the
dimensions, big-endian. Files may be compressed by gzip. Shape letters: `optnas.data.sets.base`.
"""

from __future__ import annotations

import functools
import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import regular
from optnas.data.sets import layouts
from optnas.data.sets.base import Dataset, Rows
from optnas.data.sets.layouts import FIX_FILE, checked_label

RESOLUTION = 28
BYTES = 8  # the type
COMPRESSED = b"\x1f\x8b"
# part -> how its files begin, number of published images
PARTS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}


@dataclass(frozen=True)
class Idx:
    """A data set in idx files.

    Args:
        name: the registered name.
        title: its name in text.
        folders: the folders below the data folder that may hold the files.
        elsewhere: folders that hold them where a system's package is installed.
        class_names: in order of the labels.
        mean: of pixel values in 0 to 1.
        std: likewise.
        flip: whether a mirrored image still shows its class.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    elsewhere: tuple[Path, ...]
    class_names: tuple[str, ...]
    mean: float
    std: float
    flip: bool

    def open(self, folder: Path | None, part: str = "train") -> Dataset:
        """The images of a part.

        Args:
            folder: the data folder, if the user named one.
            part: ``train`` or ``test``.

        Returns:
            The dataset; of its files only the dimensions were read.

        Raises:
            UserError: the files are missing, damaged or of another form.
        """
        prefix, published = PARTS[part]
        images, labels = self._files(folder, prefix)
        shape, count = dimensions(images, 3), dimensions(labels, 1)
        if shape != (*count, RESOLUTION, RESOLUTION):
            raise UserError(
                f"holds {' x '.join(map(str, shape))} pixels, and {labels.name} {count[0]} labels",
                where=images,
                remedy=f"use the files of {self.title} as they were distributed",
            )
        told = layouts.of_published(
            count[0], published, f"{layouts.PARTS[part]} images of {self.title}", images.parent
        )
        return Dataset(
            name=self.name,
            classes=len(self.class_names),
            channels=1,
            resolution=RESOLUTION,
            size=count[0],
            mean=(self.mean,),
            std=(self.std,),
            crop_padding=3,
            flip=self.flip,
            note=f"{self.title} has grey images of 28 x 28 pixels{told}",
            files=(images, labels),
            decode=functools.partial(self._decode, images, labels),
            test=functools.partial(self.open, folder, "test") if part == "train" else None,
            class_names=self.class_names,
        )

    def _files(self, folder: Path | None, prefix: str) -> tuple[Path, Path]:
        places = [folder / name for name in self.folders] if folder is not None else []
        for place in (*places, *self.elsewhere):
            found = [next(_named(place, prefix, kind), None) for kind in ("images", "labels")]
            if found[0] is not None and found[1] is not None:
                return found[0], found[1]
        wanted = f"{self.folders[0]}/{prefix}-images-idx3-ubyte.gz and its labels"
        remedy = layouts.fix(wanted)
        if self.elsewhere:
            remedy += f"; Debian's package dataset-{self.name} will do too"
        if folder is None:
            raise UserError(
                f"{self.name} needs a data folder",
                key="data.folder",
                remedy=f"{remedy}; {layouts.NO_FOLDER}",
            )
        raise UserError(
            f"there are no files of {self.title}", where=folder / self.folders[0], remedy=remedy
        )

    def _decode(self, images: Path, labels: Path, indices_N: np.ndarray) -> Rows:
        labels_N = read_idx(labels, 1)[indices_N].astype(np.int64)
        for row, label in zip(indices_N.tolist(), labels_N.tolist(), strict=True):
            checked_label(label, range(len(self.class_names)), labels, f"label of row {row}")
        return read_idx(images, 3)[indices_N][..., None], labels_N


def _named(folder: Path, prefix: str, kind: str) -> Iterator[Path]:
    number = {"images": 3, "labels": 1}[kind]
    for middle in "-.":  # as distributed, as some unpack it
        for end in ("", ".gz"):
            path = folder / f"{prefix}-{kind}{middle}idx{number}-ubyte{end}"
            if path.is_file():
                yield path


def dimensions(path: Path, number: int) -> tuple[int, ...]:
    """The dimensions that a file states.

    Args:
        path: the file.
        number: how many there have to be.

    Raises:
        UserError: it is no such file.
    """
    return _read(path, number, content=False)[0]


def read_idx(path: Path, number: int) -> np.ndarray:
    """The content of a file.

    Args:
        path: the file.
        number: of dimensions.

    Returns:
        ``uint8``.

    Raises:
        UserError: it is damaged, or no such file.
    """
    shape, content = _read(path, number, content=True)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read(path: Path, number: int, *, content: bool) -> tuple[tuple[int, ...], bytes]:
    try:
        with _opened(path) as file:
            head = file.read(4 + 4 * number)
            if len(head) < 4 + 4 * number or head[:4] != bytes((0, 0, BYTES, number)):
                raise UserError(
                    f"is no idx file of bytes in {number} dimensions", where=path, remedy=FIX_FILE
                )
            shape = struct.unpack(f">{number}I", head[4:])
            size = math.prod(shape)
            values = file.read(size + 1) if content else b""
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read it ({error})", where=path, remedy=FIX_FILE) from error
    if content and len(values) != size:
        has = "more" if len(values) > size else f"{len(values):,}"
        raise UserError(f"states {size:,} bytes and has {has}", where=path, remedy=FIX_FILE)
    return shape, values


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    with regular(path).open("rb") as file:
        compressed = file.read(2) == COMPRESSED
    return gzip.open(path) if compressed else path.open("rb")
