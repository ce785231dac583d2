"""The figure `columns`: any recorded or measured column of runs, finished or not, by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optnas.base.columns import symbol
from optnas.base.errors import UserError, did_you_mean
from optnas.base.records import Record, RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import require_runs
from optnas.measures.figures import Figure, Panel, Row
from optnas.measures.lines import curve_of, data_names, groups_of
from optnas.report.epochs import stopped

MOST = 3  # panels side by side


@register("figure", "columns")
def columns(runs: Sequence[RunFolder], column: list[str]) -> Figure:
    """Chosen columns by epoch, a panel each: of the record, or measure.LABEL.KEY.

    A curve for each algorithm and optimizer pair.

    Args:
        runs: the runs.
        column: columns of the table of runs (`optnas.study.table`), or names that claims use, such
            as ``alpha_entropy``, ``op_weight.skip_connect`` or ``measure.gap.gap``.

    Raises:
        UserError: a folder holds no records, or no run has a number in a column.
    """
    require_runs("columns", runs)
    found = [_rows(run) for run in runs]
    groups, known = groups_of(runs, found), {key for rows in found for row in rows for key in row}
    panels = []
    for asked in column:
        name, title, unit = _told(asked, runs)
        if name not in known:
            raise UserError(
                "no run has a number in a column of this name",
                key="--column",
                value=asked,
                remedy=did_you_mean(asked, known - {"epoch"}),
            )
        lacking = [
            f"{run.path.name}: not recorded"
            for run, rows in zip(runs, found, strict=True)
            if not any(name in row for row in rows)
        ]
        curves = [curve_of(group, lambda row, name=name: row.get(name)) for group in groups]  # type: ignore[misc]
        panels.append(Panel(title, unit, curves, remarks=lacking))
    panels[:1] = [replace(each, remarks=[*stopped(runs), *each.remarks]) for each in panels[:1]]
    title = f"search on {data_names([run.read_config() for run in runs])}"
    legend = "algorithm: weight optimizer + architecture optimizer"
    rows = [panels[place : place + MOST] for place in range(0, len(panels), MOST)]
    return Figure("Columns by epoch", [Row(title, each, legend) for each in rows])


def _rows(run: RunFolder) -> list[Record]:
    """The numbers of each epoch by column, without the settings; none of them NaN."""
    import pandas as pd

    from optnas.search.settings.model import Settings
    from optnas.study.tables import table_of

    run.read_some_epochs()  # says what is wrong where there are none
    table = table_of([run], recorded=True)
    numbers = table.select_dtypes("number")
    kept = [name for name in map(str, numbers) if not _is_setting(name, set(Settings.model_fields))]
    return [
        {str(name): float(value) for name, value in row.items() if not pd.isna(value)}
        for row in numbers[kept].to_dict("records")
    ]


def _is_setting(column: str, sections: set[str]) -> bool:
    # The benchmark's accuracies stand below the section that names its table.
    return column.partition(".")[0] in sections - {"benchmark"}


def _told(asked: str, runs: Sequence[RunFolder]) -> tuple[str, str, str]:
    """The column behind a name, its title and its unit; that of a measure is in its lines."""
    from optnas.analysis.claims.columns import MEASURE, column_of, in_words

    if not asked.startswith(MEASURE):
        found = column_of(asked)
        return found.name, in_words(asked), found.unit
    _, label, *keys = asked.split(".")
    lines = [line for run in runs for line in run.read_measures(label)]
    units = [str(line["units"].get(keys[0], "")) for line in lines if keys]
    return asked, asked, symbol(next(iter(units), ""))
