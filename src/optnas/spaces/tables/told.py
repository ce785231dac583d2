"""Benchmark accuracy of the derived cell, with the table that answered."""

from __future__ import annotations

from typing import Any

from optnas.spaces.base import Architecture
from optnas.spaces.tables import Table


def describe_benchmark(table: Table, architecture: Architecture) -> dict[str, Any]:
    """Accuracy and regret in percentage points for the headline questions of a table.

    Args:
        table: the benchmark table; `NO_TABLE` has no question, hence no answer.
        architecture: the derived cell.

    Returns:
        Table name, split, epoch budget, accuracy and regret by data set.
    """
    covered = table.coverage
    if not covered.questions:
        nothing: dict[str, Any] = {"split": None, "epochs": None, "accuracy": {}, "regret": {}}
        return {"table": table.name, **nothing}
    return {
        "table": table.name,
        "split": covered.split,
        "epochs": covered.epochs,
        "accuracy": {q.dataset: table.accuracy(architecture, q) for q in covered.headline},
        "regret": {q.dataset: table.regret(architecture, q) for q in covered.headline},
    }
