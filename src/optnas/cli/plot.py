"""``plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optnas.base.errors import UserError
from optnas.cli.common import DataFolder, dotted_settings, runs_at, told_apart
from optnas.cli.printing.text import say


def plot(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DIR]... [KEY=VALUE]...", help="folders of runs, and options of the figure"
        ),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="a .png, .svg or .pdf file")],
    figure: Annotated[
        str | None,
        typer.Option(help="its name; they are listed below  [default: epochs]"),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="this column by epoch, such as alpha_entropy; repeatable"
        ),
    ] = None,
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
    hold: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="compare runs with this setting; default: most"),
    ] = None,
    data: DataFolder = None,
) -> None:
    """Draw a figure: runs by epoch, what a measure found, or a diagram of the method."""
    from optnas.report.pictures import plot_figure
    from optnas.spaces.tables import data_folder

    told = told_apart(words)
    _no_figures(told.paths)
    folders = runs_at([Path(word) for word in told.paths])
    options = dotted_settings(told.settings)
    if column and figure is not None:
        raise UserError(
            f"the figure {figure} chooses its own columns",
            key="--column",
            value=" ".join(column),
            remedy="leave out --figure, or --column",
        )
    if column:
        figure, options = "columns", {**options, "column": column}
    lines = None if reference is None else reference.split(",")
    plot_figure(
        figure or "epochs",
        folders,
        output,
        options,
        table=table,
        folder=data_folder(data),
        reference=lines,
        hold=dotted_settings(hold),
    )
    say(f"wrote {output}")


def _no_figures(named: list[str]) -> None:
    """Refuse the name of a figure where folders stand."""
    from optnas.base.registry import names

    for word in named:
        if word in names("figure") and not Path(word).exists():
            raise UserError(
                "is a figure, and folders of runs stand here",
                key="DIR...",
                value=word,
                remedy=f"write it as --figure {word}",
            )
