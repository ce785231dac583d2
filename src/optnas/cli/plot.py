"""``plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optnas.cli.common import DataFolder


def plot(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="run folders")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="a .png, .svg or .pdf file")],
    figure: Annotated[
        str,
        typer.Option(help="epochs, alternation, auxiliary-skip, mixed-cell or nas-triangle"),
    ] = "epochs",
    table: Annotated[
        str | None, typer.Option(help="ask this benchmark table again, for all runs")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="lines of the benchmark panel: random-cell, best-of-K, random-search, optimum, "
            "published, with commas between them, or none"
        ),
    ] = None,
    data: DataFolder = None,
) -> None:
    """Draw runs by epoch (accuracy, eigenvalue, benchmark), or a diagram of the method."""
    from optnas.benchmarks import data_folder
    from optnas.diagrams import plot_figure
    from optnas.records import RunFolder

    folders = [RunFolder(path) for path in runs or []]
    lines = None if reference is None else reference.split(",")
    plot_figure(figure, folders, output, table=table, folder=data_folder(data), reference=lines)
    typer.echo(f"wrote {output}")
