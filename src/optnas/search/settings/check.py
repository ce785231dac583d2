"""What settings must not contradict, checked once all of them are there."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optnas.algorithms.base import Algorithm
from optnas.base import registry
from optnas.base.columns import OF_MEASURES, RECORD
from optnas.base.errors import UserError
from optnas.data.sets.base import Dataset
from optnas.data.splits import FixedSplit
from optnas.measures.base import Measure
from optnas.optimizers import signatures
from optnas.search.settings.model import ImagesSection, OptimizerSection, Settings
from optnas.search.settings.needs import (
    algorithm_of,
    check_measure_needs,
    check_needs,
    check_simplex,
    optimizers_in,
)
from optnas.spaces import Space, build_space, tables

SIZES = ("train_size", "valid_size")
HOW = {"status", "settings"}  # columns of a measure in a table beside its quantities
# Whether it is one, key, value, reason, remedy.
Contradiction = tuple[bool, str, Any, str, str]


@dataclass(frozen=True)
class SearchImages:
    """The images of a run, and how many of them each half may have.

    Attributes:
        dataset: the images.
        fixed: the split that a file says, if one does.
    """

    dataset: Dataset
    fixed: FixedSplit | None

    @property
    def available(self) -> dict[str, int]:
        """The most images a half may have, by key of ``data``."""
        if self.fixed is not None:
            lists = len(self.fixed.train_N), len(self.fixed.valid_M)
            return dict(zip(SIZES, lists, strict=True))
        size = self.dataset.size
        return dict(zip(SIZES, (size // 2, size - size // 2), strict=True))

    def fingerprint(self) -> str:
        """Of the images, and of the split where a file says it."""
        return self.fixed.fingerprint if self.fixed else self.dataset.fingerprint()


def check(settings: Settings, images: SearchImages) -> None:
    """Refuse settings that contradict each other, their images or their benchmark table.

    Args:
        settings: all of them.
        images: of the search.

    Raises:
        UserError: they do.
    """
    check_values(settings.model_dump())
    space = build_space(settings.space.model_dump())
    _check_consistency(settings, images, space)
    if space.network is None:
        space.check_operations()
    elif not settings.supernet.head_affine:
        space.check_takes("head_affine", "supernet.head_affine=false asks for one")
    _check_table(settings, space)
    check_needs(settings, space)
    check_simplex(settings)
    algorithm = algorithm_of(settings, space)
    check_measures(settings)
    _check_judging(settings, space, algorithm)
    _check_selection(settings, algorithm)
    _check_watch(settings, algorithm)


def check_values(document: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse what no file of a run could hold: infinities, dates, halves of characters.

    Args:
        document: tables of settings.
        prefix: of their keys, for the error.

    Raises:
        UserError: there is such a value.
    """
    for key, value in document.items():
        if isinstance(value, Mapping):
            check_values(value, f"{prefix}{key}.")
            continue
        for each in _leaves(value):
            number = isinstance(each, (int, float)) and math.isfinite(each)
            if not (number or each is None or isinstance(each, str)):
                infinite = isinstance(each, float)
                raise UserError(
                    f"must be {'' if infinite else 'text or '}a finite number",
                    key=f"{prefix}{key}",
                    value=value,
                    remedy="write a finite number" + ("" if infinite else ", or text in quotes"),
                )
            if isinstance(each, str) and not _is_text(each):
                raise UserError(
                    "no file of settings can hold such text",
                    key=f"{prefix}{key}",
                    value=value,
                    remedy="rename it, without bytes that are no UTF-8",
                )


def _leaves(value: Any) -> Iterator[Any]:
    """What lists within lists hold, or the value itself."""
    if not isinstance(value, (list, tuple)):
        yield value
        return
    for each in value:
        yield from _leaves(each)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_consistency(settings: Settings, images: SearchImages, space: Space) -> None:
    search, supernet, data = settings.search, settings.supernet, settings.data
    small = [key for key in SIZES if getattr(data, key) < search.batch_size]
    more = all(images.available[key] >= search.batch_size for key in small)
    raised = f", or raise {' and '.join(f'data.{key}' for key in small)}" if more else ""
    refuse(
        *halves_too_large(data, images),
        rises("weight_optimizer", settings.weight_optimizer),
        rises("arch_optimizer", settings.arch_optimizer),
        unread("weight_optimizer", settings.weight_optimizer, search.epochs),
        unread("arch_optimizer", settings.arch_optimizer, search.epochs),
        no_multiple(data, space),
        (
            search.batch_size > min(data.train_size, data.valid_size),
            "search.batch_size",
            search.batch_size,
            f"larger than a half (train {data.train_size}, valid {data.valid_size})",
            f"lower it{raised}",
        ),
        single_value(data, space, "train_size", "search.batch_size", search.batch_size),
        padded_away(settings.augmentation.crop_padding, data.resolution),
        (
            supernet.batch_norm == "batch" and supernet.arch_step_updates_statistics,
            "supernet.arch_step_updates_statistics",
            True,
            "there are no running statistics under supernet.batch_norm=batch",
            "set it to false",
        ),
        (
            supernet.precision != "float32" and supernet.dtype != "float32",
            "supernet.precision",
            supernet.precision,
            f"says how float32 numbers are multiplied, and supernet.dtype is {supernet.dtype}",
            "set supernet.dtype=float32, or supernet.precision=float32",
        ),
        (
            not re.fullmatch(r"auto|cpu|cuda(:\d+)?", settings.run.device),
            "run.device",
            settings.run.device,
            "there is no such kind of device",
            "use auto, cpu, cuda or cuda:N",
        ),
    )


def no_multiple(data: ImagesSection, space: Space) -> Contradiction:
    """What `refuse` is to refuse of sides that the space's networks cannot halve.

    Args:
        data: with the resolution.
        space: whose networks see the images.
    """
    multiple = space.side_multiple
    nearest = max(multiple, multiple * round(data.resolution / multiple))
    return (
        data.resolution % multiple != 0,
        "data.resolution",
        data.resolution,
        f"networks of {space.name} take sides that are multiples of {multiple}",
        f"set data.resolution to such a multiple, such as {nearest}",
    )


def padded_away(padding: int, resolution: int) -> Contradiction:
    """What `refuse` is to refuse of the padding before a crop.

    Args:
        padding: pixels on each side.
        resolution: height and width of an image.
    """
    return (
        padding > resolution,
        "augmentation.crop_padding",
        padding,
        f"crops of images of {resolution} pixels would show nothing of them",
        f"use {resolution} or less",
    )


def halves_too_large(data: ImagesSection, images: SearchImages) -> list[Contradiction]:
    """What `refuse` is to refuse of the sizes of both halves."""
    whole = f"the {images.dataset.size} labelled images" if images.fixed is None else "the split"
    return [
        (
            getattr(data, key) > half,
            f"data.{key}",
            getattr(data, key),
            f"its half of {whole} has {half}",
            f"set it from 1 to {half}",
        )
        for key, half in images.available.items()
    ]


def _one_pixel(data: ImagesSection, space: Space) -> bool:
    """Whether a channel of the last stage has one pixel, after all halvings of the sides."""
    return data.resolution <= 2**space.halvings


def _more_pixels(space: Space) -> str:
    return f"raise data.resolution to {2 ** (space.halvings + 1)}"


def single_value(
    data: ImagesSection, space: Space, half: str, key: str, batch_size: int
) -> Contradiction:
    """What `refuse` is to refuse of passes that end with a batch norm of a single value.

    Variances of a batch need two values per channel; one image has one pixel there if it is small.

    Args:
        data: sizes and resolution.
        space: whose network halves the sides.
        half: key of the half's size; the pass keeps its short last batch.
        key: of the size of a batch.
        batch_size: its value.
    """
    size = getattr(data, half)
    return (
        _one_pixel(data, space) and size % batch_size == 1,
        f"data.{half}",
        size,
        "the last batch would be one image of one pixel per channel in the last stage "
        f"({key} = {batch_size}, data.resolution = {data.resolution})",
        f"change it by one, or {_more_pixels(space)}",
    )


def _check_judging(settings: Settings, space: Space, algorithm: Algorithm) -> None:
    """Refuse batches of one value per channel in passes over the validation half."""
    data, search, judging = settings.data, settings.search, settings.evaluation
    if not _one_pixel(data, space):
        return
    if search.valid_order == "passes":
        refuse(single_value(data, space, "valid_size", "search.batch_size", search.batch_size))
    # A selection judges by the statistics of each batch, whatever the run tracks.
    if settings.supernet.batch_norm == "batch" or algorithm.select is not None:
        key = "evaluation.batch_size"
        refuse(single_value(data, space, "valid_size", key, judging.batch_size))


def _check_selection(settings: Settings, algorithm: Algorithm) -> None:
    """Refuse a selection without an epoch of training before it, or whose rate is not read."""
    select, epochs = algorithm.select, settings.search.epochs
    refuse(
        (
            select is not None and select.rate == 0 and select.begins(epochs) <= 1,
            "search.epochs",
            epochs,
            f"{settings.algorithm.name} selects its cell from the first epoch on, and meanwhile "
            "trains no weight",
            "raise it, so that an epoch of training comes before",
        )
    )
    if select is None or select.rate is None:
        return
    for key, name in _own_steps("weight_optimizer", settings.weight_optimizer).items():
        raise UserError(
            f"reads the learning rate in its first step alone, and {settings.algorithm.name} sets "
            "that of the network weights while it selects its cell",
            key=key,
            value=name,
            remedy="use another, such as SGD",
        )


def _check_watch(settings: Settings, algorithm: Algorithm) -> None:
    """Refuse a watch that looks at more images than there are, or has no decay to raise."""
    watch, data = algorithm.watch, settings.data
    if watch is None:
        return
    if watch.images > data.valid_size:
        raise UserError(
            f"its watch needs {watch.images} images of the valid half, which has {data.valid_size}",
            key="algorithm.name",
            value=settings.algorithm.name,
            remedy="lower its batch_size, or raise data.valid_size",
        )
    decay = _decay(settings.weight_optimizer.settings)
    if watch.raises_decay and not decay:
        raise UserError(
            f"{settings.algorithm.name} raises the weight decay, and the network weights have none",
            key="weight_optimizer.name",
            value=settings.weight_optimizer.name,
            remedy="set weight_optimizer.weight_decay above 0, such as 3e-4",
        )
    if watch.raises_decay and decay >= watch.decay_max:
        raise UserError(
            f"{settings.algorithm.name} raises the weight decay to {watch.decay_max:g} at most, "
            f"and the network weights begin with {decay:g}",
            key="weight_optimizer.name",
            value=settings.weight_optimizer.name,
            remedy="lower its weight_decay, such as to 3e-4, or raise algorithm.decay_max",
        )


def _decay(optimizer: Mapping[str, Any]) -> float:
    """The largest weight decay in the settings of an optimizer, or of one inside it."""
    found = (
        _decay(value) if isinstance(value, Mapping) else value if key == "weight_decay" else 0.0
        for key, value in optimizer.items()
    )
    return max(found, default=0.0)


def rises(section: str, optimizer: OptimizerSection) -> Contradiction:
    """What `refuse` is to refuse of a schedule whose end lies above the rate that it begins with.

    A protocol's end is absolute, so that it stays where the rate alone is lowered.

    Args:
        section: the optimizer's.
        optimizer: its settings.
    """
    schedule, lr = optimizer.schedule, optimizer.settings["lr"]
    end, key = schedule.settings.get("final_lr", 0.0), f"{section}.schedule.final_lr"
    falls = registry.facts("schedule", schedule.name).get("falls", False)
    return (
        falls and isinstance(lr, (int, float)) and end > lr >= 0,
        key,
        end,
        f"the learning rate would rise to it from {section}.lr = {lr}",
        f"set {key} to at most {lr}; or to 0 and {section}.schedule.final_share to a share "
        "of the rate",
    )


def unread(section: str, optimizer: OptimizerSection, epochs: int) -> Contradiction:
    """What `refuse` is to refuse of a schedule whose rates an optimizer never reads.

    The record would show a rate that falls, and the steps would not.

    Args:
        section: the optimizer's.
        optimizer: its settings.
        epochs: of the training.
    """
    key, lr = f"{section}.schedule", optimizer.settings["lr"]
    own = _own_steps(section, optimizer)
    rates = set()
    if own:
        schedule = registry.build("schedule", optimizer.schedule.table, section=key)
        rates = {schedule(lr, epoch, epochs) for epoch in range(1, epochs + 1)}
    return (
        len(rates) > 1,
        key,
        optimizer.schedule.name,
        f"{', '.join(own.values())} reads the learning rate in its first step alone, and no "
        "schedule moves it",
        f"set {key}=constant, or use another optimizer",
    )


def _own_steps(section: str, optimizer: OptimizerSection) -> dict[str, str]:
    """The optimizers of a section, by key, of which only the first step reads the rate."""
    every = optimizers_in(section, optimizer.name, optimizer.settings)
    return {key: name for key, name in every if signatures.facts(name).get("own_steps")}


def refuse(*contradictions: Contradiction) -> None:
    """Raise a `UserError` for the first contradiction that is one."""
    for wrong, key, value, reason, remedy in contradictions:
        if wrong:
            raise UserError(reason, key=key, value=value, remedy=remedy)


def _check_table(settings: Settings, space: Space) -> None:
    name = settings.benchmark.table
    if name == tables.NO_TABLE.name:
        return
    source = tables.find_source(name, key="benchmark.table")
    if source.space_name != space.name:
        able = ", ".join(each.name for each in tables.sources(space.name))
        raise UserError(
            f"this table holds cells of {source.space_name}, and the space is {space.name}",
            key="benchmark.table",
            value=name,
            remedy=f"use {able or './file.py:Object'}",
        )
    source.check_holds(space, value=settings.space.name)


def check_measures(settings: Settings, *, afterwards: bool = False) -> None:
    """Refuse measures that need more images than there are, or a column that is taken.

    Args:
        settings: all of them.
        afterwards: every measure is taken, whatever its epochs.

    Raises:
        UserError: a measure is one of these, needs what the search has not, or normalises batches
            of one value per channel.
    """
    halves = {"train": settings.data.train_size, "valid": settings.data.valid_size}
    space = build_space(settings.space.model_dump())
    columns = dict.fromkeys(RECORD.keys() - set(OF_MEASURES), "the search")
    for label, section in settings.measures.items():
        key = f"measures.{label}"
        measure: Measure = registry.build("measure", section.table, section=key)
        taken = afterwards or section.every > 0 or bool(section.at)
        if taken:
            check_measure_needs(settings, space, f"measures.{label}", section.name)
        if taken and section.settings.get("batch_size") == 1 and _one_pixel(settings.data, space):
            raise UserError(
                "a batch norm would meet a single value per channel in the last stage "
                f"(data.resolution = {settings.data.resolution})",
                key=f"measures.{label}.batch_size",
                value=1,
                remedy="raise it",
            )
        least = measure.least_batch(
            settings.data.valid_size,
            settings.evaluation.batch_size,
            settings.supernet.batch_norm == "batch",
        )
        if taken and least == 1 and _one_pixel(settings.data, space):
            raise UserError(
                "one of its batches would be one image of one pixel per channel in the last stage "
                f"(data.resolution = {settings.data.resolution}), which a batch norm cannot take",
                key=f"measures.{label}.images",
                value=section.settings.get("images"),
                remedy=f"change it by one, or {_more_pixels(space)}",
            )
        for half, count in measure.images.items():
            if taken and count > halves[half]:
                raise UserError(
                    f"needs {count} images of the {half} half, which has {halves[half]}",
                    key=f"measures.{label}",
                    value=section.name,
                    remedy=f"lower its batch_size, or set measures.{label}.every=0",
                )
        for column in HOW & measure.quantities.keys():
            raise UserError(
                f"calls a quantity '{column}', the column of a table that says how it was measured",
                key=f"measures.{label}",
                value=section.name,
                remedy="rename the quantity",
            )
        if not (measure.recorded and label == section.own_name):
            continue
        for column in measure.quantities:
            if column in columns:
                raise UserError(
                    f"would write {column} into the record, as does {columns[column]}",
                    key=f"measures.{label}",
                    value=section.name,
                    remedy="rename the quantity, or give the measure another label",
                )
            columns[column] = f"measures.{label}"
