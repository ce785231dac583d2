"""Checks of search spaces, data sets and schedules."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from optnas.base.errors import UserError
from optnas.data.sets.base import Dataset
from optnas.optimizers.schedules.common import Schedule
from optnas.search.exam.base import (
    Check,
    FailedError,
    NotExaminedError,
    Subject,
    demand,
    difference,
    example,
    repeated,
    untouched,
)
from optnas.spaces import tables
from optnas.spaces.base import Architecture, Space
from optnas.spaces.network import build_network
from optnas.spaces.network.cells import Placed
from optnas.spaces.network.layers import Layers
from optnas.spaces.operations.base import Operation, Site

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
    drawn = [space.architecture(space.chosen(row)) for row in columns]
    return [cell for cell in drawn if not space.keeps_some or _has_ways_in(cell)]


def _has_ways_in(cell: Architecture) -> bool:
    try:
        cell.space.check_ways_in(cell.operations)
    except UserError:
        return False
    return True


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
    logits = repeated(
        lambda: supernet(example(2, 4, 1, 8, 8), op_weights_EO, statistics=None)[0].detach()
    )
    demand(bool(torch.isfinite(logits).all()), "the logits of its supernet are not finite")


@dataclass(frozen=True)
class _Own(Subject):
    """An operation that a space brings, examined as those registered."""

    space: Space = field(kw_only=True)

    def build(self, **offered: Any) -> Any:
        return self.space.own[self.name]()


def _own_operations(subject: Subject) -> None:
    space = _space(subject)
    own = [name for name in space.operations if name in space.own]
    if not own:
        raise NotExaminedError("brings no operations")
    for name in own:
        operation = _Own("operation", name, space=space)
        for check in OPERATION_CHECKS.values():
            if getattr(operation.build(), "noise", False):
                continue  # only its network hands it the noise
            try:
                check(operation)
            except NotExaminedError:
                continue
            except FailedError as error:
                raise FailedError(f"its operation {name} {error}") from error


def _zero_and_identity(subject: Subject) -> None:
    space = _space(subject)
    x_BCHW = example(3, 2, 4, 6, 6)
    examined = False
    for key, index in (("none", space.none), ("skip", space.skip)):
        # A network of its own need not know an operation that is only registered by this name.
        if index is None or not (space.network is None or space.operations[index] in space.own):
            continue
        examined, name = True, space.operations[index]
        placed = Placed("operation", space.candidates()[index], Site(4, 4))
        layers = Layers(torch.Generator().manual_seed(0), torch.float64)
        layers.add(placed, affine=False)
        y_BCHW = _output(placed, layers, x_BCHW).detach()
        due_BCHW = x_BCHW if key == "skip" else torch.zeros_like(x_BCHW)
        what = "the identity" if key == "skip" else "zeros"
        demand(torch.equal(y_BCHW, due_BCHW), f"{key} is {name}, which does not give {what}")
    if not examined:
        raise NotExaminedError("neither is an operation of its own, or of the usual network")


SPACE_CHECKS: dict[str, Check] = {
    "every cell's string reads back": _round_trip,
    "the order lists every cell once": _order,
    "built twice it is equal": _one_space,
    "none gives zeros, skip the identity": _zero_and_identity,
    "own operations pass as registered ones": _own_operations,
    "a supernet runs on it; repeatable, no global generator": _supernet,
}


def _operation(subject: Subject) -> Operation:
    operation = subject.build()
    demand(isinstance(operation, Operation), f"returns a {type(operation).__name__}, no Operation")
    return operation


def _placed(subject: Subject) -> tuple[Placed, Layers]:
    """The operation at a place where the size is kept, and its leaves."""
    placed = Placed("operation", _operation(subject), Site(4, 4))
    layers = Layers(torch.Generator().manual_seed(0), torch.float64)
    layers.add(placed, affine=False)
    return placed, layers


def _output(placed: Placed, layers: Layers, x_BCHW: torch.Tensor) -> torch.Tensor:
    held, normalise, _ = layers.begin(None, None, update=False)
    return placed(x_BCHW, held, normalise)


def _keeps_shape(subject: Subject) -> None:
    placed, layers = _placed(subject)
    x_BCHW = example(3, 2, 4, 6, 6)
    with untouched(x=x_BCHW, **{name.replace(".", "_"): w for name, w in layers.weights.items()}):
        y_BCHW = repeated(lambda: _output(placed, layers, x_BCHW).detach())
    demand(
        y_BCHW.shape == x_BCHW.shape,
        f"its output is {list(y_BCHW.shape)}, its input {list(x_BCHW.shape)}",
    )
    demand(y_BCHW.dtype == x_BCHW.dtype, f"its output is {y_BCHW.dtype}, its input float64")
    demand(bool(torch.isfinite(y_BCHW).all()), "its output is not finite")


def _twice(subject: Subject) -> None:
    placed, layers = _placed(subject)
    x_BCHW = example(3, 2, 4, 6, 6).requires_grad_()
    y_BCHW = _output(placed, layers, x_BCHW)
    if not y_BCHW.requires_grad:
        demand(not bool(y_BCHW.any()), "no gradient reaches its input")
        return
    wanted = [x_BCHW, *layers.weights.values()]
    loss = (y_BCHW * example(4, *y_BCHW.shape)).square().sum()
    first = torch.autograd.grad(loss, wanted, create_graph=True, allow_unused=True)
    unused = [name for name, g in zip(layers.weights, first[1:], strict=True) if g is None]
    demand(not unused, f"does not use its filter {', '.join(unused)}")
    total = sum((g.square().sum() for g in first if g is not None), loss * 0)
    for gradient in torch.autograd.grad(total, wanted, allow_unused=True):
        demand(
            gradient is None or bool(torch.isfinite(gradient).all()),
            "a second derivative is not finite",
        )


def _is_what_is_merged(subject: Subject) -> None:
    operation = _operation(subject)
    if operation.kernel is None:
        raise NotExaminedError("declares no kernel")
    placed, layers = _placed(subject)
    shape = {"operation.weight": (4, 4, operation.kernel, operation.kernel)}
    demand(placed.filters() == shape, f"its filters are {placed.filters()}, not {shape}")
    x_BCHW = example(3, 2, 4, 6, 6)
    y = F.conv2d(x_BCHW.relu(), layers.weights["operation.weight"], padding=operation.kernel // 2)
    y = F.batch_norm(y, None, None, training=True)
    far = float((y - _output(placed, layers, x_BCHW)).detach().abs().max())
    demand(far < 1e-9, f"differs by {far:.0e} from ReLU, convolution, batch norm")


OPERATION_CHECKS: dict[str, Check] = {
    "keeps shape and type, is finite, leaves its input alone; repeatable": _keeps_shape,
    "uses its filters, and is differentiable twice": _twice,
    "is ReLU, convolution, batch norm if it declares a kernel": _is_what_is_merged,
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
