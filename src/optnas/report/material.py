"""What figures of a study are made of: runs that may be compared, and the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optnas.analysis.runs import Runs, Selection
from optnas.base.records import RunFolder
from optnas.measures.drawing import NAMES
from optnas.report.inventory import Entry
from optnas.report.reference_lines import Benchmark, benchmark_of, find_references
from optnas.spaces.tables import Question
from optnas.study.states import check_readable, state_of
from optnas.study.tables import answering_table, common_table, table_of

PRIMARY = "benchmark.cifar10"


@dataclass(frozen=True)
class Material:
    """Runs that are done and may be compared, the benchmark, the runs that a study declares."""

    runs: Runs
    selection: Selection
    benchmark: Benchmark
    entries: Sequence[Entry] = ()

    @property
    def searched(self) -> str:
        """The data sets of the searches, in words."""
        names = dict.fromkeys(self.runs.settings["data.name"].astype(str))
        return f"search on {', '.join(NAMES.get(name, name) for name in names)}"


def material_of(
    table: pd.DataFrame,
    folders: Sequence[RunFolder],
    folder: Path | None,
    reference: Sequence[str] | None = None,
    entries: Sequence[Entry] = (),
    hold: Mapping[str, Any] | None = None,
) -> Material:
    """What figures are made of.

    Args:
        table: the tidy table of the runs.
        folders: the runs.
        folder: the data folder, for the reference lines.
        reference: names of reference lines; see `find_references`.
        entries: the runs that a study declares.
        hold: values of settings at which runs are compared; see `Selection`.
    """
    runs = Runs(table)
    selection = Selection(runs, np.ones(len(runs), bool), hold or {})
    return Material(runs, selection, _benchmark(table, folders, folder, reference), entries)


def material_of_runs(
    folders: Sequence[RunFolder],
    table: str | None,
    folder: Path | None,
    reference: Sequence[str] | None,
    hold: Mapping[str, Any] | None = None,
) -> Material:
    """What figures are made of, from runs alone.

    Args:
        folders: the runs.
        table: ask this benchmark table instead of using the records.
        folder: the data folder.
        reference: names of reference lines.
        hold: as of `material_of`.
    """
    for run in folders:
        check_readable(run)
    found = table_of(folders, benchmark=table, data=folder, recorded=table is None)
    return material_of(found, folders, folder, reference, hold=hold)


def _benchmark(
    table: pd.DataFrame,
    folders: Sequence[RunFolder],
    folder: Path | None,
    reference: Sequence[str] | None,
) -> Benchmark:
    """The primary response, or the first data set that the runs' table answers."""
    asked = [c for c in map(str, table) if c.startswith("benchmark.") and c != "benchmark.table"]
    if not asked:
        find_references(reference, "none", None, folder)
        return Benchmark("", "")
    column = PRIMARY if PRIMARY in asked else asked[0]
    dataset, name = column.removeprefix("benchmark."), common_table(table)
    answering = answering_table(table, folder)
    if answering is not None:
        covered = answering.coverage
        question = Question(dataset, covered.split, covered.epochs)
    else:
        readable = (run for run in folders if state_of(run) not in ("missing", "unreadable"))
        recorded = (record["benchmark"] for run in readable for record in run.read_epochs()[:1])
        told = next(each for each in recorded if dataset in each["accuracy"])
        question = Question(dataset, told["split"], told["epochs"])
    return benchmark_of(name, question, folder, reference)
