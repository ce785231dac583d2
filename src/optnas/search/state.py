"""Everything a running search holds, built from its settings."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from optnas.algorithms.base import Algorithm, Memory, Progress
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.base.records import NOTHING_WRITTEN, Written
from optnas.base.seeds import global_states, moved_since, named_generator
from optnas.data.augmentation import Augmentation
from optnas.data.batches import CyclingBatches
from optnas.data.images import Images, load_images, shared_images, split_indices, unbalanced
from optnas.data.sets.base import Dataset
from optnas.data.splits import read_split
from optnas.optimizers.adapter import build
from optnas.optimizers.schedules.common import Schedule
from optnas.search.environment import undisturbed
from optnas.search.given import settings_of
from optnas.search.settings.model import Settings
from optnas.search.settings.needs import algorithm_of, needs_in
from optnas.spaces import Architecture, Space, build_space
from optnas.spaces.network import (
    FixedNetwork,
    SearchNetwork,
    Statistics,
    build_fixed,
    build_network,
)
from optnas.spaces.network.protocol import SKIP_DROPOUT
from optnas.spaces.tables import Table, load_table

log = logging.getLogger(__name__)
T = TypeVar("T")

# One number per operation weight and weight step, for algorithms that need noise; else what a
# perturbation draws itself.
NOISE = "perturbation"
STREAMS = ("train-order", "valid-order", "train-augmentation", "valid-augmentation", NOISE)
# One number per step, for algorithms that need a draw; the others do not have the stream.
DRAWS = "draws"
# One number per alpha step, for those that need further train batches.
MORE_BATCHES = "more-train-batches"
# One number per alpha step that asks for further validation batches.
MORE_VALID = "more-valid-batches"
# One number per batch of a step, for spaces whose operations draw noise and for algorithms whose
# steps drop parts of skips.
OPERATION_NOISE = "operation-noise"
# A stream that only those have who need it, by the need.
STREAM_OF = {
    "draw": DRAWS,
    "train-batches": MORE_BATCHES,
    "valid-batches": MORE_VALID,
    SKIP_DROPOUT: OPERATION_NOISE,
}


@dataclass
class SearchState:
    """A search between two steps.

    Attributes:
        settings: what it was built from.
        space: the search space.
        algorithm: the four parts.
        supernet: holds the network weights.
        alone: an architecture and a generator of initial weights -> its stand-alone network, of the
            supernet's sizes.
        statistics: running batch-norm statistics, None where the run tracks none.
        alpha_EO: architecture parameters, a leaf.
        alpha_start_EO: their initial value.
        weight_optimizer: of the network weights.
        arch_optimizer: of alpha.
        weight_schedule: its learning rate by epoch.
        arch_schedule: its learning rate by epoch.
        train: training half.
        valid: validation half.
        augmentation: of the weight step's batches.
        valid_augmentation: of the alpha step's batches.
        generators: random streams by name.
        needs: what the algorithm needs, keys of `registry.NEEDS`.
        passes: state of the validation batches drawn in passes.
        table: the benchmark.
        note: what to say of the data beside results.
        memory: what the algorithm remembers, empty if nothing.
        path_lengths: sums of the lengths of alpha's steps so far, two float64 numbers: of the steps
            as they are, and without the mean of each row, which softmax does not see.
        epoch: finished epochs.
        records: epochs.jsonl with all of them.
        seconds: wall time of the epochs so far.
    """

    settings: Settings
    space: Space
    algorithm: Algorithm
    supernet: SearchNetwork
    alone: Callable[[Architecture, torch.Generator], FixedNetwork]
    statistics: Statistics | None
    alpha_EO: Tensor
    alpha_start_EO: Tensor
    weight_optimizer: torch.optim.Optimizer
    arch_optimizer: torch.optim.Optimizer
    weight_schedule: Schedule
    arch_schedule: Schedule
    train: Images
    valid: Images
    augmentation: Augmentation
    valid_augmentation: Augmentation
    generators: dict[str, torch.Generator]
    needs: frozenset[str]
    passes: CyclingBatches
    table: Table
    note: str
    path_lengths: Tensor
    memory: Memory = field(default_factory=dict)
    epoch: int = -1
    records: Written = NOTHING_WRITTEN
    seconds: float = 0.0

    @property
    def dtype(self) -> torch.dtype:
        """Of network weights, alpha and images."""
        return self.alpha_EO.dtype

    def lowered(self) -> AbstractContextManager[object]:
        """Where the forward passes of steps multiply in bfloat16, if the settings say so.

        Only there: what is judged is judged in the search's own type.
        """
        if self.settings.supernet.precision != "bfloat16":
            return contextlib.nullcontext()
        # No cache: what it held of one step would be used in the next.
        return torch.autocast(self.alpha_EO.device.type, torch.bfloat16, cache_enabled=False)

    def keep(self, statistics: Statistics | None) -> None:
        """Take over running statistics, in the memory they have here."""
        if self.statistics is not None and statistics is not None:
            self.statistics.mean_S.copy_(statistics.mean_S)
            self.statistics.variance_S.copy_(statistics.variance_S)

    def progress(self, epoch: int) -> Progress:
        """Where the search stands in an epoch, as it is judged there: without a draw."""
        return Progress(epoch, self.settings.search.epochs, memory=self.memory)

    def remember(self, memory: Memory | None) -> None:
        """Put what a part hands back into the memory; what it does not name stays."""
        if memory:
            self.memory = {**self.memory, **on_device(self.alpha_EO.device, memory)}

    def learning_rates(self, epoch: int) -> dict[str, float]:
        """The rate of each level in an epoch, by name of its section."""
        # Schedules end with the epoch before a selection that has a rate of its own: the
        # architecture keeps their last one, the network weights have a share of their initial one.
        settings, select = self.settings, self.algorithm.select
        epochs, share = settings.search.epochs, None if select is None else select.rate
        begins = epochs + 1 if select is None or share is None else select.begins(epochs)
        scheduled = max(begins - 1, 1)
        rates = {}
        for section, schedule in (
            ("weight_optimizer", self.weight_schedule),
            ("arch_optimizer", self.arch_schedule),
        ):
            initial = getattr(settings, section).settings["lr"]
            rates[section] = schedule(initial, min(epoch, scheduled), scheduled)
        if share is not None and epoch >= begins:
            rates["weight_optimizer"] = share * settings.weight_optimizer.settings["lr"]
        return rates


def pick_device(name: str) -> torch.device:
    """The device a run computes on.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        The device; ``auto`` is a GPU where there is one.

    Raises:
        UserError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        reason = None if device.type in ("cpu", "cuda") else "only cpu and cuda are known"
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
    if reason is not None:
        raise UserError(
            f"no such device here ({reason})",
            key="run.device",
            value=name,
            remedy="use auto or cpu",
        )
    return device


@undisturbed()
def build_state(settings: Settings | Mapping[str, Any]) -> SearchState:
    """Everything at its initial value, before epoch 0 is recorded.

    Args:
        settings: complete, or what `optnas.run` takes.

    Raises:
        UserError: a setting is wrong, or there is no such device.
    """
    if not isinstance(settings, Settings):
        settings = settings_of(settings)
    device = pick_device(settings.run.device)
    if settings.supernet.precision == "tf32" and device.type != "cuda":
        raise UserError(
            f"is a way of GPUs to multiply, and this run computes on the {device.type}",
            key="supernet.precision",
            value="tf32",
            remedy="use float32 or bfloat16, or a machine with a GPU",
        )
    dtype = {"float32": torch.float32, "float64": torch.float64}[settings.supernet.dtype]
    seed = settings.search.seed
    space = build_space(settings.space.model_dump())
    dataset = settings.data.open()
    dataset.warn()
    train, valid = _load_halves(settings, dataset, device)
    chosen = settings.algorithm
    algorithm = algorithm_of(settings, space)
    if algorithm.caveat:
        log.warning("optnas: warning: %s: %s", chosen.name, for_terminal(algorithm.caveat))
    needs = frozenset(each.need for each in needs_in(settings))
    searched = {each.need for each in needs_in(settings, beside=False)}
    algorithm = replace(algorithm, auxiliary_skip="auxiliary-skip" in searched)
    sizes: dict[str, Any] = {
        "channels": settings.supernet.channels,
        "cells": settings.supernet.cells,
        "classes": dataset.classes,
        "image_channels": dataset.channels,
        "dtype": dtype,
        "device": device,
    }
    supernet = build_network(
        space,
        algorithm.mixed_cell,
        auxiliary=algorithm.auxiliary_skip,
        generator=named_generator(seed, "weight-init"),
        head_affine=settings.supernet.head_affine,
        **sizes,
    )
    if "several-cells" in needs and supernet.cells < 2:
        raise UserError(
            f"compares cells of a network, and that of {space.name} is one cell",
            key="algorithm.name",
            value=chosen.name,
            remedy="choose another space or algorithm",
        )
    tracked = settings.supernet.batch_norm == "running"
    asked = settings.augmentation
    augmentation = Augmentation(asked.crop_padding, asked.flip, asked.cutout)
    own = [stream for need, stream in STREAM_OF.items() if need in needs]
    own += [OPERATION_NOISE] if any(each.noise for each in space.candidates()) else []
    generators = {name: named_generator(seed, name) for name in (*STREAMS, *own)}
    _check_dropout(settings, algorithm, supernet, needs)
    if algorithm.mixed_cell is not None and "own-cell" not in needs:
        raise UserError(
            "brings a mixed cell and does not say so",
            key="algorithm.name",
            value=chosen.name,
            remedy='register it with needs=("own-cell",)',
        )
    asked_a = settings.arch_optimizer
    alpha_EO = _initial_alpha(settings, space, algorithm).to(device, dtype).requires_grad_()
    return SearchState(
        settings=settings,
        space=space,
        algorithm=algorithm,
        supernet=supernet,
        alone=lambda cell, generator: build_fixed(cell, generator=generator, **sizes),
        statistics=supernet.initial_statistics() if tracked else None,
        alpha_EO=alpha_EO,
        alpha_start_EO=alpha_EO.detach().clone(),
        weight_optimizer=weight_optimizer_of(settings, supernet),
        arch_optimizer=build(
            asked_a.name, asked_a.settings, [alpha_EO], section="arch_optimizer", names=["alpha"]
        ),
        weight_schedule=_schedule(settings, "weight_optimizer"),
        arch_schedule=_schedule(settings, "arch_optimizer"),
        train=train,
        valid=valid,
        augmentation=augmentation,
        valid_augmentation=augmentation if asked.validation else Augmentation(),
        generators=generators,
        needs=needs,
        passes=CyclingBatches(len(valid), settings.search.batch_size, generators["valid-order"]),
        table=load_table(settings.benchmark.table, folder=settings.data.place("folder")),
        note=_note(settings, dataset)
        + shared_images(train, valid)
        + unbalanced(valid, dataset.classes, "validation"),
        path_lengths=torch.zeros(2, dtype=torch.float64, device=device),
        memory=on_device(device, _first_memory(settings, algorithm)),
    )


def _check_dropout(
    settings: Settings, algorithm: Algorithm, supernet: SearchNetwork, needs: frozenset[str]
) -> None:
    """Refuse an algorithm that drops parts of skips unsaid, or in a network that cannot."""
    told = {"key": "algorithm.name", "value": settings.algorithm.name}
    if algorithm.skip_dropout is not None and SKIP_DROPOUT not in needs:
        raise UserError(
            "drops parts of skips and does not say so",
            **told,
            remedy=f'register it with needs=("{SKIP_DROPOUT}",)',
        )
    if SKIP_DROPOUT in needs and SKIP_DROPOUT not in supernet.offers:
        raise UserError(
            f"drops parts of skips, and the network of {settings.space.name} offers no such thing",
            **told,
            remedy="choose another space or algorithm",
        )


def _repeatable(make: Callable[[], T], settings: Settings, part: str, remedy: str) -> T:
    """What a part of the algorithm begins with.

    Raises:
        UserError: it draws from a global generator, which no seed of a search sets.
    """
    before = global_states()
    made = make()
    drawn = moved_since(before)
    if drawn is not None:
        raise UserError(
            f"its {part} draws from {drawn}'s global generator: no start is repeated",
            key="algorithm.name",
            value=settings.algorithm.name,
            remedy=remedy,
        )
    return made


def _first_memory(settings: Settings, algorithm: Algorithm) -> Memory:
    """The memory before the first epoch, empty if nothing is in it."""
    if algorithm.start is None:
        return {}
    remedy = "begin with numbers that are not drawn, or draw from a generator with a seed"
    return _repeatable(algorithm.start, settings, "first memory", remedy)


def _initial_alpha(settings: Settings, space: Space, algorithm: Algorithm) -> Tensor:
    """Alpha before the first step, float64 on the CPU, a tensor of its own."""
    generator = named_generator(settings.search.seed, "alpha-init")
    shape = [space.edge_count, space.operation_count + algorithm.columns]
    if algorithm.initial is None:
        # The operations' numbers are those of every algorithm of this seed.
        widths = (space.operation_count, algorithm.columns)
        draws = [
            torch.randn(shape[0], width, generator=generator, dtype=torch.float64)
            for width in widths
        ]
        return settings.supernet.alpha_scale * torch.cat(draws, dim=-1)
    initial = algorithm.initial
    drawn_EO = _repeatable(
        lambda: initial(space, generator),
        settings,
        "initial alpha",
        "draw from the generator that initial is given",
    )
    alpha_EO = drawn_EO.detach().double().clone()
    if list(alpha_EO.shape) != shape:
        raise UserError(
            f"its initial alpha is {list(alpha_EO.shape)}, not {shape}",
            key="algorithm.name",
            value=settings.algorithm.name,
            remedy="let initial return a tensor [edges, operations + columns]",
        )
    return alpha_EO


def weight_optimizer_of(settings: Settings, supernet: SearchNetwork) -> torch.optim.Optimizer:
    """The optimizer of the network weights before its first step."""
    asked = settings.weight_optimizer
    return build(
        asked.name,
        asked.settings,
        list(supernet.weights.values()),
        section="weight_optimizer",
        names=list(supernet.weights),
    )


def on_device(device: torch.device, memory: Memory) -> dict[str, Tensor]:
    """A memory where the search computes, in tensors of its own.

    Raises:
        TypeError: something in it is no tensor.
    """
    for name, tensor in memory.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} of the memory is a {type(tensor).__name__}, not a tensor")
    return {name: tensor.detach().to(device, copy=True) for name, tensor in memory.items()}


def _load_halves(
    settings: Settings, dataset: Dataset, device: torch.device
) -> tuple[Images, Images]:
    data, moments = settings.data, dataset.moments()
    valid_dataset = dataset
    if data.split == "file" or data.split == "test-file":
        file = data.place("split_file")
        assert file is not None
        fixed = read_split(data.split, file, dataset)
        valid_dataset = fixed.valid_dataset
        train_N = torch.from_numpy(fixed.train_N[: data.train_size])
        valid_N = torch.from_numpy(fixed.valid_M[: data.valid_size])
    else:
        generator = named_generator(settings.search.seed, "split")
        train_N, valid_N = split_indices(
            data.split, dataset.size, data.train_size, data.valid_size, generator
        )
    return (
        load_images(dataset, train_N, data.resolution, moments, device),
        load_images(valid_dataset, valid_N, data.resolution, moments, device),
    )


def _note(settings: Settings, dataset: Dataset) -> str:
    on_test = settings.data.split == "test-file"
    return dataset.note + ("; alpha learns from test images" if on_test else "")


def _schedule(settings: Settings, section: str) -> Schedule:
    table, key = getattr(settings, section).schedule.table, f"{section}.schedule"
    schedule: Schedule = registry.build("schedule", table, section=key)
    return schedule
