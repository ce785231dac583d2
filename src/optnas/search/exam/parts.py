"""Checks of the four parts, as functions of tensors. Shapes: E edges, O operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from optnas.algorithms.base import (
    ComputeHypergradient,
    Discretize,
    Draw,
    Perturb,
    Progress,
    Relax,
)
from optnas.algorithms.bilevel import Bilevel, Hypergradient, LossValue, Weights
from optnas.search.exam.base import SPACE, demand, example, example_alpha, repeated, untouched

MOMENTS = (Progress(0, 4), Progress(1, 4), Progress(3, 4), Progress(4, 4))
# The same with the randomness of a step: where a relaxation is trained, not judged.
DRAWN = tuple(Progress(m.epoch, m.epochs, Draw(m.epoch)) for m in MOMENTS[1:])
# Of a part; those of relaxations and hypergradients also of the number of alpha's further columns.
PartChecks = dict[str, Callable[..., None]]


def _like(found: Any, expected: Tensor, what: str) -> None:
    demand(isinstance(found, Tensor), f"{what} is a {type(found).__name__}, not a tensor")
    demand(
        found.shape == expected.shape,
        f"{what} has shape {list(found.shape)}, not {list(expected.shape)}",
    )
    demand(found.dtype == expected.dtype, f"{what} is {found.dtype}, not {expected.dtype}")
    demand(bool(torch.isfinite(found).all()), f"{what} is not finite")


# --- relaxations --------------------------------------------------------------------------------


def _keeps_shape(relax: Relax, columns: int = 0) -> None:
    for moment in (*MOMENTS, *DRAWN):
        alpha_EO = example_alpha(columns)
        with untouched(alpha=alpha_EO):
            found = relax(alpha_EO, moment)
        _like(found, example_alpha(), f"the output in epoch {moment.epoch}")


def _is_repeatable(relax: Relax, columns: int = 0) -> None:
    repeated(lambda: [relax(example_alpha(columns), moment) for moment in (*MOMENTS, *DRAWN)])


def _is_differentiable(relax: Relax, columns: int = 0) -> None:
    for moment in (*MOMENTS, *DRAWN):
        alpha_EO = example_alpha(columns).requires_grad_()
        found = relax(alpha_EO, moment)
        demand(found.requires_grad, "no gradient reaches alpha: the output is detached from it")
        (gradient_EO,) = torch.autograd.grad(
            (example(8, *found.shape) * found).sum(), alpha_EO, allow_unused=True
        )
        demand(gradient_EO is not None, "no gradient reaches alpha")
        _like(gradient_EO, alpha_EO, "the gradient of alpha")
        demand(bool(gradient_EO.any()), "the gradient of alpha is zero everywhere")
        for place in range(SPACE.operation_count, alpha_EO.shape[1]):
            reached = bool(gradient_EO[:, place].any())
            demand(reached, f"no gradient reaches column {place} of alpha")


def draws_as_it_says(relax: Relax, says: bool, columns: int = 0) -> None:
    """A relaxation uses the draw of a step if and only if it is registered so.

    Args:
        relax: the relaxation.
        says: whether it is.
        columns: further columns of alpha.
    """
    alpha_EO = example_alpha(columns)
    judged_EO = relax(alpha_EO, Progress(1, 4))
    drawn = [relax(alpha_EO, Progress(1, 4, Draw(seed))) for seed in range(8)]
    uses = any(not torch.equal(judged_EO, each) for each in drawn)
    demand(says or not uses, 'uses progress.draw, so register it with needs=("draw",)')
    demand(uses or not says, "is registered to need a draw, and eight draws change nothing")


def _is_twice_differentiable(relax: Relax, columns: int = 0) -> None:
    """The derivative of the gradient along a direction, by autograd and by differences."""
    alpha_EO, step = example_alpha(columns), 1e-5
    along_EO = example(9, *alpha_EO.shape)

    def value(alpha_EO: Tensor) -> Tensor:
        op_weights_EO = relax(alpha_EO, MOMENTS[1])
        return (example(8, *op_weights_EO.shape) * op_weights_EO).sum()

    def gradient(shift: float) -> Tensor:
        shifted_EO = (alpha_EO + shift * along_EO).requires_grad_()
        return torch.autograd.grad(value(shifted_EO), shifted_EO)[0]

    _, found_EO = torch.autograd.functional.hvp(value, alpha_EO, along_EO)
    demand(bool(torch.isfinite(found_EO).all()), "its second derivative is not finite")
    slope_EO = (gradient(step) - gradient(-step)) / (2 * step)
    off = float((found_EO - slope_EO).abs().max() / (1 + slope_EO.abs().max()))
    demand(off < 1e-4, f"its second derivative is not the slope of its first, off by {off:.2g}")


RELAXATION: PartChecks = {
    "keeps shape and type, stays finite, leaves alpha alone": _keeps_shape,
    "repeatable; no global generator": _is_repeatable,
    "differentiable in alpha": _is_differentiable,
    "twice differentiable, for the alpha-Hessian": _is_twice_differentiable,
}

# --- perturbations ------------------------------------------------------------------------------


def _train_loss(op_weights_EO: Tensor) -> Tensor:
    return ((op_weights_EO - example(9, *op_weights_EO.shape)) ** 2).sum()


def _perturbed(perturb: Perturb, moment: Progress) -> Tensor:
    op_weights_EO = example_alpha().softmax(-1)
    generator = torch.Generator().manual_seed(5)
    with untouched(**{"the operation weights": op_weights_EO}):
        found = perturb(op_weights_EO, _train_loss, moment, generator)
    _like(found, op_weights_EO, f"the output in epoch {moment.epoch}")
    return found.detach()


def _keeps_inputs(perturb: Perturb) -> None:
    for moment in MOMENTS[1:]:
        _perturbed(perturb, moment)


def _keeps_row_sums(perturb: Perturb) -> None:
    for moment in MOMENTS[1:]:
        off = float((_perturbed(perturb, moment).sum(-1) - 1).abs().max())
        demand(off < 1e-6, f"rows that summed to 1 are off by {off:.2g}")


def _draws_from_its_generator(perturb: Perturb) -> None:
    repeated(lambda: [_perturbed(perturb, moment) for moment in MOMENTS[1:]])


PERTURBATION: PartChecks = {
    "keeps shape and type, stays finite, leaves the operation weights alone": _keeps_inputs,
    "keeps the sums of rows": _keeps_row_sums,
    "draws from the given generator only": _draws_from_its_generator,
}

# --- hypergradients -----------------------------------------------------------------------------


def _problem(weight: Tensor) -> Bilevel:
    """L_train = |w - C A|^2 / 2, L_val = |w - t|^2 / 2 + |A|^2 / 2, w' = w - g / 10."""
    mix = example(10, weight.numel(), SPACE.edge_count * SPACE.operation_count)

    def train(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
        return LossValue(((weights["w"] - mix @ op_weights_EO.reshape(-1)) ** 2).sum() / 2, None)

    def valid(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
        outer = (weights["w"] - example(11, weight.numel())) ** 2
        return LossValue(outer.sum() / 2 + (op_weights_EO**2).sum() / 2, None)

    return Bilevel(
        weights={"w": weight},
        train_loss=train,
        valid_loss=valid,
        virtual_step=lambda gradients, weights=None: {
            "w": (weight.detach() if weights is None else weights["w"]) - gradients[0] / 10
        },
        update=False,
        progress=MOMENTS[2],
        weight_decay=lambda: {"w": 0.0},
        more_train_batches=lambda count: [train] * count,
    )


def _relaxed(alpha_EO: Tensor) -> Tensor:
    return alpha_EO[:, : SPACE.operation_count].softmax(-1)


def _gradient(compute: ComputeHypergradient, columns: int = 0) -> Tensor | None:
    weight, alpha_EO = example(12, 8).requires_grad_(), example_alpha(columns).requires_grad_()
    with untouched(alpha=alpha_EO, **{"the network weights": weight}):
        found = compute(_problem(weight), alpha_EO, _relaxed)
    demand(isinstance(found, Hypergradient), f"returns a {type(found).__name__}, no Hypergradient")
    if found.gradient_EO is None:
        return None
    _like(found.gradient_EO, alpha_EO, "the gradient")
    return found.gradient_EO.detach()


def _leaves_alone(compute: ComputeHypergradient, columns: int = 0) -> None:
    _gradient(compute, columns)


def _is_the_same_twice(compute: ComputeHypergradient, columns: int = 0) -> None:
    repeated(lambda: _gradient(compute, columns))


HYPERGRADIENT: PartChecks = {
    "a finite gradient of alpha's shape; leaves alpha and network weights alone": _leaves_alone,
    "repeatable; no global generator": _is_the_same_twice,
}

# --- discretizations ----------------------------------------------------------------------------


def _chooses(discretize: Discretize) -> None:
    for alpha_EO in (example_alpha(), torch.zeros_like(example_alpha())):
        with untouched(alpha=alpha_EO):
            choice = discretize(alpha_EO)
        is_list = isinstance(choice, list) and all(type(each) is int for each in choice)
        demand(is_list, f"returns {choice!r}, no list of int")
        demand(
            len(choice) == SPACE.edge_count,
            f"chooses {len(choice)} times for {len(alpha_EO)} edges",
        )
        demand(
            all(0 <= each < SPACE.operation_count for each in choice),
            f"chooses {choice}, though operations are 0 to {SPACE.operation_count - 1}",
        )


def _chooses_the_same(discretize: Discretize) -> None:
    repeated(lambda: discretize(example_alpha()))


DISCRETIZATION: PartChecks = {
    "one operation per edge; leaves alpha alone": _chooses,
    "repeatable; no global generator": _chooses_the_same,
}
OF_KIND = {
    "relaxation": RELAXATION,
    "perturbation": PERTURBATION,
    "hypergradient": HYPERGRADIENT,
    "discretization": DISCRETIZATION,
}
# Kinds of part that see alpha itself; the others see operation weights where alpha is wider.
OF_ALPHA = ("relaxation", "hypergradient")
