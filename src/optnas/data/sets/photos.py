"""Colour patches of ten photographs that come with scikit-image and scikit-learn.

A patch is to be told by the photograph it was cut from: after every photograph is brought to the
same mean and contrast, its texture is what is left. Nothing is downloaded: eight of the files lie
in scikit-image's wheel and two in scikit-learn's, and they are found and read by their paths, as
importing either package takes longer than reading them.

The left 60 % of a photograph give training images, the right 40 % test images. The left part is
cut into `STRIPES` horizontal stripes, and patches come from inside one stripe: even stripes are the
first half of the rows, odd ones the second. So the split ``halves`` shares no pixel between the two
problems, whereas within a half patches of the smaller photographs overlap.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import in_package, regular
from optnas.base.registry import register
from optnas.data.sets.base import Dataset, Rows

RESOLUTION = 32
# In the order of their classes: package, path below it.
PHOTOS = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/retina.jpg"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)
CLASSES = len(PHOTOS)
INSTALL = {"skimage": "pip install 'optnas[photos]'", "sklearn": "pip install scikit-learn"}
LEFT = 0.6
STRIPES = 6
# Patches on a grid of this many rows and columns in each stripe, or in the whole right part.
STRIPE_GRID = (5, 20)
TEST_GRID = (15, 10)
# Steps through a photograph's patches, prime to their number, so that the first rows of a half are
# spread over all of it.
STRIDE = 37
# Pixels of a standardised photograph: mean and standard deviation before they are cut to 0 to 255.
CENTRE, SPREAD = 127.5, 52.0


class Corner(NamedTuple):
    """Where a patch begins: photograph, row, column."""

    photo: int
    top: int
    left: int


@register("dataset", "photos")
def photos(folder: Path | None) -> Dataset:
    """6,000 training and 1,500 test patches of 32 x 32 pixels, ten classes.

    ``mean`` and ``std`` were measured over the training patches. A mirrored patch still shows its
    photograph.

    Args:
        folder: not used, the photographs come with packages.

    Returns:
        The dataset. A photograph that is not installed is a `UserError`.
    """
    files = tuple(_path(package, name) for package, name in PHOTOS)
    return _dataset(files, test=False)


def _path(package: str, name: str) -> Path:
    path = in_package(package, name)
    if path is None:
        absent = importlib.util.find_spec(package) is None
        raise UserError(
            "the photographs are not installed" if absent else "the photograph is not there",
            where=f"data set photos: {package if absent else f'{package}/{name}'}",
            remedy=f"run: {INSTALL[package]}",
        )
    return path


def _dataset(files: tuple[Path, ...], *, test: bool) -> Dataset:
    sizes = tuple(_size(path) for path in files)
    corners = _test_corners(sizes) if test else _train_corners(sizes)
    return Dataset(
        name="photos",
        classes=CLASSES,
        channels=3,
        resolution=RESOLUTION,
        size=len(corners),
        mean=(0.4967, 0.4958, 0.4959),
        std=(0.1922, 0.1931, 0.1941),
        crop_padding=4,
        flip=True,
        note="Photos are overlapping patches of ten photographs: a small stand-in for natural "
        "images, not a benchmark",
        files=files,
        decode=functools.partial(_decode, files, corners),
        test=None if test else functools.partial(_dataset, files, test=True),
    )


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(regular(path)) as image:
        return image.height, image.width


def _grid(top: float, bottom: float, left: float, right: float, shape: tuple[int, int]) -> list:
    # Corners of patches inside a rectangle, evenly spread, the outermost at its borders.
    rows = np.linspace(np.ceil(top), np.floor(bottom) - RESOLUTION, shape[0])
    columns = np.linspace(np.ceil(left), np.floor(right) - RESOLUTION, shape[1])
    return [(int(row), int(column)) for row in rows for column in columns]


def _train_corners(sizes: tuple[tuple[int, int], ...]) -> list[Corner]:
    # Even stripes first, then odd ones; within a half one patch of each photograph in turn.
    corners = []
    for parity in (0, 1):
        of_photos = []
        for height, width in sizes:
            stripe = height / STRIPES
            spots: list[tuple[int, int]] = []
            for number in range(parity, STRIPES, 2):
                top, bottom = number * stripe, (number + 1) * stripe
                spots += _grid(top, bottom, 0, LEFT * width, STRIPE_GRID)
            of_photos.append(spots)
        corners += _in_turn(of_photos)
    return corners


def _test_corners(sizes: tuple[tuple[int, int], ...]) -> list[Corner]:
    return _in_turn([_grid(0, height, LEFT * width, width, TEST_GRID) for height, width in sizes])


def _in_turn(of_photos: list[list[tuple[int, int]]]) -> list[Corner]:
    count = len(of_photos[0])
    return [
        Corner(photo, *spots[step * STRIDE % count])
        for step in range(count)
        for photo, spots in enumerate(of_photos)
    ]


def _standardised(path: Path) -> np.ndarray:
    # Each channel to CENTRE and SPREAD, by mean and deviation of the left part alone.
    from PIL import Image

    with Image.open(path) as image:
        pixels_HWC = np.asarray(image.convert("RGB"), dtype=np.float64)
    seen_HWC = pixels_HWC[:, : int(LEFT * pixels_HWC.shape[1])]
    scaled_HWC = (pixels_HWC - seen_HWC.mean((0, 1))) / seen_HWC.std((0, 1))
    return np.rint(np.clip(CENTRE + SPREAD * scaled_HWC, 0, 255)).astype(np.uint8)


def _decode(files: tuple[Path, ...], corners: list[Corner], indices_N: np.ndarray) -> Rows:
    images_NHWC = np.empty((len(indices_N), RESOLUTION, RESOLUTION, 3), dtype=np.uint8)
    labels_N = np.array([corners[row].photo for row in indices_N], dtype=np.int64)
    for photo, path in enumerate(files):
        places = np.flatnonzero(labels_N == photo)
        pixels_HWC = _standardised(path) if places.size else None
        for place in places:
            assert pixels_HWC is not None
            _, top, left = corners[indices_N[place]]
            images_NHWC[place] = pixels_HWC[top : top + RESOLUTION, left : left + RESOLUTION]
    return images_NHWC, labels_N
