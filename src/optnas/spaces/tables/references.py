"""Accuracies to hold a search against, by name: a table and a question in, rows out.

| name | row |
|---|---|
| ``random-cell`` | the mean over all cells |
| ``best-of-K`` | what random search of K cells finds, with the range of 90 % of searches |
| ``random-search`` | ``best-of-K`` for K = 1, 10 and 100 |
| ``optimum`` | the best cell |
| ``published`` | published results, where they are of the same measurements |

A random search that is an oracle has those beside it that are none, see `random_searches`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from optnas.base.errors import UserError, did_you_mean
from optnas.spaces.tables.coverage import Question
from optnas.spaces.tables.published import published
from optnas.spaces.tables.random_search import random_searches
from optnas.spaces.tables.table import Table

BUDGETS = (1, 10, 100)
NAMES = ("random-cell", "best-of-10", "random-search", "optimum", "published")
DEFAULT = ("random-cell", "best-of-10", "optimum")
KEY = "--reference"


@dataclass(frozen=True)
class Reference:
    """One accuracy to compare with.

    Args:
        label: what it is, in a few words.
        accuracy: percent.
        band: percent, from where to where 90 % of searches fall; None where there is no such range.
        is_published: quoted from a document, not computed from the table.
        is_oracle: the search chose by what is reported.
    """

    label: str
    accuracy: float
    band: tuple[float, float] | None = None
    is_published: bool = False
    is_oracle: bool = False


def references(names: Iterable[str], table: Table, question: Question) -> list[Reference]:
    """The rows of some names.

    Args:
        names: as in the table above.
        table: the benchmark table the accuracies are of.
        question: what the accuracies are of.

    Returns:
        The rows, each once, in the order of the names. A name that is not known, and published
        results beside other measurements, are a `UserError`.
    """
    return list(dict.fromkeys(row for name in names for row in _rows(name, table, question)))


def check_names(names: Iterable[str]) -> None:
    """Refuse a name that no table could answer.

    Raises:
        UserError: one is not known.
    """
    for name in names:
        if name not in NAMES and not re.fullmatch("best-of-[1-9][0-9]{0,8}", name):
            raise UserError(
                "there is no reference of this name",
                key=KEY,
                value=name,
                remedy=did_you_mean(name, [*NAMES, "none"]),
            )


def _rows(name: str, table: Table, question: Question) -> Iterator[Reference]:
    check_names([name])
    if name == "random-cell":
        yield from _random(table, question, 1)
    elif name == "random-search":
        for cells in BUDGETS:
            if cells <= table.size:
                yield from _random(table, question, cells)
    elif name == "optimum":
        yield Reference("best cell of the table", float(table.ask(question).accuracy.max()))
    elif name == "published":
        yield from _published(table, question)
    else:
        yield from _random(table, question, int(name.removeprefix("best-of-")))


def _random(table: Table, question: Question, cells: int) -> Iterator[Reference]:
    for found in random_searches(table, question, cells):
        # The range of single cells would fill the picture, and says nothing about a search.
        band = (found.low, found.high) if cells > 1 else None
        yield Reference(found.label, found.mean, band, is_oracle=found.is_oracle)


def _published(table: Table, question: Question) -> Iterator[Reference]:
    known = published()
    if not known.comparable(table, question):
        raise UserError(
            f"published results are {known.split} accuracies of the table "
            f"{' or '.join(known.tables)} after {known.epochs} epochs, and these are of the table "
            f"{table.name} ({question})",
            key=KEY,
            value="published",
            remedy=f"leave it out, or ask that table for all: --table {known.tables[0]}",
        )
    for result in known.results():
        accuracy = result.accuracy(question.dataset)
        if accuracy is not None:
            yield Reference(result.method, accuracy[0], is_published=True)
