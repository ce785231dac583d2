"""Where everything of a picture stands, in inches: lines of panels, their words, the legend."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Sequence

from optnas.measures.figures import Line
from optnas.report.data import Chart, Strip

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


def _across(row: Strip) -> int:
    return 3 if len(row.panels) in (3, 5, 6, 9) else min(2, len(row.panels))


def lines_of(row: Strip) -> list[list[Chart]]:
    """The panels of a row, line by line."""
    across = _across(row)
    return [row.panels[at : at + across] for at in range(0, len(row.panels), across)]


def _right(row: Strip) -> float:
    return RIGHT + (SCALE if any(panel.grid for panel in row.panels) else 0.0)


def panel_width(row: Strip) -> float:
    """The width of each of its panels."""
    across = _across(row)
    return (WIDTH - LEFT - _right(row) - GAP * (across - 1)) / across


def title_of(panel: Chart, width: float) -> str:
    """The title of a panel of this width, in lines; what is equal stays in one of them."""
    held = panel.title.replace(" = ", "\u00a0=\u00a0")
    return "\n".join(wrapped(held, width + 2 * RIGHT, WORDS))


def notes_of(panel: Chart, width: float) -> list[str]:
    """The lines that stand below a panel of this width."""
    banded = any(line.band for line in panel.lines)
    grey = ["grey: where 90 % of random searches end"] if banded else []
    return [line for note in [*panel.notes, *grey] for line in wrapped(note, width, SMALL)]


@functools.lru_cache(1024)
def wrapped(text: str, inches: float, points: float) -> tuple[str, ...]:
    """A text in lines.

    Args:
        text: the words.
        inches: the width that no line exceeds, but for a letter that is wider.
        points: the size of the letters.
    """
    for letters in range(max(1, int(2.5 * 72 * inches / points)), 0, -1):
        lines = textwrap.wrap(text, letters, break_on_hyphens=False)
        if all(HINTED * line_width(each, points) <= inches for each in lines):
            break
    return tuple(lines)


@functools.lru_cache(4096)
def line_width(line: str, points: float) -> float:
    """The width of a line in inches, at letters of so many points.

    It takes a tenth of a millisecond, and panels share their captions.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(
        line, FontProperties(size=points), False
    )
    return float(width) / 72


def heights(line: Sequence[Chart], width: float) -> tuple[float, float, float, float]:
    """The heights of a line of panels of one width: titles, surfaces, axes, what stands below."""
    head = HEAD + 0.115 * max(title_of(panel, width).count("\n") + 1 for panel in line)
    grids = [panel.grid for panel in line if panel.grid]
    surface = SURFACE if any(grid.surface for grid in grids) else 0.0
    axes = min(width, 2.4) if grids else AXES
    foot = FOOT + NOTE * max(len(notes_of(panel, width)) for panel in line)
    return head, surface, axes, foot


def columns_of(row: Strip) -> int:
    """The columns of a row's legend: as many as the widest name leaves room for."""
    widest = max((KEY + LETTER * len(entry(*name)) for name in row.names), default=1.0)
    return max(1, min(len(row.names), int((WIDTH - 0.1) / widest)))


def legend_height(row: Strip) -> float:
    """The height of a row's legend, or of the room left where it has none."""
    if not row.names:
        return 0.08
    heading = 0.14 if row.heading else 0.0
    # A name that takes several lines is too wide for a second column.
    lines = sum(entry(*name).count("\n") + 1 for name in row.names)
    return 0.14 + heading + 0.135 * math.ceil(lines / columns_of(row))


def row_height(row: Strip) -> float:
    """The height of a row with all that belongs to it."""
    lines = sum(sum(heights(line, panel_width(row))) for line in lines_of(row))
    return (TITLE if row.title else 0.06) + lines + names_height(row) + legend_height(row)


def names_height(row: Strip) -> float:
    """The height of the names of horizontal lines, many of them in columns."""
    return NAME * math.ceil(len(row.lines) / line_columns(row.lines))


def line_columns(lines: Sequence[Line]) -> int:
    """The columns in which the names of horizontal lines stand."""
    widest = max((KEY + 0.044 * len(f"{line.label} {line.value:.2f}") for line in lines), default=1)
    return 1 if len(lines) <= 4 else max(1, int((WIDTH - 0.1) / widest))


def entry(label: str, colour: str, dash: str, marker: str, n: str) -> str:
    """The words of a legend's entry, in lines; its arguments are the fields of a `Name`."""
    del colour, dash, marker
    words = f"{label} ({n})" if n else label
    return "\n".join(textwrap.wrap(words, LEGEND_WORDS, break_on_hyphens=False))
