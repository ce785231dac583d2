"""The official NAS-Bench-201 table, from a compressed CSV file in the user's data folder.

``FOLDER/nas-bench-201/test-accuracy.csv.gz`` has the header `HEADER` and one row per cell in
official order: the test accuracies in percent, the mean over the benchmark's trials, after 200
epochs. They are those of the authors' release, which `optnas benchmark import` reads as the table
``nats-tss``.
"""

from __future__ import annotations

from optnas.base.registry import register
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.tables.coverage import Coverage
from optnas.spaces.tables.csv_file import CsvTable, Layout
from optnas.spaces.tables.nats_archive import ARCHIVE
from optnas.spaces.tables.table import TableSource

NAME = "official"
RELATIVE_PATH = "nas-bench-201/test-accuracy.csv.gz"
HEADER = "index,arch,cifar10_test_200,cifar100_test_200,imagenet16_120_test_200"
COVERAGE = Coverage.product(["cifar10", "cifar100", "imagenet16-120"], ["test"], [200])


def row(place: int) -> tuple[str, str]:
    """Index and string of a cell, as the rows of NAS-Bench-201's files begin."""
    return str(place), NAS_BENCH_201.architecture_at(place).string


# Of one training on CIFAR-10 for 200 epochs, from the differences between the official table and
# that of networks trained on half of the images.
NOISE = ((93.0, 0.25), (80.0, 0.40))
LAYOUT = Layout(HEADER, NAS_BENCH_201.size, row)
TABLE = CsvTable(
    NAME,
    NAS_BENCH_201,
    RELATIVE_PATH,
    LAYOUT,
    dict(zip(COVERAGE.questions, LAYOUT.columns, strict=True)),
    "NAS-Bench-201, official table: test accuracy of each cell after 200 epochs,"
    " the mean over the benchmark's trials.",
    noise={"cifar10": NOISE},
    origin=f"means of the official {ARCHIVE}, which optnas benchmark import reads as nats-tss",
)


@register("table", NAME)
def official() -> TableSource:
    """The official test accuracies after 200 epochs, from a file in the data folder."""
    return TABLE.source()
