"""Numbers and tables as text."""

from __future__ import annotations

from collections.abc import Sequence

from optnas.base.escapes import for_terminal


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
        One line for the titles and one per row, two spaces between columns.
    """
    titles = [head.lstrip("<") for head in heads]
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    sides = [">" if head.startswith("<") else "<" for head in heads]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(cells, sides, widths, strict=True)
        ).rstrip()
        for cells in (titles, *rows)
    ]
