"""Encoded images in parquet files, as the common hubs hand them out.

An image column is a struct with the PNG or JPEG file in ``bytes``, a label column has integers.
Rows are counted through all files, from 0. Shape letters as in `optnas.data.sets.base`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import regular
from optnas.data.sets.base import Rows
from optnas.data.sets.layouts import FIX_FILE, checked_label

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL.Image import Image

# Another number where decoding changes. Libraries of other versions may round JPEG otherwise.
DECODING = "1"
FORMATS = ("PNG", "JPEG")
# How files of formats begin that are known and not read: byte offset, bytes, name.
OTHERS = (
    *((8, b"WEBP", "WEBP"), (0, b"BM", "BMP"), (0, b"GIF8", "GIF"), (4, b"ftyp", "AVIF or HEIF")),
    *((0, b"II*\0", "TIFF"), (0, b"MM\0*", "TIFF"), (0, b"\0\0\0\x0cjP", "JPEG 2000")),
)
WHITE_16 = 65535
PRINTED = ("CMYK", "YCCK", "LAB")
IMAGE_COLUMNS = ("img", "image")


@dataclass(frozen=True)
class Encoded:
    """The rows of some parquet files.

    Args:
        files: in order of their rows.
        label_columns: names the label column may have; the first that is there is read.
        classes: labels are 0 to classes - 1.
        resolution: height and width of every image.
    """

    files: tuple[Path, ...]
    label_columns: tuple[str, ...]
    classes: int
    resolution: int

    @property
    def decoder(self) -> str:
        """See `optnas.data.sets.base.Dataset`."""
        columns = " ".join(self.label_columns)
        return f"encoded {DECODING}, pillow {metadata.version('pillow')}, labels of {columns}"

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
                        data, label = encoded[row - start].as_py(), labels[row - start].as_py()
                        key = f"{image_column} of row {row}"
                        images_NHWC[place] = _pixels(path, key, data, side)
                        labels_N[place] = checked_label(
                            label, range(self.classes), path, f"{label_column} of row {row}"
                        )
                first += file.metadata.num_rows
        return images_NHWC, labels_N


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
    with _opened(path, f"{image} of row 0", data) as opened:
        return opened.size


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


def _undecodable(path: Path, key: str) -> UserError:
    return UserError("the image cannot be decoded", where=path, key=key, remedy=FIX_FILE)


def _opened(path: Path, key: str, data: bytes | None) -> Image:
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data or b""), formats=FORMATS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        for offset, mark, name in OTHERS:
            if (data or b"").startswith(mark, offset):
                raise UserError(
                    f"the image is {name}, and {' and '.join(FORMATS)} are read",
                    where=path,
                    key=key,
                    remedy="convert the images to PNG",
                ) from error
        raise _undecodable(path, key) from error


def _pixels(path: Path, key: str, data: bytes | None, side: int) -> np.ndarray:
    with _opened(path, key, data) as image:
        width, height = image.size
        if (width, height) != (side, side):
            raise UserError(
                f"the image is not {side}x{side}",
                where=path,
                key=key,
                value=f"{width}x{height}",
                remedy=f"make every image {side}x{side}",
            )
        try:
            return _in_colour(path, key, image)
        except (OSError, SyntaxError, ValueError) as error:
            raise _undecodable(path, key) from error


def _in_colour(path: Path, key: str, image: Image) -> np.ndarray:
    """An image as a viewer shows it, ``uint8 [H, W, 3]``; what has no such meaning is refused.

    Turned as its orientation says; grey in three equal channels; 16 bits to 8 by
    round(255 v / 65535); a palette by its colours; an alpha channel dropped where all of it is
    opaque. docs/data.md has the table.

    Raises:
        refused: it has transparent pixels, or the colours of a printer.
    """
    from PIL import ImageOps

    def refused(reason: str, remedy: str) -> UserError:
        return UserError(reason, where=path, key=key, value=image.mode, remedy=remedy)

    if image.mode in PRINTED:
        raise refused("its colours are those of a printer", "convert the images to RGB")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        if "transparency" in upright.info:
            raise refused("it has a transparent grey", "store the images without transparency")
        grey_HW = np.asarray(upright).astype(np.int64)
        return np.repeat(np.rint(grey_HW * 255 / WHITE_16).astype(np.uint8)[..., None], 3, axis=-1)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        if upright.getchannel("A").getextrema() != (255, 255):
            raise refused("it has transparent pixels", "put the images on one background colour")
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
