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

# Inches. The width is the text width of a two-column page; a row is its title, lines of panels
# (each a title, axes and the words below), the names of reference lines, and a legend.
WIDTH, LEFT, GAP, RIGHT = 7.2, 0.48, 0.52, 0.1
TITLE, HEAD, AXES, FOOT, NAME, LEGEND = 0.26, 0.34, 1.6, 0.42, 0.11, 0.44
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

    Everything has a place in inches: a layout engine would draw each picture twice.

    Args:
        figure: the data; at least one row has a panel.

    Returns:
        The picture, to be written under the settings of `PAPER`.
    """
    from matplotlib.figure import Figure as Drawing

    heights = [_height(row) for row in figure.drawn]
    drawing = Drawing(figsize=(WIDTH, sum(heights)))
    top = sum(heights)
    for row, height in zip(figure.drawn, heights, strict=True):
        _draw_row(drawing, row, top)
        top -= height
    return drawing


def _across(row: Row) -> int:
    return 3 if len(row.panels) == 3 else min(2, len(row.panels))


def _height(row: Row) -> float:
    lines = -(-len(row.panels) // _across(row))
    return TITLE + lines * (HEAD + AXES + FOOT) + NAME * len(row.lines) + LEGEND


def _draw_row(drawing: Drawing, row: Row, top: float) -> None:
    """Draw a row whose upper edge lies ``top`` inches above the lower one of the picture."""
    from matplotlib.lines import Line2D

    whole = float(drawing.get_figheight())
    across = _across(row)
    width = (WIDTH - LEFT - RIGHT - GAP * (across - 1)) / across
    drawing.text(0.5, (top - TITLE / 2) / whole, row.title, ha="center", va="center", weight="bold")
    for place, panel in enumerate(row.panels):
        line, column = divmod(place, across)
        left = LEFT + column * (width + GAP)
        low = top - TITLE - line * (HEAD + AXES + FOOT) - HEAD - AXES
        ends = (left / WIDTH, low / whole, width / WIDTH, AXES / whole)
        _draw_panel(drawing.add_axes(ends), panel)
    bottom = top - _height(row)
    handles = [
        Line2D([], [], color=name.colour, linestyle=STYLES[name.dash], linewidth=1.4)
        for name in row.names
    ]
    drawing.legend(
        handles,
        [f"{name.label} ({name.n})" for name in row.names],
        loc="lower center",
        bbox_to_anchor=(0.5, bottom / whole),
        ncols=min(len(handles), 5),
        title=row.legend,
        title_fontsize=7,
        frameon=False,
        handlelength=2.6,
    )
    _name_lines(drawing, row.lines, (bottom + LEGEND + NAME * len(row.lines)) / whole)


def _name_lines(drawing: Drawing, lines: Sequence[Line], top: float) -> None:
    """The names of the horizontal lines, below the panel at the right."""
    from matplotlib.lines import Line2D

    if lines:
        drawing.legend(
            [Line2D([], [], color=GREY, linestyle=STYLES[line.dash], lw=0.8) for line in lines],
            [f"{line.label} {line.value:.2f}" for line in lines],
            loc="upper right",
            bbox_to_anchor=(1.0, top),
            fontsize=6,
            frameon=False,
            handlelength=2.6,
            labelspacing=0.2,
            borderpad=0,
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
    ax.set_title("\n".join(textwrap.wrap(panel.title, 40, break_on_hyphens=False)))
    ax.set_ylabel(panel.unit)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5))
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
