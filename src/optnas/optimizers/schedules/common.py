"""Constant, cosine and linear schedules, each with an optional warm-up.

Symbols: epoch e counts from 1 to E; t = (e - 1) / E; all rates hold for a whole epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.base.schema import NotNegative

# (initial learning rate, epoch from 1, epochs) -> learning rate of that epoch
Schedule = Callable[[float, int, int], float]


def _with_warmup(after: Callable[[float, float], float], warmup_epochs: int) -> Schedule:
    """Rise linearly to the initial rate, lr e / (warmup + 1), then follow ``after``."""
    if warmup_epochs < 0:
        raise UserError(
            "must not be negative",
            key="warmup_epochs",
            value=warmup_epochs,
            remedy="change its value",
        )

    def rate(initial_lr: float, epoch: int, epochs: int) -> float:
        if epoch <= warmup_epochs:
            return initial_lr * epoch / (warmup_epochs + 1)
        return after(initial_lr, (epoch - 1 - warmup_epochs) / max(epochs - warmup_epochs, 1))

    return rate


def _end(final_lr: float, final_share: float) -> Callable[[float], float]:
    """The rate a schedule falls to, as a function of the one it begins with."""
    if not 0 <= final_share <= 1:
        raise UserError(
            "must be a share of the rate, from 0 to 1",
            key="final_share",
            value=final_share,
            remedy="choose one, such as 0.04",
        )
    if final_lr and final_share:
        raise UserError(
            f"the end is written already, as schedule.final_lr = {final_lr}",
            key="final_share",
            value=final_share,
            remedy="set schedule.final_lr=0 beside it, or leave it out",
        )
    return lambda lr: final_share * lr if final_share else final_lr


@register("schedule", "constant")
def constant(warmup_epochs: int = 0) -> Schedule:
    """lr(e) = lr.

    Args:
        warmup_epochs: epochs of linear rise.
    """
    return _with_warmup(lambda lr, t: lr, warmup_epochs)


# ``falls``: from the optimizer's rate to an absolute one, ``final_lr``.
@register("schedule", "cosine", falls=True)
def cosine(
    final_lr: NotNegative = 0.0, warmup_epochs: int = 0, final_share: float = 0.0
) -> Schedule:
    """lr(e) = final + (lr - final) (1 + cos(pi t)) / 2.

    Args:
        final_lr: the rate that would be reached one epoch after the last; above lr it is refused.
        warmup_epochs: epochs of linear rise; t then spans the rest.
        final_share: final as a share of lr, in place of ``final_lr``.

    Reference: torch's CosineAnnealingLR stepped once per epoch, T_max = E. Deviation: published
    search scripts of 2019 call the scheduler before the first epoch and skip its first value.
    """
    end = _end(final_lr, final_share)
    return _with_warmup(
        lambda lr, t: end(lr) + (lr - end(lr)) * (1 + math.cos(math.pi * t)) / 2, warmup_epochs
    )


@register("schedule", "linear", falls=True)
def linear(
    final_lr: NotNegative = 0.0, warmup_epochs: int = 0, final_share: float = 0.0
) -> Schedule:
    """lr(e) = lr + (final - lr) t.

    Args:
        final_lr: the rate that would be reached one epoch after the last; above lr it is refused.
        warmup_epochs: epochs of linear rise; t then spans the rest.
        final_share: final as a share of lr, in place of ``final_lr``.
    """
    end = _end(final_lr, final_share)
    return _with_warmup(lambda lr, t: lr + (end(lr) - lr) * t, warmup_epochs)
