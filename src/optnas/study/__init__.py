"""Studies: a grid of settings and seeds in one TOML file, run until nothing is missing.

from optnas import study
study.table("pairs-cpu", out="runs/pairs-cpu")    # a pandas DataFrame, one row per run and epoch
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optnas.study.comparing import compare as compare
    from optnas.study.declare import load_study
    from optnas.study.exporting import export
    from optnas.study.judging import judge
    from optnas.study.runner import Runner
    from optnas.study.tables import table

_HOME = {
    "Runner": "runner",
    "compare": "comparing",
    "export": "exporting",
    "judge": "judging",
    "load_study": "declare",
    "table": "tables",
}

__all__ = ["Runner", "compare", "export", "judge", "load_study", "table"]


@functools.cache
def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if isinstance(found, type):
        return found
    from optnas.search.words import speaking

    function = speaking(found)
    function.__module__ = __name__  # where pickle finds it
    return function
