"""Encoded images in parquet files, as the common hubs hand them out.

An image column is a struct with the PNG or JPEG file in ``bytes``, a label column has integers.
Rows are counted through all files, from 0. Shape letters as in `optnas.data.sets.base`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import regular
from optnas.data.sets.base import Rows, Seen
from optnas.data.sets.layouts import FIX_FILE, checked_label
from optnas.data.sets.pictures import Fit, fitted, in_colour, look, opened, pillow

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Another number where decoding changes.
DECODING = "1"
IMAGE_COLUMNS = ("img", "image")


@dataclass(frozen=True)
class Encoded:
    """The rows of some parquet files.

    Args:
        files: in order of their rows.
        label_columns: names the label column may have; the first that is there is read.
        classes: labels are 0 to classes - 1.
        resolution: height and width of every image that is handed out.
        fit: how images of other sizes are brought to it; None refuses them.
    """

    files: tuple[Path, ...]
    label_columns: tuple[str, ...]
    classes: int
    resolution: int
    fit: Fit | None = None

    @property
    def decoder(self) -> str:
        """See `optnas.data.sets.base.Dataset`."""
        columns = " ".join(self.label_columns)
        fit = "" if self.fit is None else f", {self.fit} to {self.resolution}"
        return f"encoded {DECODING}, {pillow()}, labels of {columns}{fit}"

    def size(self) -> int:
        """Number of rows; only the files' descriptions are read.

        Returns:
            The sum over all files.

        Raises:
            UserError: a file is damaged, has no rows or lacks a column.
        """
        return sum(row_count(path, self.label_columns) for path in self.files)

    def decode(self, indices_N: np.ndarray) -> Rows:
        """Images, always in colour, and labels of the asked rows.

        Args:
            indices_N: rows, ``int64``.

        Returns:
            ``uint8 [N, H, W, 3]`` and ``int64 [N]``.

        Raises:
            UserError: a row is damaged, its image has another size or its label is out of range;
                the row is named as the file counts it.
        """
        side = self.resolution
        images_NHWC = np.empty((len(indices_N), side, side, 3), dtype=np.uint8)
        labels_N = np.empty(len(indices_N), dtype=np.int64)
        for place, cell in self._cells(indices_N):
            images_NHWC[place] = self._pixels(cell)
            labels_N[place] = cell.label(self.classes)
        return images_NHWC, labels_N

    def inspect(self) -> Iterator[Seen]:
        """What each image is, in order; see `optnas.data.sets.base.Dataset`.

        Yields:
            One for each row.
        """
        for _, cell in self._cells(np.arange(self.size())):
            told = f"{cell.path.name}, {cell.key}"
            seen = look(cell.data, cell.path, cell.key, told, cell.label(self.classes))
            square = (self.resolution, self.resolution)
            if self.fit is None and not seen.reason and seen.size != square:
                error = self._of_another_size(cell, seen.size)
                seen = replace(seen, reason=f"{error.reason}; {error.remedy}")
            yield seen

    def _cells(self, indices_N: np.ndarray) -> Iterator[tuple[int, _Cell]]:
        # The place of each row in indices_N, and what stands in it.
        first = 0
        for path in self.files:
            with open_parquet(path) as file:
                image_column, label_column = columns(path, file.schema_arrow, self.label_columns)
                wanted = [f"{image_column}.bytes", label_column]
                # Row numbers in messages are the file's own, hence the shift.
                for start, places, table in _row_groups(path, file, indices_N - first, wanted):
                    encoded = table[image_column].combine_chunks().field("bytes")
                    labels = table[label_column].combine_chunks()
                    for place in places.tolist():
                        row = int(indices_N[place]) - first
                        found = encoded[row - start].as_py(), labels[row - start].as_py()
                        yield place, _Cell(path, row, image_column, label_column, *found)
                first += file.metadata.num_rows

    def _pixels(self, cell: _Cell) -> np.ndarray:
        with opened(cell.data, cell.path, cell.key) as image:
            if self.fit is None and image.size != (self.resolution, self.resolution):
                raise self._of_another_size(cell, image.size)
            pixels_HWC = in_colour(image, cell.path, cell.key)
        return pixels_HWC if self.fit is None else fitted(pixels_HWC, self.resolution, self.fit)

    def _of_another_size(self, cell: _Cell, size: tuple[int, int]) -> UserError:
        side = f"{self.resolution}x{self.resolution}"
        return UserError(
            f"the image is not {side}",
            where=cell.path,
            key=cell.key,
            value=f"{size[0]}x{size[1]}",
            remedy=f"make every image {side}",
        )


@dataclass(frozen=True)
class _Cell:
    """An image and a label as they stand in a row of a file."""

    path: Path
    row: int
    image_column: str
    label_column: str
    data: bytes | None
    value: int | None

    @property
    def key(self) -> str:
        """What to call the image in errors."""
        return f"{self.image_column} of row {self.row}"

    def label(self, classes: int) -> int:
        """The label, checked."""
        key = f"{self.label_column} of row {self.row}"
        return checked_label(self.value, range(classes), self.path, key)


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a parquet file.

    Raises:
        UserError: it is missing, empty, truncated or no parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(regular(path))
    except (pa.ArrowException, OSError) as error:
        empty = path.is_file() and path.stat().st_size == 0
        reason = "the file is empty" if empty else "the file is truncated or not parquet"
        raise UserError(reason, where=path, remedy=FIX_FILE) from error


def columns(path: Path, schema: pa.Schema, label_columns: tuple[str, ...]) -> tuple[str, str]:
    """The names of the image column and of the label column.

    Args:
        path: the file, for the error.
        schema: its columns.
        label_columns: names the label column may have.

    Returns:
        The names of the image column and of the label column.

    Raises:
        UserError: one of them is missing or of another type.
    """
    import pyarrow as pa

    kinds = dict(zip(schema.names, schema.types, strict=True))
    image = next((name for name in IMAGE_COLUMNS if name in kinds), None)
    label = next((name for name in label_columns if name in kinds), None)
    has_bytes = (
        image is not None
        and pa.types.is_struct(kinds[image])
        and kinds[image].get_field_index("bytes") >= 0
    )
    if image is None or not has_bytes or label is None or not pa.types.is_integer(kinds[label]):
        found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "none"
        remedy = "keep only parquet files of this data set here"
        if has_bytes and label is not None:
            remedy = f"number the classes: {label} is {kinds[label]}, and labels are 0 to K - 1"
        raise UserError(
            f"needs the columns {' or '.join(IMAGE_COLUMNS)} (struct with bytes) and "
            f"{' or '.join(label_columns)} (integer), has {found}",
            where=path,
            remedy=remedy,
        )
    return image, label


def row_count(path: Path, label_columns: tuple[str, ...]) -> int:
    """Number of rows of a file that has both columns; see `Encoded.size`."""
    with open_parquet(path) as file:
        columns(path, file.schema_arrow, label_columns)
        rows = int(file.metadata.num_rows)
    if rows == 0:
        raise UserError("the file has no rows", where=path, remedy=FIX_FILE)
    return rows


def read_labels(path: Path, label_columns: tuple[str, ...]) -> list[int | None]:
    """The label column of a file as it is, unchecked; no image is read.

    Args:
        path: the file.
        label_columns: names the label column may have.

    Returns:
        The labels in order, None where there is none.

    Raises:
        UserError: the file is damaged or lacks the column.
    """
    import pyarrow as pa

    with open_parquet(path) as file:
        _, label = columns(path, file.schema_arrow, label_columns)
        try:
            labels: list[int | None] = file.read(columns=[label])[label].to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise UserError("its labels are damaged", where=path, remedy=FIX_FILE) from error
    return labels


def first_image_size(path: Path, label_columns: tuple[str, ...]) -> tuple[int, int]:
    """Width and height of the image in row 0.

    Args:
        path: the file; it has rows.
        label_columns: names the label column may have.

    Returns:
        Width and height in pixels.

    Raises:
        UserError: the image cannot be decoded.
    """
    with open_parquet(path) as file:
        image, _ = columns(path, file.schema_arrow, label_columns)
        groups = _row_groups(path, file, np.zeros(1, dtype=np.int64), [f"{image}.bytes"])
        _, _, table = next(groups)
        data = table[image].combine_chunks().field("bytes")[0].as_py()
    with opened(data, path, f"{image} of row 0") as first:
        return first.size


def class_names(path: Path, label: str) -> tuple[str, ...]:
    """The names that Hugging Face's writer keeps of the classes of a column.

    Args:
        path: a parquet file.
        label: the label column.

    Returns:
        The names in order of the labels; empty where the file has none.
    """
    with open_parquet(path) as file:
        text = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        names = json.loads(text)["info"]["features"][label]["names"]
    except (ValueError, LookupError, TypeError):
        return ()
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if listed else ()


def _row_groups(
    path: Path, file: pq.ParquetFile, rows_N: np.ndarray, wanted: list[str]
) -> Iterator[tuple[int, np.ndarray, pa.Table]]:
    # For each row group that is asked for: its first row, the places in rows_N, and its table.
    import pyarrow as pa

    start = 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        places = np.flatnonzero((rows_N >= start) & (rows_N < stop))
        if places.size:
            try:
                table = file.read_row_group(group, columns=wanted)
            except (pa.ArrowException, OSError) as error:
                raise UserError(
                    f"rows {start} to {stop - 1} are damaged", where=path, remedy=FIX_FILE
                ) from error
            yield start, places, table
        start = stop
