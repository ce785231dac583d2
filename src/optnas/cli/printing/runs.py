"""Searches: the live table of epochs, how a run ended, lists of runs."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optnas.base.columns import TOP_EIGENVALUE
from optnas.base.errors import UserError
from optnas.base.escapes import for_shell, for_terminal
from optnas.base.records import Record, RunFolder
from optnas.cli.printing.text import aligned, number, say
from optnas.measures.drawing import own_settings, run_label, setting
from optnas.study.states import failed_measures, look

HEADS = (
    *(f"{'epoch':>5}", f"{'train loss':>10}", f"{'train %':>8}", f"{'valid %':>8}"),
    *(f"{'benchmark %':>12}", f"{'skips':>5}", f"{'top eig':>9}", f"{'alpha path':>10}"),
    *(f"{'s':>7}", " architecture"),
)
LIVE_ROWS = 15


def epoch_cells(record: Record) -> tuple[str, ...]:
    """One epoch under `HEADS`; the benchmark accuracy is that of its first data set."""
    accuracy = next(iter(record["benchmark"]["accuracy"].values()), None)
    return (
        f"{record['epoch']:>5}",
        number(record["train_loss"], 10, 4),
        number(record["train_accuracy"], 8, 2),
        number(record["valid_accuracy"], 8, 2),
        number(accuracy, 12, 2),
        f"{record['skips']:>5}",
        number(record[TOP_EIGENVALUE], 9, 4),
        number(record["alpha_path_length_centred"], 10, 4),
        number(record["seconds"], 7, 1),
        f" {record['architecture']}",
    )


class EpochTable:
    """The table of epochs while a search runs: live on a terminal, else a plain line per epoch.

    On a terminal the columns that the screen has no room for are left out whole, from the right.

    Args:
        out: the run's folder.
    """

    def __init__(self, out: Path) -> None:
        self._folder = RunFolder(out)
        self._note = ""
        self._rows: list[tuple[str, ...]] = []
        self._live: Any = None

    def __enter__(self) -> EpochTable:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(refresh_per_second=4)
            self._live.__enter__()
        return self

    def add(self, record: Record) -> None:
        """Show one more epoch."""
        first = not self._rows
        if first:
            searched = self._folder.read_config()["data"]["name"]
            self._note = benchmark_note(record["benchmark"], searched)
        self._rows.append(epoch_cells(record))
        if self._live is None:
            if first:
                say(f"{self._note}\n{' '.join(HEADS)}")
            say(" ".join(self._rows[-1]), flush=True)
            return
        from rich.text import Text

        lines = [*textwrap.wrap(self._note, self._live.console.width), *self._lines()]
        self._live.update(Text(for_terminal("\n".join(lines)), no_wrap=True))

    def _lines(self) -> list[str]:
        """The heads and the last rows, as far as they fit the screen."""
        # A column that was too wide once stays away: the table would jump.
        widths = [max(map(len, column)) for column in zip(HEADS, *self._rows, strict=True)]
        ends = itertools.accumulate(widths, lambda end, width: end + 1 + width)
        room = self._live.console.width
        cells = sum(end <= room for end in ends)
        return [" ".join(row[:cells]) for row in (HEADS, *self._rows[-LIVE_ROWS:])]

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)


def benchmark_note(bench: Mapping[str, Any], searched: str) -> str:
    """What the column of benchmark accuracies is.

    Args:
        bench: the answer of a record.
        searched: name of the data set of the search.
    """
    asked = next(iter(bench["accuracy"]), None)
    if asked is None:
        return f"benchmark: none; no table is asked about these images ({searched})"
    note = f"benchmark: table {bench['table']}, {asked}, split {bench['split']}, in percent"
    return note if searched in bench["accuracy"] else f"{note}: trained there, not on {searched}"


def print_outcome(result: Mapping[str, Any], out: Path) -> None:
    """Say how a run ended."""
    out = RunFolder(out).path  # with a name, where it was given as "."
    if result["status"] == "done":
        bench = result["benchmark"]
        searched = RunFolder(out).read_config()["data"]["name"]
        values = ", ".join(f"{name} {value:.2f} %" for name, value in bench["accuracy"].items())
        say(f"done: {result['architecture']}")
        if "genotype" in result:
            say(f"genotype: {result['genotype']}")
        if values:
            other = "" if searched in bench["accuracy"] else f"; trained there, not on {searched}"
            say(f"benchmark (table {bench['table']}, split {bench['split']}): {values}{other}")
        else:
            say(benchmark_note(bench, searched))
            alone = for_shell(out.with_name(f"{out.name}-alone"))
            say(f"train the cell to know: optnas train {for_shell(out)} --out {alone}")
        # A run that was finished by an earlier version has no note.
        if "note" in result:
            say(f"data: {result['note']}")
    else:
        say(f"{result['status']}: {result.get('reason', '')}")
    for label, lines in failed_measures(RunFolder(out)).items():
        first, more = lines[0], f" and in {len(lines) - 1} more epochs" if len(lines) > 1 else ""
        why = first.get("reason", "")
        say(f"measure {label}: failed in epoch {first['epoch']}{more} ({why})")
    say(f"run folder: {out}")


RUN_COLUMNS = (
    *("algorithm: weight + arch optimizer", "data", "<seed", "status", "<epoch", "<valid %"),
    *("<bench %", "<skips", "<alpha path", "table", "folder"),
)
SHOWN = ("data.name", "search.epochs")  # settings that those columns tell
MOST_SETTINGS = 3  # that a row names
UNREADABLE = "unreadable"


def print_runs(runs: Sequence[RunFolder], folder: Path) -> None:
    """A table of the runs below a folder: what they are, how far, what their last cell is worth.

    Settings that tell runs of one algorithm and pair apart stand in a column of their own.
    """
    if not runs:
        say(f"no run below {folder}")
        return
    rows = [_run_row(run) for run in runs]
    readable = [at for at, row in enumerate(rows) if row[0] != UNREADABLE]
    apart = dict(
        zip(readable, own_settings([runs[at].read_config() for at in readable]), strict=True)
    )
    told = [_settings(apart.get(at, {})) for at in range(len(rows))]
    heads = [*RUN_COLUMNS]
    if any(told):
        heads.insert(-1, "differing settings")
        for row, each in zip(rows, told, strict=True):
            row.insert(-1, each)
    say("\n".join(aligned(heads, rows)))


def _settings(own: Mapping[str, Any]) -> str:
    """Settings in a cell of the table, without those that have columns."""
    told = [setting(key, value) for key, value in own.items() if key not in SHOWN]
    more = len(told) - MOST_SETTINGS
    return ", ".join(told[:MOST_SETTINGS]) + (f" and {more} more" if more > 0 else "")


def _run_row(run: RunFolder) -> list[str]:
    status, told = look(run)
    try:
        if status != UNREADABLE:
            return _readable_row(run, status)
    except UserError as error:
        told = str(error)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        told = f"{type(error).__name__}: {error}"
    return [UNREADABLE, *[""] * (len(RUN_COLUMNS) - 2), f"{run.path}: {told}"]


def _readable_row(run: RunFolder, status: str) -> list[str]:
    config, records = run.read_config(), run.read_epochs()
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
        number(last.get("alpha_path_length_centred"), 1, 3),
        last["benchmark"]["table"],
        str(run.path),
    ]
