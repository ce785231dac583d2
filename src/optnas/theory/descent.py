"""Full-batch training of the theorem's cell by several optimizers; rates and elasticities.

An elasticity is by how many percent a quantity grows with one percent more of a weight on every
edge: d log q / d log weight, from a central difference at equal initial parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from optnas.theory.cell import (
    Cell,
    Parameters,
    Problem,
    forward,
    gram,
    initial,
    mean_squared,
    residuals,
)

OPTIMIZERS: Mapping[str, Callable[[Sequence[Tensor], float], torch.optim.Optimizer]] = {
    "gd": lambda leaves, rate: torch.optim.SGD(leaves, lr=rate),
    "momentum": lambda leaves, rate: torch.optim.SGD(leaves, lr=rate, momentum=0.9),
    "adam": lambda leaves, rate: torch.optim.Adam(leaves, lr=rate),
}
STEP = 0.05  # relative change of a weight in a central difference
HALVINGS = 12  # of a learning rate's bracket, in its logarithm


class Start(NamedTuple):
    """Where training begins: a problem, and the seed of the initial parameters."""

    problem: Problem
    seed: int

    def parameters(self, cell: Cell) -> Parameters:
        """Fresh initial parameters; the same for cells of equal sizes."""
        generator = torch.Generator().manual_seed(self.seed)
        return initial(cell, self.problem, generator)


def centred(cell: Cell, start: Start, residuals_N: Tensor | None = None) -> Start:
    """The same start with targets u(0) + y: the first residual is -y, whatever u(0) is.

    Args:
        cell: sizes and weights.
        start: problem and initial parameters.
        residuals_N: y; the problem's targets if not given.
    """
    wanted_N = start.problem.targets_N if residuals_N is None else residuals_N
    problem = start.problem._replace(targets_N=outputs(cell, start) + wanted_N)
    return start._replace(problem=problem)


class Trained(NamedTuple):
    """Losses before every step and after the last, and the parameters at the end."""

    losses: list[float]
    parameters: Parameters

    @property
    def decrease(self) -> float:
        """Decrease of log F per step, over all steps."""
        return math.log(self.losses[0] / self.losses[-1]) / (len(self.losses) - 1)

    def speed(self, level: float) -> float:
        """1 over the steps until F first falls to a level, log F taken as linear between steps.

        Where the level is not reached, the last step's slope goes on.
        """
        below = next((k for k, loss in enumerate(self.losses) if loss <= level), None)
        last = len(self.losses) - 1 if below is None else max(1, below)
        here, after = (math.log(self.losses[k]) for k in (last - 1, last))
        return 1 / (last - 1 + (here - math.log(level)) / (here - after))


def train(
    cell: Cell,
    start: Start,
    optimizer: str,
    rate: float,
    steps: int,
    watch: Callable[[int, Parameters], None] | None = None,
) -> Trained:
    """Train on all samples at once.

    Args:
        cell: sizes and weights.
        start: problem and initial parameters.
        optimizer: a key of `OPTIMIZERS`.
        rate: the learning rate.
        steps: how many.
        watch: looks at the parameters after so many steps, 0 and the last included.
    """
    parameters = start.parameters(cell)
    leaves = parameters.leaves()
    steps_of = OPTIMIZERS[optimizer](leaves, rate)
    losses = []
    for step in range(steps + 1):
        if watch is not None:
            watch(step, parameters)
        loss = mean_squared(residuals(cell, parameters, start.problem))
        losses.append(loss.item())
        if step < steps:
            steps_of.zero_grad()
            loss.backward()
            steps_of.step()
    return Trained(losses, parameters)


def stable_rate(cell: Cell, start: Start, share: float = 0.5) -> float:
    """A share of n / lambda_max(G(0)); of a linear model, gradient descent diverges beyond 2."""
    whole = gram(cell, start.parameters(cell), start.problem.images_NCP).whole
    return share * len(whole) / float(torch.linalg.eigvalsh(whole)[-1])


def matched_rate(cell: Cell, start: Start, optimizer: str, reference: float) -> float:
    """The learning rate whose first step lowers the loss as much as that of gradient descent.

    Args:
        cell: sizes and weights.
        start: problem and initial parameters.
        optimizer: a key of `OPTIMIZERS`.
        reference: of gradient descent.

    Returns:
        The smallest such rate of a bracket from 1e-7 to 1, by bisection.
    """
    if optimizer != "adam":  # the first step of momentum is that of gradient descent
        return reference
    wanted = train(cell, start, "gd", reference, 1).losses[1]
    low, high = math.log(1e-7), 0.0
    # From below, as far as the loss falls with every doubling.
    rate, loss = low, math.inf
    while rate < high and loss > wanted:
        low, rate = rate, rate + math.log(2)
        loss = train(cell, start, optimizer, math.exp(rate), 1).losses[1]
    high = rate
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        falls_short = train(cell, start, optimizer, math.exp(middle), 1).losses[1] > wanted
        low, high = (middle, high) if falls_short else (low, middle)
    return math.exp(high)


def elasticities(
    quantities: Callable[[Cell], Mapping[str, float]], cell: Cell, auxiliary: float = 0.0
) -> dict[str, dict[str, float]]:
    """Elasticities of quantities in all skip and in all convolution weights.

    Args:
        quantities: by name, of a cell; positive.
        cell: sizes and weights, without the auxiliary skip.
        auxiliary: weight of an auxiliary skip, which does not move.

    Returns:
        ``skip`` and ``conv``, then by name of the quantity.
    """
    found = {}
    for kind in ("skip", "conv"):
        low, high = (
            quantities(cell.scaled(**{kind: factor}, auxiliary=auxiliary))
            for factor in (1 - STEP, 1 + STEP)
        )
        width = math.log((1 + STEP) / (1 - STEP))
        found[kind] = {name: math.log(high[name] / low[name]) / width for name in high}
    return found


def update_sensitivity(cell: Cell, start: Start, auxiliary: float = 0.0) -> float:
    """How far the first gradient moves with one percent more skip: |d g / d log a2| / |g|."""

    def gradient(factor: float) -> Tensor:
        parameters = start.parameters(cell)
        moved = cell.scaled(skip=factor, auxiliary=auxiliary)
        problem = centred(moved, start).problem
        loss = mean_squared(residuals(moved, parameters, problem))
        return torch.cat(
            [each.flatten() for each in torch.autograd.grad(loss, parameters.leaves())]
        )

    low, here, high = (gradient(factor) for factor in (1 - STEP, 1.0, 1 + STEP))
    width = math.log((1 + STEP) / (1 - STEP))
    return float((high - low).norm() / width / here.norm())


def outputs(cell: Cell, start: Start) -> Tensor:
    """u(0) of every sample, [N]."""
    with torch.no_grad():
        return forward(cell, start.parameters(cell), start.problem.images_NCP).outputs_N
