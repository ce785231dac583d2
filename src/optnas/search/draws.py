"""The random numbers of the steps of an epoch, drawn before its first step.

Shapes: B batch, E edges, O operations; K rows of what decides a batch: which images, then the
numbers of their augmentation.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optnas.algorithms.base import Draw, Progress
from optnas.base.errors import UserError
from optnas.data.batches import epoch_batches, fresh_batch, send
from optnas.measures.evaluation import Batch, batch_draws, drawn_batch
from optnas.search.state import DRAWS, NOISE, OPERATION_NOISE, SearchState

log = logging.getLogger("optnas")


def tell_of_draws(what: str, epoch: int) -> None:
    """Say that a search depends on numbers that neither its seed nor its checkpoint holds.

    Args:
        what: drew them, and from where.
        epoch: in which it did.
    """
    log.warning(
        "optnas: warning: %s in epoch %d: the same seed gives another search, and a resumed run "
        "goes another way; `optnas exam FILE` says whether it was a component of yours",
        what,
        epoch,
    )


@dataclasses.dataclass(frozen=True)
class StepDraws:
    """All random numbers of one step of each level, where the search computes.

    Attributes:
        train_KB: the batch of the training half, ``int64``.
        valid_KB: that of the validation half; it may be of another size.
        draws: of the levels ``arch`` and ``weight``, for an algorithm that needs draws.
        noise_EO: of the weight step, for an algorithm that needs noise.
        of_operations: seeds of what the network draws on the train and on the validation batch;
            None where it draws nothing.
        number: how many steps of the epoch came before, for an algorithm that needs to know.
    """

    train_KB: Tensor
    valid_KB: Tensor
    draws: Mapping[str, Draw] = dataclasses.field(default_factory=dict)
    noise_EO: Tensor | None = None
    of_operations: tuple[int | None, int | None] = (None, None)
    number: int | None = None

    def batches(self, state: SearchState) -> tuple[Batch, Batch]:
        """The train and the validation batch."""
        train = drawn_batch(state.train, state.augmentation, self.train_KB, state.dtype)
        valid = drawn_batch(state.valid, state.valid_augmentation, self.valid_KB, state.dtype)
        of_train, of_valid = self.of_operations
        share = dropped(state)
        return (
            train._replace(draw=of_train, skip_dropout=share),
            valid._replace(draw=of_valid, skip_dropout=share),
        )

    def arch(self, progress: Progress) -> Progress:
        """Where the search stands, with the draw of the alpha step."""
        return dataclasses.replace(progress, draw=self.draws.get("arch"), step=self.number)

    def weight(self, progress: Progress) -> Progress:
        """Where the search stands, with the draw and the noise of the weight step."""
        draw, noise_EO = self.draws.get("weight"), self.noise_EO
        return dataclasses.replace(progress, draw=draw, noise_EO=noise_EO, step=self.number)


def dropped(state: SearchState) -> float:
    """The share of a skip's output that the steps of the present epoch drop.

    Raises:
        UserError: the algorithm names no share from 0 to below 1.
    """
    if state.algorithm.skip_dropout is None:
        return 0.0
    share = state.algorithm.skip_dropout(state.progress(state.epoch))
    if not 0 <= share < 1:
        raise UserError(
            f"drops a share of {share} of skips in epoch {state.epoch}",
            key="algorithm.name",
            value=state.settings.algorithm.name,
            remedy="let skip_dropout return a number from 0 to below 1",
        )
    return share


def draw_epoch(state: SearchState) -> list[StepDraws]:
    """The random numbers of an epoch, drawn on the CPU and sent in one copy.

    Every stream gives the numbers that it would give if each step drew its own.

    Args:
        state: its random streams move on by an epoch.

    Returns:
        By batch of the training half; a short batch is the last one.
    """
    size, generator = len(state.train), state.generators["train-order"]
    order = epoch_batches(size, state.settings.search.batch_size, generator)
    shape = torch.Size()
    if "noise" in state.needs:
        shape = state.algorithm.relax(state.alpha_EO.detach(), state.progress(state.epoch)).shape
    drawn = [_drawn(state, indices_B, shape) for indices_B in order]
    sent = iter(send([each for step, _ in drawn for each in step.values()], state.alpha_EO.device))
    steps = []
    for number, (names, seeds) in enumerate(drawn):
        here: dict[str, Any] = {name: next(sent) for name in names}
        draws = {level: Draw(seed, here.pop(level)) for level, seed in seeds.items()}
        stream = state.generators.get(OPERATION_NOISE)
        if stream is not None:
            here["of_operations"] = (seed_of(stream), seed_of(stream))
        if "step-number" in state.needs:
            here["number"] = number
        steps.append(StepDraws(**here, draws=draws))
    return steps


def _drawn(
    state: SearchState, indices_B: Tensor, shape: torch.Size
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """The tensors of one step on the CPU, noise of a shape, and the seeds of its draws by level."""
    drawn = {"train_KB": train_draws(state, indices_B), "valid_KB": valid_draws(state)}
    if "noise" in state.needs:
        generator = state.generators[NOISE]
        drawn["noise_EO"] = torch.rand(shape, generator=generator, dtype=torch.float64)
    seeds = {}
    if "draw" in state.needs:
        levels = ("arch", "weight")
        for level in levels if state.settings.search.step_order == "arch-first" else levels[::-1]:
            seeds[level] = seed_of(state.generators[DRAWS])
            of_alpha = torch.empty(state.alpha_EO.shape)  # for its shape alone
            drawn[level] = Draw(seeds[level]).uniform(of_alpha)
    return drawn, seeds


def train_draws(state: SearchState, indices_B: Tensor) -> Tensor:
    """What decides a batch of the training half, on the CPU."""
    generator = state.generators["train-augmentation"]
    return batch_draws(state.train, indices_B, state.augmentation, generator)


def valid_draws(state: SearchState) -> Tensor:
    """What decides the next batch of the validation half, on the CPU."""
    size, count = len(state.valid), state.settings.search.batch_size
    generator = state.generators["valid-order"]
    draw = {
        "fresh-batches": lambda: fresh_batch(size, count, generator),
        "independent-images": lambda: torch.randint(size, (count,), generator=generator),
        "passes": state.passes.next_batch,
    }[state.settings.search.valid_order]
    stream = state.generators["valid-augmentation"]
    return batch_draws(state.valid, draw(), state.valid_augmentation, stream)


def seed_of(stream: torch.Generator) -> int:
    """The next number of a stream, to seed another one with."""
    return int(torch.randint(2**63 - 1, (), generator=stream))
