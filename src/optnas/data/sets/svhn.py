"""Street View House Numbers, cropped digits, in the MATLAB files as distributed."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import regular
from optnas.base.registry import register
from optnas.data.sets import layouts
from optnas.data.sets.base import Dataset, Rows, Stamps, stamps
from optnas.data.sets.layouts import FIX_FILE, checked_label

NAME = "svhn"
RESOLUTION = 32
# part -> number of published images
PUBLISHED = {"train": 73_257, "test": 26_032}
ZERO = 10  # the label of the digit 0


@register("dataset", NAME)
def svhn(folder: Path | None) -> Dataset:
    """SVHN: colour images of 32 x 32 pixels, ten digits, 73,257 training, 26,032 test.

    ``mean`` and ``std`` are the usual published ones. A mirrored digit is another sign. The
    531,131 easier images of ``extra_32x32.mat`` are not read.

    Args:
        folder: the data folder, which holds ``svhn/train_32x32.mat`` and ``svhn/test_32x32.mat``.

    Raises:
        UserError: a file is not there, damaged or of another form.
    """
    return _open(layouts.needs_folder(folder, NAME, f"{NAME}/train_32x32.mat"), "train")


def _open(folder: Path, part: str) -> Dataset:
    name = f"{part}_32x32.mat"
    (path,) = layouts.named(folder / NAME, (name,), layouts.fix(f"{NAME}/{name}"))
    size = len(_load(path, stamps((path,)))[1])
    title = f"{layouts.PARTS[part]} images of SVHN"
    told = layouts.of_published(size, PUBLISHED[part], title, path)
    return Dataset(
        name=NAME,
        classes=10,
        channels=3,
        resolution=RESOLUTION,
        size=size,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        crop_padding=4,
        flip=False,
        note=f"SVHN has house numbers cropped to one digit, neighbours at the borders{told}",
        files=(path,),
        decode=functools.partial(_decode, path),
        test=functools.partial(_open, folder, "test") if part == "train" else None,
        class_names=tuple("0123456789"),
    )


def _decode(path: Path, indices_N: np.ndarray) -> Rows:
    images_HWCM, labels_M = _load(path, stamps((path,)))
    return np.ascontiguousarray(images_HWCM[..., indices_N].transpose(3, 0, 1, 2)), labels_M[
        indices_N
    ]


@functools.lru_cache(maxsize=2)
def _load(path: Path, stamps: Stamps) -> Rows:
    """All images ``uint8 [H, W, C, M]`` and classes of a file."""
    import scipy.io

    try:
        content = scipy.io.loadmat(regular(path), variable_names=("X", "y"))
    except UserError:
        raise
    except Exception as error:  # a damaged file fails in whichever way its bytes decide
        raise UserError(
            f"is no MATLAB file that scipy reads ({type(error).__name__})",
            where=path,
            remedy=FIX_FILE,
        ) from error
    images, labels = content.get("X"), content.get("y")
    if images is None or labels is None:
        raise UserError("needs the variables X and y", where=path, remedy=FIX_FILE)
    expected = (RESOLUTION, RESOLUTION, 3, labels.size)
    if images.dtype != np.uint8 or images.shape != expected or labels.size == 0:
        raise UserError(
            f"is not uint8 of shape {list(expected)}, an image per label",
            where=path,
            key="X",
            value=f"{images.dtype} {list(images.shape)}",
            remedy=FIX_FILE,
        )
    for row, label in enumerate(labels.ravel().tolist()):
        whole = int(label) if isinstance(label, (int, float)) and label == int(label) else None
        checked_label(whole, range(1, ZERO + 1), path, f"y of row {row}")
    return images, labels.ravel().astype(np.int64) % ZERO
