"""Results that others published, as data: ``published.toml`` beside this file.

The results are test accuracies of the official table, so they may stand beside numbers of that
table and of no other. A new row is one entry of the file.
"""

from __future__ import annotations

import functools
import json
import tomllib
from importlib import resources

import pydantic

from optnas.spaces.tables.coverage import Question
from optnas.spaces.tables.table import Table

FILE_NAME = "published.toml"


class PublishedResult(pydantic.BaseModel):
    """One method's row: accuracies in percent over its own runs, in the order of its data sets."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    method: str
    searched_on: str
    mean: tuple[float, ...]
    source: str
    datasets: tuple[str, ...] = ()
    std: tuple[float, ...] = ()
    runs: int | None = None
    note: str = ""
    verified: bool = True

    def accuracy(self, dataset: str) -> tuple[float, float | None] | None:
        """Mean and standard deviation on a data set.

        Returns:
            Percent and percentage points; no deviation where none was published, None for a data
            set that the row does not have.
        """
        if dataset not in self.datasets:
            return None
        place = self.datasets.index(dataset)
        return self.mean[place], self.std[place] if self.std else None


class Published(pydantic.BaseModel):
    """All rows, and what they are accuracies of."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    space: str
    split: str
    epochs: int
    tables: tuple[str, ...]
    datasets: tuple[str, ...]
    result: tuple[PublishedResult, ...]

    def results(self, *, unverified: bool = False) -> tuple[PublishedResult, ...]:
        """The rows.

        Args:
            unverified: also those that were not read in a document.

        Returns:
            The rows, each with its data sets spelled out.
        """
        chosen = (each for each in self.result if each.verified or unverified)
        return tuple(
            each.model_copy(update={"datasets": each.datasets or self.datasets}) for each in chosen
        )

    def comparable(self, table: Table, question: Question) -> bool:
        """Whether the rows answer the same question with the same measurements as a table."""
        return (
            table.name in self.tables
            and (self.split, self.epochs) == (question.split, question.epochs)
            and question.dataset in self.datasets
        )


@functools.cache
def published() -> Published:
    """The published results that come with optnas."""
    text = resources.files("optnas.spaces.tables").joinpath(FILE_NAME).read_text(encoding="utf-8")
    # TOML knows no tuple, and neither does JSON: lists become tuples, nothing else is converted.
    return Published.model_validate_json(json.dumps(tomllib.loads(text)))
