"""The parts algorithms are made of: pure functions of tensors.

Loaded when first asked for, so that algorithms can be named and checked without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optnas.algorithms.parts.discretizations import argmax_per_edge
    from optnas.algorithms.parts.hypergradients import first_order, frozen, hypergradient, unrolled
    from optnas.algorithms.parts.perturbations import Radius, attack, uniform, unperturbed
    from optnas.algorithms.parts.relaxations import softmax, softmax_with_skip

_HOME = {
    "argmax_per_edge": "discretizations",
    "first_order": "hypergradients",
    "frozen": "hypergradients",
    "hypergradient": "hypergradients",
    "unrolled": "hypergradients",
    "Radius": "perturbations",
    "attack": "perturbations",
    "uniform": "perturbations",
    "unperturbed": "perturbations",
    "softmax": "relaxations",
    "softmax_with_skip": "relaxations",
}

__all__ = [
    "Radius",
    "argmax_per_edge",
    "attack",
    "first_order",
    "frozen",
    "hypergradient",
    "softmax",
    "softmax_with_skip",
    "uniform",
    "unperturbed",
    "unrolled",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
