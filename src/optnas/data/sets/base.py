"""What a dataset is to a search: facts known at once, and rows that are decoded when asked for.

Shape letters: N rows asked for, H height, W width, C channels.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from optnas.base import cache
from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.base.files import regular

log = logging.getLogger(__name__)

Rows = tuple[np.ndarray, np.ndarray]
# Mean and standard deviation of each channel.
Moments = tuple[tuple[float, ...], tuple[float, ...]]
MEASURED_AT_ONCE = 4096


@dataclass(frozen=True)
class Seen:
    """What an image is in its file.

    Attributes:
        name: what to call it: its path, or its row.
        label: its class.
        size: width and height in pixels.
        mode: its colours in words.
        digest: equal where two images are, pixel for pixel; empty of one that is refused.
        reason: why it is refused, and what to do; empty if it is not.
    """

    name: str
    label: int
    size: tuple[int, int]
    mode: str
    digest: bytes
    reason: str = ""


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
        mean: mean of each channel, of pixel values in 0 to 1; empty: `moments` measures it.
        std: standard deviation of each channel, likewise.
        crop_padding: zero padding of random crops at the native resolution, in pixels.
        flip: whether a mirrored image still shows its class.
        note: one sentence shown beside results.
        files: the files the images and labels come from, in order of their rows.
        decode: rows within 0 to size - 1, ``int64 [N]``, to images and labels in that order.
        test: opens the labelled test images as a dataset of their own; None: there are none. Only
            a search whose split names test images calls it.
        decoder: names what decodes the files, and its version: decoded images are then kept in the
            user's cache. Empty: they are decoded for each run.
        published_rows: the rows in the order in which lists of rows were published for these
            images, ``int64 [size]``; None: in that order they are.
        class_names: of each class; empty where they have none.
        layout: what beside the files' bytes says which image has which label, such as the names of
            folders; part of the fingerprint. Empty where nothing does.
        split: the split of a search that names none.
        remarks: what a user would want to know before a search and may not have meant, a sentence
            each.
        inspect: tells what each image is in its file, in order of the rows, images that `decode`
            refuses included; None: all are as `decode` returns them.
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
    test: Callable[[], Dataset] | None = field(default=None, repr=False, compare=False)
    decoder: str = field(default="", compare=False)
    published_rows: Callable[[], np.ndarray] | None = field(default=None, repr=False, compare=False)
    class_names: tuple[str, ...] = ()
    layout: str = field(default="", repr=False)
    split: str = "halves"
    remarks: tuple[str, ...] = field(default=(), compare=False)
    inspect: Callable[[], Iterator[Seen]] | None = field(default=None, repr=False, compare=False)

    def warn(self) -> None:
        """Say every remark on stderr."""
        for each in self.remarks:
            log.warning("optnas: warning: %s", for_terminal(each))

    def fingerprint(self) -> str:
        """Identify the data by the bytes of `files`, one after the other, and by `layout`.

        Returns:
            The SHA-256 digest, 64 hexadecimal digits.
        """
        digest = _digest(self.files, stamps(self.files))
        if not self.layout:
            return digest
        return hashlib.sha256(f"{digest}\n{self.layout}".encode()).hexdigest()

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

    def moments(self) -> Moments:
        """Mean and standard deviation of each channel, of pixel values in 0 to 1.

        Stated ones are returned. Else all training images are decoded and, with n pixels per
        channel of values p in 0 to 255, mean = sum p / n / 255 and std = sqrt(n sum p2 - (sum p)2)
        / n / 255. The sums are of integers, so the result depends on neither order nor chunks.

        Returns:
            The means and the standard deviations.

        Raises:
            UserError: all pixels of a channel are equal, so they cannot be scaled.
        """
        if self.mean:
            return self.mean, self.std
        if not self.decoder:
            return self._measured()

        def good(found: cache.Arrays) -> bool:
            shape = (2, self.channels)
            return found.keys() == {"moments"} and found["moments"].shape == shape

        name = f"{self.name}-{cache.digest(self.decoder, self.fingerprint(), 'moments-1')}"
        found = cache.cached("halves", name, good, lambda: {"moments": np.array(self._measured())})
        mean, std = found["moments"].tolist()
        return tuple(mean), tuple(std)

    def _measured(self) -> Moments:
        total, squares = [0] * self.channels, [0] * self.channels
        for start in range(0, self.size, MEASURED_AT_ONCE):
            stop = min(start + MEASURED_AT_ONCE, self.size)
            images_NHWC, _ = self.read(np.arange(start, stop))
            for c in range(self.channels):
                counts = np.bincount(images_NHWC[..., c].ravel(), minlength=256).tolist()
                total[c] += sum(value * count for value, count in enumerate(counts))
                squares[c] += sum(value * value * count for value, count in enumerate(counts))
        n = self.size * self.resolution**2
        spread = [n * second - first * first for first, second in zip(total, squares, strict=True)]
        if 0 in spread:
            raise UserError(
                f"every pixel of colour channel {spread.index(0)} has the same value",
                where=self.files[0],
                remedy="use images that differ",
            )
        mean = tuple(first / n / 255 for first in total)
        return mean, tuple(math.sqrt(each) / n / 255 for each in spread)


Stamps = tuple[tuple[int, ...], ...]


def stamps(files: Iterable[Path]) -> Stamps:
    """What tells files from those that stood in their places before.

    A study resolves a thousand settings: what is read from the files for each is kept under these.

    Returns:
        Inode, size in bytes and time of the last change in nanoseconds of each.
    """
    found = [path.stat() for path in files]
    return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)


@functools.lru_cache(maxsize=16)
def _digest(files: tuple[Path, ...], stamps: Stamps) -> str:
    digest = hashlib.sha256()
    for path in files:
        with regular(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
