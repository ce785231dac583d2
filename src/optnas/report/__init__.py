"""The report of a study: one page that opens offline, and its figures for a paper.

    inventory   the runs of a study: state, reason, hash, commands
    data        what a figure is made of: curves over seeds, as plain numbers
    arms        which runs make a curve, and its colour
    figures     F7 to F13: from the runs to the data of a figure
    summary     T1: the table of algorithms and pairs
    static      a figure's data as a picture for a paper
    cells       drawings of a cell as SVG text
    pages       the pages of single runs
    build       all of it, written
    page/       template, style and script of report.html

A figure is computed once; the page and the pictures draw the same numbers.
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
