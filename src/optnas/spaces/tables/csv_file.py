"""Compressed CSV files with one row per cell in official order, every line checked."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from optnas.base.errors import UserError
from optnas.spaces.tables.table import Accuracies

REPLACE = "replace the file by an intact copy"
PERCENT = (0.0, 100.0)


@dataclass(frozen=True)
class Layout:
    """What the lines of a file must be.

    Args:
        header: the first line.
        size: the number of cells.
        named: the first columns of a cell's row, from its place.
        within: least and largest value of the other columns, by name; those that are not named are
            percentages.
    """

    header: str
    size: int
    named: Callable[[int], Sequence[str]]
    within: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that hold numbers."""
        return tuple(self.header.split(",")[len(self.named(0)) :])


def read_csv(data: bytes, layout: Layout, *, where: object) -> Mapping[str, Accuracies]:
    """The numbers in the bytes of a file.

    Args:
        data: the compressed bytes.
        layout: what they must be.
        where: the file's path, for the error.

    Returns:
        Column to numbers in official order.

    Raises:
        UserError: the bytes are no whole gzip file of text, or a line is not what it must be.
    """
    try:
        text = gzip.decompress(data).decode("ascii")
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(
            f"no whole gzip file of text ({error})", where=where, remedy=REPLACE
        ) from error
    header, *rows = text.splitlines() or [""]
    if header != layout.header:
        raise UserError(
            f"the header must be {layout.header}", where=_line(where, 1), remedy=REPLACE
        )
    if len(rows) < layout.size:
        reason = f"the file ends after {len(rows)} of {layout.size} cells"
        raise UserError(reason, where=_line(where, len(rows) + 1), remedy=REPLACE)
    if len(rows) > layout.size:
        reason = f"there are more than {layout.size} cells"
        raise UserError(reason, where=_line(where, layout.size + 2), remedy=REPLACE)
    numbers = np.array([_read_row(row, place, layout, where) for place, row in enumerate(rows)])
    return {name: numbers[:, column].copy() for column, name in enumerate(layout.columns)}


def _read_row(row: str, place: int, layout: Layout, where: object) -> list[float]:
    cells, expected = row.split(","), list(layout.named(place))
    where, values, due = _line(where, place + 2), [], len(layout.header.split(","))
    if len(cells) != due:
        reason = f"{len(cells)} columns where {due} are due"
        raise UserError(reason, where=where, remedy=REPLACE)
    if cells[: len(expected)] != expected:
        found = ",".join(cells[: len(expected)])
        reason = f"cell {found} where {','.join(expected)} is due"
        raise UserError(reason, where=where, remedy=REPLACE)
    for name, text in zip(layout.columns, cells[len(expected) :], strict=True):
        try:
            values.append(float(text))
        except ValueError:
            raise UserError(
                "this is no number", where=where, key=name, value=text, remedy=REPLACE
            ) from None
        least, most = layout.within.get(name, PERCENT)
        if not least <= values[-1] <= most:
            kind = "percentage" if (least, most) == PERCENT else "number"
            reason = f"this is no {kind} from {least:g} to {most:g}"
            raise UserError(reason, where=where, key=name, value=text, remedy=REPLACE)
    return values


def _line(where: object, number: int) -> str:
    return f"{where}: line {number}"
