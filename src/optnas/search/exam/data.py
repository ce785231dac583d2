"""Checks of search spaces, data sets and schedules."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from optnas.base.errors import UserError
from optnas.data.sets.base import Dataset
from optnas.optimizers.schedules.common import Schedule
from optnas.search.exam.base import (
    Check,
    NotExaminedError,
    Subject,
    demand,
    difference,
    example,
    repeated,
)
from optnas.spaces import tables
from optnas.spaces.base import Architecture, Space
from optnas.spaces.network import build_network

ALL = 20_000  # spaces up to this size are checked cell by cell
SAMPLE = 2_000


def _space(subject: Subject) -> Space:
    space = subject.build()
    demand(isinstance(space, Space), f"returns a {type(space).__name__}, no Space")
    return space


def _cells(space: Space) -> Sequence[Architecture]:
    if space.size <= ALL:
        return list(space.all())
    columns = np.random.default_rng(0).integers(
        space.operation_count, size=(SAMPLE, space.edge_count)
    )
    return [space.architecture(row) for row in columns]


def _round_trip(subject: Subject) -> None:
    space = _space(subject)
    strings: dict[str, Architecture] = {}
    for cell in _cells(space):
        demand(
            strings.setdefault(cell.string, cell) == cell, f"two cells are written {cell.string}"
        )
        try:
            read = space.parse(cell.string)
        except UserError as error:
            demand(False, f"its own string {cell.string} does not read back: {error.reason}")
        demand(read == cell, f"{cell.string} reads back as {read}")


def _order(subject: Subject) -> None:
    space = _space(subject)
    if space.size > ALL:
        raise NotExaminedError(f"{space.size} cells are too many to list")
    cells = list(space.all())
    demand(
        len(cells) == space.size and len(set(cells)) == space.size,
        f"its order lists {len(set(cells))} of its {space.size} cells in {len(cells)} places",
    )
    for index in (0, space.size // 2, space.size - 1):
        found = space.index(space.architecture_at(index))
        demand(found == index, f"the cell at index {index} says its index is {found}")


def _one_space(subject: Subject) -> None:
    first, second = _space(subject), _space(subject)
    demand(first == second and hash(first) == hash(second), "built twice it is two spaces")


def _supernet(subject: Subject) -> None:
    space = _space(subject)
    supernet = build_network(
        space,
        channels=2,
        cells=1,
        classes=3,
        image_channels=1,
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    op_weights_EO = example(1, space.edge_count, space.operation_count).softmax(-1)
    logits, _ = supernet(example(2, 4, 1, 8, 8), op_weights_EO, statistics=None)
    demand(bool(torch.isfinite(logits).all()), "the logits of its supernet are not finite")


SPACE_CHECKS: dict[str, Check] = {
    "every cell's string reads back": _round_trip,
    "the order lists every cell once": _order,
    "built twice it is equal": _one_space,
    "a supernet runs on it": _supernet,
}


def _dataset(subject: Subject) -> Dataset:
    folder = tables.data_folder(None)
    try:
        dataset = subject.build(folder=folder)
    except UserError as error:
        raise NotExaminedError(str(error)) from error
    demand(isinstance(dataset, Dataset), f"returns a {type(dataset).__name__}, no Dataset")
    return dataset


def _facts(subject: Subject) -> None:
    dataset = _dataset(subject)
    lengths = {len(dataset.mean), len(dataset.std), dataset.channels}
    demand(len(lengths) == 1, "mean, std and channels disagree on the number of channels")
    demand(min(dataset.std) > 0, "a standard deviation is not positive")
    demand(dataset.fingerprint() == dataset.fingerprint(), "its fingerprint changes")


def _rows(subject: Subject) -> None:
    dataset = _dataset(subject)
    asked = np.array([dataset.size - 1, 0, 1, 0])
    kept = asked.copy()
    images, labels = dataset.read(asked)
    side = dataset.resolution
    shape = (4, side, side, dataset.channels)
    demand(images.shape == shape, f"images have shape {images.shape}, not {shape}")
    demand(images.dtype == np.uint8, f"images are {images.dtype}, not uint8")
    demand(labels.shape == (4,) and labels.dtype == np.int64, "labels are no int64 vector")
    demand(
        bool(((labels >= 0) & (labels < dataset.classes)).all()),
        f"labels {labels.tolist()} are not in 0 to {dataset.classes - 1}",
    )
    demand(np.array_equal(asked, kept), "reading changes the rows it is asked for")
    demand(difference(images[1], images[3]) is None, "the same row is another image")


def _reads_the_same(subject: Subject) -> None:
    dataset = _dataset(subject)
    repeated(lambda: dataset.read(np.arange(3)))


DATASET_CHECKS: dict[str, Check] = {
    "facts agree": _facts,
    "rows in the order asked for, labels in range": _rows,
    "the same rows, the same images; no global generator": _reads_the_same,
}


def _rates(subject: Subject) -> None:
    schedule: Schedule = subject.build()
    for epochs, initial in itertools.product((1, 2, 50), (0.1, 1e-4)):
        for epoch in range(1, epochs + 1):
            rate = schedule(initial, epoch, epochs)
            demand(
                isinstance(rate, (int, float)) and math.isfinite(rate) and rate >= 0,
                f"the rate of epoch {epoch} of {epochs} is {rate!r}",
            )


def _is_pure(subject: Subject) -> None:
    schedule: Schedule = subject.build()
    epochs = [*range(1, 21), *range(20, 0, -1)]
    rates = repeated(lambda: [schedule(0.1, epoch, 20) for epoch in epochs])
    demand(rates == rates[::-1], "a rate depends on which epochs were asked before")


SCHEDULE_CHECKS: dict[str, Check] = {
    "finite rates, none negative": _rates,
    "a rate depends on the epoch alone": _is_pure,
}
