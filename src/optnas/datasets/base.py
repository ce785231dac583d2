"""What a dataset is to a search: facts known at once, and rows that are decoded when asked for.

Shape letters: N rows asked for, H height, W width, C channels.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Rows = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """The labelled training images of a dataset; nothing is decoded before `read`.

    A factory registered with ``@register("dataset", NAME)`` returns one. Its parameter ``folder``
    is supplied by the program (None if the user named no data folder); any further parameter is a
    setting the user may write.

    Args:
        name: the registered name.
        classes: number of classes; labels are 0 to classes - 1.
        channels: number of colour channels.
        resolution: native height and width, in pixels.
        size: number of labelled training images.
        mean: mean of each channel, of pixel values in 0 to 1.
        std: standard deviation of each channel, of pixel values in 0 to 1.
        crop_padding: zero padding of random crops at the native resolution, in pixels.
        flip: whether a mirrored image still shows its class.
        note: one sentence shown beside results.
        files: the files the images and labels come from, in order of their rows.
        decode: rows within 0 to size - 1, ``int64 [N]``, to images and labels in that order.
    """

    name: str
    classes: int
    channels: int
    resolution: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int
    flip: bool
    note: str
    files: tuple[Path, ...]
    decode: Callable[[np.ndarray], Rows] = field(repr=False, compare=False)

    def fingerprint(self) -> str:
        """Identify the data by the bytes of `files`, one after the other.

        Returns:
            The SHA-256 digest, 64 hexadecimal digits.
        """
        stats = [path.stat() for path in self.files]
        stamps = tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in stats)
        return _digest(self.files, stamps)

    def read(self, indices_N: np.ndarray | None = None) -> Rows:
        """Decode the asked rows and no other.

        Args:
            indices_N: rows in the wanted order, repeats allowed; None means all of them.

        Returns:
            Images, ``uint8 [N, H, W, C]``, and labels, ``int64 [N]``.

        Raises:
            IndexError: a row is negative or not below `size`.
        """
        if indices_N is None:
            indices_N = np.arange(self.size)
        indices_N = np.asarray(indices_N, dtype=np.int64)
        if indices_N.size and (indices_N.min() < 0 or indices_N.max() >= self.size):
            raise IndexError(f"{self.name} has rows 0 to {self.size - 1}")
        return self.decode(indices_N)


@functools.lru_cache(maxsize=16)
def _digest(files: tuple[Path, ...], stamps: tuple[tuple[int, ...], ...]) -> str:
    # A study asks a thousand times; the stamps tell a file that was changed in between.
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
