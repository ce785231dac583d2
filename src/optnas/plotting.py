"""Figures of runs over epochs. Draws records; computes nothing but means over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from optnas.benchmarks import Question, load_table
from optnas.display import run_label
from optnas.errors import UserError
from optnas.files import write_atomically, writing
from optnas.metrics.benchmark import describe_benchmark
from optnas.records import Record, RunFolder
from optnas.reference_lines import draw_references, find_references
from optnas.spaces import build_space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")
NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16-120": "ImageNet16-120"}


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
            `optnas.benchmarks.references`; ``none`` for no line. By default a random cell, the best
            of ten and the best of all, if the table is there.

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


def check_format(path: Path) -> None:
    """Refuse a picture file whose ending is not one of `FORMATS`.

    Args:
        path: the file.

    Raises:
        UserError: its ending is another.
    """
    if path.suffix.lstrip(".") not in FORMATS:
        raise UserError(
            "not a picture format",
            key="-o",
            value=str(path),
            remedy=f"end it in .{', .'.join(FORMATS)}",
        )


def write_figure(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write a picture atomically; the same figure gives the same bytes.

    Args:
        figure: the figure.
        path: a file that `check_format` accepts.
        dpi: pixels an inch of a .png.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib import rc_context

    kind = path.suffix[1:]
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)

    def write(file: IO[bytes]) -> None:
        figure.savefig(file, format=kind, dpi=dpi, metadata=undated)

    with writing("the picture", key="-o", path=path), rc_context({"svg.hashsalt": "optnas"}):
        write_atomically(path, write)


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
        ("top eigenvalue of the alpha-Hessian", lambda r: r["alpha_hessian_max"]),
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
