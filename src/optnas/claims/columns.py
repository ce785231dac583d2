"""The one place that says in which column of the tidy table a claim finds its response.

Claims use the names on the left, or a column itself: what is measured afterwards stands in
``measure.LABEL.QUANTITY``, such as ``measure.gap.relative_gap``.
"""

from __future__ import annotations

from typing import NamedTuple

RECORDED = "every run records it: tabulate the runs again"
MEASURE = "measure."


class Column(NamedTuple):
    """A column of the tidy table, its unit, and what supplies it where it is missing."""

    name: str
    unit: str
    supplied_by: str


COLUMNS = {
    # The primary response: CIFAR-10 test accuracy of the argmax cell, from the benchmark table.
    "accuracy": Column("benchmark.cifar10", "%", "ask a table that has it: benchmark.table"),
    "supernet accuracy": Column("valid_accuracy", "%", RECORDED),
    "sharpness": Column("alpha_hessian_max", "nats", "record it: curvature.every=5"),
    "skips": Column("skips", "edges", RECORDED),
    "train loss": Column("train_loss", "nats", RECORDED),
    "alpha path": Column("alpha_path_length", "", RECORDED),
}
# Units of columns that claims name themselves.
UNITS = {
    "benchmark.cifar100": "%",
    "valid_accuracy_without_skip": "%",
    "measure.gap.gap": "pp",
    "measure.gap.relative_gap": "",
    "measure.indicator.tau": "",
    "measure.indicator.spearman": "",
    "measure.indicator.spearman_conv3x3": "",
    "measure.landscape.mean_drop": "pp",
    "measure.landscape.residual": "pp",
    "measure.curvature.spectral_norm": "nats",
    "measure.operations.skip_weight": "",
    "measure.theory.violations": "",
    "measure.theory.delta": "",
    "measure.theory.elasticity_skip": "",
    "measure.theory.elasticity_conv": "",
}


def column_of(name: str) -> Column:
    """The column behind a claim's name for it, or the column of that name itself."""
    return COLUMNS.get(name) or Column(name, UNITS.get(name, ""), _supplied_by(name))


def _supplied_by(column: str) -> str:
    if column.startswith(MEASURE):
        return f"take the measure '{column.split('.')[1]}' on these runs, then tabulate them again"
    return "tabulate runs that record it"
