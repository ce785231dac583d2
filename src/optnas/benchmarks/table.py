"""A benchmark table: the accuracy of every cell of a space, and what may be asked of it.

Data set, split and number of training epochs are part of every question and have no defaults, so
that no number is quoted for a question nobody asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optnas.errors import UserError, did_you_mean
from optnas.spaces import Architecture

Accuracies = npt.NDArray[np.float64]

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Coverage:
    """What a table can be asked.

    Args:
        datasets: names of its data sets.
        split: the one split its accuracies were measured on.
        epochs: training epochs behind them, None where the source does not state it.
    """

    datasets: tuple[str, ...]
    split: str
    epochs: int | None

    @property
    def epochs_label(self) -> str:
        """The epochs as text, ``not stated`` for None."""
        return NOT_STATED if self.epochs is None else str(self.epochs)

    def __str__(self) -> str:
        return f"{', '.join(self.datasets)}; split {self.split}; epochs {self.epochs_label}"


# What the known tables answer, so that each can point to the other without reading it.
COVERAGE = {
    "analog-nasbench": Coverage(("cifar10",), "test", None),
    "official": Coverage(("cifar10", "cifar100", "imagenet16-120"), "test", 200),
}


@dataclass(frozen=True, eq=False)
class Table:
    """Accuracies of every cell of a space, in percent, in the space's official order.

    Args:
        name: the table's name.
        space_name: name of the space whose cells it holds.
        provenance: one sentence on where the numbers come from, printed with every output.
        split: the split they were measured on.
        epochs: training epochs behind them, None where the source does not state it.
        accuracies: data set to one float64 a cell; made read-only.
    """

    name: str
    space_name: str
    provenance: str
    split: str
    epochs: int | None
    accuracies: Mapping[str, Accuracies]

    def __post_init__(self) -> None:
        for values in self.accuracies.values():
            values.flags.writeable = False

    @property
    def coverage(self) -> Coverage:
        """What this table can be asked."""
        return Coverage(tuple(self.accuracies), self.split, self.epochs)

    @property
    def epochs_label(self) -> str:
        """The epochs as text, ``not stated`` for None."""
        return self.coverage.epochs_label

    def values(self, *, dataset: str, split: str, epochs: int | None) -> Accuracies:
        """The accuracies of all cells.

        Args:
            dataset: name of the data set.
            split: name of the split.
            epochs: training epochs; None asks for a table that does not state them.

        Returns:
            Percent, float64, one a cell in official order, read-only. A question the table cannot
            answer is a `UserError` that says what it has and which table could answer.
        """
        for key, value, valid in (
            ("dataset", dataset, dataset in self.accuracies),
            ("split", split, split == self.split),
            ("epochs", epochs, epochs == self.epochs),
        ):
            if not valid:
                raise self._cannot_answer(key, value, dataset, split, epochs)
        return self.accuracies[dataset]

    def accuracy(
        self, architecture: Architecture, *, dataset: str, split: str, epochs: int | None
    ) -> float:
        """The accuracy of a cell.

        Args:
            architecture: a cell of the table's space.
            dataset: name of the data set.
            split: name of the split.
            epochs: training epochs; None asks for a table that does not state them.

        Returns:
            Percent.
        """
        values = self.values(dataset=dataset, split=split, epochs=epochs)
        return float(values[self._place(architecture)])

    def regret(
        self, architecture: Architecture, *, dataset: str, split: str, epochs: int | None
    ) -> float:
        """How far a cell is below the best of this table: max_b acc(b) - acc(a).

        Args:
            architecture: a cell of the table's space.
            dataset: name of the data set.
            split: name of the split.
            epochs: training epochs; None asks for a table that does not state them.

        Returns:
            Percentage points, 0 for the best cell, never negative.
        """
        values = self.values(dataset=dataset, split=split, epochs=epochs)
        return float(values.max() - values[self._place(architecture)])

    def rank(
        self, architecture: Architecture, *, dataset: str, split: str, epochs: int | None
    ) -> int:
        """The place of a cell among all: 1 + |{b: acc(b) > acc(a)}|.

        Args:
            architecture: a cell of the table's space.
            dataset: name of the data set.
            split: name of the split.
            epochs: training epochs; None asks for a table that does not state them.

        Returns:
            1 for the best; equal cells share the smallest place.
        """
        values = self.values(dataset=dataset, split=split, epochs=epochs)
        return 1 + int(np.count_nonzero(values > values[self._place(architecture)]))

    def percentile(
        self, architecture: Architecture, *, dataset: str, split: str, epochs: int | None
    ) -> float:
        """The share of cells that are not better: 100 |{b: acc(b) <= acc(a)}| / N.

        The cell itself and its equals count, so that percentile = 100 (N - rank + 1) / N.

        Args:
            architecture: a cell of the table's space.
            dataset: name of the data set.
            split: name of the split.
            epochs: training epochs; None asks for a table that does not state them.

        Returns:
            Percent: 100 for the best cell, 100 / N for a worst one without equals.
        """
        values = self.values(dataset=dataset, split=split, epochs=epochs)
        return 100 * float(np.mean(values <= values[self._place(architecture)]))

    def describe(self) -> dict[str, Any]:
        """What the table is and holds, ready for JSON.

        Returns:
            Name, space, provenance, split, epochs, their label, and for each data set the number
            of cells, mean, median and best accuracy in percent.
        """
        return {
            "name": self.name,
            "space": self.space_name,
            "provenance": self.provenance,
            "split": self.split,
            "epochs": self.epochs,
            "epochs_label": self.epochs_label,
            "datasets": {
                dataset: {
                    "cells": len(values),
                    "mean": float(values.mean()),
                    "median": float(np.median(values)),
                    "best": float(values.max()),
                }
                for dataset, values in self.accuracies.items()
            },
        }

    def _place(self, architecture: Architecture) -> int:
        space = architecture.space
        if space.name != self.space_name:
            raise UserError(
                f"this table holds cells of {self.space_name}",
                where=f"table {self.name}",
                key="architecture",
                value=str(architecture),
                remedy=f"give a cell of {self.space_name}, not of {space.name}",
            )
        return space.index(architecture)

    def _cannot_answer(
        self, key: str, value: object, dataset: str, split: str, epochs: int | None
    ) -> UserError:
        able = [
            name
            for name, other in COVERAGE.items()
            if dataset in other.datasets and (split, epochs) == (other.split, other.epochs)
        ]
        if able:
            remedy = f"the table {able[0]} can answer"
        elif key == "dataset" and not any(dataset in c.datasets for c in COVERAGE.values()):
            remedy = did_you_mean(dataset, {d for c in COVERAGE.values() for d in c.datasets})
        else:
            known = "; ".join(f"{name} has {other}" for name, other in COVERAGE.items())
            remedy = f"no known table can answer: {known}"
        return UserError(
            f"this table has {self.coverage}",
            where=f"table {self.name}",
            key=key,
            value=NOT_STATED if value is None else value,
            remedy=remedy,
        )
