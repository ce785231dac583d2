"""NAS-Bench-Macro, inside the package: every network of the space, trained three times on CIFAR-10.

``nas_bench_macro.csv.gz`` holds the three test accuracies of ``data/nas-bench-macro_cifar10.json``
of https://github.com/xiusu/NAS-Bench-Macro (commit 61a2bfc), under the Apache License 2.0 of
``nas_bench_macro.LICENSE``; left out are what follows from them or from the network: mean,
deviation, numbers of parameters and operations.

The published training script has no validation images: what it calls ``valid`` are the test images,
and it keeps the best of the 50 epochs on them. Networks of one function have the same three
numbers: 3,969 were trained.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from optnas.base.registry import register
from optnas.spaces.nas_bench_macro import NAS_BENCH_MACRO
from optnas.spaces.tables.coverage import Coverage
from optnas.spaces.tables.csv_file import Layout, read_csv
from optnas.spaces.tables.table import Measurements, Table, TableSource

NAME = "nas-bench-macro"
PATH = Path(__file__).with_name("nas_bench_macro.csv.gz")
PROVENANCE = (
    "NAS-Bench-Macro (Su et al., CVPR 2021; Apache-2.0): the mean over three trainings of each"
    " network, of each the best of its 50 epochs on the test images, hence above the test accuracy"
    " of a training that chooses by others."
)
COVERAGE = Coverage.product(["cifar10"], ["test"], [50])
TRAININGS = 3


def key(place: int) -> tuple[str]:
    """The benchmark's own name of a network: the operation of each layer, one digit each."""
    return ("".join(map(str, NAS_BENCH_MACRO.architecture_at(place).operations)),)


LAYOUT = Layout("network,training_1,training_2,training_3", NAS_BENCH_MACRO.size, key)


def load(folder: Path | None = None) -> Table:
    """Read the table.

    Args:
        folder: the data folder, to tell which other tables are there.
    """
    columns = read_csv(PATH.read_bytes(), LAYOUT, where=PATH)
    trainings_3N = np.stack(list(columns.values()))
    measured = Measurements(
        # Rounded, so that equal numbers of images in another order are equal means.
        trainings_3N.mean(axis=0).round(9),
        trainings_3N.std(axis=0, ddof=1),
        np.full(NAS_BENCH_MACRO.size, TRAININGS),
    )
    held = dict.fromkeys(COVERAGE.questions, measured)
    return Table(NAME, NAS_BENCH_MACRO.name, PROVENANCE, held, folder)


@register("table", NAME)
def nas_bench_macro() -> TableSource:
    """The three trainings of all 6,561 networks of NAS-Bench-Macro, installed with optnas."""
    return TableSource(
        name=NAME,
        space_name=NAS_BENCH_MACRO.name,
        provenance=PROVENANCE,
        coverage=COVERAGE,
        obtain="reinstall optnas",
        present=lambda folder: True,
        load=load,
    )
