"""Handwritten digits inside the scikit-learn package: the smallest real set, always at hand.

The file is found and read by its path: importing scikit-learn would take over a second.
"""

from __future__ import annotations

import functools
import gzip
from pathlib import Path

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import in_package
from optnas.base.registry import register
from optnas.data.sets.base import Dataset, Rows

SIZE = 1797
RESOLUTION = 8


FILE_NAME = "datasets/data/digits.csv.gz"


@register("dataset", "digits")
def digits(folder: Path | None) -> Dataset:
    """1,797 grey images of 8 x 8 pixels, ten classes.

    ``mean`` and ``std`` were measured over all 1,797 images. A mirrored digit is another sign, so
    there are no flips; crops move by one pixel, an eighth of the width as on CIFAR-10.

    Args:
        folder: not used, the images come with scikit-learn.

    Raises:
        UserError: scikit-learn's file is not there.

    Example:
        >>> digits(None).size
        1797
    """
    path = in_package("sklearn", FILE_NAME)
    if path is None:
        raise UserError(
            "the digits of scikit-learn are not there",
            where=f"sklearn/{FILE_NAME}",
            remedy="install scikit-learn again",
        )
    return Dataset(
        name="digits",
        classes=10,
        channels=1,
        resolution=RESOLUTION,
        size=SIZE,
        mean=(0.3053,),
        std=(0.3759,),
        crop_padding=1,
        flip=False,
        note="Digits are 1,797 grey images of 8 x 8 pixels, far easier than CIFAR-10",
        files=(path,),
        decode=functools.partial(_decode, path),
    )


@functools.lru_cache(maxsize=1)
def _table(path: Path) -> np.ndarray:
    # A search reads each half by itself: the text is made numbers once per process.
    with gzip.open(path, "rt", encoding="ascii") as file:
        return np.loadtxt(file, delimiter=",")


def _decode(path: Path, indices_N: np.ndarray) -> Rows:
    # A line is 64 pixels in 0 to 16, then the label; 8 of 16 becomes 127.5 and rounds to 128.
    rows = _table(path)[indices_N]
    images_NHWC = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8)
    labels_N = rows[:, -1].astype(np.int64)
    return images_NHWC.reshape(-1, RESOLUTION, RESOLUTION, 1), labels_N
