"""Schedule-Free SGD and AdamW, from the package ``schedulefree``.

    y = (1 - mu) z + mu x;   z' = z - lr grad(y);   x' = (1 - c) x + c z'

Gradients are taken at y, the weights are judged at x; z is a plain SGD (or AdamW) sequence and c
falls like one over the number of steps. No schedule is needed: the average does its work. Between
epochs the leaves stand at x, where batch-norm statistics are collected anew.

Reference: Defazio et al., *The road less scheduled*, NeurIPS 2024.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from optnas.base.registry import register
from optnas.base.schema import Count, NotNegative, Share
from optnas.optimizers.signatures import imported

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

PACKAGE = "schedulefree"


@register("optimizer", "schedule-free-sgd", package=PACKAGE)
def schedule_free_sgd(
    params: Iterable[Tensor],
    lr: NotNegative = 1.0,
    momentum: Share = 0.9,
    weight_decay: NotNegative = 0.0,
    warmup_steps: Count = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> Optimizer:
    """Schedule-Free SGD.

    Args:
        params: the leaves.
        lr: learning rate; the package's default of 1.0 suits normalised problems.
        momentum: mu, the share of x in y, between 0 and 1 exclusive.
        weight_decay: coupled, taken at y.
        warmup_steps: steps of linear rise of the rate.
        r: power of the step number in the average's weights.
        weight_lr_power: power of the rate in the average's weights during warm-up.
    """
    optimizer: Optimizer = imported(PACKAGE, "schedule-free-sgd").SGDScheduleFree(
        params, lr, momentum, weight_decay, warmup_steps, r, weight_lr_power
    )
    return optimizer


@register("optimizer", "schedule-free-adamw", package=PACKAGE)
def schedule_free_adamw(
    params: Iterable[Tensor],
    lr: NotNegative = 0.0025,
    betas: tuple[Share, Share] = (0.9, 0.999),
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    warmup_steps: Count = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> Optimizer:
    """Schedule-Free AdamW.

    Args:
        params: the leaves.
        lr: learning rate.
        betas: share of x in y, and decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled, taken at y.
        warmup_steps: steps of linear rise of the rate.
        r: power of the step number in the average's weights.
        weight_lr_power: power of the rate in the average's weights during warm-up.
    """
    optimizer: Optimizer = imported(PACKAGE, "schedule-free-adamw").AdamWScheduleFree(
        params, lr, betas, eps, weight_decay, warmup_steps, r, weight_lr_power
    )
    return optimizer
