"""The official NAS-Bench-201 table, from a compressed CSV file in the user's data folder.

``FOLDER/nas-bench-201/test-accuracy.csv.gz`` has the header `HEADER` and one row per cell in
official order: the test accuracies in percent, the mean over the benchmark's trials, after 200
epochs.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import regular
from optnas.base.registry import register
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.tables.cache import cached
from optnas.spaces.tables.coverage import Coverage
from optnas.spaces.tables.folders import DATA_VARIABLE
from optnas.spaces.tables.table import Accuracies, Measurements, Table, TableSource

NAME = "official"
RELATIVE_PATH = "nas-bench-201/test-accuracy.csv.gz"
HEADER = "index,arch,cifar10_test_200,cifar100_test_200,imagenet16_120_test_200"
REPLACE = "replace the file by an intact copy"
PROVENANCE = (
    "NAS-Bench-201, official table: test accuracy of each cell after 200 epochs,"
    " the mean over the benchmark's trials."
)
OBTAIN = f"set {DATA_VARIABLE} to the folder that holds {RELATIVE_PATH}"
COVERAGE = Coverage.product(["cifar10", "cifar100", "imagenet16-120"], ["test"], [200])


def table_path(folder: Path) -> Path:
    """Where the table is in a data folder.

    Returns:
        The path, which need not exist.
    """
    return folder / RELATIVE_PATH


def load(folder: Path | None) -> Table:
    """Read the table.

    Returns:
        The table, with the data sets ``cifar10``, ``cifar100`` and ``imagenet16-120``.

    Raises:
        UserError: there is no folder, the file is missing or unreadable, or its content is not the
            table.
    """
    if folder is None:
        raise UserError(
            "the official table needs a data folder",
            key="table",
            value=NAME,
            remedy=f"{OBTAIN}, or use the table auto",
        )
    path = table_path(folder)
    try:
        data = regular(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read the official table ({error.strerror})",
            where=path,
            remedy="put test-accuracy.csv.gz there, or use the table auto",
        ) from error
    checksum = hashlib.sha256(data).hexdigest()
    accuracies = cached(
        NAME,
        checksum,
        COVERAGE.datasets,
        NAS_BENCH_201.size,
        lambda: read_accuracies(data, where=path),
    )
    measurements = {q: Measurements(accuracies[q.dataset]) for q in COVERAGE.questions}
    return Table(NAME, NAS_BENCH_201.name, PROVENANCE, measurements, folder)


def read_accuracies(data: bytes, *, where: object) -> Mapping[str, Accuracies]:
    """The accuracies in the bytes of the compressed CSV file, every line checked.

    Args:
        data: the compressed bytes.
        where: the file's path, for the error.

    Returns:
        Data set to accuracies in percent, in official order.

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
    if header != HEADER:
        raise UserError(f"the header must be {HEADER}", where=_line(where, 1), remedy=REPLACE)
    size, datasets = NAS_BENCH_201.size, COVERAGE.datasets
    if len(rows) < size:
        reason = f"the file ends after {len(rows)} of {size} cells"
        raise UserError(reason, where=_line(where, len(rows) + 1), remedy=REPLACE)
    if len(rows) > size:
        reason = f"there are more than {size} cells"
        raise UserError(reason, where=_line(where, size + 2), remedy=REPLACE)
    accuracies = np.array([_read_row(row, place, where) for place, row in enumerate(rows)])
    return {name: accuracies[:, column].copy() for column, name in enumerate(datasets)}


def _read_row(row: str, place: int, where: object) -> list[float]:
    names, cells = HEADER.split(","), row.split(",")
    expected = [str(place), NAS_BENCH_201.architecture_at(place).string]
    where, values = _line(where, place + 2), []
    if len(cells) != len(names):
        reason = f"{len(cells)} columns where {len(names)} are due"
        raise UserError(reason, where=where, remedy=REPLACE)
    if cells[:2] != expected:
        reason = f"cell {','.join(cells[:2])} where {','.join(expected)} is due"
        raise UserError(reason, where=where, remedy=REPLACE)
    for name, text in zip(names[2:], cells[2:], strict=True):
        try:
            values.append(float(text))
        except ValueError:
            raise UserError(
                "this is no number", where=where, key=name, value=text, remedy=REPLACE
            ) from None
        if not 0 <= values[-1] <= 100:
            reason = "this is no percentage from 0 to 100"
            raise UserError(reason, where=where, key=name, value=text, remedy=REPLACE)
    return values


def _line(where: object, number: int) -> str:
    return f"{where}: line {number}"


@register("table", NAME)
def official() -> TableSource:
    """The official test accuracies after 200 epochs, from a file in the data folder."""
    return TableSource(
        name=NAME,
        space_name=NAS_BENCH_201.name,
        provenance=PROVENANCE,
        coverage=COVERAGE,
        obtain=OBTAIN,
        present=lambda folder: folder is not None and table_path(folder).is_file(),
        load=load,
    )
