"""The one place that says in which column of the tidy table a claim finds its response.

Claims use the names on the left, or a column itself: what is measured afterwards stands in
``measure.LABEL.QUANTITY``, such as ``measure.gap.relative_gap``.
"""

from __future__ import annotations

from typing import NamedTuple

from optnas.base.registry import names

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
    "measure.indicator.tau_minus_convolutions": "",
    "measure.landscape.mean_accuracy_drop": "pp",
    "measure.landscape.accuracy_residual": "pp",
    "measure.curvature.op_weights_spectral": "nats",
    "measure.operations.mass.skip_connect": "",
    "measure.theory.violations": "",
    "measure.theory.delta": "",
    "measure.operations.skip_elasticity.deck": "",
    "measure.operations.conv_elasticity.deck": "",
}


def column_of(name: str) -> Column:
    """The column behind a claim's name for it, or the column of that name itself."""
    return COLUMNS.get(name) or Column(name, UNITS.get(name, ""), _supplied_by(name))


def _supplied_by(column: str) -> str:
    if column.startswith(MEASURE):
        label = column.split(".")[1]
        if label not in names("measure"):
            return f"no measure '{label}' comes with this version: register one that finds it"
        return f"take the measure '{label}' on these runs, then tabulate them again"
    return "tabulate runs that record it"
