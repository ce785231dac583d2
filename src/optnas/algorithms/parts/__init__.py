"""The parts algorithms are made of: pure functions of tensors, each registered in its file.

Importable without torch, so that algorithms can be named and checked without it.
"""

from optnas.algorithms.parts.discretizations import argmax_per_edge
from optnas.algorithms.parts.hypergradients import (
    after_warmup,
    first_order,
    frozen,
    hypergradient,
    seldom,
    unrolled,
    warmup_epochs,
)
from optnas.algorithms.parts.implicit import conjugate_gradient, neumann
from optnas.algorithms.parts.perturbations import Radius, attack, uniform, unperturbed
from optnas.algorithms.parts.relaxations import gumbel, log_floored, softmax, softmax_with_skip
from optnas.algorithms.parts.several_steps import k_step, value_function
from optnas.algorithms.parts.zeroth_order import zeroth_order

__all__ = [
    "Radius",
    "after_warmup",
    "argmax_per_edge",
    "attack",
    "conjugate_gradient",
    "first_order",
    "frozen",
    "gumbel",
    "hypergradient",
    "k_step",
    "log_floored",
    "neumann",
    "seldom",
    "softmax",
    "softmax_with_skip",
    "uniform",
    "unperturbed",
    "unrolled",
    "value_function",
    "warmup_epochs",
    "zeroth_order",
]
