"""ImageNet16-120: the first 120 classes of ImageNet at 16 x 16 pixels, from pickled batches.

Layout: ``FOLDER/ImageNet16/train_data_batch_1`` to ``_10`` and ``val_data``, as ImageNet was
published downsampled (Chrabaszcz, Loshchilov and Hutter, 2017). Labels are 1 to 1000; images
labelled 1 to 120 are kept in their order and become classes 0 to 119, as in NAS-Bench-201. The
images of ``val_data`` are the benchmark's test images.
"""

from __future__ import annotations

import functools
from pathlib import Path

from optnas.base.registry import register
from optnas.data.sets import layouts
from optnas.data.sets.base import Dataset
from optnas.data.sets.pickled import Batches

NAME = "imagenet16-120"
FOLDER = "ImageNet16"
TRAIN = tuple(f"train_data_batch_{number}" for number in range(1, 11))
TEST = ("val_data",)
# Images of the first 120 classes, by the files they lie in.
PUBLISHED = {TRAIN: 151_700, TEST: 6_000}
CLASSES = 120
REMEDY = layouts.fix(f"{FOLDER}/train_data_batch_1 to _10")


@register("dataset", NAME)
def imagenet16_120(folder: Path | None) -> Dataset:
    """ImageNet16-120: 151,700 training and 6,000 test images of 120 classes.

    Every batch is read to count the images that are kept: about a gigabyte. ``mean`` and ``std``
    are those of the benchmark's scripts.

    Args:
        folder: the data folder, which holds the folder ``ImageNet16``.

    Returns:
        The dataset. A missing or damaged folder or file is a `UserError`.
    """
    return _open(layouts.needs_folder(folder, NAME, f"{FOLDER}/train_data_batch_1 to _10"), TRAIN)


def _open(folder: Path, names: tuple[str, ...]) -> Dataset:
    files = layouts.named(folder / FOLDER, names, REMEDY)
    rows = Batches(files, "labels", 16, labels=range(1, 1001), kept=range(1, CLASSES + 1))
    size = rows.size()
    title = f"{'training' if names == TRAIN else 'test'} images of ImageNet16-120"
    told = layouts.of_published(size, PUBLISHED[names], title, folder / FOLDER)
    return Dataset(
        name=NAME,
        classes=CLASSES,
        channels=3,
        resolution=16,
        size=size,
        mean=(122.68 / 255, 116.66 / 255, 104.01 / 255),
        std=(63.22 / 255, 61.26 / 255, 65.09 / 255),
        crop_padding=2,
        flip=True,
        note="ImageNet16-120 has images of 16 x 16 pixels: it is not ImageNet" + told,
        files=files,
        decode=rows.decode,
        test=functools.partial(_open, folder, TEST),
    )
