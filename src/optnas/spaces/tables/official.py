"""The official NAS-Bench-201 table, from a compressed CSV file in the user's data folder.

``FOLDER/nas-bench-201/test-accuracy.csv.gz`` has the header `HEADER` and one row per cell in
official order: the test accuracies in percent, the mean over the benchmark's trials, after 200
epochs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from optnas.base.errors import UserError
from optnas.base.files import regular
from optnas.base.registry import register
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.tables.cache import cached
from optnas.spaces.tables.coverage import Coverage
from optnas.spaces.tables.csv_file import Layout, read_csv
from optnas.spaces.tables.folders import DATA_VARIABLE
from optnas.spaces.tables.table import Measurements, Table, TableSource

NAME = "official"
RELATIVE_PATH = "nas-bench-201/test-accuracy.csv.gz"
HEADER = "index,arch,cifar10_test_200,cifar100_test_200,imagenet16_120_test_200"
PROVENANCE = (
    "NAS-Bench-201, official table: test accuracy of each cell after 200 epochs,"
    " the mean over the benchmark's trials."
)
OBTAIN = f"set {DATA_VARIABLE} to the folder that holds {RELATIVE_PATH}"
COVERAGE = Coverage.product(["cifar10", "cifar100", "imagenet16-120"], ["test"], [200])


def row(place: int) -> tuple[str, str]:
    """Index and string of a cell, as the rows of NAS-Bench-201's files begin."""
    return str(place), NAS_BENCH_201.architecture_at(place).string


LAYOUT = Layout(HEADER, NAS_BENCH_201.size, row)


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
    columns = cached(
        NAME,
        checksum,
        LAYOUT.columns,
        NAS_BENCH_201.size,
        lambda: read_csv(data, LAYOUT, where=path),
    )
    measurements = {
        question: Measurements(columns[column])
        for question, column in zip(COVERAGE.questions, LAYOUT.columns, strict=True)
    }
    return Table(NAME, NAS_BENCH_201.name, PROVENANCE, measurements, folder)


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
