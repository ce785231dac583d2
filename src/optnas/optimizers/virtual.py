"""The step an optimizer would take from its live state, as a differentiable function.

The unrolled hypergradient needs w'(g) = w - (what the optimizer would subtract for gradient g),
with its Jacobian in g, and nothing of the live optimizer may change. Each function below restates
one of torch's update rules; tests compare value and derivative with torch's own optimizers built
with ``differentiable=True``. Importable without torch, so that settings can be checked.

Symbols: w weight, g gradient, lr learning rate, wd weight decay, t step count (from 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optnas.algorithms.bilevel import GradientsAt, VirtualStep, VirtualSteps, Weights
from optnas.base.errors import UserError
from optnas.base.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

State = Mapping[str, Any]
Group = Mapping[str, Any]
# w, g, the leaf's state and its group -> w' and the state after the step
Rule = Callable[["Tensor", "Tensor", State, Group], tuple["Tensor", State]]


def _sgd(w: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """SGD.

    b = mu b + (1 - dampening) (g + wd w); w' = w - lr b, or w - lr (g + wd w + mu b) (Nesterov).
    The very first buffer is g + wd w itself, without dampening.

    Returns:
        w' and the state after the step.
    """
    g = g + group["weight_decay"] * w
    mu = group["momentum"]
    if not mu:
        return w - group["lr"] * g, {}
    buffer = state.get("momentum_buffer")
    b = g if buffer is None else mu * buffer + (1 - group["dampening"]) * g
    g = g + mu * b if group["nesterov"] else b
    return w - group["lr"] * g, {"momentum_buffer": b}


def _adam(w: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """Adam and AdamW.

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w' = w - lr m^ / (sqrt(v^) + eps), with
    m^ = m / (1 - b1^t), v^ = v / (1 - b2^t). Weight decay joins g (coupled) or shrinks w by
    1 - lr wd beforehand (decoupled). AMSGrad divides by the largest v so far.

    Returns:
        w' and the state after the step.
    """
    lr, (b1, b2) = group["lr"], group["betas"]
    if group.get("decoupled_weight_decay", False):
        w = w * (1 - lr * group["weight_decay"])
    else:
        g = g + group["weight_decay"] * w
    count = state.get("step", 0)
    # On a GPU while a graph is recorded, where nothing may be read, and always of a fused step,
    # which counts in single precision: 1 - b2^t would be wrong in the fifth digit at first.
    t = (count.double() if getattr(count, "is_cuda", False) else float(count)) + 1
    m = b1 * state.get("exp_avg", torch.zeros_like(w)) + (1 - b1) * g
    v = b2 * state.get("exp_avg_sq", torch.zeros_like(w)) + (1 - b2) * g * g
    after = {"step": t, "exp_avg": m, "exp_avg_sq": v}
    if group["amsgrad"]:
        v = torch.maximum(state.get("max_exp_avg_sq", torch.zeros_like(w)), v)
        after["max_exp_avg_sq"] = v
    denominator = _root(v) / (1 - b2**t) ** 0.5 + group["eps"]
    return w - lr / (1 - b1**t) * m / denominator, after


def _adamw(w: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """AdamW is Adam with decoupled decay; older torch does not say so in the group."""
    return _adam(w, g, state, {**group, "decoupled_weight_decay": True})


def _rmsprop(w: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
    """RMSprop.

    v = a v + (1 - a) g^2; d = g / (sqrt(v) + eps); with momentum b = mu b + d; w' = w - lr d.
    Centred: v - (a m + (1 - a) g)^2 stands under the root.

    Returns:
        w' and the state after the step.
    """
    a = group["alpha"]
    g = g + group["weight_decay"] * w
    v = a * state.get("square_avg", torch.zeros_like(w)) + (1 - a) * g * g
    after = {"square_avg": v}
    if group["centered"]:
        after["grad_avg"] = mean = a * state.get("grad_avg", torch.zeros_like(w)) + (1 - a) * g
        v = v - mean * mean
    d = g / (_root(v) + group["eps"])
    if group["momentum"] > 0:
        d = group["momentum"] * state.get("momentum_buffer", torch.zeros_like(w)) + d
        after["momentum_buffer"] = d
    return w - group["lr"] * d, after


def _root(v: Tensor) -> Tensor:
    """The square root; its derivative at 0 (a weight that never saw a gradient) is 0 here."""
    positive = v > 0
    return torch.where(positive, torch.where(positive, v, 1.0).sqrt(), 0.0)


# By the name of the class in torch.optim.
RULES: dict[str, Rule] = {"SGD": _sgd, "Adam": _adam, "AdamW": _adamw, "RMSprop": _rmsprop}


def not_known(optimizer: str, key: str = "weight_optimizer.name", value: str = "") -> UserError:
    """The error of a virtual step of another optimizer than those of `RULES`.

    Args:
        optimizer: its name.
        key: of the setting that wants the step.
        value: its value; the optimizer by default.
    """
    return UserError(
        f"a virtual step is known of {', '.join(RULES)}, not of {optimizer}",
        key=key,
        value=value or optimizer,
        remedy="use one of those for weight_optimizer.name, or algorithm.hypergradient=first-order",
    )


def virtual_step(optimizer: torch.optim.Optimizer, live: Mapping[str, Tensor]) -> VirtualStep:
    """The optimizer's next step as a function of the gradients.

    Reads live state, learning rate and weight decay when called; changes nothing. Any optimizer may
    be given as long as the step is not called: a first-order search never does.

    Args:
        optimizer: one of `RULES` if the step is called.
        live: the network weights by name, each a leaf of the optimizer.

    Returns:
        Gradients, in the order of ``live``, and perhaps where the step begins -> weights after
        the step, by name. A call with another optimizer is a `UserError`.
    """

    def step(gradients: Sequence[Tensor], weights: Weights | None = None) -> dict[str, Tensor]:
        begun = {n: leaf.detach() for n, leaf in live.items()} if weights is None else weights
        after, _ = _moved(optimizer, live, gradients, begun, _states(optimizer, live))
        return after

    return step


def virtual_steps(optimizer: torch.optim.Optimizer, live: Mapping[str, Tensor]) -> VirtualSteps:
    """The optimizer's next steps, one after another, as a function of the gradients at each.

    Buffers begin as the live ones and go on from step to step, as in the optimizer; the learning
    rate stays. Nothing live is changed.

    Args:
        optimizer: as for `virtual_step`.
        live: as for `virtual_step`.

    Returns:
        For each step the gradients as a function of the weights -> weights after the last step.
    """

    def steps(gradients_at: Sequence[GradientsAt]) -> dict[str, Tensor]:
        weights = {name: leaf.detach().requires_grad_() for name, leaf in live.items()}
        states = _states(optimizer, live)
        for gradients in gradients_at:
            weights, states = _moved(optimizer, live, gradients(weights), weights, states)
        return weights

    return steps


def _states(optimizer: torch.optim.Optimizer, live: Mapping[str, Tensor]) -> dict[str, State]:
    return {name: optimizer.state.get(leaf, {}) for name, leaf in live.items()}


def _moved(
    optimizer: torch.optim.Optimizer,
    live: Mapping[str, Tensor],
    gradients: Sequence[Tensor],
    weights: Weights,
    states: Mapping[str, State],
) -> tuple[dict[str, Tensor], dict[str, State]]:
    """Weights and states after a step, by name."""
    rule, after, left = _rule(optimizer), {}, {}
    group_of = {leaf: group for group in optimizer.param_groups for leaf in group["params"]}
    for (name, leaf), g in zip(live.items(), gradients, strict=True):
        group = group_of[leaf]
        sign = -1.0 if group["maximize"] else 1.0
        after[name], left[name] = rule(weights[name], sign * g, states[name], group)
    return after, left


def coupled_decay(optimizer: torch.optim.Optimizer, weights: Weights) -> dict[str, float]:
    """By name, the d of the step's map: it moves w along its gradient plus d w.

    Args:
        optimizer: one of `RULES`, else a `UserError`.
        weights: the network weights by name, each a leaf of the optimizer.

    Returns:
        The group's weight decay; 0 where it acts apart from the gradient, as in AdamW.
    """
    apart = _rule(optimizer) is _adamw
    decay_of = {
        leaf: 0.0
        if apart or group.get("decoupled_weight_decay", False)
        else float(group["weight_decay"])
        for group in optimizer.param_groups
        for leaf in group["params"]
    }
    return {name: decay_of[leaf] for name, leaf in weights.items()}


def _rule(optimizer: torch.optim.Optimizer) -> Rule:
    # Looked up when a step is asked for, not before: a first-order search never asks.
    name = type(optimizer).__name__
    if name not in RULES or getattr(torch.optim, name) is not type(optimizer):
        raise not_known(name)
    return RULES[name]
