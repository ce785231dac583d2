"""The rules: registered functions of a trajectory ``run``; the parameters after it are settings.

    @register("stopping", "skips", needs=("skips",))
    def skips(run: Trajectory, skips: AtLeastOne = 2) -> Decision: ...

``needs`` names the fields of the trajectory, beside its epochs, that a rule reads. Every epoch is a
record; the curvature is evaluated at some epochs only, and the eigenvalue rule counts those
evaluations, not epochs. The epochs of a search begin with `FIRST_EPOCH`: a rule may watch epoch 0,
but stops at it or returns it only where a setting names it (``start=0``, ``epoch=0``).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from optnas.algorithms.growth import check_rule, growth
from optnas.base.records import FIRST_EPOCH
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, Count

SEEN = "decides from what it has seen"  # the exam's check that a rule looks at no later epoch


class Evaluations(NamedTuple):
    """The top eigenvalue of the alpha-Hessian where it was evaluated; epochs ascend."""

    epochs: list[int]
    values: list[float]

    def every(self, epochs: int) -> Evaluations:
        """Only those at multiples of so many epochs; 0 for all."""
        kept = [
            (epoch, value)
            for epoch, value in zip(*self, strict=True)
            if epochs == 0 or epoch % epochs == 0
        ]
        return Evaluations([epoch for epoch, _ in kept], [value for _, value in kept])


@dataclass(frozen=True)
class Trajectory:
    """What a run's records tell a rule; lists have one entry per epoch.

    Attributes:
        epochs: ascending.
        valid_loss: of the supernet, in nats; None where it is not finite.
        skips: edges of the derived cell that carry the identity.
        cells: the derived cells' strings.
        accuracy: benchmark accuracy of the derived cell in percent; None without a benchmark.
        curvature: the evaluations of the top eigenvalue.
    """

    epochs: list[int]
    valid_loss: list[float | None]
    skips: list[int]
    cells: list[str]
    accuracy: list[float | None]
    curvature: Evaluations

    @property
    def searched(self) -> range:
        """Places in the lists of the epochs of the search: all but epoch 0, before any step."""
        return range(bisect.bisect_left(self.epochs, FIRST_EPOCH), len(self.epochs))


class Decision(NamedTuple):
    """What a rule decided.

    Attributes:
        stop_epoch: where the search would have ended; None where the rule never stops it.
        return_epoch: the epoch whose cell is then returned, None likewise.
        asked: how often the rule had enough before it to decide.
    """

    stop_epoch: int | None
    return_epoch: int | None
    asked: int


@register("stopping", "eigenvalue", needs=("curvature",))
def eigenvalue(
    run: Trajectory,
    window: AtLeastOne = 5,
    ratio: float = 1.3,
    start: Count = 10,
    delta: AtLeastOne = 4,
    every: Count = 0,
) -> Decision:
    """Stop when the local mean of the top eigenvalue grows too fast; the rule of RobustDARTS.

    At evaluation i, with h = (window - 1) / 2 and m of `local_means`, so that m_{i-h} is the mean
    of the last ``window`` values: stop there, and return the cell of evaluation b, if

        m_{i-h} / m_b > ratio,    b = i - h - delta >= 0,    epoch of b >= start

    Args:
        run: the trajectory.
        window: evaluations in a local mean, an odd number.
        ratio: growth that stops the search.
        start: the earliest epoch whose cell may be returned; 0 admits epoch 0.
        delta: evaluations between the two local means.
        every: use only the evaluations at multiples of so many epochs; 0 for all.

    Raises:
        UserError: the window is even, or the ratio no positive number.

    Source: Zela et al., ICLR 2020, section 4, and its code, whose defaults these are (there every 2
    epochs). As there, an extra evaluation at a run's last epoch, closer to its predecessor than
    that to its own, enters the means but is not asked. Deviation: an evaluation that is in step is
    asked even if it is the last.
    """
    check_rule(window, ratio)
    epochs, values = run.curvature.every(every)
    found = growth(
        epochs,
        values,
        window=window,
        ratio=ratio,
        start=start,
        delta=delta,
        unasked=int(_ends_out_of_step(epochs)),
    )
    if found.at is None or found.since is None:
        return Decision(None, None, found.asked)
    return Decision(epochs[found.at], epochs[found.since], found.asked)


def _ends_out_of_step(epochs: Sequence[int]) -> bool:
    return len(epochs) > 2 and epochs[-1] - epochs[-2] < epochs[-2] - epochs[-3]


@register("stopping", "skips", needs=("skips",))
def skips(run: Trajectory, skips: AtLeastOne = 2) -> Decision:
    """Stop at the first epoch after 0 whose cell has so many identities; return that cell.

    Args:
        run: the trajectory.
        skips: the number of edges, of all kinds of cell together, as records count them.

    Source: Liang et al., DARTS+, 2019 (two or more in one cell). Their cell has 8 operations.
    Deviation: where a space has two kinds of cell, such as a normal and a reducing one, the default
    of 2 is reached by one in each, and not by two in one.
    """
    for asked, place in enumerate(run.searched, 1):
        if run.skips[place] >= skips:
            return Decision(run.epochs[place], run.epochs[place], asked)
    return Decision(None, None, len(run.searched))


@register("stopping", "patience", needs=("valid_loss",))
def patience(run: Trajectory, patience: AtLeastOne = 10) -> Decision:
    """Stop when the validation loss has had no new minimum for so many epochs; return the minimum.

    The first minimum is epoch 1: epoch 0 is before any step.

    Args:
        run: the trajectory.
        patience: the number of epochs.
    """
    lowest, at = math.inf, FIRST_EPOCH
    for asked, place in enumerate(run.searched, 1):
        epoch, loss = run.epochs[place], run.valid_loss[place]
        if loss is not None and loss < lowest:
            lowest, at = loss, epoch
        elif epoch - at >= patience:
            return Decision(epoch, at, asked)
    return Decision(None, None, len(run.searched))


@register(
    "stopping",
    "fixed",
    expected_failures={SEEN: "without an epoch it is the middle of a run whose end is known"},
)
def fixed(run: Trajectory, epoch: Count | None = None) -> Decision:
    """Stop at an epoch and return its cell.

    Args:
        run: the trajectory.
        epoch: the epoch; None is the middle of the recorded epochs from 1, rounded down.

    Returns:
        The decision; a run that is shorter is not stopped.
    """
    at = max(FIRST_EPOCH, (FIRST_EPOCH + run.epochs[-1]) // 2) if epoch is None else epoch
    return Decision(at, at, 1) if at in run.epochs else Decision(None, None, 0)


@register(
    "stopping",
    "oracle",
    needs=("accuracy",),
    expected_failures={SEEN: "it is no rule, but the bound: it looks at the whole run"},
)
def oracle(run: Trajectory) -> Decision:
    """The first epoch from 1 whose cell has the best accuracy of all: no rule, but the bound.

    Returns:
        The decision; never stopping without a benchmark.
    """
    known = [(a, -run.epochs[k]) for k in run.searched if (a := run.accuracy[k]) is not None]
    if not known:
        return Decision(None, None, 0)
    best = -max(known)[1]
    return Decision(best, best, 1)
