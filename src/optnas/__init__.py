"""optnas: a laboratory for optimizer pairs in differentiable architecture search.

    import optnas
    optnas.run({"data.name": "digits", "search.epochs": 5}, out="runs/a")
    optnas.load("runs/a")

Everything here is loaded when first asked for: importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from optnas.base import moved

if TYPE_CHECKING:
    from optnas.base.errors import UserError
    from optnas.base.registry import register
    from optnas.search.api import load, measure, resume, run, settings_of

_HOME = {
    "UserError": "base.errors",
    "load": "search.api",
    "measure": "search.api",
    "register": "base.registry",
    "resume": "search.api",
    "run": "search.api",
    "settings_of": "search.api",
}

__all__ = ["UserError", "load", "measure", "register", "resume", "run", "settings_of"]

moved.answer()


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in moved.MOVED:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
