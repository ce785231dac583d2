"""Figures of runs over epochs. Draws records; computes nothing but means over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from optnas.benchmarks import load_table
from optnas.display import run_label
from optnas.errors import UserError
from optnas.files import write_atomically
from optnas.metrics.benchmark import describe_benchmark
from optnas.records import Record, RunFolder
from optnas.spaces.nasbench201 import NAS_BENCH_201

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")
NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16-120": "ImageNet16-120"}


def plot_runs(runs: Sequence[RunFolder], path: Path) -> None:
    """Write the picture of `draw_runs`.

    Args:
        runs: the runs.
        path: a file that ends in .png, .svg or .pdf.
    """
    check_format(path)
    write_figure(draw_runs(runs), path)


def draw_runs(
    runs: Sequence[RunFolder], table: str | None = None, folder: Path | None = None
) -> Figure:
    """Three panels by epoch: supernet accuracy, alpha-Hessian top eigenvalue, benchmark accuracy.

    One colour for each algorithm and optimizer pair. With several seeds of one, the seeds are thin
    lines and their mean a thick one; with one seed, the line is the run.

    Args:
        runs: the runs.
        table: ask this benchmark table for every architecture instead of using the records.
        folder: the data folder, for ``table``.

    Returns:
        The drawing.

    Raises:
        UserError: a folder holds no records, or the tables differ.
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
    return _draw(loaded, tables[0])


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


def write_figure(figure: Figure, path: Path) -> None:
    """Write a picture atomically; the same figure gives the same bytes.

    Args:
        figure: the figure.
        path: a file that `check_format` accepts.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib import rc_context

    kind = path.suffix[1:]
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)

    def write(file: IO[bytes]) -> None:
        figure.savefig(file, format=kind, dpi=150, metadata=undated)

    try:
        with rc_context({"svg.hashsalt": "optnas"}):
            write_atomically(path, write)
    except OSError as error:
        raise UserError(
            f"cannot write the picture ({error.strerror})",
            key="-o",
            value=str(path),
            remedy="choose a folder that can be written",
        ) from error


def _records(run: RunFolder, table: str | None, folder: Path | None) -> list[Record]:
    run.read_config()
    records = run.read_epochs()
    if not records:
        raise UserError(
            "the run has no records yet", where=run.path, remedy="wait for its first epoch"
        )
    if table is not None:
        asked = load_table(table, folder=folder)
        for record in records:
            cell = NAS_BENCH_201.parse(record["architecture"])
            record["benchmark"] = describe_benchmark(asked, cell)
    return records


def _draw(loaded: list[tuple[dict[str, Any], list[Record]]], table: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    dataset = next(iter(loaded[0][1][0]["benchmark"]["accuracy"]))
    groups: dict[str, list[list[Record]]] = {}
    for config, records in loaded:
        groups.setdefault(run_label(config), []).append(records)
    counts = sorted({len(seeds) for seeds in groups.values()})
    searched = ", ".join(
        sorted({NAMES.get(c["data"]["name"], c["data"]["name"]) for c, _ in loaded})
    )
    figure = Figure(figsize=(13.5, 4.6), layout="constrained")
    axes = figure.subplots(1, 3)
    panels = (
        ("supernet validation accuracy (%)", lambda r: r["valid_accuracy"]),
        ("top eigenvalue of the alpha-Hessian", lambda r: r["alpha_hessian_max"]),
        (
            f"benchmark accuracy of the derived cell (%)\n{NAMES.get(dataset, dataset)} test, "
            f"table {table}",
            lambda r: r["benchmark"]["accuracy"][dataset],
        ),
    )
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
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    figure.suptitle(
        f"search on {searched}, benchmark of {NAMES.get(dataset, dataset)}, n = {n} "
        f"{'seed' if n == '1' else 'seeds'} a curve",
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
