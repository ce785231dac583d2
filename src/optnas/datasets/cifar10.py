"""CIFAR-10 from parquet files, as the common hubs hand it out.

Layout: ``FOLDER/cifar10/train-*.parquet`` with the columns ``img`` (a struct with the encoded
PNG or JPEG in ``bytes``) and ``label`` (an integer). A search uses training rows only; a file
``test-*.parquet`` beside them is never opened. Rows are counted from 0.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optnas.datasets.base import Dataset, Rows
from optnas.errors import UserError
from optnas.registry import register

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

CLASSES = 10
RESOLUTION = 32
FORMATS = ("PNG", "JPEG")
PATTERN = "train-*.parquet"
FIX_FOLDER = "set OPTNAS_DATA or data.folder=FOLDER, where FOLDER holds cifar10/train-*.parquet"
FIX_FILE = "copy the file again"


@register("dataset", "cifar10")
def cifar10(folder: Path | None) -> Dataset:
    """CIFAR-10: colour images of 32 x 32 pixels, ten classes, 50,000 of them for training.

    Only the sizes and column names are read here. ``mean`` and ``std`` are those of the published
    DARTS and SmoothDARTS code, written there with eight digits; rounded to four they are the
    often quoted 0.4914, 0.4822, 0.4465 and 0.2470, 0.2435, 0.2616.

    Args:
        folder: the data folder, which holds the folder ``cifar10``.

    Returns:
        The dataset.

    Raises:
        UserError: the folder or its files are missing, damaged or of another form.
    """
    if folder is None:
        raise UserError("cifar10 needs a data folder", key="data.folder", remedy=FIX_FOLDER)
    files = _train_files(Path(folder) / "cifar10")
    return Dataset(
        name="cifar10",
        classes=CLASSES,
        channels=3,
        resolution=RESOLUTION,
        size=sum(_row_count(path) for path in files),
        mean=(0.49139968, 0.48215827, 0.44653124),
        std=(0.24703233, 0.24348505, 0.26158768),
        crop_padding=4,
        flip=True,
        note="CIFAR-10 read from parquet; copies may be recompressed and are not bit-equal to the "
        "original archives",
        files=files,
        decode=functools.partial(_decode, files),
    )


def _train_files(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        raise UserError("there is no such folder", where=folder, remedy=FIX_FOLDER)
    files = tuple(sorted(folder.glob(PATTERN)))
    if not files:
        raise UserError(f"the folder has no {PATTERN}", where=folder, remedy=FIX_FOLDER)
    return files


def _open(path: Path) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        empty = path.is_file() and path.stat().st_size == 0
        reason = "the file is empty" if empty else "the file is truncated or not parquet"
        raise UserError(reason, where=path, remedy=FIX_FILE) from error


def _row_count(path: Path) -> int:
    import pyarrow as pa

    with _open(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    columns = dict(zip(schema.names, schema.types, strict=True))
    image, label = columns.get("img", pa.null()), columns.get("label", pa.null())
    has_bytes = pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
    if not (has_bytes and pa.types.is_integer(label)):
        found = ", ".join(f"{name} ({kind})" for name, kind in columns.items()) or "none"
        raise UserError(
            f"needs the columns img (struct with bytes) and label (integer), has {found}",
            where=path,
            remedy=f"keep only CIFAR-10 parquet files named {PATTERN} in this folder",
        )
    if rows == 0:
        raise UserError("the file has no rows", where=path, remedy=FIX_FILE)
    return int(rows)


def _decode(files: tuple[Path, ...], indices_N: np.ndarray) -> Rows:
    images_NHWC = np.empty((len(indices_N), RESOLUTION, RESOLUTION, 3), dtype=np.uint8)
    labels_N = np.empty(len(indices_N), dtype=np.int64)
    first = 0
    for path in files:
        with _open(path) as file:
            # Row numbers in messages are the file's own, hence the shift.
            for start, places, table in _row_groups(path, file, indices_N - first):
                encoded = table["img"].combine_chunks().field("bytes")
                labels = table["label"].combine_chunks()
                for place in places.tolist():
                    row = int(indices_N[place]) - first
                    data, label = encoded[row - start].as_py(), labels[row - start].as_py()
                    images_NHWC[place] = _decode_image(path, row, data)
                    labels_N[place] = _checked_label(path, row, label)
            first += file.metadata.num_rows
    return images_NHWC, labels_N


def _row_groups(
    path: Path, file: pq.ParquetFile, rows_N: np.ndarray
) -> Iterator[tuple[int, np.ndarray, pa.Table]]:
    # For each row group that is asked for: its first row, the places in rows_N, and its table.
    import pyarrow as pa

    start = 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        places = np.flatnonzero((rows_N >= start) & (rows_N < stop))
        if places.size:
            try:
                table = file.read_row_group(group, columns=["img.bytes", "label"])
            except (pa.ArrowException, OSError) as error:
                raise UserError(
                    f"rows {start} to {stop - 1} are damaged", where=path, remedy=FIX_FILE
                ) from error
            yield start, places, table
        start = stop


def _decode_image(path: Path, row: int, data: bytes | None) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data or b""), formats=FORMATS) as image:
            if image.size == (RESOLUTION, RESOLUTION):
                return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
            width, height = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            "the image cannot be decoded", where=path, key=f"img of row {row}", remedy=FIX_FILE
        ) from error
    raise UserError(
        f"the image is not {RESOLUTION}x{RESOLUTION}",
        where=path,
        key=f"img of row {row}",
        value=f"{width}x{height}",
        remedy="use CIFAR-10 at its native resolution",
    )


def _checked_label(path: Path, row: int, label: Any) -> int:
    if label is None or not 0 <= label < CLASSES:
        raise UserError(
            f"the label is not in 0 to {CLASSES - 1}",
            where=path,
            key=f"label of row {row}",
            value="null" if label is None else label,
            remedy="use the labels of CIFAR-10",
        )
    return int(label)
