"""Numbers and tables as text."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from optnas.base.escapes import for_terminal

LEAST = 24  # characters that a folded column must have


def say(text: str = "", *, end: str = "\n", flush: bool = False) -> None:
    """Print to standard output. Names of data steer no terminal: control characters are named."""
    print(for_terminal(text), end=end, flush=flush)


def number(value: float | None, width: int, digits: int) -> str:
    """A number of fixed width; a dash for None."""
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def plural(count: int, noun: str) -> str:
    """A number and what it counts, such as ``1 cell`` and ``2 cells``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose columns are as wide as their widest cell.

    Args:
        heads: titles of the columns; one that starts with ``<`` is set to the right.
        rows: the cells.

    Returns:
        One line for the titles and one per row, two spaces between columns. On a terminal the last
        column is folded where a line is longer than the screen is wide.
    """
    titles = [head.lstrip("<") for head in heads]
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    sides = [">" if head.startswith("<") else "<" for head in heads]
    return [
        line
        for cells in (titles, *rows)
        for line in _folded(
            "  ".join(
                f"{cell:{side}{width}}"
                for cell, side, width in zip(cells, sides, widths, strict=True)
            ).rstrip(),
            sum(widths[:-1]) + 2 * len(widths[:-1]),
        )
    ]


def _folded(line: str, indent: int) -> list[str]:
    width = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or len(line) <= width or width - indent < LEAST:
        return [line]
    rest = textwrap.wrap(
        line[indent:], width - indent, break_long_words=False, break_on_hyphens=False
    )
    return [line[:indent] + rest[0], *(" " * indent + each for each in rest[1:])]
