"""The one place that says in which column of the tidy table a claim finds its response.

Claims use the names on the left. A column name that is not among them stands for itself.
"""

from __future__ import annotations

from typing import NamedTuple

SHARPNESS = "record it: curvature.every=5"
GAP = "measure it: optnas measure DIR gap"
INDICATOR = "measure it: optnas measure DIR indicator"
LANDSCAPE = "measure it: optnas measure DIR landscape"
CURVATURE = "measure it: optnas measure DIR curvature"
OPERATIONS = "measure it: optnas measure DIR operations"
THEORY = "measure it: optnas measure DIR theory"
RECORDED = "every run records it: tabulate the runs again"


class Column(NamedTuple):
    """A column of the tidy table, its unit, and what supplies it where it is missing."""

    name: str
    unit: str
    supplied_by: str


COLUMNS = {
    # The primary response: CIFAR-10 test accuracy of the argmax cell, from the benchmark table.
    "accuracy": Column("benchmark.cifar10", "%", "ask a table that has it: benchmark.table"),
    "supernet accuracy": Column("valid_accuracy", "%", RECORDED),
    "sharpness": Column("alpha_hessian_max", "nats", SHARPNESS),
    "skips": Column("skips", "edges", RECORDED),
    "train loss": Column("train_loss", "nats", RECORDED),
    "alpha path": Column("alpha_path_length", "", RECORDED),
    "gap": Column("measure.gap.gap", "pp", GAP),
    "relative gap": Column("measure.gap.relative_gap", "", GAP),
    "tau": Column("measure.indicator.tau", "", INDICATOR),
    "spearman": Column("measure.indicator.spearman", "", INDICATOR),
    "spearman of conv3x3": Column("measure.indicator.spearman_conv3x3", "", INDICATOR),
    "landscape drop": Column("measure.landscape.mean_drop", "pp", LANDSCAPE),
    "landscape residual": Column("measure.landscape.residual", "pp", LANDSCAPE),
    "curvature norm": Column("measure.curvature.spectral_norm", "nats", CURVATURE),
    "skip weight": Column("measure.operations.skip_weight", "", OPERATIONS),
    "bound violations": Column("measure.theory.violations", "", THEORY),
    "bound failure rate": Column("measure.theory.delta", "", THEORY),
    "skip elasticity": Column("measure.theory.elasticity_skip", "", THEORY),
    "conv elasticity": Column("measure.theory.elasticity_conv", "", THEORY),
}


def column_of(name: str) -> Column:
    """The column behind a claim's name for it, or the column of that name itself."""
    return COLUMNS.get(name) or Column(name, "", "tabulate runs that record or measure it")
