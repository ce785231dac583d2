"""Diagrams of what a differentiable search is: its three parts, its mixed cell, its two steps.

Every diagram is a function of run folders to a figure; only `mixed_cell` can use one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from optnas.base.records import RunFolder
from optnas.report.method import alternation, nas_triangle
from optnas.report.mixed_cell import auxiliary_skip, mixed_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "alternation", "auxiliary_skip", "mixed_cell", "nas_triangle"]

FIGURES: dict[str, Callable[[Sequence[RunFolder]], Figure]] = {
    "alternation": alternation,
    "auxiliary-skip": auxiliary_skip,
    "mixed-cell": mixed_cell,
    "nas-triangle": nas_triangle,
}
