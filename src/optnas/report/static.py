"""A figure's data as a picture for a paper; the same data as the page draws."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optnas.report.data import Curve, Figure, Line, Panel, Row, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
    from matplotlib.figure import SubFigure

WIDTH = 7.2  # inches: the text width of a two-column page
ROW_HEIGHT = 2.9
STYLES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (4, 1.5)),
    "dashdot": "-.",
    "dot": (0, (1, 1.2)),
}
GREY = "#666666"
PAPER: dict[Any, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,
}


def draw(figure: Figure) -> Drawing:
    """Draw the rows that have panels, each with its own legend below it.

    Args:
        figure: the data; at least one row has a panel.

    Returns:
        The picture, to be written under the settings of `PAPER`.
    """
    from matplotlib.figure import Figure as Drawing

    rows = figure.drawn
    lines = [-(-len(row.panels) // _across(row)) for row in rows]
    drawing = Drawing(figsize=(WIDTH, ROW_HEIGHT * sum(lines)), layout="constrained")
    places = drawing.subfigures(len(rows), 1, squeeze=False, height_ratios=lines)
    for row, count, place in zip(rows, lines, places[:, 0], strict=True):
        _draw_row(place, row, count)
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")
    return drawing


def _across(row: Row) -> int:
    return 3 if len(row.panels) == 3 else min(2, len(row.panels))


def _draw_row(place: SubFigure, row: Row, lines: int) -> None:
    axes = place.subplots(lines, _across(row), squeeze=False).ravel()
    for ax, panel in zip(axes, row.panels, strict=False):
        _draw_panel(ax, panel)
    for ax in axes[len(row.panels) :]:
        ax.set_axis_off()
    place.suptitle(row.title, fontsize=8.5, fontweight="bold")
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=name.colour, linestyle=STYLES[name.dash], linewidth=1.4)
        for name in row.names
    ]
    place.legend(
        handles,
        [f"{name.label} ({name.n})" for name in row.names],
        loc="outside lower center",
        ncols=min(len(handles), 5),
        title=row.legend,
        title_fontsize=7,
        frameon=False,
        handlelength=2.6,
    )
    if row.lines:
        _name_lines(axes[len(row.panels) - 1], row.lines)


def _name_lines(ax: Axes, lines: Sequence[Line]) -> None:
    """The names of the horizontal lines below the panel that has them."""
    from matplotlib.lines import Line2D

    ax.legend(
        [Line2D([], [], color=GREY, linestyle=STYLES[line.dash], lw=0.8) for line in lines],
        [f"{line.label} {line.value:.2f}" for line in lines],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.27),
        fontsize=6,
        frameon=False,
        handlelength=2.6,
        labelspacing=0.2,
    )


def _draw_panel(ax: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    for curve in panel.curves:
        _draw_curve(ax, curve)
    for line in panel.lines:
        if line.band is not None:
            ax.axhspan(*line.band, color=GREY, alpha=0.12, linewidth=0, zorder=0)
        ax.axhline(line.value, color=GREY, linewidth=0.8, linestyle=STYLES[line.dash], zorder=1)
    if panel.range is not None:
        ax.set_ylim(*panel.range)
    if not panel.curves:
        ax.text(0.5, 0.5, "\n".join(panel.remarks), transform=ax.transAxes, ha="center", color=GREY)
    ax.set_title("\n".join(textwrap.wrap(panel.title, 46, break_on_hyphens=False)))
    ax.set_ylabel(panel.unit)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.2, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_curve(ax: Axes, curve: Curve) -> None:
    from matplotlib.collections import LineCollection

    style = STYLES[curve.dash]
    paths = [_points(curve.epochs, seed.values) for seed in curve.seeds]
    thin = LineCollection(paths, colors=curve.colour, linewidths=0.4, alpha=0.35, zorder=2)
    ax.add_collection(thin)
    low, high = _numbers(curve.low), _numbers(curve.high)
    ax.fill_between(curve.epochs, low, high, color=curve.colour, alpha=0.16, linewidth=0, zorder=1)
    epochs, mean = zip(*_points(curve.epochs, curve.mean), strict=True)
    ax.plot(epochs, mean, color=curve.colour, linestyle=style, lw=1.4, label=curve.label, zorder=3)


def _points(epochs: Sequence[int], values: Values) -> list[tuple[float, float]]:
    return [(e, v) for e, v in zip(epochs, values, strict=True) if v is not None]


def _numbers(values: Values) -> list[float]:
    return [math.nan if value is None else value for value in values]
