"""What a benchmark table can be asked, said without reading it.

A table is one file of this package that registers a `TableSource`: the space whose cells it holds,
the questions it answers, how one gets it, whether it is there, how it is read. Nothing else knows
a table by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from optnas import registry

if TYPE_CHECKING:
    from optnas.benchmarks.table import Table

KIND = "table"
NOT_STATED = "not stated"


class Question(NamedTuple):
    """What an accuracy is of.

    Args:
        dataset: name of the data set.
        split: name of the split it was measured on, ``test`` or ``valid``.
        epochs: training epochs behind it, None where the source does not state them.
    """

    dataset: str
    split: str
    epochs: int | None

    def __str__(self) -> str:
        return f"{self.dataset}, split {self.split}, epochs {epochs_label(self.epochs)}"


def epochs_label(epochs: int | None) -> str:
    """Epochs as text, ``not stated`` for None."""
    return NOT_STATED if epochs is None else str(epochs)


@dataclass(frozen=True)
class Coverage:
    """The questions a table answers.

    Args:
        questions: all of them. Split and epochs of the first are the table's *headline*: what
            records and pictures show when only the table is named.
    """

    questions: tuple[Question, ...]

    @staticmethod
    def product(
        datasets: Iterable[str], splits: Iterable[str], epochs: Iterable[int | None]
    ) -> Coverage:
        """Every data set on every split after every number of epochs, the headline first.

        Args:
            datasets: names of data sets.
            splits: names of splits.
            epochs: numbers of training epochs.

        Returns:
            The coverage.
        """
        every = itertools.product(epochs, splits, datasets)
        return Coverage(tuple(Question(d, s, e) for e, s, d in every))

    @property
    def split(self) -> str:
        """The headline's split."""
        return self.questions[0].split

    @property
    def epochs(self) -> int | None:
        """The headline's training epochs."""
        return self.questions[0].epochs

    @property
    def epochs_label(self) -> str:
        """The headline's epochs as text, ``not stated`` for None."""
        return epochs_label(self.epochs)

    @property
    def headline(self) -> tuple[Question, ...]:
        """The questions of the headline's split and epochs, one a data set."""
        return tuple(q for q in self.questions if q[1:] == self.questions[0][1:])

    @property
    def datasets(self) -> tuple[str, ...]:
        """The headline's data sets."""
        return tuple(question.dataset for question in self.headline)

    def matching(self, wanted: Mapping[str, object]) -> tuple[Question, ...]:
        """The questions whose parts are the wanted ones.

        Args:
            wanted: values by any of ``dataset``, ``split`` and ``epochs``.

        Returns:
            The questions in order, perhaps none.
        """
        return tuple(
            question
            for question in self.questions
            if all(getattr(question, part) == value for part, value in wanted.items())
        )

    def __str__(self) -> str:
        datasets = tuple(dict.fromkeys(q.dataset for q in self.questions))
        splits = tuple(dict.fromkeys(q.split for q in self.questions))
        epochs = tuple(dict.fromkeys(q.epochs for q in self.questions))
        if self.questions != Coverage.product(datasets, splits, epochs).questions:
            return "; ".join(str(question) for question in self.questions)
        labels = ", ".join(epochs_label(each) for each in epochs)
        return f"{', '.join(datasets)}; split {', '.join(splits)}; epochs {labels}"


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
    """

    name: str
    space_name: str
    provenance: str
    coverage: Coverage
    obtain: str
    present: Callable[[Path | None], bool]
    load: Callable[[Path | None], Table]


def find_source(name: str, *, key: str = KIND) -> TableSource:
    """The declaration of a table, by registered name or as ``./file.py:Object``.

    Args:
        name: what the user wrote.
        key: its dotted key, for the error; a name that is not there is a `UserError`.

    Returns:
        The declaration.
    """
    source: TableSource = registry.find(KIND, name, key=key)()
    return source


def sources(space_name: str | None = None) -> list[TableSource]:
    """Every registered table, by name.

    Args:
        space_name: only those that hold cells of this space.

    Returns:
        Their declarations.
    """
    every = [find_source(name) for name in registry.names(KIND)]
    return [source for source in every if space_name in (None, source.space_name)]
