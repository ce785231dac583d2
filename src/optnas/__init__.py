"""optnas: a laboratory for optimizer pairs in differentiable architecture search.

    import optnas
    optnas.run({"data.name": "digits", "search.epochs": 5}, out="runs/a")
    optnas.load("runs/a")

Everything here is loaded when first asked for: importing the package costs next to nothing. What
each name is: docs/api.md.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from optnas.base import moved, system

if TYPE_CHECKING:
    from optnas.algorithms import parts as parts
    from optnas.algorithms.base import Algorithm as Algorithm
    from optnas.algorithms.base import ComputeHypergradient as ComputeHypergradient
    from optnas.algorithms.base import Discretize as Discretize
    from optnas.algorithms.base import Draw as Draw
    from optnas.algorithms.base import HypergradientName as HypergradientName
    from optnas.algorithms.base import Memory as Memory
    from optnas.algorithms.base import Perturb as Perturb
    from optnas.algorithms.base import Progress as Progress
    from optnas.algorithms.base import Relax as Relax
    from optnas.algorithms.base import Selection as Selection
    from optnas.algorithms.base import Trial as Trial
    from optnas.algorithms.base import Turn as Turn
    from optnas.algorithms.base import Watch as Watch
    from optnas.algorithms.base import WeightGradients as WeightGradients
    from optnas.algorithms.bilevel import Bilevel as Bilevel
    from optnas.algorithms.bilevel import Hypergradient as Hypergradient
    from optnas.analysis.claims.declare import Claim as Claim
    from optnas.base.errors import UserError as UserError
    from optnas.base.records import RunFolder as RunFolder
    from optnas.base.records import find_runs as find_runs
    from optnas.base.registry import register as register
    from optnas.base.schema import Part as Part
    from optnas.data.sets.base import Dataset as Dataset
    from optnas.measures.base import Cadence as Cadence
    from optnas.measures.base import Measure as Measure
    from optnas.measures.base import Quantity as Quantity
    from optnas.measures.base import Values as Values
    from optnas.measures.figures import Curve as Curve
    from optnas.measures.figures import Figure as Figure
    from optnas.measures.figures import Grid as Grid
    from optnas.measures.figures import Panel as Panel
    from optnas.measures.figures import Row as Row
    from optnas.measures.figures import Seed as Seed
    from optnas.measures.lines import by_epoch as by_epoch
    from optnas.measures.snapshot import Snapshot as Snapshot
    from optnas.measures.stopping.rules import Decision as Decision
    from optnas.measures.stopping.rules import Evaluations as Evaluations
    from optnas.measures.stopping.rules import Trajectory as Trajectory
    from optnas.optimizers.base import BaseTable as BaseTable
    from optnas.optimizers.base import RestTable as RestTable
    from optnas.report.declared import study as study
    from optnas.report.epochs import plot_runs as plot_runs
    from optnas.report.pictures import plot_figure as plot_figure
    from optnas.report.run import Run as Run
    from optnas.search.api import load as load
    from optnas.search.api import measure as measure
    from optnas.search.api import resume as resume
    from optnas.search.api import run as run
    from optnas.search.exam import Subject as Subject
    from optnas.search.exam import examine as examine
    from optnas.search.given import settings_of as settings_of
    from optnas.search.modules import network as network
    from optnas.search.modules import supernet as supernet
    from optnas.search.narrow import narrow as narrow
    from optnas.search.session import Session as Session
    from optnas.search.standalone.cell import train as train
    from optnas.search.state import build_state as build_state
    from optnas.search.trackers.base import Tracker as Tracker
    from optnas.spaces import build_space as build_space
    from optnas.spaces.base import Architecture as Architecture
    from optnas.spaces.base import Space as Space
    from optnas.spaces.network.cells import Placed as Placed
    from optnas.spaces.network.cells import SearchCell as SearchCell
    from optnas.spaces.network.layers import Layers as Layers
    from optnas.spaces.network.protocol import Output as Output
    from optnas.spaces.network.protocol import SearchNetwork as SearchNetwork
    from optnas.spaces.network.statistics import Statistics as Statistics
    from optnas.spaces.operations.base import Operation as Operation
    from optnas.spaces.operations.base import Site as Site
    from optnas.spaces.tables import Coverage as Coverage
    from optnas.spaces.tables import Measurements as Measurements
    from optnas.spaces.tables import Table as Table
    from optnas.spaces.tables import TableSource as TableSource
    from optnas.spaces.tables import data_folder as data_folder
    from optnas.spaces.tables import load_table as load_table
    from optnas.spaces.tables.coverage import Question as Question
    from optnas.spaces.tables.csv_file import CsvTable as CsvTable
    from optnas.spaces.tables.csv_file import Layout as Layout
    from optnas.spaces.tables.trained import trained as trained
    from optnas.spaces.wiring import Wiring as Wiring
    from optnas.study.engines.base import Engine as Engine

# where each name is
_HOME = {
    name: module
    for module, names in {
        "algorithms.base": (
            *("Algorithm", "ComputeHypergradient", "Discretize", "Draw", "HypergradientName"),
            *("Memory", "Perturb", "Progress", "Relax", "Selection", "Trial", "Turn", "Watch"),
            "WeightGradients",
        ),
        "algorithms.bilevel": ("Bilevel", "Hypergradient"),
        "analysis.claims.declare": ("Claim",),
        "base.errors": ("UserError",),
        "base.records": ("RunFolder", "find_runs"),
        "base.registry": ("register",),
        "base.schema": ("Part",),
        "data.sets.base": ("Dataset",),
        "measures.base": ("Cadence", "Measure", "Quantity", "Values"),
        "report.pictures": ("plot_figure",),
        "measures.figures": ("Curve", "Figure", "Grid", "Panel", "Row", "Seed"),
        "measures.lines": ("by_epoch",),
        "measures.snapshot": ("Snapshot",),
        "measures.stopping.rules": ("Decision", "Evaluations", "Trajectory"),
        "optimizers.base": ("BaseTable", "RestTable"),
        "report.declared": ("study",),
        "report.epochs": ("plot_runs",),
        "report.run": ("Run",),
        "search.api": ("load", "measure", "resume", "run"),
        "search.exam": ("Subject", "examine"),
        "search.given": ("settings_of",),
        "search.modules": ("network", "supernet"),
        "search.narrow": ("narrow",),
        "search.session": ("Session",),
        "search.standalone.cell": ("train",),
        "search.state": ("build_state",),
        "search.trackers.base": ("Tracker",),
        "spaces": ("build_space",),
        "spaces.base": ("Architecture", "Space"),
        "spaces.network.cells": ("Placed", "SearchCell"),
        "spaces.network.layers": ("Layers",),
        "spaces.network.protocol": ("Output", "SearchNetwork"),
        "spaces.network.statistics": ("Statistics",),
        "spaces.operations.base": ("Operation", "Site"),
        "spaces.tables": (
            *("Coverage", "Measurements", "Table", "TableSource"),
            *("data_folder", "load_table"),
        ),
        "spaces.tables.coverage": ("Question",),
        "spaces.tables.csv_file": ("CsvTable", "Layout"),
        "spaces.tables.trained": ("trained",),
        "spaces.wiring": ("Wiring",),
        "study.engines.base": ("Engine",),
    }.items()
    for name in names
}
_MODULES = {"parts": "algorithms.parts"}
# Functions whose errors, said for a command line, are told in Python's words here.
_SPEAKING = (
    *("build_space", "build_state", "examine", "find_runs", "load", "load_table"),
    *("network", "plot_figure", "plot_runs", "supernet", "train", "trained"),
)

__all__ = sorted([*_HOME, *_MODULES])

system.refuse_windows()
moved.answer()
__version__: str  # of the installed distribution, looked up when it is asked for
# From now on the module can be called, however it is imported.
importlib.import_module(f"{__name__}.report.declared")


def __getattr__(name: str) -> Any:
    if name in _SPEAKING:
        return _spoken(name)
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{_MODULES[name]}")
    if name in moved.MOVED:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version(__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _spoken(name: str) -> Any:
    from optnas.search.words import speaking

    function = speaking(getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name))
    function.__module__ = __name__  # where pickle finds it
    return function


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), "__version__", *__all__})
