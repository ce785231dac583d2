"""The one place that says in which column of the tidy table a claim finds its response.

Claims use the names of `NAMES`, or a column itself: what is measured afterwards stands in
``measure.LABEL.QUANTITY``, such as ``measure.gap.relative_gap``. A column's unit is that of
`optnas.base.columns.RECORD`, or what the measure declares. What runs at hand say of it
besides, such as the unit of a measure of one's own, `optnas.analysis.runs.Runs.column` knows.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from optnas.base import registry
from optnas.base.columns import OF_MEASURES, SUPERNET_ACCURACY, TOP_EIGENVALUE, Better, symbol
from optnas.base.columns import quantity_of as recorded
from optnas.base.schema import EMPTY, parameters_of
from optnas.measures.base import Measure, Quantity

MEASURE = "measure."
# Not taken of a search: the found cell trained by itself, `optnas.study.alone`.
ALONE = "alone"
PERCENTILE = "percentile."
OP_WEIGHT = "op_weight."
# What a claim may call a column.
NAMES = {
    # The primary response: CIFAR-10 test accuracy of the argmax cell, from the benchmark table.
    "accuracy": "benchmark.cifar10",
    # Among all cells of the table that answered: percent of them that are not better.
    "percentile": "percentile.cifar10",
    "supernet accuracy": SUPERNET_ACCURACY,
    "sharpness": TOP_EIGENVALUE,
    "skips": "skips",
    "train loss": "train_loss",
    "alpha path": "alpha_path_length",
    # How far alpha is from where it began, without the mean of its rows, which softmax cannot see.
    "alpha displacement": "alpha_displacement_centred",
    # Mean over edges of the clean operation weights, as recorded every epoch: an auxiliary skip, as
    # of darts-minus, is in it. `measure.operations.mass.skip_connect` is without.
    "skip weight": "op_weight.skip_connect",
}


class Column(NamedTuple):
    """A column of the tidy table: its unit, what supplies it if missing, which end is better."""

    name: str
    unit: str
    supplied_by: str
    better: Better = "neither"


@functools.cache
def column_of(name: str) -> Column:
    """The column behind a claim's name for it, or the column of that name itself."""
    column = NAMES.get(name, name)
    if column.startswith(PERCENTILE):
        told = "ask a whole benchmark table, not what was recorded"
        return Column(column, "percentiles", told, "higher")
    if column.startswith(OP_WEIGHT):
        return Column(column, "", "every run records it: tabulate the runs again")
    quantity = _measured(column) if column.startswith(MEASURE) else recorded(column)
    supplied_by = _supplied_by(column, quantity)
    if quantity is None:
        return Column(column, "", supplied_by)
    return Column(column, symbol(quantity.unit), supplied_by, quantity.better)


def in_words(name: str) -> str:
    """A column in words, such as ``train loss``; that of a benchmark with its data set."""
    column = column_of(name).name
    quantity = recorded(column)
    words = name if quantity is None else quantity.words or name
    dataset = column.partition(".")[2] if column.startswith("benchmark.") else ""
    return ", ".join(filter(None, [words, dataset]))


def _measured(column: str) -> Quantity | None:
    """What a measure says of its quantity; one that is a table has a column per entry."""
    _, label, *rest = column.split(".")
    if label == ALONE:
        return Quantity("percent", "higher")
    name = _measure_of(label)
    if name is None:
        return None
    return quantity_in(name, rest[0]) if rest else None


def quantity_in(measure: str, quantity: str) -> Quantity | None:
    """What a measure declares of one of its quantities.

    Args:
        measure: its name; one by path is known where its file is loaded, as by a study.
        quantity: the name of the quantity.

    Returns:
        The quantity; None where the measure is not known, or does not say.
    """
    factory = registry.known("measure", measure)
    if factory is None or any(each.default is EMPTY for each in parameters_of(factory).values()):
        return None
    section = f"measures.{measure}"
    table = registry.complete_component("measure", measure, section=section)
    found: Measure = registry.build("measure", table, section=section)
    return found.quantities.get(quantity)


def _measure_of(label: str) -> str | None:
    """The measure of a label: of its name, or ``NAME-MORE``, as a study may call a second one."""
    fit = (name for name in registry.names("measure") if f"{label}-".startswith(f"{name}-"))
    return max(fit, key=len, default=None)


def _supplied_by(column: str, quantity: Quantity | None) -> str:
    if column.startswith(MEASURE):
        label = column.split(".")[1]
        if label == ALONE:
            return "train the cells: optnas study train"
        if _measure_of(label) is None:
            return f"no measure '{label}' comes with this version: register one that finds it"
        return f"take the measure '{label}' on these runs, then tabulate them again"
    if column in OF_MEASURES:
        return "record it: measures.sharpness.every=5"
    if column.startswith("benchmark."):
        return "ask a table that has it: benchmark.table"
    if quantity is None:
        return "tabulate runs that record it"
    return "every run records it: tabulate the runs again"
