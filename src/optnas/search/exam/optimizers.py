"""Small bilevel problems with a known solution: does an optimizer on one level find it?

An optimizer may run and resume without an error and still not solve anything. In each problem one
level is moved by the optimizer under examination, the other by plain gradient descent, in turns as
in a search. Both levels have N numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from optnas.optimizers.adapter import construct, set_learning_rate
from optnas.optimizers.signatures import complete_settings, facts
from optnas.optimizers.stepping import take_step, to_evaluation_point, to_training_point
from optnas.search.exam.base import NotExaminedError, Subject, demand, example

N, STEPS, RATE_OF_OTHER = 8, 200, 0.3
# Tried in this order until one solves the problem; each falls by a cosine.
RATES = (0.3, 0.1, 1.0, 3.0, 0.03, 0.01, 0.003)
# What is left of the distance to the solution where a problem counts as solved, and as lost.
SOLVED, LOST = 0.1, 1e3
# The network weights are a matrix and a vector, for optimizers that tell these apart.
ALPHA = "arch_optimizer"
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "weight_optimizer": {"cells.0.weight": (3, 2), "cells.0.bias": (2,)},
    ALPHA: {"alpha": (4, 2)},
}


class Toy(NamedTuple):
    """A bilevel problem, in x and y, how far either level is from its part of the solution.

        examined level: x'Hx / 2 - x'Cy + n'x        other level: k y'y / 2 - y'Dx

    Attributes:
        eigenvalues: the smallest and the largest of H, in directions that are no axes.
        coupling: C is so many times a rotation.
        other: k, the curvature of the other level.
        opposed: D is -C' instead of C': what one level gains from the other, the other loses.
        noise: standard deviation of n, drawn anew in each step.
        demanded: by the exam. What many optimizers in use cannot solve is for the matrix of
            docs/optimizers/matrix.md alone.
    """

    eigenvalues: tuple[float, float]
    coupling: float = 0.0
    other: float = 1.0
    opposed: bool = False
    noise: float = 0.0
    demanded: bool = True


TOYS = {
    "bowl": Toy((0.5, 1.5), coupling=0.3),
    "valley": Toy((0.02, 1.0)),
    "noise": Toy((0.5, 1.5), coupling=0.3, noise=0.4),
    "tug-of-war": Toy((0.1, 0.1), coupling=1.0, other=0.1, opposed=True, demanded=False),
}


def solves(subject: Subject, section: str, name: str) -> None:
    """The optimizer comes within a tenth of its first distance of the solution of a small problem.

    Args:
        subject: the optimizer.
        section: ``weight_optimizer`` or ``arch_optimizer``, the level it moves.
        name: of `TOYS`.

    Raises:
        FailedError: at no rate; the nearest is told.
        NotExaminedError: it moves rows of a simplex, where no solution lies.
    """
    if facts(subject.name).get("on_simplex"):
        raise NotExaminedError("the solution is no point of a simplex")
    left = dict[float, float]()
    for rate in RATES:
        left[rate] = _left(subject, section, TOYS[name], rate)
        if left[rate] <= SOLVED:
            return
    best = min(left, key=lambda rate: left[rate])
    demand(False, f"{100 * left[best]:.0f} % of the distance are left at its best rate, {best}")


def _left(subject: Subject, section: str, problem: Toy, rate: float) -> float:
    """The share of the distance to the solution that is left after all steps."""
    H, C = _curvature(problem), problem.coupling * _rotation(2)
    D = -C.T if problem.opposed else C.T
    solution_N, start_N, y_N = (
        scale * example(seed, N) for seed, scale in ((3, 2), (4, 1), (5, 1))
    )
    first = torch.cat([start_N, y_N]).norm()
    leaves = dict(_leaves(solution_N + start_N, SHAPES[section]))
    settings = complete_settings(subject.name, subject.settings, section=section)
    optimizer = construct(subject.name, settings, [*leaves.values()], [*leaves])
    draws = torch.Generator().manual_seed(6)
    noise_N = torch.zeros(N, dtype=torch.float64)

    def x() -> Tensor:
        return torch.cat([leaf.detach().reshape(-1) for leaf in leaves.values()]) - solution_N

    def evaluate() -> Tensor:
        at_N, linear_N = x(), C @ y_N - noise_N
        gradients = _parts(H @ at_N - linear_N, SHAPES[section])
        for leaf, gradient in zip(leaves.values(), gradients, strict=True):
            leaf.grad = gradient
        return at_N @ H @ at_N / 2 - at_N @ linear_N

    def examined() -> None:
        take_step(optimizer, evaluate)

    def other() -> None:
        nonlocal y_N
        y_N = y_N - RATE_OF_OTHER * (problem.other * y_N - D @ x())

    alpha_first = (examined, other) if section == ALPHA else (other, examined)
    to_training_point(optimizer)
    for step in range(STEPS):
        set_learning_rate(optimizer, rate * (1 + math.cos(math.pi * step / STEPS)) / 2)
        noise_N = problem.noise * torch.randn(N, generator=draws, dtype=torch.float64)
        for move in alpha_first:
            move()
        if not torch.cat([x(), y_N]).norm() < LOST * first:
            break
    to_evaluation_point(optimizer)
    return float(torch.cat([x(), y_N]).norm().nan_to_num(math.inf) / first)


def _leaves(
    values_N: Tensor, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, Tensor]]:
    for name, part in zip(shapes, _parts(values_N, shapes), strict=True):
        yield name, part.requires_grad_()


def _parts(values_N: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> list[Tensor]:
    pieces = values_N.split([math.prod(shape) for shape in shapes.values()])
    return [p.reshape(shape).clone() for p, shape in zip(pieces, shapes.values(), strict=True)]


def _rotation(seed: int) -> Tensor:
    q, _ = torch.linalg.qr(example(seed, N, N))
    return q


def _curvature(problem: Toy) -> Tensor:
    smallest, largest = map(math.log10, problem.eigenvalues)
    values_N = torch.logspace(smallest, largest, N, dtype=torch.float64)
    return _rotation(1) @ values_N.diag() @ _rotation(1).T
