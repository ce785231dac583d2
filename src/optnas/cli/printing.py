"""What the command line prints: the live epoch table, outcomes, lists. Computes nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.base.records import Record, RunFolder
from optnas.base.toml import flat
from optnas.measures.drawing import run_label
from optnas.measures.record import TOP_EIGENVALUE
from optnas.spaces.tables.coverage import epochs_label

if TYPE_CHECKING:
    from optnas.base.measurements import Line
    from optnas.search.exam import Outcome
    from optnas.spaces import Architecture
    from optnas.spaces.tables import Question, Table, TableSource
    from optnas.spaces.tables.published import Published
    from optnas.spaces.tables.random_search import RandomSearch

HEADER = (
    f"{'epoch':>5} {'train loss':>10} {'train %':>8} {'valid %':>8} {'benchmark %':>12} "
    f"{'skips':>5} {'top eig':>9} {'alpha path':>10} {'s':>7}  architecture"
)
LIVE_ROWS = 15


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def epoch_line(record: Record) -> str:
    """One epoch as a line under `HEADER`; the benchmark accuracy is that of its first data set.

    Args:
        record: a record of epochs.jsonl.

    Returns:
        The line.
    """
    accuracy = next(iter(record["benchmark"]["accuracy"].values()), None)
    return " ".join(
        (
            f"{record['epoch']:>5}",
            _number(record["train_loss"], 10, 4),
            _number(record["train_accuracy"], 8, 2),
            _number(record["valid_accuracy"], 8, 2),
            _number(accuracy, 12, 2),
            f"{record['skips']:>5}",
            _number(record[TOP_EIGENVALUE], 9, 4),
            _number(record["alpha_path_length"], 10, 4),
            _number(record["seconds"], 7, 1),
            f" {record['architecture']}",
        )
    )


class EpochTable:
    """The table of epochs while a search runs: live on a terminal, else a plain line an epoch."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._live: Any = None

    def __enter__(self) -> EpochTable:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(refresh_per_second=4)
            self._live.__enter__()
        return self

    def add(self, record: Record) -> None:
        """Show one more epoch."""
        if not self._lines:
            bench = record["benchmark"]
            asked = [
                f"{dataset}, split {bench['split']}, in percent" for dataset in bench["accuracy"]
            ]
            note = ", ".join([f"benchmark: table {bench['table']}", *asked[:1]])
            self._show(f"{note}\n{HEADER}")
        self._show(epoch_line(record))

    def _show(self, text: str) -> None:
        self._lines += text.split("\n")
        if self._live is None:
            print(text, flush=True)
            return
        from rich.text import Text

        shown = self._lines[:2] + self._lines[2:][-LIVE_ROWS:]
        self._live.update(Text("\n".join(shown), no_wrap=True, overflow="ellipsis"))

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)


def print_outcome(result: Mapping[str, Any], out: Path) -> None:
    """Say how a run ended."""
    if result["status"] == "done":
        bench = result["benchmark"]
        values = ", ".join(f"{name} {value:.2f} %" for name, value in bench["accuracy"].items())
        print(f"done: {result['architecture']}")
        if values:
            print(f"benchmark (table {bench['table']}, split {bench['split']}): {values}")
        # A run that was finished by an earlier version has no note.
        if "note" in result:
            print(f"data: {result['note']}")
    else:
        print(f"{result['status']}: {result.get('reason', '')}")
    print(f"run folder: {out}")


RUN_COLUMNS = (
    *("algorithm: weight + arch optimizer", "data", "<seed", "status", "<epoch", "<valid %"),
    *("<bench %", "<skips", "<alpha path", "table", "folder"),
)


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose columns are as wide as their widest cell.

    Args:
        heads: titles of the columns; one that starts with ``<`` is set to the right.
        rows: the cells.

    Returns:
        The titles' line and one a row, two spaces between columns.
    """
    titles = [head.lstrip("<") for head in heads]
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    sides = [">" if head.startswith("<") else "<" for head in heads]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(cells, sides, widths, strict=True)
        ).rstrip()
        for cells in (titles, *rows)
    ]


def print_runs(runs: Sequence[RunFolder]) -> None:
    """A table of runs: what they are, how far they came, what their last cell is worth."""
    print("\n".join(aligned(RUN_COLUMNS, [_run_row(run) for run in runs])))


def _run_row(run: RunFolder) -> list[str]:
    try:
        return _readable_row(run)
    except (UserError, KeyError, TypeError) as error:
        return ["unreadable", *[""] * (len(RUN_COLUMNS) - 2), f"{run.path}: {error}"]


def _readable_row(run: RunFolder) -> list[str]:
    config, result = run.read_config(), run.read_result()
    records = run.read_epochs()
    status = result["status"] if result else "unfinished"
    row = [run_label(config), config["data"]["name"], str(config["search"]["seed"]), status]
    if not records:
        return [*row, *["-"] * 6, str(run.path)]
    last = records[-1]
    accuracy = next(iter(last["benchmark"]["accuracy"].values()), None)
    return [
        *row,
        f"{last['epoch']}/{config['search']['epochs']}",
        f"{last['valid_accuracy']:.2f}",
        "-" if accuracy is None else f"{accuracy:.2f}",
        str(last["skips"]),
        f"{last['alpha_path_length']:.3f}",
        last["benchmark"]["table"],
        str(run.path),
    ]


def print_query(table: Table, cell: Architecture, questions: Sequence[Question]) -> None:
    """What a table says of a cell; regret, rank and percentile need a table with every cell."""
    rows = [_query_row(table, cell, question) for question in questions]
    print(f"{cell.string}  (index {cell.space.index(cell)} of {cell.space.name})")
    print(f"table {table.name}: {table.provenance}")
    print(
        f"{'data set':<16} {'split':<6} {'epochs':<11} {'accuracy %':>10} {'spread':>7} "
        f"{'trials':>6} {'regret':>8} {'rank':>6} {'percentile':>10}"
    )
    print("\n".join(rows))
    if table.held is not None:
        print(f"imported in part, {table.held.sum()} of {len(table.held)} cells: no regret or rank")


def _query_row(table: Table, cell: Architecture, question: Question) -> str:
    whole = table.held is None
    return " ".join(
        (
            f"{question.dataset:<16} {question.split:<6} {epochs_label(question.epochs):<11}",
            _number(table.accuracy(cell, question), 10, 2),
            _number(table.spread(cell, question), 7, 2),
            _number(table.count(cell, question), 6, 0),
            _number(table.regret(cell, question) if whole else None, 8, 2),
            _number(table.rank(cell, question) if whole else None, 6, 0),
            _number(table.percentile(cell, question) if whole else None, 10, 2),
        )
    )


def print_published(known: Published, *, unverified: bool) -> None:
    """Published rows, and below them where each is from and what a reader has to know."""
    results = known.results(unverified=unverified)
    print(
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
    print("\n".join(aligned(heads, rows)))
    print("\nsources")
    for each in results:
        doubt = "" if each.verified else "; NOT VERIFIED"
        print(f"  {each.method}: {each.source}{each.note and f'; {each.note}'}{doubt}")


def _mean_and_std(accuracy: tuple[float, float | None] | None) -> str:
    if accuracy is None:
        return "-"
    mean, std = accuracy
    return f"{mean:.2f}" + ("        " if std is None else f" +-{std:>5.2f}")


def print_random_search(table: Table, found: Sequence[RandomSearch]) -> None:
    """What random search finds on a table."""
    print(f"table {table.name}: {table.provenance}")
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
    print("\n".join(aligned(heads, rows)))


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
            print(f"read {done} of {self._total} cells", flush=True)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def print_training(training: Mapping[str, Any], done: int, total: int) -> None:
    """One finished stand-alone training as a line."""
    print(
        f"{done:>5} of {total}  seed {training['seed']}  valid {training['valid']:6.2f} %  "
        f"test {training['test']:6.2f} %  {training['seconds']:6.1f} s  {training['cell']}",
        flush=True,
    )


def print_tables(every: Sequence[TableSource], folder: Path | None) -> None:
    """Every table: what it can be asked, whether it is there, where its numbers come from."""
    for source in every:
        there = "there" if source.present(folder) else f"not there as a whole; {source.obtain}"
        print(f"{source.name}  ({there})")
        print(f"    cells of {source.space_name}; {source.coverage}")
        print(f"    {source.provenance}")


def print_differences(a_name: str, a: Mapping[str, Any], b_name: str, b: Mapping[str, Any]) -> None:
    """The keys in which two documents differ, side by side."""
    flat_a, flat_b = flat(a), flat(b)
    keys = [key for key in {**flat_a, **flat_b} if flat_a.get(key) != flat_b.get(key)]
    width = max([len(key) for key in keys] + [len("setting")])
    print(f"{'setting':<{width}}  {a_name:<22} {b_name}")
    for key in sorted(keys):
        left, right = (str(flat.get(key, "-")) for flat in (flat_a, flat_b))
        print(f"{key:<{width}}  {left:<22} {right}")
    if not keys:
        with contextlib.suppress(BrokenPipeError):
            print("no difference")


def print_outcomes(outcomes: Iterable[Outcome]) -> int:
    """Print the exam's table, a line a check as it comes, and their number.

    Args:
        outcomes: what the checks said.

    Returns:
        How many failed.
    """
    counts = {"ok": 0, "failed": 0, "not examined": 0}
    print(f"{'verdict':<12} {'component':<32} check")
    for outcome in outcomes:
        counts[outcome.verdict] += 1
        settings = ", ".join(f"{k}={v}" for k, v in outcome.subject.settings.items())
        component = f"{outcome.subject.kind} {outcome.subject.name}"
        label = f"{component} ({settings})" if settings else component
        why = f": {outcome.why}" if outcome.why else ""
        print(f"{outcome.verdict:<12} {label:<32} {outcome.check}{why}", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
    return counts["failed"]


def measure_line(label: str, line: Line) -> str:
    """One line of a measure in words: its scalars, or why there are none."""
    head = f"{label}, epoch {line['epoch']} ({line['cost']['cpu_seconds']:.2f} CPU s): "
    values = [
        f"{name} {value:.4g}"
        for name, value in line["values"].items()
        if isinstance(value, (int, float))
    ]
    reason = [f"{line['status']}: {line['reason']}"] if "reason" in line else []
    return head + ", ".join(reason + values)


def print_measures() -> None:
    """Every registered measure: its cost, its cadence, its settings, what it finds."""
    from optnas.base import registry
    from optnas.measures.base import Measure

    for name in registry.names("measure"):
        factory = registry.find("measure", name)
        settings = registry.complete_settings(factory, {}, section=name)
        measure: Measure = factory(**settings)
        cadence = measure.cadence
        print(f"{name}: {(factory.__doc__ or '').strip().splitlines()[0]}")
        print(f"  cost      {measure.cost}")
        print(f"  taken     every = {cadence.every}, at = {list(cadence.at)}")
        print(f"  settings  {', '.join(f'{k} = {v}' for k, v in settings.items()) or 'none'}")
        for key, quantity in measure.quantities.items():
            better = "" if quantity.better == "neither" else f", {quantity.better} is better"
            print(f"  finds     {key} [{quantity.unit}{better}]")
