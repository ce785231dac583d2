"""optnas: a laboratory for optimizer pairs in differentiable architecture search.

    import optnas
    optnas.run({"data.name": "digits", "search.epochs": 5}, out="runs/a")
    optnas.load("runs/a")

Everything here is loaded when first asked for: importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optnas.api import load, measure, resume, run, settings_of
    from optnas.errors import UserError
    from optnas.registry import register

_HOME = {
    "UserError": "errors",
    "load": "api",
    "measure": "api",
    "register": "registry",
    "resume": "api",
    "run": "api",
    "settings_of": "api",
}

__all__ = ["UserError", "load", "measure", "register", "resume", "run", "settings_of"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
