"""The report of a study: one page that opens offline, and its figures for a paper.

    inventory   the runs of a study: state, reason, hash, commands
    material    runs that may be compared, and the benchmark
    arms        which runs make a curve, and its look
    figures     F7 to F13, registered in `named`; `epochs`, `mixed_cell` and `slides` beside them
    data        a figure ready to draw: means and bands over runs, the ends of axes
    static      a figure as a picture
    pictures    figures by name: for `optnas plot`, for the page, as files for a paper
    comparison  every pair of arms: words, files, forest plot
    runs        the table of runs that a reader may sort and filter
    labels      what the study calls its optimizers, in every figure
    summary     T1: the table of algorithms and pairs
    cells       drawings of a cell as SVG text
    pages       the pages of single runs
    build       all of it, written
    page/       template, style and script of report.html

A figure's numbers are computed once; the page and the pictures draw the same.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optnas.report.build import report

__all__ = ["report"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.build"), name)
