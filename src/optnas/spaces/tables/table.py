"""A benchmark table: the accuracy of every cell of a space, and what may be asked of it.

Data set, split and number of training epochs are part of every question and have no defaults, so
that no number is quoted for a question nobody asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from optnas.base import registry
from optnas.base.errors import UserError, did_you_mean
from optnas.spaces import Architecture, Space
from optnas.spaces.tables.cells import check_same, difference, space_of
from optnas.spaces.tables.coverage import NOT_STATED, Coverage, Question

KIND = "table"
Accuracies = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
# From this accuracy in percent on, one training has this standard deviation in points; the highest
# accuracy comes first.
Noise = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Measurements:
    """The answer to one question for every cell, in the space's official order; read-only.

    Args:
        accuracy: percent, the mean where there were several trials.
        spread: standard deviation over trials in percentage points, where it is known.
        count: number of trials, where it is known.
        loss: cross-entropy in nats on the same images, where it is known.
    """

    accuracy: Accuracies
    spread: Accuracies | None = None
    count: Counts | None = None
    loss: Accuracies | None = None

    def __post_init__(self) -> None:
        for values in (self.accuracy, self.spread, self.count, self.loss):
            if values is not None:
                values.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Table:
    """Accuracies of every cell of a space, in percent, in the space's official order.

    Args:
        name: the table's name.
        space_name: name of the space whose cells it holds.
        provenance: one sentence on where the numbers come from, printed with every output.
        measurements: what it answers; split and epochs of the first question are its headline.
        folder: the data folder it was looked for in, to tell which other tables are there.
        held: which cells it has, None for all. Questions about all cells have no answer unless it
            has all.
        noise: of one training, by data set, where it is known from elsewhere than `Measurements`.
        space: the space itself; None is the registered one of the name. A space that is another
            gets no answer, whatever its name.
    """

    name: str
    space_name: str
    provenance: str
    measurements: Mapping[Question, Measurements]
    folder: Path | None = None
    held: npt.NDArray[np.bool_] | None = None
    noise: Mapping[str, Noise] = field(default_factory=dict)
    space: Space | None = field(default=None, repr=False)

    @functools.cached_property
    def _held_space(self) -> Space | None:
        return self.space or space_of(self.space_name)

    @property
    def coverage(self) -> Coverage:
        """What this table can be asked."""
        return Coverage(tuple(self.measurements))

    @property
    def size(self) -> int:
        """Number of cells of the space."""
        return len(next(iter(self.measurements.values())).accuracy)

    def questions(self, **wanted: object) -> tuple[Question, ...]:
        """The questions of the table with the wanted parts.

        Args:
            **wanted: any of ``dataset``, ``split``, ``epochs``.

        Returns:
            At least one question. If the table has none, it is a `UserError` that says what it has
            and which tables could answer.
        """
        found = self.coverage.matching(wanted)
        if not found:
            raise self._cannot_answer(wanted)
        return found

    def ask(self, question: Question) -> Measurements:
        """Everything known for one question.

        Returns:
            The measurements of all cells. A question the table cannot answer, and any question
            about all cells to a table that lacks some, is a `UserError`.
        """
        (asked,) = self.questions(**question._asdict())
        self.require_whole()
        return self.measurements[asked]

    def require_whole(self) -> None:
        """Refuse a table that lacks cells.

        Raises:
            UserError: it does.
        """
        if self.held is not None:
            raise UserError(
                f"it holds {self.held.sum()} of {len(self.held)} cells, and all are needed",
                where=f"table {self.name}",
                remedy="import the whole archive, or use another table",
            )

    def _of_cell(self, architecture: Architecture, question: Question) -> tuple[Measurements, int]:
        """The measurements in which a cell has a place, and the place."""
        (asked,) = self.questions(**question._asdict())
        place = self._place(architecture)
        if self.held is not None and not self.held[place]:
            raise UserError(
                f"it holds {self.held.sum()} of {len(self.held)} cells, and not this one",
                where=f"table {self.name}",
                key="architecture",
                value=str(architecture),
                remedy="import the whole archive, or use another table",
            )
        return self.measurements[asked], place

    def values(self, question: Question) -> Accuracies:
        """The accuracies of all cells.

        Returns:
            Percent, float64, one per cell in official order, read-only. A question the table cannot
            answer is a `UserError`, see `ask`.
        """
        return self.ask(question).accuracy

    def values_of(self, space: Space, question: Question) -> Accuracies:
        """The accuracies of all cells of a space, of the table's own or of a part of it.

        Args:
            space: whose cells and order.
            question: data set, split, epochs.

        Returns:
            Percent, float64, one per cell in the official order of ``space``.
        """
        values = self.values(question)
        return values if space.within is None else values[space.places_in_whole()]

    def accuracy(self, architecture: Architecture, question: Question) -> float:
        """The accuracy of a cell.

        Args:
            architecture: a cell of the table's space.
            question: data set, split, epochs.

        Returns:
            Percent.
        """
        measured, place = self._of_cell(architecture, question)
        return float(measured.accuracy[place])

    def spread(self, architecture: Architecture, question: Question) -> float | None:
        """How far the trials of a cell lie apart: their standard deviation with n - 1.

        Args:
            architecture: a cell of the table's space.
            question: data set, split, epochs.

        Returns:
            Percentage points; None where it is not known, as for one trial.
        """
        measured, place = self._of_cell(architecture, question)
        if measured.spread is None or np.isnan(measured.spread[place]):
            return None
        return float(measured.spread[place])

    def count(self, architecture: Architecture, question: Question) -> int | None:
        """The number of trials behind the accuracy of a cell.

        Args:
            architecture: a cell of the table's space.
            question: data set, split, epochs.

        Returns:
            The number; None where it is not known.
        """
        measured, place = self._of_cell(architecture, question)
        return None if measured.count is None else int(measured.count[place])

    def loss(self, architecture: Architecture, question: Question) -> float | None:
        """The loss of a cell.

        Args:
            architecture: a cell of the table's space.
            question: data set, split, epochs.

        Returns:
            Nats; None where it is not known.
        """
        measured, place = self._of_cell(architecture, question)
        return None if measured.loss is None else float(measured.loss[place])

    def regret(self, architecture: Architecture, question: Question) -> float:
        """How far a cell is below the best of this table: max_b acc(b) - acc(a).

        Args:
            architecture: a cell of the table's space.
            question: data set, split, epochs.

        Returns:
            Percentage points, 0 for the best cell, never negative.
        """
        values = self.values(question)
        return float(values.max() - values[self._place(architecture)])

    def rank(self, architecture: Architecture, question: Question) -> int:
        """The place of a cell among all: 1 + |{b: acc(b) > acc(a)}|.

        Args:
            architecture: a cell of the table's space.
            question: data set, split, epochs.

        Returns:
            1 for the best; equal cells share the smallest place.
        """
        values = self.values(question)
        return 1 + int(np.count_nonzero(values > values[self._place(architecture)]))

    def percentile(self, architecture: Architecture, question: Question) -> float:
        """The share of cells that are not better: 100 |{b: acc(b) <= acc(a)}| / N.

        The cell itself and its equals count, so that percentile = 100 (N - rank + 1) / N.

        Args:
            architecture: a cell of the table's space.
            question: data set, split, epochs.

        Returns:
            Percent: 100 for the best cell, 100 / N for a worst one without equals.
        """
        values = self.values(question)
        return 100 * float(np.mean(values <= values[self._place(architecture)]))

    def describe(self) -> dict[str, Any]:
        """What the table is and holds, ready for JSON.

        Returns:
            Name, space, provenance, the headline's split and epochs with their label, and for each
            of its data sets the number of cells, mean, median and best accuracy in percent.
        """
        covered = self.coverage
        return {
            "name": self.name,
            "space": self.space_name,
            "provenance": self.provenance,
            "split": covered.split,
            "epochs": covered.epochs,
            "epochs_label": covered.epochs_label,
            "datasets": {
                question.dataset: _summary(self.ask(question).accuracy)
                for question in covered.headline
            },
        }

    def _place(self, architecture: Architecture) -> int:
        architecture = architecture.in_whole
        space = architecture.space
        if space.name != self.space_name:
            raise UserError(
                f"this table holds cells of {self.space_name}",
                where=f"table {self.name}",
                key="architecture",
                value=str(architecture),
                remedy=f"give a cell of {self.space_name}, or ask a table of {space.name}",
            )
        check_same(space, self._held_space)
        if space.size != self.size:
            raise UserError(
                f"this table holds {self.size} cells, and {space.name} has {space.size}",
                where=f"table {self.name}",
                key="space.name",
                value=space.name,
                remedy="give the space a name of its own, or ask a table of its cells",
            )
        return space.index(architecture)

    def _cannot_answer(self, wanted: Mapping[str, object]) -> UserError:
        others = sources(self.space_name)
        able = [source for source in others if source.coverage.matching(wanted)]
        covered = [self.coverage, *(source.coverage for source in others)]
        known = {question.dataset for each in covered for question in each.questions}
        dataset = wanted.get("dataset")
        if able:
            told = (
                source.name if source.present(self.folder) else f"{source.name} ({source.obtain})"
                for source in able
            )
            remedy = f"the table {' or '.join(told)} can answer"
        elif isinstance(dataset, str) and dataset not in known:
            remedy = did_you_mean(dataset, known)
        elif others:
            told = (f"{source.name} has {source.coverage}" for source in others)
            remedy = f"no known table can answer: {'; '.join(told)}"
        else:
            remedy = "ask what it has"
        # Blame the part at which no answer of this table is left.
        parts = list(wanted)
        key = next(
            part
            for place, part in enumerate(parts)
            if not self.coverage.matching({each: wanted[each] for each in parts[: place + 1]})
        )
        return UserError(
            f"this table has {self.coverage}",
            where=f"table {self.name}",
            key=key,
            value=NOT_STATED if wanted[key] is None else wanted[key],
            remedy=remedy,
        )


def _summary(values: Accuracies) -> dict[str, Any]:
    return {
        "cells": len(values),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "best": float(values.max()),
    }


class Choice(NamedTuple):
    """What a search that reports another table's test accuracy may choose its cells by.

    Attributes:
        question: to the table that offers it.
        words: what it is, in two or three words.
    """

    question: Question
    words: str


@dataclass(frozen=True)
class TableSource:
    """A table that may or may not be there, as its file declares it.

    Args:
        name: the name it is registered under.
        space_name: registered name of the space whose cells it holds.
        provenance: one sentence on where the numbers come from, printed with every output.
        coverage: the questions it answers.
        obtain: how one gets it, one clause in the imperative.
        present: whether it can be read, given the data folder.
        load: reads it, given the data folder.
        chooses: by data set, what a search may choose by: validation accuracies, or accuracies of
            trainings that no other table of the space reports.
        space: as of `Table`.
    """

    name: str
    space_name: str
    provenance: str
    coverage: Coverage
    obtain: str
    present: Callable[[Path | None], bool]
    load: Callable[[Path | None], Table]
    chooses: Mapping[str, Choice] = field(default_factory=dict)
    space: Space | None = field(default=None, repr=False)

    def holds(self, space: Space) -> bool:
        """Whether a space's cells are among its own, not only of a space of the same name."""
        held, space = self.space or space_of(self.space_name), space.whole
        same = held is None or space is held or difference(space, held) is None
        return space.name == self.space_name and same

    def check_holds(self, space: Space, *, value: object = None) -> None:
        """Refuse a space that only has the name of the table's.

        Args:
            space: whose cells are asked for.
            value: what ``space.name`` was set to, for the error.

        Raises:
            UserError: it is another space.
        """
        check_same(space.whole, self.space or space_of(self.space_name), value=value)


def find_source(name: str, *, key: str = KIND) -> TableSource:
    """The declaration of a table, by registered name or as ``./file.py:Object``.

    Args:
        name: what the user wrote.
        key: its dotted key, for the error; a name that is not there is a `UserError`.
    """
    source: TableSource = registry.find(KIND, name, key=key)()
    return source


def sources(space_name: str | None = None) -> list[TableSource]:
    """Every registered table, by name.

    Args:
        space_name: only those that hold cells of this space.
    """
    every = [find_source(name) for name in registry.names(KIND)]
    return [source for source in every if space_name in (None, source.space_name)]
