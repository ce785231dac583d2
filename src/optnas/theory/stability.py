"""The weight optimizer near a minimum: how stable its steps are, and where its noise leads.

With H the Hessian of the train loss, P a fixed positive diagonal, c the variance of a minibatch's
gradient, and steps w <- w - eta P^-1 v of a running gradient v,

    SGD, v <- mu v + (1 - d) g:     lambda_max(P^-1/2 H P^-1/2) > 2 (1 + mu) / (eta (1 - d))
    Adam, v <- b1 v + (1 - b1) g:   lambda_max(P^-1/2 H P^-1/2) > 2 (1 + b1) / (eta (1 - b1))

is where steps grow; P = 1 of SGD, sqrt(v_hat) + eps of Adam. Of Nesterov's momentum the first is
2 (1 + mu) / (eta (1 + 2 mu)). Noise holds w of a
quadratic loss at a mean rise of L that for small steps does not depend on H:

    sum_j gain c_j / (4 p_j),    gain = eta (1 - d) / (1 - mu) of SGD, eta of Adam

Source: the thresholds are those of heavy ball and of Cohen et al., Adaptive Gradient Methods at the
Edge of Stability, 2022; weight decay is left out of H, and the bias correction of the mean of
Adam's gradients is taken as 1.

Shapes: W all weights in one vector, D draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optnas.theory.flatness import Loss, Weights

DISPLACEMENT = 0.05  # its length, as a share of the norm of w


class Dynamics(NamedTuple):
    """An optimizer's steps near a minimum, at the moment.

    Attributes:
        threshold: of lambda_max(P^-1/2 H P^-1/2), beyond which steps grow.
        gain: how far a constant unit gradient moves w in a step, in units of P^-1.
        scale_W: P.
    """

    threshold: float
    gain: float
    scale_W: Tensor


def dynamics_of(optimizer: torch.optim.Optimizer) -> Dynamics | None:
    """The steps of a live optimizer.

    Args:
        optimizer: of all weights in one group, in their order.

    Returns:
        None of one that is not known here, at a rate of 0, and of Adam while a leaf had no gradient
        yet, as before its first step.
    """
    known = KNOWN.get(type(optimizer))
    if known is None or len(optimizer.param_groups) > 1:
        return None
    (group,) = optimizer.param_groups
    return known(optimizer, group) if group["lr"] > 0 else None


def _heavy_ball(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Dynamics:
    momentum, rate = group["momentum"], group["lr"] * (1 - group["dampening"])
    looks_ahead = 1 + 2 * momentum if group["nesterov"] else 1.0
    ones_W = torch.cat([torch.ones_like(leaf).flatten() for leaf in group["params"]])
    return Dynamics(
        2 * (1 + momentum) / (rate * looks_ahead), rate / (1 - momentum), ones_W.detach()
    )


def _adam(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Dynamics | None:
    if any(leaf not in optimizer.state for leaf in group["params"]):
        return None
    (b1, b2), rate = group["betas"], group["lr"]
    key = "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"
    scales = []
    for leaf in group["params"]:
        state = optimizer.state[leaf]
        corrected = state[key] / (1 - b2 ** float(state["step"]))
        scales.append((corrected.sqrt() + group["eps"]).flatten())
    return Dynamics(2 * (1 + b1) / (rate * (1 - b1)), rate, torch.cat(scales).detach())


KNOWN: dict[type, Callable[[torch.optim.Optimizer, dict[str, Any]], Dynamics | None]] = {
    torch.optim.SGD: _heavy_ball,
    torch.optim.Adam: _adam,
    torch.optim.AdamW: _adam,
}


def preconditioned(
    product: Callable[[Tensor], Tensor], scale_W: Tensor
) -> Callable[[Tensor], Tensor]:
    """Products of P^-1/2 H P^-1/2 with a vector, from those of H.

    Args:
        product: H times a vector.
        scale_W: P.
    """
    root_W = scale_W.double().cpu().rsqrt()
    return lambda vector: root_W * product(root_W * vector).double().cpu()


def rise(loss: Loss, weights: Weights, directions_DW: Tensor) -> float:
    """Mean rise of L at displacements of 5 % of the norm of w, along directions.

    Args:
        loss: of weights.
        weights: where.
        directions_DW: of any length.
    """
    flat_W = torch.cat([each.flatten() for each in weights.values()])
    rises = []
    with torch.no_grad():
        here = loss(weights)
        for direction_W in directions_DW.to(flat_W):
            step_W = direction_W * (DISPLACEMENT * flat_W.norm() / direction_W.norm())
            parts = (flat_W + step_W).split([each.numel() for each in weights.values()])
            moved = {
                name: part.view_as(each)
                for part, (name, each) in zip(parts, weights.items(), strict=True)
            }
            rises.append(float(loss(moved) - here))
    return sum(rises) / len(rises)
