"""The runs of a study as a table that a reader may sort and filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from optnas.analysis.runs import Runs
from optnas.report.inventory import Entry
from optnas.study.axes import Axis, arms_of
from optnas.study.comparing import default_responses, words_of
from optnas.study.declare import Study


class Listed(NamedTuple):
    """One run: its arm in words, and its number of each response, None where it has none."""

    entry: Entry
    arm: str
    seed: int
    numbers: list[float | None]


class Listing(NamedTuple):
    """The heads of the numbers with what they are in full, and the runs in the study's order."""

    heads: list[tuple[str, str]]
    runs: list[Listed]


def listing(study: Study, axes: Sequence[Axis], entries: Sequence[Entry], runs: Runs) -> Listing:
    """Every run of a study, with the numbers that its arms are compared by.

    Args:
        study: the study.
        axes: its axes.
        entries: its runs, there or not, in its order.
        runs: those that are done.
    """
    responses = default_responses(runs)
    place = {str(name): row for row, name in enumerate(runs.settings["id"])}
    units = [runs.column(each.column).unit for each in responses]
    heads = [
        (f"{each.column} ({unit})", words_of(each))
        for each, unit in zip(responses, units, strict=True)
    ]
    arms = arms_of(axes, list(study.runs))
    found = []
    for entry, (name, run) in zip(entries, study.runs.items(), strict=True):
        values = [
            runs.value(place[entry.id], each, math.nan, 0.0) if entry.id in place else math.nan
            for each in responses
        ]
        numbers = [value if math.isfinite(value) else None for value in values]
        found.append(Listed(entry, arms[name], run.settings.search.seed, numbers))
    return Listing(heads, found)
