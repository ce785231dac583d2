"""Search spaces: a cell as data, its string codec, its canonical forms and its picture.

A space is one file that builds a `Space` and registers it; nothing outside this package knows any
space by name. No module here imports torch, and the drawing imports matplotlib when it draws.
"""

from optnas.spaces.base import Architecture, Space, lexicographic
from optnas.spaces.canonical import (
    function_string,
    functions,
    is_connected,
    unique_string,
    without_dead_edges,
)
from optnas.spaces.drawing import draw_cell
from optnas.spaces.nasbench201 import NAS_BENCH_201

__all__ = [
    "NAS_BENCH_201",
    "Architecture",
    "Space",
    "draw_cell",
    "function_string",
    "functions",
    "is_connected",
    "lexicographic",
    "unique_string",
    "without_dead_edges",
]
