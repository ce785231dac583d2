"""What CIFAR-10 and CIFAR-100 share: the two layouts they are held in, and how they are told apart.

1. ``FOLDER/NAME/train-*.parquet``, the files of the common hubs;
2. ``FOLDER/cifar-10-batches-py`` or ``FOLDER/cifar-100-python``, the original archives unpacked.

The first that is there is read.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import inside
from optnas.data.sets import layouts
from optnas.data.sets.base import Dataset
from optnas.data.sets.encoded import Encoded, read_labels
from optnas.data.sets.pickled import Batches

RESOLUTION = 32
PARQUET = "{}-*.parquet"


@dataclass(frozen=True)
class Part:
    """The training or the test images.

    Args:
        name: ``train`` or ``test``: how its parquet files begin.
        batches: its pickled batches, in their published order.
        first_labels: the first labels of each batch. They tell in which order a parquet file has
            the batches, and whether it has them at all: hubs keep the order of the archive, whose
            members are not sorted, and some copies are shuffled.
        block: number of images of a batch.
    """

    name: str
    batches: tuple[str, ...]
    first_labels: tuple[tuple[int, ...], ...]
    block: int

    @property
    def size(self) -> int:
        """Number of published images."""
        return self.block * len(self.first_labels)


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets.

    Args:
        name: the registered name, and the folder of the parquet files.
        title: its name in text.
        classes: number of classes.
        mean: of each channel, of pixel values in 0 to 1.
        std: of each channel.
        archive: the folder of the pickled batches.
        label_key: key of the labels in a batch.
        label_columns: names of the label column in parquet.
        train: the training images.
        test: the test images.
        class_names: in order of the labels; empty where they are not kept here.
    """

    name: str
    title: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    archive: str
    label_key: str
    label_columns: tuple[str, ...]
    train: Part
    test: Part
    class_names: tuple[str, ...] = ()

    def open(self, folder: Path | None) -> Dataset:
        """The training images, from whichever layout is there.

        Returns:
            The dataset; only file descriptions and labels were read.

        Raises:
            UserError: the folder or its files are missing, damaged or of another form.
        """
        wanted = f"{self.name}/train-*.parquet", f"{self.archive}/{self.train.batches[0]}"
        folder = layouts.needs_folder(folder, self.name, *wanted)
        parquet, archive = folder / self.name, folder / self.archive
        remedy = layouts.fix(*wanted)
        if archive.is_dir() and not inside(parquet, PARQUET.format("train")):
            return self._pickled(archive, remedy, self.train)
        return self._encoded(parquet, remedy, self.train)

    def _encoded(self, folder: Path, remedy: str, part: Part) -> Dataset:
        files = layouts.matching(folder, PARQUET.format(part.name), remedy)
        rows = Encoded(files, self.label_columns, self.classes, RESOLUTION)
        return self._dataset(
            rows,
            part,
            f"{self.title} read from parquet; copies may be recompressed and are not bit-equal to "
            "the original archives",
            functools.partial(self._encoded, folder, remedy, self.test),
            functools.partial(published_rows, files, self.label_columns, part),
        )

    def _pickled(self, folder: Path, remedy: str, part: Part) -> Dataset:
        files = layouts.named(folder, part.batches, remedy)
        labels = range(self.classes)
        rows = Batches(files, self.label_key, RESOLUTION, labels, labels)
        note = f"{self.title} read from the batches of the original archive"
        return self._dataset(
            rows, part, note, functools.partial(self._pickled, folder, remedy, self.test)
        )

    def _dataset(
        self,
        rows: Encoded | Batches,
        part: Part,
        note: str,
        test: functools.partial[Dataset],
        published: functools.partial[np.ndarray] | None = None,
    ) -> Dataset:
        size = rows.size()
        title = f"{layouts.PARTS[part.name]} images of {self.title}"
        note += layouts.of_published(size, part.size, title, rows.files[0].parent)
        return Dataset(
            name=self.name,
            classes=self.classes,
            channels=3,
            resolution=RESOLUTION,
            size=size,
            mean=self.mean,
            std=self.std,
            crop_padding=4,
            flip=True,
            note=note,
            files=rows.files,
            decode=rows.decode,
            decoder=rows.decoder,
            test=test,
            published_rows=published,
            class_names=self.class_names,
        )


def published_rows(files: Sequence[Path], label_columns: tuple[str, ...], part: Part) -> np.ndarray:
    """The rows of parquet files in the order of the published batches.

    Each run of `Part.block` rows must begin with the labels of another batch.

    Args:
        files: the parquet files, in order of their rows.
        label_columns: names of their label column.
        part: the published batches.

    Returns:
        Own row of each published row, ``int64``.

    Raises:
        UserError: the rows are not those batches one after the other.
    """
    labels = [label for path in files for label in read_labels(path, label_columns)]
    starts = range(0, len(labels), part.block)
    begin_of = {tuple(labels[start : start + len(part.first_labels[0])]): start for start in starts}
    whole = len(labels) == part.size
    if not whole or set(begin_of) != set(part.first_labels):
        raise UserError(
            "its rows are in another order than the published one, to which lists of rows refer",
            where=files[0],
            remedy=f"use the pickled batches ({part.batches[0]}, ...), or another data.split",
        )
    return np.concatenate(
        [np.arange(begin_of[first], begin_of[first] + part.block) for first in part.first_labels]
    )
