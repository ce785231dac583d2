"""The figure `epochs`: runs as they are, finished or not, by epoch. Loaded without pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError
from optnas.base.folder import Place
from optnas.base.records import Record, RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import require_runs
from optnas.measures.figures import Figure, Panel, Row
from optnas.measures.lines import curve_of, data_names, groups_of
from optnas.report.reference_lines import benchmark_of, find_references
from optnas.spaces import build_space
from optnas.spaces.tables import Question, Table, load_table
from optnas.spaces.tables.told import describe_benchmark


def plot_runs(
    runs: Place | Iterable[Place],
    path: str | Path,
    *,
    table: str | None = None,
    folder: Path | None = None,
    reference: Sequence[str] | None = None,
) -> None:
    """Write the picture of `epochs`.

    Args:
        runs: one or several: folders of runs by path, or `RunFolder`.
        path: a file that ends in .png, .svg or .pdf.
        table: see `epochs`.
        folder: see `epochs`.
        reference: see `epochs`.

    Raises:
        UserError: it cannot be drawn, or the file cannot be written.

    Example:
        >>> plot_runs(["runs/first", "runs/second"], "both.png")  # doctest: +SKIP
    """
    from optnas.report.pictures import plot_figure

    plot_figure("epochs", runs, path, table=table, folder=folder, reference=reference)


@register("figure", "epochs")
def epochs(
    runs: Sequence[RunFolder],
    table: str | None = None,
    folder: Path | None = None,
    reference: Sequence[str] | None = None,
) -> Figure:
    """Supernet accuracy, top eigenvalue and benchmark accuracy by epoch.

    A curve for each algorithm and optimizer pair.

    Args:
        runs: the runs.
        table: ask this benchmark table for every architecture instead of using the records.
        folder: the data folder, for ``table`` and ``reference``.
        reference: horizontal lines of the benchmark panel, by the names of
            `optnas.spaces.tables.references`; ``none`` for no line. By default a random cell, the
            best of ten and the best of all, if the table is there.

    Raises:
        UserError: a folder holds no records, the tables differ, or a reference cannot be had.
    """
    from optnas.report.figures import SHARPNESS, SUPERNET

    require_runs("epochs", runs)
    answering = None if table is None else load_table(table, folder=folder)
    spaces = sorted({str(run.read_config()["space"]["name"]) for run in runs})
    if answering is not None and answering.space_name and spaces != [answering.space_name]:
        raise UserError(
            f"this table holds cells of {answering.space_name}, and the runs are of "
            f"{' and '.join(spaces)}",
            key="--table",
            value=table,
            remedy=f"draw runs of {answering.space_name} alone, or without one: --table none",
        )
    found = [_records(run, answering) for run in runs]
    tables = sorted({records[0]["benchmark"]["table"] for records in found})
    if len(tables) > 1:
        told = f"the runs were answered by different benchmark tables ({', '.join(tables)})"
        answered = {records[0]["benchmark"]["table"] for records in found if _answered(records)}
        remedy = f"ask one of them for all: --table {min(answered or tables)}"
        if len(spaces) > 1:  # no table holds cells of two
            told += f", for they are of different spaces ({', '.join(spaces)})"
            remedy = "draw them without one: --table none"
        raise UserError(told, key="DIR...", remedy=remedy)
    groups = groups_of(runs, found)

    def panel(title: str, unit: str, value: Callable[[Record], float | None], **more: Any) -> Panel:
        return Panel(title, unit, [curve_of(group, value) for group in groups], **more)

    panels = [
        panel(title, unit, lambda record, column=column: record[column])  # type: ignore[misc]
        for title, unit, column in (SUPERNET, SHARPNESS)
    ]
    told = found[0][0]["benchmark"]
    dataset = next(iter(told["accuracy"]), None)
    if dataset is None:
        find_references(reference, tables[0], None, folder)
    else:
        question = Question(dataset, told["split"], told["epochs"])
        asked = benchmark_of(tables[0], question, folder, reference)
        accuracy = panel(
            asked.title,
            "%",
            lambda record: record["benchmark"]["accuracy"][dataset],
            lines=asked.lines,
            remarks=[*filter(None, [asked.remark])],
        )
        panels.append(accuracy)
    panels[0] = replace(panels[0], remarks=stopped(runs))
    title = f"search on {data_names([run.read_config() for run in runs])}"
    row = Row(title, panels, "algorithm: weight optimizer + architecture optimizer")
    return Figure("Runs by epoch", [row])


def stopped(runs: Sequence[RunFolder]) -> list[str]:
    """Runs that did not end as planned.

    Args:
        runs: the runs.

    Returns:
        A line for each of them.
    """
    results = [(run, run.read_result()) for run in runs]
    return [
        f"{run.path.name}: {result['status'] if result else 'not finished'}"
        for run, result in results
        if result is None or result.get("status") != "done"
    ]


def _answered(records: Sequence[Record]) -> bool:
    return bool(records[0]["benchmark"]["accuracy"])


def _records(run: RunFolder, asked: Table | None) -> list[Record]:
    config = run.read_config()
    records = run.read_some_epochs()
    if asked is not None:
        space = build_space(config["space"], where=run.config)
        for record in records:
            cell = space.parse(record["architecture"])
            record["benchmark"] = describe_benchmark(asked, cell)
    return records
