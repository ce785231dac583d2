"""What a benchmark table can be asked, said without reading it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

NOT_STATED = "not stated"


class Question(NamedTuple):
    """What an accuracy is of.

    Attributes:
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
        """The questions of the headline's split and epochs, one per data set."""
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
