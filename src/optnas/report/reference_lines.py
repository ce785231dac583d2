"""The benchmark panel: its title, and reference accuracies as horizontal lines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optnas.base.errors import UserError
from optnas.measures.drawing import NAMES
from optnas.measures.figures import Line
from optnas.spaces.tables import Question, load_table
from optnas.spaces.tables.noise import noise_told
from optnas.spaces.tables.references import DEFAULT, KEY, check_names, references

NONE = ("none",)
# Of the best, the second, and so on.
DASHES = ("solid", "dashdot", "dash", "longdash", "longdashdot")
PUBLISHED = "dot"


@dataclass(frozen=True)
class Benchmark:
    """What the benchmark panel shows.

    Args:
        column: of the tidy table, such as ``benchmark.cifar10``; empty if the runs asked no table.
        title: what it is, with data set, split and table.
        lines: random search, a random cell, the best cell.
        remark: the table's noise floor, or why there are no lines.
    """

    column: str
    title: str
    lines: list[Line] = field(default_factory=list)
    remark: str = ""


def find_references(
    names: Sequence[str] | None, table: str, question: Question | None, folder: Path | None
) -> tuple[list[Line], str]:
    """The lines to draw, and what to say if there are none to be had.

    Args:
        names: names of `optnas.spaces.tables.references`, ``none`` alone for no line, or None for
            the usual ones if the table is there.
        table: name of the table.
        question: what the accuracies of the picture are of, None if the runs asked no table.
        folder: the data folder.

    Returns:
        The lines, the best first, and a remark for the picture: the table's noise floor, or why
        there are no lines.

    Raises:
        UserError: lines that were asked for cannot be had.
    """
    if names is not None and tuple(names) == NONE:
        return [], ""
    if question is None:
        check_names(names or ())
        if names is None:
            return [], ""
        raise UserError(
            "the runs asked no benchmark table",
            key=KEY,
            value=",".join(names),
            remedy="leave it out, or ask a table: --table NAME",
        )
    try:
        answering = load_table(table, folder=folder)
        found = references(names or DEFAULT, answering, question)
    except UserError as error:
        if names is not None:
            raise
        return [], f"no reference lines: {error.reason}"
    # Where 90 % of searches end is told of searches that somebody could do, if there are any.
    honest = any(row.band and not row.is_oracle for row in found)
    dashes = itertools.cycle(DASHES)
    lines = [
        Line(
            row.label,
            row.accuracy,
            PUBLISHED if row.is_published else next(dashes),
            None if honest and row.is_oracle else row.band,
        )
        for row in sorted(found, key=lambda row: -row.accuracy)
    ]
    return lines, noise_told(answering, question)


def benchmark_of(
    table: str, question: Question, folder: Path | None, reference: Sequence[str] | None
) -> Benchmark:
    """The benchmark panel of a question to a table.

    Args:
        table: its name.
        question: what the accuracies are of.
        folder: the data folder.
        reference: names of reference lines; see `find_references`.

    Returns:
        Column, title, lines.
    """
    lines, remark = find_references(reference, table, question, folder)
    words = NAMES.get(question.dataset, question.dataset)
    title = f"derived cell, {words} {question.split} (table {table})"
    return Benchmark(f"benchmark.{question.dataset}", title, lines, remark)
