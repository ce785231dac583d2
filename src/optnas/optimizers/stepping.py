"""What the loop asks of an optimizer: a step, and to stand where it is trained or judged.

What an optimizer needs is said by its own signatures, see `optnas.optimizers.base`.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from optnas.optimizers.base import Evaluate


def take_step(optimizer: torch.optim.Optimizer, evaluate: Evaluate) -> None:
    """One step: the loss is evaluated once, or as often as the optimizer asks through a closure.

    Args:
        optimizer: the optimizer.
        evaluate: puts gradients into the leaves, at wherever they are, and returns the loss.
    """

    # torch declares a float; its own optimizers take a tensor as well.
    def closure() -> Any:
        with torch.enable_grad():
            return evaluate()

    if takes_closure(optimizer):
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()


def takes_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``step`` has a closure parameter without a default."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def parts(optimizer: torch.optim.Optimizer) -> list[torch.optim.Optimizer]:
    """An optimizer and all optimizers inside it."""
    inner = getattr(optimizer, "inner", ())
    return [optimizer, *(part for each in inner for part in parts(each))]


def averaging(optimizer: torch.optim.Optimizer) -> list[Any]:
    """Those of an optimizer's `parts` that are judged at another point than they are trained at."""
    return [
        part
        for part in parts(optimizer)
        if callable(getattr(part, "train", None)) and callable(getattr(part, "eval", None))
    ]


def count_on(optimizer: torch.optim.Optimizer, former: torch.optim.Optimizer) -> None:
    """Let a new optimizer count its steps on from those of the one whose place it takes.

    Args:
        optimizer: before its first step.
        former: of the same settings.
    """
    for part, of_former in zip(parts(optimizer), parts(former), strict=True):
        if callable(told := getattr(part, "count_on", None)):
            told(of_former)


def to_training_point(optimizer: torch.optim.Optimizer) -> None:
    """Move the leaves to where gradients are taken, if that is another point."""
    for part in averaging(optimizer):
        part.train()


def to_evaluation_point(optimizer: torch.optim.Optimizer) -> bool:
    """Move the leaves to where they are judged, if that is another point.

    Returns:
        Whether the optimizer has such a point.
    """
    found = averaging(optimizer)
    for part in found:
        part.eval()
    return bool(found)
