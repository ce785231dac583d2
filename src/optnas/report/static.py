"""A figure's data as a picture for a paper; the same data as the page draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING


from optnas.report.data import Curve, Figure, Panel, Row, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
    from matplotlib.figure import SubFigure

WIDTH = 7.2  # inches: the text width of a two-column page
ROW_HEIGHT = 2.55
STYLES = {"solid": "-", "dash": (0, (4, 1.5)), "dashdot": "-.", "dot": (0, (1, 1.2))}
GREY = "#666666"
PAPER = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
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
        _draw_row(place, row, count, titled=len(rows) > 1)
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")
    return drawing


def _across(row: Row) -> int:
    return 3 if len(row.panels) == 3 else min(2, len(row.panels))


def _draw_row(place: SubFigure, row: Row, lines: int, *, titled: bool) -> None:
    axes = place.subplots(lines, _across(row), squeeze=False).ravel()
    for ax, panel in zip(axes, row.panels, strict=False):
        _draw_panel(ax, panel)
    for ax in axes[len(row.panels) :]:
        ax.set_axis_off()
    if titled:
        place.suptitle(row.title, fontsize=8.5, fontweight="bold")
    handles = {}
    for ax in axes:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    counts = {}
    for curve in (curve for panel in row.panels for curve in panel.curves):
        counts.setdefault(curve.label, set()).add(curve.n)
    place.legend(
        list(handles.values()),
        [f"{label} (n = {_range(counts[label])})" for label in handles],
        loc="outside lower center",
        ncols=min(len(handles), 5),
        title=row.legend,
        title_fontsize=7.5,
        frameon=False,
        handlelength=2.6,
    )


def _range(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _draw_panel(ax: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    for curve in panel.curves:
        _draw_curve(ax, curve)
    for line in panel.lines:
        if line.band is not None:
            ax.axhspan(*line.band, color=GREY, alpha=0.12, linewidth=0, zorder=0)
        ax.axhline(line.value, color=GREY, linewidth=0.6, linestyle=(0, (6, 2)), zorder=1)
        ax.annotate(
            f"{line.label} {line.value:.2f}",
            (0.99, line.value),
            xycoords=ax.get_yaxis_transform(),
            ha="right",
            va="bottom",
            fontsize=5.5,
            color=GREY,
            annotation_clip=True,
        )
    if panel.range is not None:
        ax.set_ylim(*panel.range)
    if not panel.curves:
        ax.text(0.5, 0.5, "\n".join(panel.remarks), transform=ax.transAxes, ha="center", color=GREY)
    ax.set_title(_wrapped(panel.title))
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


def _wrapped(title: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(title, 34))
