"""The table of the installed distribution ``analog-nasbench``: no download, CIFAR-10 only.

The table is an independent re-training of all 15,625 cells, one value per cell, and **not** the
official table: Kendall's tau between the two is 0.93 over all cells but 0.56 among the cells above
93 %. The package states no number of epochs. An example training script beside its sources trains
for 200 and averages 25 passes over test images that are randomly cropped and flipped; whether the
published values were made so is not stated, hence ``epochs`` is None.

The distribution is never imported. Its data file is a pickle, which can run code when it is read:
its checksum is verified first, and then the reader refuses every global but the two it needs,
which it replaces by inert classes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import in_package, regular
from optnas.base.pickles import load_restricted
from optnas.base.registry import register
from optnas.spaces import NAS_BENCH_201, Architecture
from optnas.spaces.tables.cache import cached
from optnas.spaces.tables.coverage import Coverage
from optnas.spaces.tables.official import NOISE
from optnas.spaces.tables.table import Accuracies, Measurements, Table, TableSource

NAME = "analog-nasbench"
RELEASE = "analog-nasbench==0.1.3"
MODULE = "analognasbench"
FILE_NAME = "data.anb"
SHA256 = "85f3435b877aa2d36268d55ce07f6ff6d73643d17a840f1941745da5eb80db32"
INSTALL = f"run: pip install {RELEASE}"
REINSTALL = f"run: pip install --force-reinstall --no-deps {RELEASE}"
PROVENANCE = (
    "analog-nasbench 0.1.3: an independent re-training of the NAS-Bench-201 cells on CIFAR-10,"
    " one test accuracy per cell, epochs not stated; not the official table."
)
COVERAGE = Coverage.product(["cifar10"], ["test"], [None])

# The file's operation numbers and edge order, in terms of ours.
OPERATION_NAMES = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


class _Inert:
    """Stands for the file's two classes: holds attributes, does nothing."""


GLOBALS = {(f"{MODULE}.data", name): _Inert for name in ("Architecture", "DriftMeasurement")}


def read_records(data: bytes) -> dict[tuple[int, ...], Any]:
    """The records of the data file, with no code of the file's choice run.

    Returns:
        The file's own 6-tuples to records with the attribute ``baseline_accuracy``. Any global but
        the two known is a `UserError` that names it.
    """
    records: dict[tuple[int, ...], Any] = load_restricted(
        io.BytesIO(data), GLOBALS, where=FILE_NAME
    )
    return records


def our_cell(key: tuple[int, ...]) -> Architecture:
    """Our cell for one of the file's keys.

    The file numbers operations as `OPERATION_NAMES` and lists edges by source, where we list them
    by target: positions 2 and 3 are exchanged.

    Args:
        key: six operation numbers of the file.
    """
    carried = {edge: OPERATION_NAMES[number] for edge, number in zip(EDGES, key, strict=True)}
    space = NAS_BENCH_201
    return space.architecture([space.operations.index(carried[edge]) for edge in space.edges])


def data_path() -> Path:
    """Where the installed distribution keeps its data file, found without importing it.

    Raises:
        UserError: the distribution is not installed or lacks the file.
    """
    path = in_package(MODULE, FILE_NAME)
    if path is None:
        raise UserError("its data file is not installed", where=f"table {NAME}", remedy=INSTALL)
    return path


def load(path: Path | None = None) -> Table:
    """Read the table.

    Args:
        path: the data file; by default that of the installed distribution.

    Returns:
        The table, with the data set ``cifar10``.

    Raises:
        UserError: the file is missing, unreadable, or not the one this release knows.
    """
    path = path or data_path()
    try:
        data = regular(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read it ({error.strerror})", where=path, remedy=REINSTALL
        ) from error
    checksum = hashlib.sha256(data).hexdigest()
    if checksum != SHA256:
        raise UserError(
            f"its SHA-256 is {checksum[:16]}..., not {SHA256[:16]}...; it was not opened",
            where=path,
            remedy=REINSTALL,
        )
    size = NAS_BENCH_201.size
    accuracies = cached(NAME, checksum, COVERAGE.datasets, size, lambda: _convert(data))
    measurements = {q: Measurements(accuracies[q.dataset]) for q in COVERAGE.questions}
    return Table(NAME, NAS_BENCH_201.name, PROVENANCE, measurements, noise={"cifar10": NOISE})


def _convert(data: bytes) -> Mapping[str, Accuracies]:
    values = np.full(NAS_BENCH_201.size, np.nan)
    for key, record in read_records(data).items():
        values[NAS_BENCH_201.index(our_cell(key))] = record.baseline_accuracy
    # The checksum fixes the content: a gap here would be a fault of this file, not of the data.
    assert np.isfinite(values).all()
    return {"cifar10": values}


def _installed() -> bool:
    try:
        return data_path().is_file()
    except UserError:
        return False


@register("table", NAME)
def analog_nasbench() -> TableSource:
    """An independent re-training of NAS-Bench-201, installed with optnas."""
    return TableSource(
        name=NAME,
        space_name=NAS_BENCH_201.name,
        provenance=PROVENANCE,
        coverage=COVERAGE,
        obtain=INSTALL,
        present=lambda folder: _installed(),
        load=lambda folder: dataclasses.replace(load(), folder=folder),
    )
