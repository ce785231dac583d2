"""The figure `epochs`: runs over epochs. Draws records; computes nothing but means over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optnas.base.errors import UserError
from optnas.base.records import Record, RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import COLOURS, NAMES, STYLES, check_format, run_label, write_figure
from optnas.measures.record import TOP_EIGENVALUE, titled
from optnas.report.reference_lines import draw_references, find_references
from optnas.spaces import build_space
from optnas.spaces.tables import Question, load_table
from optnas.spaces.tables.told import describe_benchmark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_runs(
    runs: Sequence[RunFolder],
    path: Path,
    *,
    table: str | None = None,
    folder: Path | None = None,
    reference: Sequence[str] | None = None,
) -> None:
    """Write the picture of `draw_runs`.

    Args:
        runs: the runs.
        path: a file that ends in .png, .svg or .pdf.
        table: see `draw_runs`.
        folder: see `draw_runs`.
        reference: see `draw_runs`.

    Raises:
        UserError: it cannot be drawn, or the file cannot be written.
    """
    check_format(path)
    write_figure(draw_runs(runs, table, folder, reference), path)


def draw_runs(
    runs: Sequence[RunFolder],
    table: str | None = None,
    folder: Path | None = None,
    reference: Sequence[str] | None = None,
) -> Figure:
    """Three panels by epoch: supernet accuracy, alpha-Hessian top eigenvalue, benchmark accuracy.

    One colour for each algorithm and optimizer pair. With several seeds of one, the seeds are thin
    lines and their mean a thick one; with one seed, the line is the run.

    Args:
        runs: the runs.
        table: ask this benchmark table for every architecture instead of using the records.
        folder: the data folder, for ``table`` and ``reference``.
        reference: horizontal lines of the benchmark panel, by the names of
            `optnas.spaces.tables.references`; ``none`` for no line. By default a random cell, the
            best of ten and the best of all, if the table is there.

    Returns:
        The drawing.

    Raises:
        UserError: a folder holds no records, the tables differ, or a reference cannot be had.
    """
    if not runs:
        raise UserError(
            "the figure epochs is drawn from runs",
            key="DIR...",
            remedy="give one or more run folders",
        )
    loaded = [(run.read_config(), _records(run, table, folder)) for run in runs]
    tables = sorted({records[0]["benchmark"]["table"] for _, records in loaded})
    if len(tables) > 1:
        raise UserError(
            f"the runs were answered by different benchmark tables ({', '.join(tables)})",
            key="DIR...",
            remedy=f"ask one of them for all: --table {tables[0]}",
        )
    told = loaded[0][1][0]["benchmark"]
    asked = [Question(each, told["split"], told["epochs"]) for each in told["accuracy"]]
    question = asked[0] if asked else None
    rows, remark = find_references(reference, tables[0], question, folder)
    figure = _draw(loaded, tables[0], question)
    if question is not None:
        draw_references(figure.axes[-1], rows, remark)
    return figure


@register("figure", "epochs")
def epochs(
    runs: Sequence[RunFolder],
    table: str | None = None,
    folder: Path | None = None,
    reference: Sequence[str] | None = None,
) -> Figure:
    """Supernet accuracy, top eigenvalue and benchmark accuracy by epoch; see `draw_runs`."""
    return draw_runs(runs, table, folder, reference)


def _records(run: RunFolder, table: str | None, folder: Path | None) -> list[Record]:
    config = run.read_config()
    records = run.read_epochs()
    if not records:
        raise UserError(
            "the run has no records yet", where=run.path, remedy="wait for its first epoch"
        )
    if table is not None:
        asked = load_table(table, folder=folder)
        space = build_space(config["space"], where=run.config)
        for record in records:
            cell = space.parse(record["architecture"])
            record["benchmark"] = describe_benchmark(asked, cell)
    return records


def _draw(
    loaded: list[tuple[dict[str, Any], list[Record]]], table: str, question: Question | None
) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    benchmark = "" if question is None else NAMES.get(question.dataset, question.dataset)
    groups: dict[str, list[list[Record]]] = {}
    for config, records in loaded:
        groups.setdefault(run_label(config), []).append(records)
    counts = sorted({len(seeds) for seeds in groups.values()})
    searched = ", ".join(
        sorted({NAMES.get(c["data"]["name"], c["data"]["name"]) for c, _ in loaded})
    )
    panels: list[tuple[str, Callable[[Record], float | None]]] = [
        ("supernet validation accuracy (%)", lambda r: r["valid_accuracy"]),
        (titled(TOP_EIGENVALUE)[0], lambda r: r[TOP_EIGENVALUE]),
    ]
    if question is not None:
        dataset, split = question.dataset, question.split
        title = f"benchmark accuracy of the derived cell (%)\n{benchmark} {split}, table {table}"
        panels.append((title, lambda r: r["benchmark"]["accuracy"][dataset]))
    figure = Figure(figsize=(4.5 * len(panels), 4.6), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for ax, (title, value) in zip(axes, panels, strict=True):
        for position, (label, seeds) in enumerate(groups.items()):
            colour = COLOURS[position % len(COLOURS)]
            style = STYLES[(position // len(COLOURS) + position) % len(STYLES)]
            _draw_group(ax, seeds, value, colour, style, label)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    asked = "no benchmark" if question is None else f"benchmark of {benchmark}"
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    figure.suptitle(
        f"search on {searched}, {asked}, n = {n} {'seed' if n == '1' else 'seeds'} a curve",
        fontsize=12,
    )
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 4),
        title="algorithm: weight optimizer + architecture optimizer",
        frameon=False,
    )
    return figure


def _draw_group(
    ax: Axes, seeds: list[list[Record]], value: Any, colour: str, style: str, label: str
) -> None:
    curves = []
    for records in seeds:
        points = [(r["epoch"], value(r)) for r in records if value(r) is not None]
        epochs, values = (
            (list(column) for column in zip(*points, strict=True)) if points else ([], [])
        )
        curves.append((epochs, values))
    thin = len(seeds) > 1
    for epochs, values in curves:
        ax.plot(
            epochs,
            values,
            style,
            color=colour,
            linewidth=0.8 if thin else 1.8,
            alpha=0.5 if thin else 1.0,
            label=None if thin else label,
        )
    if thin:
        shared = sorted(set.intersection(*(set(epochs) for epochs, _ in curves)))
        lookup = [dict(zip(epochs, values, strict=True)) for epochs, values in curves]
        mean = [float(np.mean([at[epoch] for at in lookup])) for epoch in shared]
        ax.plot(shared, mean, style, color=colour, linewidth=2.2, label=label)
