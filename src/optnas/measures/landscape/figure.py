"""Figures of the measure ``landscape``: runs side by side, and the deck's figure F4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.figures import Figure
from optnas.measures.landscape.panels import (
    TITLES,
    accuracy_row,
    benchmark_row,
    caption,
    path_row,
    table_of,
)
from optnas.measures.landscape.read import LABEL, f4_data, read_landscapes


@register("figure", "landscape")
def landscape(
    runs: Sequence[RunFolder],
    label: str = LABEL,
    epoch: int = -1,
    plane: str = "",
    space: str = "",
    statistics: str = "",
) -> Figure:
    """Accuracy around A, the benchmark's view of the plane, and the path to the derived cell.

    Args:
        runs: a panel of each row for each.
        label: under which they were measured.
        epoch: the epoch; -1 for the last measured one.
        plane: as measured; empty where there is but one.
        space: as measured; empty where there is but one.
        statistics: as measured; empty where there is but one.

    Returns:
        The figure, axes and colours in common.
    """
    wanted = _given(plane=plane, space=space, statistics=statistics)
    found = read_landscapes(runs, label, epoch, **wanted)
    titles = [
        f"{TITLES.get(each.algorithm, each.algorithm)}, {each.pair}, seed {each.seed}, "
        f"epoch {each.epoch}"
        for each in found
    ]
    rows = [
        accuracy_row(found, titles),
        benchmark_row(found),
        path_row(found, "accuracy", "%", log=False),
        # A loss under statistics that do not fit is tens of nats.
        path_row(found, "loss", "nats", log=True),
    ]
    title, _, told = caption(found).partition("\n")
    return Figure(title, rows, told)


@register("figure", "F4", in_report=True, needs=(LABEL,))
def f4(
    runs: Sequence[RunFolder],
    label: str = LABEL,
    epoch: int = -1,
    plane: str = "",
    space: str = "",
    statistics: str = "",
) -> Figure:
    """DARTS, SDARTS-RS and SDARTS-ADV side by side: accuracy around A, and its scalars by seed.

    Args:
        runs: of the three algorithms; the lowest seed of each is drawn, all are counted.
        label: see `landscape`.
        epoch: see `landscape`.
        plane: see `landscape`.
        space: see `landscape`.
        statistics: see `landscape`.

    Returns:
        The figure, axes and colours in common.
    """
    wanted = _given(plane=plane, space=space, statistics=statistics)
    columns, remarks = f4_data(runs, label, epoch, **wanted)
    found = [column.shown for column in columns]
    titles = [
        f"({'abc'[place]}) {TITLES[each.algorithm]}, {each.pair}, seed {each.seed}"
        for place, each in enumerate(found)
    ]
    row = accuracy_row(found, titles)
    first = replace(row.panels[0], remarks=[*row.panels[0].remarks, *remarks])
    title, _, told = caption(found).partition("\n")
    words = (
        f"{told}. Drawn is the lowest seed of each algorithm; the table has mean ± sd over seeds."
    )
    return Figure(title, [replace(row, panels=[first, *row.panels[1:]])], words, table_of(columns))


def _given(**options: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value}
