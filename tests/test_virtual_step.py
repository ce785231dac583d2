"""The virtual step against torch's own optimizers, built with ``differentiable=True``.

The twin copies the live optimizer's state into such an optimizer over non-leaf copies of the
weights and lets it step: value and derivative are then torch's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.bilevel import GradientsAt
from optnas.base.errors import UserError
from optnas.optimizers import signatures
from optnas.optimizers.virtual import RULES, coupled_decay, virtual_step, virtual_steps

TIGHT = {"rtol": 1e-12, "atol": 1e-13}
SHAPES = {"a": (3, 2), "b": (4,), "c": ()}

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "maximize": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"betas": (0.5, 0.9), "weight_decay": 0.1, "eps": 1e-3}),
    ("Adam", {"amsgrad": True, "betas": (0.5, 0.5)}),
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adam", {"maximize": True, "weight_decay": 0.1}),
    ("AdamW", {"weight_decay": 0.1}),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"weight_decay": 0.1, "alpha": 0.7}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1, "maximize": True}),
]
cases = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda x: str(x))
ages = pytest.mark.parametrize("age", [0, 1, 3])


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    """torch keeps Adam's step count in the default type, and its differentiable path computes
    bias corrections in that type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def random_tensors(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES.values()
    ]


def live(
    name: str, options: dict[str, Any], age: int
) -> tuple[dict[str, Tensor], torch.optim.Optimizer]:
    """Weights and their optimizer after some real steps of falling gradients."""
    weights = dict(zip(SHAPES, (w.requires_grad_() for w in random_tensors(0)), strict=True))
    optimizer = getattr(torch.optim, name)(list(weights.values()), lr=0.05, **options)
    for step in range(age):
        for w, g in zip(weights.values(), random_tensors(10 + step), strict=True):
            w.grad = g / (1 + step)
        optimizer.step()
    return weights, optimizer


def torch_step(
    weights: dict[str, Tensor], optimizer: torch.optim.Optimizer, gradients: list[Tensor]
) -> list[Tensor]:
    """The same optimizer's step by torch itself, differentiable in the gradients."""
    # torch detaches the very first momentum buffer of SGD and so loses the derivative of that step;
    # from a buffer of zeros, without dampening, it takes the same step with its derivative.
    (group,) = optimizer.param_groups
    moved = [w.detach().clone().requires_grad_().clone() for w in weights.values()]
    options = {k: group[k] for k in signatures.torch_signature(type(optimizer).__name__)}
    first = not optimizer.state and options.get("dampening") is not None
    options |= {"differentiable": True} | ({"dampening": 0.0} if first else {})
    twin = type(optimizer)(moved, **options)
    for there, w, g in zip(moved, weights.values(), gradients, strict=True):
        buffer = {"momentum_buffer": torch.zeros_like(w)} if first else {}
        twin.state[there] = buffer | copy.deepcopy(optimizer.state.get(w, {}))
        there.grad = g
    twin.step()
    return moved


@cases
@ages
def test_value_and_derivative_are_torchs(name: str, options: dict[str, Any], age: int) -> None:
    weights, optimizer = live(name, options, age)
    ours, theirs = ([g.requires_grad_() for g in random_tensors(20)] for _ in range(2))
    found = virtual_step(optimizer, weights)(ours)
    expected = torch_step(weights, optimizer, [g.clone() for g in theirs])
    assert_close(list(found.values()), expected, **TIGHT)
    v = random_tensors(30)
    assert_close(
        torch.autograd.grad(list(found.values()), ours, v),
        torch.autograd.grad(expected, theirs, v),
        **TIGHT,
    )


@cases
@ages
def test_it_is_the_step_the_optimizer_then_takes(
    name: str, options: dict[str, Any], age: int
) -> None:
    weights, optimizer = live(name, options, age)
    before = copy.deepcopy((weights, optimizer.state_dict()))
    gradients = random_tensors(20)
    with torch.no_grad():
        found = virtual_step(optimizer, weights)(gradients)
    assert_equal((weights, optimizer.state_dict()), before)
    for w, g in zip(weights.values(), gradients, strict=True):
        w.grad = g
    optimizer.step()
    assert_close(found, {n: w.detach() for n, w in weights.items()}, **TIGHT)


class OfAGpu(torch.Tensor):
    """A count as a fused step has it: on the device, in single precision, and not to be read."""

    is_cuda = True  # type: ignore[assignment]

    def __float__(self) -> float:
        raise AssertionError("a step waits for the GPU")


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_a_count_on_the_device_is_raised_to_in_double_precision(name: str) -> None:
    """1 - 0.999^t in single precision is off by 1e-5 at first."""
    weights, optimizer = live(name, {}, 1)
    gradients = random_tensors(20)
    with torch.no_grad():
        expected = virtual_step(optimizer, weights)(gradients)
        for leaf in weights.values():
            count = optimizer.state[leaf]["step"].float()
            optimizer.state[leaf]["step"] = count.as_subclass(OfAGpu)
        found = virtual_step(optimizer, weights)(gradients)
    for key, each in found.items():
        assert_close(each.as_subclass(Tensor), expected[key], **TIGHT)


@cases
@ages
def test_steps_after_one_another_are_those_it_then_takes(
    name: str, options: dict[str, Any], age: int
) -> None:
    weights, optimizer = live(name, options, age)
    before = copy.deepcopy((weights, optimizer.state_dict()))

    def at(k: int) -> GradientsAt:
        return lambda weights: [w.detach().cos() / (1 + k) for w in weights.values()]

    found = virtual_steps(optimizer, weights)([at(k) for k in range(3)])
    assert_equal((weights, optimizer.state_dict()), before)
    for k in range(3):
        for w, g in zip(weights.values(), at(k)(weights), strict=True):
            w.grad = g
        optimizer.step()
    assert_close(found, {n: w.detach() for n, w in weights.items()}, **TIGHT)


def assert_equal(left: Any, right: Any) -> None:
    assert_close(left, right, rtol=0, atol=0)


@cases
@ages
def test_zero_gradients_have_a_finite_derivative(
    name: str, options: dict[str, Any], age: int
) -> None:
    """Such as those of a filter no operation weight lets through."""
    weights, optimizer = live(name, options, age)
    gradients = [torch.zeros_like(g).requires_grad_() for g in random_tensors(20)]
    found = list(virtual_step(optimizer, weights)(gradients).values())
    derivative = torch.autograd.grad(found, gradients, random_tensors(30))
    assert all(bool(torch.isfinite(t).all()) for t in (*found, *derivative))


@cases
@ages
def test_it_steps_from_given_weights_with_the_live_buffers(
    name: str, options: dict[str, Any], age: int
) -> None:
    """And is differentiable in them: torch's own step of an optimizer moved there."""
    weights, optimizer = live(name, options, age)
    there = [w.requires_grad_() for w in random_tensors(40)]
    gradients = random_tensors(20)
    found = virtual_step(optimizer, weights)(gradients, dict(zip(SHAPES, there, strict=True)))
    slopes = torch.autograd.grad(list(found.values()), there, random_tensors(30))
    with torch.no_grad():
        for w, at in zip(weights.values(), there, strict=True):
            w.copy_(at)
    for w, g in zip(weights.values(), gradients, strict=True):
        w.grad = g.clone()
    expected = differentiable_in_weights(weights, optimizer, gradients)
    assert_close(slopes, expected, rtol=1e-9, atol=1e-9)
    optimizer.step()
    assert_close(list(found.values()), [w.detach() for w in weights.values()], **TIGHT)


def differentiable_in_weights(
    weights: dict[str, Tensor], optimizer: torch.optim.Optimizer, gradients: list[Tensor]
) -> list[Tensor]:
    """v' d w' / d w at fixed gradients, by torch's own differentiable step."""
    (group,) = optimizer.param_groups
    options = {k: group[k] for k in signatures.torch_signature(type(optimizer).__name__)}
    begin = [w.detach().clone().requires_grad_() for w in weights.values()]
    moved = [w.clone() for w in begin]
    twin = type(optimizer)(moved, **{**options, "differentiable": True})
    for there, w, g in zip(moved, weights.values(), gradients, strict=True):
        state = copy.deepcopy(optimizer.state.get(w, {}))
        if not state and options.get("dampening") is not None:
            # torch detaches the very first buffer; a buffer of zeros gives the same step.
            twin.param_groups[0]["dampening"] = 0.0
            state = {"momentum_buffer": torch.zeros_like(w)}
        twin.state[there] = state
        there.grad = g.clone()
    twin.step()
    return list(torch.autograd.grad(moved, begin, random_tensors(30)))


@cases
@ages
def test_the_decay_is_the_one_that_joins_the_gradient(
    name: str, options: dict[str, Any], age: int
) -> None:
    """The step with decay d is that of g + d w without; one that acts apart counts as none."""
    weights, optimizer = live(name, options, age)
    decay = coupled_decay(optimizer, weights)
    apart = name == "AdamW" or options.get("decoupled_weight_decay", False)
    assert set(decay.values()) == {0.0 if apart else options.get("weight_decay", 0.0)}
    if apart:
        return
    gradients, sign = random_tensors(20), -1 if options.get("maximize") else 1
    found = virtual_step(optimizer, weights)(gradients)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    joined = [
        g + sign * decay[n] * w.detach()
        for g, (n, w) in zip(gradients, weights.items(), strict=True)
    ]
    assert_close(found, virtual_step(optimizer, weights)(joined), **TIGHT)


def test_each_weight_has_the_decay_of_its_group() -> None:
    one, other = (torch.ones(2, requires_grad=True) for _ in range(2))
    groups = [{"params": [one], "weight_decay": 0.5}, {"params": [other], "weight_decay": 0.0}]
    decay = coupled_decay(torch.optim.SGD(groups, lr=0.1), {"a": one, "b": other})
    assert decay == {"a": 0.5, "b": 0.0}
    with pytest.raises(UserError, match="not of Adadelta"):
        coupled_decay(torch.optim.Adadelta([one]), {"w": one})


def test_the_learning_rate_is_read_when_called() -> None:
    weights, optimizer = live("SGD", {}, 0)
    step = virtual_step(optimizer, weights)
    optimizer.param_groups[0]["lr"] = 0.5
    gradients = random_tensors(20)
    expected = {
        n: w.detach() - 0.5 * g for (n, w), g in zip(weights.items(), gradients, strict=True)
    }
    assert_close(step(gradients), expected)


def test_every_rule_is_of_an_optimizer_of_torch_that_is_offered() -> None:
    assert set(RULES) <= signatures.torch_optimizers().keys() - signatures.REFUSED.keys()


def test_a_step_without_a_rule_is_refused() -> None:
    leaf = torch.ones(2, requires_grad=True)
    step = virtual_step(torch.optim.Adadelta([leaf]), {"w": leaf})
    with pytest.raises(UserError, match="is known of SGD, Adam, AdamW, RMSprop, not of Adad"):
        step([leaf.detach()])
