"""A figure as a picture for a paper; the same data as the page draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.measures.drawing import PLAIN, write_figure
from optnas.measures.figures import Line, Table
from optnas.report.charts import GREY, STYLES, draw_map, draw_panel, draw_scale, draw_surface
from optnas.report.data import Drawn, Strip
from optnas.report.places import (
    CAPTION,
    CELL,
    FOOT,
    GAP,
    LEFT,
    NUMBERS,
    SMALL,
    TITLE,
    WIDTH,
    WORDS,
    columns_of,
    entry,
    heights,
    legend_height,
    line_columns,
    lines_of,
    names_height,
    notes_of,
    panel_width,
    row_height,
    title_of,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

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
    caption = wrapped(words, WIDTH - 0.24, CAPTION)
    below = 0.12 * len(caption) + 0.08
    top = sum(row_height(row) for row in figure.rows) + table + below + (0.3 if title else 0)
    drawing = Drawing(figsize=(WIDTH, top))
    drawing.text(0.12 / WIDTH, below / top, "\n".join(caption), va="top", fontsize=CAPTION)
    if title:
        place = (0.5, 1 - 0.15 / top)
        drawing.text(*place, title, ha="center", va="center", weight="bold", fontsize=8.5)
        top -= 0.3
    for row in figure.rows:
        _draw_row(drawing, row, top)
        top -= row_height(row)
    if figure.table is not None:
        _write_table(drawing, figure.table, top)
    return drawing


def _draw_row(drawing: Drawing, row: Strip, top: float) -> None:
    """Draw a row whose upper edge lies ``top`` inches above the lower one of the picture."""
    whole = float(drawing.get_figheight())
    bottom, width = top - row_height(row), panel_width(row)
    if row.title:
        middle = (top - TITLE / 2) / whole
        drawing.text(0.5, middle, row.title, ha="center", va="center", weight="bold")
    below = top - (TITLE if row.title else 0.06)
    for line in lines_of(row):
        head, surface, axes, foot = heights(line, width)
        low = below - head - surface - axes
        for column, panel in enumerate(line):
            left = LEFT + column * (width + GAP)
            ends = (left / WIDTH, low / whole, width / WIDTH, axes / whole)
            ax = drawing.add_axes(ends)
            title = title_of(panel, width)
            if panel.grid is not None:
                if panel.grid.surface:
                    up = ((left - 0.1) / WIDTH, (low + axes + 0.05) / whole)
                    size = ((width + 0.2) / WIDTH, surface / whole)
                    above = drawing.add_axes((*up, *size), projection="3d")
                    draw_surface(above, panel, panel.grid)
                    place = ((left + width / 2) / WIDTH, (below - 0.04) / whole)
                    drawing.text(*place, title, ha="center", va="top")
                else:
                    ax.set_title(title)
                draw_map(ax, panel, panel.grid)
                if panel is line[-1]:
                    draw_scale(drawing, ax, panel, panel.grid)
            else:
                ax.set_title(title)
                draw_panel(ax, panel)
            notes = notes_of(panel, width)
            place = (left / WIDTH, (low - FOOT) / whole)
            drawing.text(*place, "\n".join(notes), va="top", fontsize=SMALL, color=GREY)
        below = low - foot
    _draw_legend(drawing, row, bottom)
    _name_lines(drawing, row.lines, (bottom + legend_height(row) + names_height(row)) / whole)


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
        [entry(*name) for name in row.names],
        loc="lower center",
        bbox_to_anchor=(0.5, bottom / float(drawing.get_figheight())),
        ncols=columns_of(row),
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
            ncols=line_columns(lines),
            handlelength=3.2,
            labelspacing=0.2,
            borderpad=0,
        )


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
