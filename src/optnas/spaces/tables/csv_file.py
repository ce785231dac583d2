"""CSV files with one row per cell in official order, gzipped or plain, every line checked.

A table that is one such file in the user's data folder is a `CsvTable`.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from optnas.base.errors import UserError, did_you_mean
from optnas.base.files import regular
from optnas.base.folder import Place, folder_path
from optnas.spaces.base import Space
from optnas.spaces.tables import default_table, find_source
from optnas.spaces.tables.cache import cached
from optnas.spaces.tables.coverage import Coverage, Question
from optnas.spaces.tables.folders import DATA_VARIABLE
from optnas.spaces.tables.table import Accuracies, Choice, Measurements, Noise, Table, TableSource

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


@dataclass(frozen=True)
class CsvTable:
    """A table that is one file in the data folder.

    Args:
        name: the table's name.
        space: whose cells it holds.
        path: the file, from the data folder; gzipped if it ends in .gz.
        layout: of its lines.
        asked: the questions it answers, the headline first, with the column of each.
        losses: the column of the loss, of those questions that have one.
        provenance: one sentence on where the numbers come from.
        chooses: as of `TableSource`.
        noise: as of `Table`.
        origin: where the file is from, one clause, if it is to be had.
    """

    name: str
    space: Space
    path: str
    layout: Layout
    asked: Mapping[Question, str]
    provenance: str
    losses: Mapping[Question, str] = field(default_factory=dict)
    chooses: Mapping[str, Choice] = field(default_factory=dict)
    noise: Mapping[str, Noise] = field(default_factory=dict)
    origin: str = ""

    @property
    def obtain(self) -> str:
        """How one gets it."""
        origin = f" ({self.origin})" if self.origin else ""
        return f"set {DATA_VARIABLE} to the folder that holds {self.path}{origin}"

    def _another(self, folder: Path | None) -> str:
        """The table to use instead, if one of the same space is there."""
        try:
            name = default_table(folder, self.space)
        except UserError:  # no registered table holds its cells
            return ""
        there = name != self.name and find_source(name).present(folder)
        return f", or use the table {name}" if there else ""

    def load(self, folder: Place | None) -> Table:
        """Read the table, from the user's cache after the first time.

        Args:
            folder: the data folder.

        Raises:
            UserError: there is no folder, the file is missing or unreadable, its content is not
                the table or holds fractions, or the layout has no such column.
        """
        self._check_columns()
        if folder is None:
            raise UserError(
                f"the {self.name} table needs a data folder",
                key="table",
                value=self.name,
                remedy=self.obtain + self._another(None),
            )
        folder = folder_path(folder)
        path = folder / self.path
        try:
            data = regular(path).read_bytes()
        except OSError as error:
            raise UserError(
                f"cannot read the {self.name} table ({error.strerror})",
                where=path,
                remedy=f"put {path.name} there{self._another(folder)}",
            ) from error
        columns = cached(
            self.name,
            hashlib.sha256(data).hexdigest(),
            self.layout.columns,
            self.layout.size,
            lambda: read_csv(data, self.layout, where=path),
        )
        _check_percentages(columns, self.layout, path)
        measurements = {
            question: Measurements(
                columns[column],
                loss=columns[self.losses[question]] if question in self.losses else None,
            )
            for question, column in self.asked.items()
        }
        return Table(
            self.name,
            self.space.name,
            self.provenance,
            measurements,
            folder,
            noise=self.noise,
            space=self.space,
        )

    def _check_columns(self) -> None:
        for key, of in (("asked", self.asked), ("losses", self.losses)):
            for column in of.values():
                if column not in self.layout.columns:
                    raise UserError(
                        "the layout has no such column of numbers",
                        where=f"table {self.name}",
                        key=key,
                        value=column,
                        remedy=did_you_mean(column, self.layout.columns),
                    )

    def source(self) -> TableSource:
        """Its declaration.

        Raises:
            UserError: a question is answered from a column that the layout does not have.
        """
        self._check_columns()
        return TableSource(
            name=self.name,
            space_name=self.space.name,
            provenance=self.provenance,
            coverage=Coverage(tuple(self.asked)),
            obtain=self.obtain,
            present=lambda folder: folder is not None and (folder / self.path).is_file(),
            load=self.load,
            chooses=self.chooses,
            space=self.space,
        )


def read_csv(data: bytes, layout: Layout, *, where: object) -> Mapping[str, Accuracies]:
    """The numbers in the bytes of a file.

    Args:
        data: the bytes.
        layout: what they must be.
        where: the file's path, whose ending says whether they are compressed.

    Returns:
        Column to numbers in official order.

    Raises:
        UserError: the bytes are no text or no whole gzip file of text, or a line is not what it
            must be.
    """
    kind = "gzip file of text" if str(where).endswith(".gz") else "file of text"
    try:
        plain = gzip.decompress(data) if kind.startswith("gzip") else data
        text = plain.decode("ascii")
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"no whole {kind} ({error})", where=where, remedy=REPLACE) from error
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


def _check_percentages(columns: Mapping[str, Accuracies], layout: Layout, where: object) -> None:
    """Refuse fractions; asked of columns from the cache too, which older versions filled."""
    for name in layout.columns:
        values, within = columns[name], layout.within.get(name, PERCENT)
        if within == PERCENT and values.max() <= 1 and (values != values.round()).any():
            raise UserError(
                f"these look like fractions, of which the largest is {values.max():g}",
                where=where,
                key=name,
                remedy="multiply them by 100: percentages are due",
            )


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
