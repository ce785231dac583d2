"""Benchmark tables: what they say of a cell, how they are made, what others published."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.cli.printing.text import aligned, number, say
from optnas.spaces.tables.coverage import epochs_label

if TYPE_CHECKING:
    from optnas.spaces import Architecture
    from optnas.spaces.tables import Question, Table, TableSource
    from optnas.spaces.tables.published import Published
    from optnas.spaces.tables.random_search import RandomSearch


def print_query(table: Table, cell: Architecture, questions: Sequence[Question]) -> None:
    """What a table says of a cell; regret, rank and percentile need a table with every cell."""
    losses = any(table.loss(cell, question) is not None for question in questions)
    rows = [_query_row(table, cell, question, losses) for question in questions]
    say(f"{cell.string}  (index {cell.space.index(cell)} of {cell.space.name})")
    say(f"table {table.name}: {table.provenance}")
    say(
        f"{'data set':<16} {'split':<6} {'epochs':<11} {'accuracy %':>10} {'spread':>7} "
        f"{'trials':>6} {'regret':>8} {'rank':>6} {'percentile':>10}{'    loss' if losses else ''}"
    )
    say("\n".join(rows))
    if table.held is None:
        _say_what_to_know(table, questions)
    else:
        say(f"imported in part, {table.held.sum()} of {len(table.held)} cells: no regret or rank")


def _say_what_to_know(table: Table, questions: Iterable[Question]) -> None:
    """Warnings, and how much one training is worth."""
    from optnas.spaces.tables.doubts import doubts
    from optnas.spaces.tables.noise import noise_told

    for warning in doubts(table):
        say(f"warning: {warning}")
    for question in dict.fromkeys(questions):
        told = noise_told(table, question)
        if told:
            say(f"{question}: {told}")


def _query_row(table: Table, cell: Architecture, question: Question, losses: bool) -> str:
    whole = table.held is None
    return " ".join(
        (
            f"{question.dataset:<16} {question.split:<6} {epochs_label(question.epochs):<11}",
            number(table.accuracy(cell, question), 10, 2),
            number(table.spread(cell, question), 7, 2),
            number(table.count(cell, question), 6, 0),
            number(table.regret(cell, question) if whole else None, 8, 2),
            number(table.rank(cell, question) if whole else None, 6, 0),
            number(table.percentile(cell, question) if whole else None, 10, 2),
            *([number(table.loss(cell, question), 7, 3)] if losses else []),
        )
    )


def print_published(known: Published, *, unverified: bool) -> None:
    """Published rows, and below them where each is from and what a reader has to know."""
    results = known.results(unverified=unverified)
    say(
        f"{known.split} accuracy (%) on {known.space} after {known.epochs} epochs, as published: "
        "mean +- standard deviation over the method's runs"
    )
    heads = ["method", "searched on", "<runs", *(f"<{name}" for name in known.datasets)]
    rows = [
        [
            each.method,
            each.searched_on,
            "-" if each.runs is None else str(each.runs),
            *(_mean_and_std(each.accuracy(name)) for name in known.datasets),
        ]
        for each in results
    ]
    say("\n".join(aligned(heads, rows)))
    say("\nsources")
    for each in results:
        doubt = "" if each.verified else "; NOT VERIFIED"
        say(f"  {each.method}: {each.source}{each.note and f'; {each.note}'}{doubt}")


def _mean_and_std(accuracy: tuple[float, float | None] | None) -> str:
    if accuracy is None:
        return "-"
    mean, std = accuracy
    return f"{mean:.2f}" + ("        " if std is None else f" +-{std:>5.2f}")


def print_random_search(table: Table, found: Sequence[RandomSearch]) -> None:
    """What random search finds on a table."""
    say(f"table {table.name}: {table.provenance}")
    heads = ["data set", "split", "epochs", "<K", "<mean %", "<std", "<5 %", "<95 %", "cell"]
    rows = [
        [
            each.question.dataset,
            each.question.split,
            epochs_label(each.question.epochs),
            str(each.cells),
            *(f"{value:.2f}" for value in (each.mean, each.std, each.low, each.high)),
            each.label,
        ]
        for each in found
    ]
    say("\n".join(aligned(heads, rows)))
    _say_what_to_know(table, [each.question for each in found])


class CellProgress:
    """How many cells an import has read: a bar on a terminal, else a line now and then.

    Args:
        total: cells of a whole archive.
    """

    EVERY = 1000

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Any = None

    def __enter__(self) -> CellProgress:
        if sys.stdout.isatty():
            from rich.progress import Progress

            self._bar = Progress(transient=True)
            self._bar.add_task("cells", total=self._total)
            self._bar.start()
        return self

    def show(self, done: int) -> None:
        """So many cells were read."""
        if self._bar is not None:
            self._bar.update(0, completed=done)
        elif done % self.EVERY == 0:
            say(f"read {done} of {self._total} cells", flush=True)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def print_training(training: Mapping[str, Any], done: int, total: int) -> None:
    """One finished stand-alone training as a line."""
    say(
        f"{done:>5} of {total}  seed {training['seed']}  valid {training['valid']:6.2f} %  "
        f"test {training['test']:6.2f} %  {training['seconds']:6.1f} s  {training['cell']}",
        flush=True,
    )


def print_tables(every: Sequence[TableSource], folder: Path | None) -> None:
    """Every table: what it can be asked, whether it is there, where its numbers come from."""
    for source in every:
        there = "there" if source.present(folder) else f"not there as a whole; {source.obtain}"
        say(f"{source.name}  ({there})")
        say(f"    cells of {source.space_name}; {source.coverage}")
        say(f"    {source.provenance}")
