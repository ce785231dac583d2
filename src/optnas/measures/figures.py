"""Figures by name, one file each: a registered function of runs that returns a drawing.

    @register("figure", "gap")
    def gap(runs: Sequence[RunFolder], epoch: int | None = None) -> Figure: ...

The parameters after ``runs`` are options of ``optnas plot --figure gap epoch=10``; ``table``,
``reference`` and ``folder`` are supplied, from ``--table``, ``--reference`` and the data folder, to
the figures that ask for them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.drawing import check_format, write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUPPLIED = ("runs", "table", "folder", "reference")


def plot_figure(
    name: str,
    runs: Sequence[RunFolder],
    path: Path,
    options: Mapping[str, Any] | None = None,
    *,
    table: str | None = None,
    folder: Path | None = None,
    reference: Sequence[str] | None = None,
) -> None:
    """Draw a figure by name.

    Args:
        name: a registered figure, or ``./file.py:function``.
        runs: the runs it is drawn from.
        path: a file that ends in .png, .svg or .pdf.
        options: the figure's own, checked against its signature.
        table: ask this benchmark table again, for figures that show one.
        folder: the data folder, for ``table`` and ``reference``.
        reference: horizontal lines, for figures that have them; see
            `optnas.report.epochs.draw_runs`.

    Raises:
        UserError: there is no such figure, it takes other arguments, or it cannot be written.
    """
    figure = registry.find("figure", name, key="--figure")
    taken = inspect.signature(figure).parameters
    for key, value in {"table": table, "reference": reference and ",".join(reference)}.items():
        if value is not None and key not in taken:
            raise UserError(
                f"the figure {name} asks no benchmark table",
                key=f"--{key}",
                value=value,
                remedy="leave it out",
            )
    chosen = registry.complete_settings(figure, options or {}, section=name, skip=SUPPLIED)
    check_format(path)
    offered = {"runs": runs, "table": table, "folder": folder, "reference": reference}
    drawn: Figure = registry.supply(figure, chosen, offered, section=name)
    write_figure(drawn, path)
