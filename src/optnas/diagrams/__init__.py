"""Diagrams of what a differentiable search is: its three parts, its mixed cell, its two steps.

Every diagram is a function of run folders to a figure; only `mixed_cell` can use one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from optnas.diagrams.cells import auxiliary_skip, mixed_cell
from optnas.diagrams.method import alternation, nas_triangle
from optnas.errors import UserError, did_you_mean
from optnas.plotting import check_format, plot_runs, write_figure
from optnas.records import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "alternation", "auxiliary_skip", "mixed_cell", "nas_triangle", "plot_figure"]

EPOCHS_FIGURE = "epochs"
FIGURES: dict[str, Callable[[Sequence[RunFolder]], Figure]] = {
    "alternation": alternation,
    "auxiliary-skip": auxiliary_skip,
    "mixed-cell": mixed_cell,
    "nas-triangle": nas_triangle,
}


def plot_figure(
    name: str,
    runs: Sequence[RunFolder],
    path: Path,
    *,
    table: str | None = None,
    folder: Path | None = None,
    reference: Sequence[str] | None = None,
) -> None:
    """Draw a figure by name.

    Args:
        name: ``epochs`` or one of `FIGURES`.
        runs: the runs it is drawn from.
        path: a file that ends in .png, .svg or .pdf.
        table: for ``epochs``, see `plot_runs`.
        folder: the data folder, for ``table`` and ``reference``.
        reference: for ``epochs``, see `plot_runs`.

    Raises:
        UserError: there is no such figure, it takes other arguments, or it cannot be written.
    """
    if name == EPOCHS_FIGURE:
        plot_runs(runs, path, table=table, folder=folder, reference=reference)
        return
    if name not in FIGURES:
        raise UserError(
            "there is no figure of this name",
            key="--figure",
            value=name,
            remedy=did_you_mean(name, [EPOCHS_FIGURE, *FIGURES]),
        )
    given = {"--table": table, "--reference": reference and ",".join(reference)}
    for key, value in given.items():
        if value is not None:
            raise UserError(
                f"the figure {name} asks no benchmark table",
                key=key,
                value=value,
                remedy="leave it out",
            )
    check_format(path)
    write_figure(FIGURES[name](runs), path)
