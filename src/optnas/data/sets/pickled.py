"""Pickled image batches, as CIFAR and the downsampled ImageNet were published.

A file is a dictionary with ``data``, uint8 of shape [N, 3 H W], channel by channel and row by row
within one, and a list of N labels. Such files were written by Python 2 or by any numpy since. They
are read by `load_restricted` with nothing of numpy in reach of the file: the few globals it may
name stand for inert values that keep what they are given, and the array is made from their bytes
here, after its type and shape were checked.

Shape letters as in `optnas.data.sets.base`.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import regular
from optnas.base.pickles import load_restricted
from optnas.data.sets.base import Rows, Stamps, stamps
from optnas.data.sets.layouts import FIX_FILE, checked_label

CHANNELS = 3
PUBLISHED = "use the batches as they were published"


class _Kind:
    """Stands for a ``numpy.dtype``: its code, such as ``u1``, and its byte order."""

    def __init__(self, code: object, *_: object) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def checked(self) -> np.dtype[Any]:
        """The type, if it is an integer."""
        if not (isinstance(self.code, str) and re.fullmatch("[iu][1248]", self.code)):
            raise ValueError(f"holds an array of type {self.code!r}")
        return np.dtype((">" if self.order == ">" else "<") + self.code)


class _Array:
    """Stands for a ``numpy.ndarray``: type, shape and bytes as the file states them."""

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, by_columns, content = state
        self.state = kind, shape, bool(by_columns), content

    def numpy(self) -> np.ndarray:
        """The array; raises what damaged content makes it raise."""
        kind, shape, by_columns, content = self.state
        # Python 2 wrote bytes as text; it is read as latin1, one character per byte.
        raw = content.encode("latin1") if isinstance(content, str) else content
        dtype = kind.checked()
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"an array of shape {shape} has {len(raw)} bytes")
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if by_columns else "C")


def _from_buffer(content: object, kind: object, shape: object, order: object = "C") -> _Array:
    array = _Array()
    array.state = kind, shape, order == "F", content
    return array


def _as_bytes(text: str, encoding: str) -> bytes:
    # How Python 3 writes bytes for readers of protocol 2; no other codec is run.
    if encoding != "latin1":
        raise ValueError(f"asks for the codec {encoding!r}")
    return text.encode("latin1")


GLOBALS = {
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): _Array
        for core in ("core", "_core")  # before and since numpy 2
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _as_bytes,
}


@dataclass(frozen=True)
class Batches:
    """The rows of some pickled batches.

    Args:
        files: in order of their rows.
        label_key: key of the labels in a file's dictionary.
        resolution: height and width of every image.
        labels: the labels that a file may have.
        kept: those of them whose images are rows; its first is class 0.
    """

    files: tuple[Path, ...]
    label_key: str
    resolution: int
    labels: range
    kept: range
    decoder: ClassVar[str] = ""  # there is nothing to decode that a cache would save

    def size(self) -> int:
        """Number of rows; every file is read for it, the first time.

        Returns:
            The sum over all files.

        Raises:
            UserError: a file is damaged, hostile or of another layout.
        """
        try:
            return _size(self, stamps(self.files))
        except OSError as error:
            raise UserError(
                f"cannot read it ({error.strerror})", where=error.filename, remedy=FIX_FILE
            ) from error

    def decode(self, indices_N: np.ndarray) -> Rows:
        """Images and labels of the asked rows.

        Args:
            indices_N: rows, ``int64``.

        Returns:
            ``uint8 [N, H, W, 3]`` and ``int64 [N]``.
        """
        side = self.resolution
        images_NHWC = np.empty((len(indices_N), side, side, CHANNELS), dtype=np.uint8)
        labels_N = np.empty(len(indices_N), dtype=np.int64)
        first = 0
        for path in self.files:
            pixels_MP, labels_M = self._load(path)
            places = np.flatnonzero((indices_N >= first) & (indices_N < first + len(labels_M)))
            rows = indices_N[places] - first
            by_channel = pixels_MP[rows].reshape(len(rows), CHANNELS, side, side)
            images_NHWC[places] = by_channel.transpose(0, 2, 3, 1)
            labels_N[places] = labels_M[rows]
            first += len(labels_M)
        return images_NHWC, labels_N

    def _load(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        # The kept rows of a file: pixels [M, 3 H W] and classes [M].
        content = read_batch(path, self.label_key)
        pixels_MP = _numbers(content["data"], path, "data")
        labels_M = self._labels(content[self.label_key], path)
        expected = (len(labels_M), CHANNELS * self.resolution**2)
        if pixels_MP.dtype != np.uint8 or pixels_MP.shape != expected:
            raise UserError(
                f"is not uint8 of shape {list(expected)}, one row of {CHANNELS} x "
                f"{self.resolution} x {self.resolution} pixels per label",
                where=path,
                key="data",
                value=f"{pixels_MP.dtype} {list(pixels_MP.shape)}",
                remedy=PUBLISHED,
            )
        kept_M = (labels_M >= self.kept.start) & (labels_M < self.kept.stop)
        return pixels_MP[kept_M], labels_M[kept_M] - self.kept.start

    def _labels(self, found: Any, path: Path) -> np.ndarray:
        values = found
        if isinstance(found, _Array):
            values = _numbers(found, path, self.label_key).tolist()
        if not (isinstance(values, list) and all(map(_is_label, values))):
            raise UserError(
                "is not a list of whole numbers",
                where=path,
                key=self.label_key,
                remedy=PUBLISHED,
            )
        for row, label in enumerate(values):
            if label not in self.labels:
                checked_label(label, self.labels, path, f"{self.label_key} of row {row}")
        return np.array(values, dtype=np.int64)


@functools.lru_cache(maxsize=16)
def _size(batches: Batches, stamps: Stamps) -> int:
    size = sum(len(batches._load(path)[1]) for path in batches.files)
    if size == 0:
        raise UserError(
            f"no image has a label in {batches.kept.start} to {batches.kept.stop - 1}",
            where=batches.files[0],
            remedy=PUBLISHED,
        )
    return size


def read_batch(path: Path, label_key: str) -> dict[str, Any]:
    """A file's dictionary, its arrays still inert; no code of the file's choice is run.

    Args:
        path: the file.
        label_key: the key that has to be there beside ``data``.

    Raises:
        UserError: the file cannot be read, names another global, or lacks a key.
    """
    try:
        with regular(path).open("rb") as file:
            content = load_restricted(file, GLOBALS, where=path, encoding="latin1")
    except OSError as error:
        raise UserError(
            f"cannot read it ({error.strerror})", where=path, remedy=FIX_FILE
        ) from error
    keys = list(content) if isinstance(content, dict) else None
    if keys is None or not {"data", label_key} <= set(keys):
        found = "no dictionary" if keys is None else f"the keys {_shown(keys)}"
        raise UserError(
            f"needs a dictionary with data and {label_key}, has {found}",
            where=path,
            remedy=PUBLISHED,
        )
    return content


def _shown(keys: list[Any]) -> str:
    return ", ".join(key[:40] if isinstance(key, str) else type(key).__name__ for key in keys[:9])


def _is_label(value: object) -> bool:
    # No truth values, and nothing so long that it could not even be shown.
    return type(value) is int and abs(value) < 1 << 63


def _numbers(value: Any, path: Path, key: str) -> np.ndarray:
    try:
        return value.numpy()
    # Type, shape and bytes are whatever the file says they are.
    except Exception as error:
        raise UserError(
            f"is no array of whole numbers ({type(error).__name__}: {error})",
            where=path,
            key=key,
            remedy=FIX_FILE,
        ) from error
