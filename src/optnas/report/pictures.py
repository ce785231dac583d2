"""The figures of a report as files for a paper, drawn side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optnas.measures.drawing import FORMATS, write_figure
from optnas.measures.landscape.panels import draw_f4
from optnas.report import static
from optnas.report.data import Figure
from optnas.report.surfaces import Surfaces

DPI = 300


def write_pictures(figures: Sequence[Figure | Surfaces], folder: Path) -> None:
    """Every figure in every format, each figure by a process of its own as far as cores go.

    Args:
        figures: the figures; one with nothing to draw leaves no file of an earlier time.
        folder: where to write.

    Raises:
        UserError: a file cannot be written.
    """
    import joblib

    drawn = [figure for figure in figures if figure.drawn]
    for figure in figures:
        if not figure.drawn:
            for kind in FORMATS:
                (folder / f"{figure.name}.{kind}").unlink(missing_ok=True)
    if drawn:
        jobs = min(len(drawn), joblib.cpu_count())
        each = (joblib.delayed(_write)(figure, folder) for figure in drawn)
        joblib.Parallel(n_jobs=jobs, batch_size=1)(each)


def _write(figure: Figure | Surfaces, folder: Path) -> None:
    from matplotlib import rc_context

    with rc_context(static.PAPER):
        drawing = draw_f4(figure.columns) if isinstance(figure, Surfaces) else static.draw(figure)
        for kind in FORMATS:
            write_figure(drawing, folder / f"{figure.name}.{kind}", dpi=DPI)
