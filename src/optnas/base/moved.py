"""Import paths of 0.1.0 that its documents named: they answer until the next release.

A user's file that had to be edited would be another run by its hash, so an old path gives the
module that took its place, with a `DeprecationWarning` that names it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Sequence
from typing import Any

# old module below optnas -> where what it held is now, the first place that has a name wins
MOVED: dict[str, tuple[str, ...]] = {
    "afterwards": ("search.observe",),
    "api": ("search.api",),
    "benchmarks": ("spaces.tables",),
    "benchmarks.random_search": ("spaces.tables.random_search",),
    "benchmarks.references": ("spaces.tables.references",),
    "benchmarks.trained": ("spaces.tables.trained",),
    "bilevel": ("algorithms.bilevel",),
    "claims": ("analysis.claims",),
    "claims.base": ("analysis.claims.declare",),
    "config": ("search.settings.model",),
    "datasets": ("data.sets",),
    "datasets.base": ("data.sets.base",),
    "engines": ("study.engines",),
    "engines.base": ("study.engines.base",),
    "errors": ("base.errors",),
    "exam": ("search.exam",),
    "figures": ("report.pictures",),
    "instruments": ("measures",),
    "instruments.evaluation": ("measures.evaluation",),
    "instruments.snapshot": ("measures.snapshot",),
    "landscapes": ("measures.landscape.read",),
    "measurements": ("base.measurements",),
    "metrics": ("measures",),
    "metrics.base": ("measures.base",),
    "parts": ("algorithms.parts",),
    "parts.discretizations": ("algorithms.parts.discretizations",),
    "parts.hypergradients": ("algorithms.parts.hypergradients",),
    "parts.perturbations": ("algorithms.parts.perturbations",),
    "parts.relaxations": ("algorithms.parts.relaxations",),
    "plotting": ("report.epochs", "measures.drawing"),
    "protocols": ("search.protocols",),
    "records": ("base.records",),
    "registry": ("base.registry",),
    "schedules": ("optimizers.schedules",),
    "schema": ("base.schema",),
    "seeds": ("base.seeds",),
    "stopping": ("measures.stopping",),
    "supernet": ("spaces.network",),
    "tomlio": ("base.toml",),
    "trackers": ("search.trackers",),
    "trackers.base": ("search.trackers.base",),
}


class _Callable(types.ModuleType):
    """An old module that is named as a function of the package is now, and is called as that.

    Importing it puts it in the function's place.
    """

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the function gives."""
        package: Any = sys.modules["optnas"]
        return package.__getattr__(self.__name__.partition(".")[2])(*arguments, **named)


class _Old(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of `MOVED`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        room, _, old = name.partition(".")
        if room != "optnas" or old not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        places = [f"optnas.{place}" for place in MOVED[module.__name__.partition(".")[2]]]
        warnings.warn(
            f"{module.__name__} is now {' and '.join(places)}; the old path answers until the "
            "next release",
            DeprecationWarning,
            stacklevel=2,
        )

        def found(name: str) -> Any:
            if not name.startswith("__"):
                for place in places:
                    home = importlib.import_module(place)
                    try:
                        return getattr(home, name)
                    except AttributeError:
                        continue
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = found  # type: ignore[method-assign]
        package: Any = sys.modules["optnas"]
        if module.__name__.partition(".")[2] in package.__all__:
            module.__class__ = _Callable


def answer() -> None:
    """Let the old paths be imported."""
    if not any(isinstance(finder, _Old) for finder in sys.meta_path):
        sys.meta_path.append(_Old())
