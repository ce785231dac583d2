"""The figure of the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from optnas.plotting import draw_runs
from optnas.records import RunFolder
from optnas.registry import register

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register("figure", "epochs")
def epochs(
    runs: Sequence[RunFolder],
    table: str | None = None,
    folder: Path | None = None,
    reference: Sequence[str] | None = None,
) -> Figure:
    """Supernet accuracy, top eigenvalue and benchmark accuracy by epoch; see `draw_runs`."""
    return draw_runs(runs, table, folder, reference)
