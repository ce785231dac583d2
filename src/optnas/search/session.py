"""A search in the hands of a program: trained epoch by epoch, measured, observed.

session = Session(build_state(settings))
session.train_epoch()               # epoch 0: nothing is trained yet
session.train_epoch()
session.measure()["valid_accuracy"]
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import torch

from optnas.algorithms.base import Progress
from optnas.base.errors import UserError
from optnas.base.folder import Place
from optnas.base.measurements import Line
from optnas.base.records import Record, RunFolder
from optnas.base.seeds import global_states, moved_since
from optnas.measures.evaluation import Score
from optnas.measures.snapshot import Snapshot
from optnas.optimizers.adapter import set_learning_rate
from optnas.optimizers.stepping import to_evaluation_point, to_training_point
from optnas.search.describe import describe_search, finite
from optnas.search.draws import StepDraws, draw_epoch, tell_of_draws
from optnas.search.environment import computing
from optnas.search.observe import Taken, due, put, recorded, snapshot_of, take
from optnas.search.state import SearchState
from optnas.search.steppers import STEPPERS, check_stepper
from optnas.search.steps import (
    arch_step,
    recalibrated_statistics,
    select,
    weight_step,
)

UNTRAINED = ("train_loss", "train_accuracy", "weight_lr", "arch_lr")


P = ParamSpec("P")
R = TypeVar("R")


def _as_set(method: Callable[Concatenate[Session, P], R]) -> Callable[Concatenate[Session, P], R]:
    """The method while torch computes as the settings say: threads, precision, equal bits."""

    @functools.wraps(method)
    def wrapped(self: Session, *args: P.args, **kwargs: P.kwargs) -> R:
        with computing(self.state.settings):
            return method(self, *args, **kwargs)

    return wrapped


class Session:
    """A search, epoch by epoch: `optnas.search.loop` drives one, and so may any program.

    While one of its methods runs, torch computes as the settings say: with ``run.threads`` on the
    CPU, and on a GPU with ``supernet.precision`` and the same bits each time.

    Args:
        state: of a search between two epochs; changed by training, by nothing else.

    Raises:
        UserError: this is no such state, or its steps cannot be taken as ``run.stepper`` asks.
    """

    def __init__(self, state: SearchState):
        if not isinstance(state, SearchState):
            raise UserError(
                f"the state of a search is due here, and this is of type {type(state).__name__}",
                where="arguments",
                key="state",
                remedy="write optnas.Session(optnas.build_state(settings))",
            )
        check_stepper(state)
        self.state = state
        self._recorded = recorded(state.settings)
        self._snapshot: Snapshot | None = None
        self._taken: dict[str, Taken] = {}
        self._told_of_draws = False

    @property
    def progress(self) -> Progress:
        """The epoch that is trained or was trained last, and how many there are."""
        return self.state.progress(self.state.epoch)

    @property
    def snapshot(self) -> Snapshot:
        """The search as it is judged in this epoch; one for all who look."""
        if self._snapshot is None:
            self._snapshot = snapshot_of(self.state)
        return self._snapshot

    @_as_set
    def train_epoch(self) -> Record:
        """Train the next epoch; the first is epoch 0, in which nothing is trained.

        Returns:
            Train loss in nats, train accuracy in percent, and both learning rates, all None in
            epoch 0.

        Raises:
            UserError: all ``search.epochs`` are trained; rates and algorithm say nothing of more.
            DivergedError: the train loss is not finite; the state's epoch is the one that failed.
        """
        state = self.state
        if state.epoch >= state.settings.search.epochs:
            raise UserError(
                "all epochs are trained",
                where="session",
                key="search.epochs",
                value=state.settings.search.epochs,
                remedy="begin a search of more: its learning rates fall to the end of these",
            )
        before = global_states()
        rates = self.begin_epoch()
        if state.epoch == 0:
            return dict.fromkeys(UNTRAINED)
        device, size = state.alpha_EO.device, len(state.train)
        loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        correct = torch.zeros((), dtype=torch.int64, device=device)
        with STEPPERS[state.settings.run.stepper](self.step, state) as step:
            for draws in draw_epoch(state):
                score = step(draws)
                loss_sum += score.loss_sum
                correct += score.correct
        # Whatever is recorded, measured or saved from here on sees the points that are judged.
        moved = [to_evaluation_point(o) for o in (state.weight_optimizer, state.arch_optimizer)]
        if any(moved):
            state.keep(recalibrated_statistics(state, self.progress))
        self._tell_of_draws(moved_since(before))
        train_loss = finite("train loss", float(loss_sum) / size)
        return {"train_loss": train_loss, "train_accuracy": 100.0 * int(correct) / size, **rates}

    def _tell_of_draws(self, whose: str | None) -> None:
        """Say once that training depends on numbers that neither seed nor checkpoint holds."""
        if whose is None or self._told_of_draws:
            return
        self._told_of_draws = True
        tell_of_draws(f"something drew from the global generator of {whose}", self.state.epoch)

    def begin_epoch(self) -> Record:
        """Go on to the next epoch: learning rates by the schedules, optimizers at their points.

        Returns:
            Both learning rates; nothing is set in epoch 0.
        """
        state = self.state
        state.epoch += 1
        self._snapshot, self._taken = None, {}
        if state.epoch == 0:
            return {}
        select(state, self.progress)
        learning_rates, rates = state.learning_rates(state.epoch), {}
        levels = (("weight", state.weight_optimizer), ("arch", state.arch_optimizer))
        for level, optimizer in levels:
            rates[f"{level}_lr"] = rate = learning_rates[f"{level}_optimizer"]
            set_learning_rate(optimizer, rate)
            to_training_point(optimizer)
        return rates

    @_as_set
    def step(self, draws: StepDraws) -> Score:
        """One step of each level, in the protocol's order.

        Args:
            draws: one of those of `optnas.search.draws.draw_epoch`.

        Returns:
            The train batch's score before its weight step.
        """
        state, progress = self.state, self.progress
        train, valid = draws.batches(state)
        if state.settings.search.step_order == "arch-first":
            arch_step(state, train, valid, draws.arch(progress))
            return weight_step(state, train, draws.weight(progress))
        score = weight_step(state, train, draws.weight(progress))
        arch_step(state, train, valid, draws.arch(progress))
        return score

    @_as_set
    def measure(self) -> Record:
        """What the record says of the search beside its training; the state is not touched.

        Returns:
            The columns, those of recorded measures too: null where one is not due or has failed.

        Raises:
            DivergedError: the validation loss or alpha is not finite.
        """
        state, snapshot = self.state, self.snapshot
        record = describe_search(snapshot, state.alpha_start_EO, state.path_lengths)
        sections = due(state)
        for label, columns in self._recorded.items():
            if label in sections:
                self._taken[label] = take(snapshot, sections[label])
            values = self._taken[label].line["values"] if label in self._taken else {}
            record |= {column: values.get(column) for column in columns}
        return record

    @_as_set
    def observe(self, folder: Place | RunFolder, *, ended: bool = False) -> dict[str, Line]:
        """Take the measures that are due and not taken yet, and write the lines of all that are.

        Args:
            folder: where ``measures/`` is, or will be.
            ended: the search ends at this epoch, before its last: take what is due at the end.

        Returns:
            The lines by label.
        """
        folder = folder if isinstance(folder, RunFolder) else RunFolder(folder)
        folder.path.mkdir(parents=True, exist_ok=True)
        lines = {}
        for label, section in due(self.state, ended=ended).items():
            if label not in self._taken:
                self._taken[label] = take(self.snapshot, section)
            lines[label] = put(folder, label, self._taken[label])
        return lines
