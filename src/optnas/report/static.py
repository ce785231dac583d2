"""A figure as a picture for a paper; the same data as the page draws."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optnas.measures.drawing import PLAIN, write_figure
from optnas.measures.figures import Line, Table
from optnas.report.data import Chart, Drawn, Map, Mean, Strip, Values, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Inches. The width is the text width of a two-column page; a row is its title, lines of panels
# (each a title, axes and the words below), the names of reference lines, and a legend.
WIDTH, LEFT, GAP, RIGHT = 7.2, 0.55, 0.6, 0.1
TITLE, HEAD, AXES, FOOT, NAME, NOTE = 0.26, 0.12, 1.6, 0.4, 0.11, 0.09
SURFACE, SCALE, CELL = 1.9, 0.62, 0.16  # a surface above a map, its scale, a line of a table
LETTER = 0.052  # the mean width of a letter of a legend
KEY = 0.62  # of a legend's line and the space around an entry
LEGEND_WORDS = int((WIDTH - 0.3 - KEY) / LETTER)  # letters in a line of a legend
# Points of what is wrapped, and of the numbers of a vertical axis.
SMALL, CAPTION, WORDS, NUMBERS = 5.5, 6.5, 7.5, 7.0
HINTED = 1.035  # letters of a picture are up to so much wider than those of an outline
NUMBER = LEFT - 0.25  # inches for a number of a vertical axis; a wider one is written smaller
STYLES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (4, 1.5)),
    "dashdot": (0, (5, 1.2, 1, 1.2)),
    "dot": (0, (1, 1.2)),
    "longdash": (0, (8, 2)),
    "longdashdot": (0, (8, 1.5, 1, 1.5, 1, 1.5)),
    "none": "none",
}
GREY = "#666666"
DECADES = 3  # of a logarithmic axis; beyond, 2 and 5 between them leave no room for any number
WAY = "#D55E00"  # of a trajectory in a map
PAPER: dict[Any, Any] = {
    **PLAIN,
    "axes.formatter.limits": (-3, 5),
    "font.size": WORDS,
    "axes.labelpad": 2,
    "axes.titlesize": WORDS,
    "axes.labelsize": WORDS,
    "xtick.labelsize": NUMBERS,
    "ytick.labelsize": NUMBERS,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,
}


def write(figure: Drawn, path: Path, *, dpi: int = 200, captioned: bool = False) -> None:
    """Draw and write a figure.

    Args:
        figure: the data.
        path: a file that `check_format` accepts.
        dpi: pixels per inch of a .png.
        captioned: see `draw`.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib import rc_context

    with rc_context(PAPER):  # a .pdf's fonts are chosen when it is written
        write_figure(draw(figure, captioned=captioned), path, dpi=dpi)


def draw(figure: Drawn, *, captioned: bool = False) -> Drawing:
    """Draw the rows, each with its own legend below it, and the table.

    Everything has a place in inches: a layout engine would draw each picture twice.

    Args:
        figure: the data; at least one row.
        captioned: with title and caption, for a picture that stands alone.
    """
    from matplotlib import rc_context

    with rc_context(PAPER):
        return _draw(figure, captioned)


def _draw(figure: Drawn, captioned: bool) -> Drawing:
    from matplotlib.figure import Figure as Drawing

    table = CELL * (len(figure.table.rows) + 1) + 0.1 if figure.table else 0.0
    title = figure.title if captioned and figure.caption else ""
    words = f"{figure.caption} {figure.reading}" if captioned else ""
    caption = _wrapped(words, WIDTH - 0.24, CAPTION)
    below = 0.12 * len(caption) + 0.08
    top = sum(_height(row) for row in figure.rows) + table + below + (0.3 if title else 0)
    drawing = Drawing(figsize=(WIDTH, top))
    drawing.text(0.12 / WIDTH, below / top, "\n".join(caption), va="top", fontsize=CAPTION)
    if title:
        place = (0.5, 1 - 0.15 / top)
        drawing.text(*place, title, ha="center", va="center", weight="bold", fontsize=8.5)
        top -= 0.3
    for row in figure.rows:
        _draw_row(drawing, row, top)
        top -= _height(row)
    if figure.table is not None:
        _write_table(drawing, figure.table, top)
    return drawing


# --- places -----------------------------------------------------------------------------------


def _across(row: Strip) -> int:
    return 3 if len(row.panels) in (3, 5, 6, 9) else min(2, len(row.panels))


def _lines(row: Strip) -> list[list[Chart]]:
    """Lines of panels."""
    across = _across(row)
    return [row.panels[at : at + across] for at in range(0, len(row.panels), across)]


def _right(row: Strip) -> float:
    return RIGHT + (SCALE if any(panel.grid for panel in row.panels) else 0.0)


def _width(row: Strip) -> float:
    """Of a panel."""
    across = _across(row)
    return (WIDTH - LEFT - _right(row) - GAP * (across - 1)) / across


def _title(panel: Chart, width: float) -> str:
    held = panel.title.replace(" = ", "\u00a0=\u00a0")
    return "\n".join(_wrapped(held, width + 2 * RIGHT, WORDS))


def _notes(panel: Chart, width: float) -> list[str]:
    banded = any(line.band for line in panel.lines)
    grey = ["grey: where 90 % of random searches end"] if banded else []
    return [line for note in [*panel.notes, *grey] for line in _wrapped(note, width, SMALL)]


@functools.lru_cache(1024)
def _wrapped(text: str, inches: float, points: float) -> tuple[str, ...]:
    """Lines of at most this width."""
    for letters in range(max(1, int(2.5 * 72 * inches / points)), 0, -1):
        lines = textwrap.wrap(text, letters, break_on_hyphens=False)
        if all(HINTED * _line_width(each, points) <= inches for each in lines):
            break
    return tuple(lines)


@functools.lru_cache(4096)
def _line_width(line: str, points: float) -> float:
    """In inches; it takes a tenth of a millisecond, and panels share their captions."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(
        line, FontProperties(size=points), False
    )
    return float(width) / 72


def _parts(line: Sequence[Chart], width: float) -> tuple[float, float, float, float]:
    """The heights of a line of panels: titles, surfaces, axes, what stands below."""
    head = HEAD + 0.115 * max(_title(panel, width).count("\n") + 1 for panel in line)
    grids = [panel.grid for panel in line if panel.grid]
    surface = SURFACE if any(grid.surface for grid in grids) else 0.0
    axes = min(width, 2.4) if grids else AXES
    foot = FOOT + NOTE * max(len(_notes(panel, width)) for panel in line)
    return head, surface, axes, foot


def _columns(row: Strip) -> int:
    """Of the legend: as many as the widest name leaves room for."""
    widest = max((KEY + LETTER * len(_named(*name)) for name in row.names), default=1.0)
    return max(1, min(len(row.names), int((WIDTH - 0.1) / widest)))


def _legend(row: Strip) -> float:
    if not row.names:
        return 0.08
    heading = 0.14 if row.heading else 0.0
    # A name that takes several lines is too wide for a second column.
    lines = sum(_named(*name).count("\n") + 1 for name in row.names)
    return 0.14 + heading + 0.135 * math.ceil(lines / _columns(row))


def _height(row: Strip) -> float:
    lines = sum(sum(_parts(line, _width(row))) for line in _lines(row))
    return (TITLE if row.title else 0.06) + lines + _named_lines(row) + _legend(row)


def _named_lines(row: Strip) -> float:
    """The height of the names of horizontal lines, many of them in columns."""
    return NAME * math.ceil(len(row.lines) / _line_columns(row.lines))


def _line_columns(lines: Sequence[Line]) -> int:
    widest = max((KEY + 0.044 * len(f"{line.label} {line.value:.2f}") for line in lines), default=1)
    return 1 if len(lines) <= 4 else max(1, int((WIDTH - 0.1) / widest))


# --- a row ------------------------------------------------------------------------------------


def _draw_row(drawing: Drawing, row: Strip, top: float) -> None:
    """Draw a row whose upper edge lies ``top`` inches above the lower one of the picture."""
    whole = float(drawing.get_figheight())
    bottom, width = top - _height(row), _width(row)
    if row.title:
        middle = (top - TITLE / 2) / whole
        drawing.text(0.5, middle, row.title, ha="center", va="center", weight="bold")
    below = top - (TITLE if row.title else 0.06)
    for line in _lines(row):
        head, surface, axes, foot = _parts(line, width)
        low = below - head - surface - axes
        for column, panel in enumerate(line):
            left = LEFT + column * (width + GAP)
            ends = (left / WIDTH, low / whole, width / WIDTH, axes / whole)
            ax = drawing.add_axes(ends)
            title = _title(panel, width)
            if panel.grid is not None:
                if panel.grid.surface:
                    up = ((left - 0.1) / WIDTH, (low + axes + 0.05) / whole)
                    size = ((width + 0.2) / WIDTH, surface / whole)
                    above = drawing.add_axes((*up, *size), projection="3d")
                    _draw_surface(above, panel, panel.grid)
                    place = ((left + width / 2) / WIDTH, (below - 0.04) / whole)
                    drawing.text(*place, title, ha="center", va="top")
                else:
                    ax.set_title(title)
                _draw_map(ax, panel, panel.grid)
                if panel is line[-1]:
                    _draw_scale(drawing, ax, panel, panel.grid)
            else:
                ax.set_title(title)
                _draw_panel(ax, panel)
            notes = _notes(panel, width)
            place = (left / WIDTH, (low - FOOT) / whole)
            drawing.text(*place, "\n".join(notes), va="top", fontsize=SMALL, color=GREY)
        below = low - foot
    _draw_legend(drawing, row, bottom)
    _name_lines(drawing, row.lines, (bottom + _legend(row) + _named_lines(row)) / whole)


def _named(label: str, colour: str, dash: str, marker: str, n: str) -> str:
    del colour, dash, marker
    words = f"{label} ({n})" if n else label
    return "\n".join(textwrap.wrap(words, LEGEND_WORDS, break_on_hyphens=False))


def _draw_legend(drawing: Drawing, row: Strip, bottom: float) -> None:
    from matplotlib.lines import Line2D

    if not row.names:
        return
    handles = [
        Line2D(
            [],
            [],
            color=name.colour,
            linestyle=STYLES[name.dash],
            marker=name.marker or None,
            markersize=3,
            linewidth=1.4,
        )
        for name in row.names
    ]
    drawing.legend(
        handles,
        [_named(*name) for name in row.names],
        loc="lower center",
        bbox_to_anchor=(0.5, bottom / float(drawing.get_figheight())),
        ncols=_columns(row),
        title=row.heading or None,
        title_fontsize=7,
        frameon=False,
        handlelength=3.2,
        columnspacing=1.2,
        labelspacing=0.3,
    )


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
            ncols=_line_columns(lines),
            handlelength=3.2,
            labelspacing=0.2,
            borderpad=0,
        )


# --- panels -----------------------------------------------------------------------------------


def _draw_panel(ax: Axes, panel: Chart) -> None:
    from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

    for curve in panel.curves:
        _draw_curve(ax, curve)
    for line in panel.lines:
        if line.band is not None:
            ax.axhspan(*line.band, color=GREY, alpha=0.12, linewidth=0, zorder=0)
        ax.axhline(line.value, color=GREY, linewidth=0.8, linestyle=STYLES[line.dash], zorder=1)
    if panel.log:
        ax.set_yscale("log")
        low, high = panel.range or (1.0, 1.0)
        long = high / low > 10**DECADES
        ax.yaxis.set_major_locator(LogLocator(subs=(1,) if long else (1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    if panel.range is not None:
        ax.set_ylim(*panel.range)
        if panel.range[0] < 0 < panel.range[1]:
            ax.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    if not panel.curves:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", color=GREY)
        ax.set_axis_off()
        return
    ax.set_ylabel(panel.unit)
    ax.set_xlabel(panel.x)
    if panel.ticks:
        ax.set_xticks(range(len(panel.ticks)), panel.ticks, rotation=20, ha="right", fontsize=6)
    elif panel.x == "epoch":
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    if not panel.log:
        ax.yaxis.set_major_locator(MaxNLocator(5))
    labels = ax.yaxis.get_major_formatter().format_ticks(ax.get_yticks().tolist())
    wide = max((_line_width(each, NUMBERS) for each in labels), default=0.0)
    if wide > NUMBER:  # it would lie on the panel to the left, or push the unit out
        ax.tick_params(axis="y", labelsize=NUMBERS * NUMBER / wide)
    ax.grid(alpha=0.2, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_curve(ax: Axes, curve: Mean) -> None:
    from matplotlib.collections import LineCollection

    x = [each + curve.shift for each in curve.x]
    style, colour = STYLES[curve.dash], curve.colour
    low, high = numbers(curve.low), numbers(curve.high)
    if len(x) == 1:
        values = numbers([each.values[0] for each in curve.seeds])
        ax.plot(x * len(values), values, "_", color=colour, alpha=0.5, markersize=4, zorder=2)
    else:
        paths = [_points(x, seed.values) for seed in curve.seeds]
        thin = LineCollection(paths, colors=colour, linewidths=0.4, alpha=0.35, zorder=2)
        ax.add_collection(thin)
    if curve.bars:
        ax.vlines(x, low, high, color=colour, alpha=0.5, linewidth=1.4, zorder=2)
    else:
        ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)
    places, mean = zip(*_points(x, curve.mean), strict=True)
    points = curve.dash == "none"
    many = points and len(places) > 20
    ax.plot(
        places,
        mean,
        color=colour,
        linestyle=style,
        lw=1.4,
        marker=curve.marker or None,
        markersize=2.2 if many else 3,
        markevery=1 if points else max(1, len(places) // 7),
        alpha=0.5 if many else 1.0,
        markeredgewidth=0 if many else None,
        label=curve.label,
        zorder=3,
    )


def _points(x: Sequence[float], values: Values) -> list[tuple[float, float]]:
    return [(e, v) for e, v in zip(x, values, strict=True) if v is not None]


# --- grids ------------------------------------------------------------------------------------


def _norm(panel: Chart) -> Any:
    from matplotlib.colors import Normalize

    return Normalize(*(panel.range or (0.0, 1.0)))


def _draw_map(ax: Axes, panel: Chart, grid: Map) -> None:
    from matplotlib.patheffects import Normal, Stroke

    axis, values = grid.axis, np.array([numbers(row) for row in grid.values])
    norm = _norm(panel)
    ax.pcolormesh(
        axis, axis, values, cmap=grid.colours, norm=norm, shading="nearest", rasterized=True
    )
    if grid.contours:
        heights = np.array([numbers(row) for row in grid.contours])
        lines = ax.contour(axis, axis, heights, 6, colors="white", linewidths=0.7)
        ax.clabel(lines, fontsize=5, fmt="%g")
    outline = [Stroke(linewidth=2.0, foreground="black"), Normal()]
    if grid.way:
        way = np.array([numbers(point) for point in grid.way])
        thin = [Stroke(linewidth=2.0, foreground="white"), Normal()]
        ax.plot(*way.T, "-o", color=WAY, linewidth=0.9, markersize=1.8, path_effects=thin)
        half = (axis[1] - axis[0]) / 2
        ax.set(xlim=(axis[0] - half, axis[-1] + half), ylim=(axis[0] - half, axis[-1] + half))
    ax.plot(0, 0, "+", color="white", markersize=7, path_effects=outline)
    ax.set_xlabel(panel.x, fontsize=6)
    ax.set_ylabel(panel.unit)
    ax.set_aspect("equal")
    ax.tick_params(labelsize=6)


def _draw_surface(ax: Any, panel: Chart, grid: Map) -> None:
    x, y = np.meshgrid(grid.axis, grid.axis)
    norm = _norm(panel)
    ax.plot_surface(
        x,
        y,
        np.array([numbers(row) for row in grid.values]),
        cmap=grid.colours,
        norm=norm,
        rcount=len(x),
        ccount=len(x),
        linewidth=0.15,
        edgecolor="#00000055",
        antialiased=True,
    )
    ax.set_zlim(norm.vmin, norm.vmax)
    ax.view_init(elev=28, azim=-55)
    ax.set_box_aspect((1, 1, 0.8), zoom=1.05)
    ax.tick_params(labelsize=5, pad=-3)
    ax.locator_params(nbins=5)
    ax.set_xlabel("x", fontsize=6, labelpad=-10)
    ax.set_ylabel("y", fontsize=6, labelpad=-10)


def _draw_scale(drawing: Drawing, beside: Axes, panel: Chart, grid: Map) -> None:
    from matplotlib.cm import ScalarMappable

    beside.apply_aspect()
    place = beside.get_position()
    width = 0.1 / WIDTH
    scale = drawing.add_axes((place.x1 + width, place.y0, width, place.height))
    bar = drawing.colorbar(ScalarMappable(_norm(panel), grid.colours), cax=scale)
    told = f"\nwhite: {grid.contours_unit}" if grid.contours else ""
    bar.set_label("\n".join(textwrap.wrap(grid.unit, 34)) + told, fontsize=6)
    bar.ax.tick_params(labelsize=6)


def _write_table(drawing: Drawing, table: Table, top: float) -> None:
    whole, count = float(drawing.get_figheight()), len(table.heads) - 1
    first = 2.4
    step = (WIDTH - first - 0.2) / count
    for line, cells in enumerate([table.heads, *table.rows]):
        y = (top - CELL * (line + 0.5)) / whole
        weight = "normal" if line else "bold"
        drawing.text(0.12 / WIDTH, y, cells[0], va="center", weight=weight)
        for place, cell in enumerate(cells[1:], start=1):
            x = (first + step * place) / WIDTH
            drawing.text(x, y, cell, ha="right", va="center", weight=weight)
