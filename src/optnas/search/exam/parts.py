"""Checks of the four parts, as functions of tensors. Shapes: E edges, O operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from optnas.algorithms.base import (
    ComputeHypergradient,
    Discretize,
    Draw,
    Memory,
    Perturb,
    Progress,
    Project,
    Relax,
)
from optnas.algorithms.bilevel import (
    Bilevel,
    GradientsAt,
    Hypergradient,
    Judged,
    Loss,
    LossValue,
    Weights,
)
from optnas.search.exam.base import (
    FailedError,
    NotExaminedError,
    demand,
    example,
    example_alpha,
    repeated,
    space,
    untouched,
)

EPOCHS = (0, 1, 3, 4)
OTHER_SUMS = "rows that do not sum to 1 keep their sums"


@dataclass(frozen=True)
class Given:
    """What an algorithm's parts are asked with; a part alone is asked without memory.

    Attributes:
        columns: further columns of alpha.
        memory: before the first step.
    """

    columns: int = 0
    memory: Memory = field(default_factory=dict)

    def alpha(self) -> Tensor:
        """Architecture parameters."""
        return example_alpha(self.columns)

    def moment(self, epoch: int, draw: Draw | None = None) -> Progress:
        """Where a search of four epochs stands."""
        return Progress(epoch, 4, draw, self.memory)

    @property
    def moments(self) -> list[Progress]:
        """Where operation weights are judged, and with the randomness of a step."""
        drawn = [self.moment(epoch, Draw(epoch)) for epoch in EPOCHS[1:]]
        return [*map(self.moment, EPOCHS), *drawn]

    def untouched(self, **tensors: Tensor) -> AbstractContextManager[None]:
        """Fail the check if one of these tensors, or the memory, is changed inside the block."""
        remembered = {f"{name} of the memory": each for name, each in self.memory.items()}
        return untouched(**tensors, **remembered)


ALONE = Given()
PartChecks = dict[str, Callable[[Any, Given], None]]


def _like(found: Any, expected: Tensor, what: str) -> None:
    demand(isinstance(found, Tensor), f"{what} is a {type(found).__name__}, not a tensor")
    demand(
        found.shape == expected.shape,
        f"{what} has shape {list(found.shape)}, not {list(expected.shape)}",
    )
    demand(found.dtype == expected.dtype, f"{what} is {found.dtype}, not {expected.dtype}")
    demand(bool(torch.isfinite(found).all()), f"{what} is not finite")


# --- relaxations --------------------------------------------------------------------------------


def _keeps_shape(relax: Relax, given: Given) -> None:
    for moment in given.moments:
        alpha_EO = given.alpha()
        with given.untouched(alpha=alpha_EO):
            found = relax(alpha_EO, moment)
        _like(found, example_alpha(), f"the output in epoch {moment.epoch}")


def _is_repeatable(relax: Relax, given: Given) -> None:
    repeated(lambda: [relax(given.alpha(), moment) for moment in given.moments])


def _is_differentiable(relax: Relax, given: Given) -> None:
    for moment in given.moments:
        alpha_EO = given.alpha().requires_grad_()
        found = relax(alpha_EO, moment)
        demand(found.requires_grad, "no gradient reaches alpha: the output is detached from it")
        (gradient_EO,) = torch.autograd.grad(
            (example(8, *found.shape) * found).sum(), alpha_EO, allow_unused=True
        )
        demand(gradient_EO is not None, "no gradient reaches alpha")
        _like(gradient_EO, alpha_EO, "the gradient of alpha")
        demand(bool(gradient_EO.any()), "the gradient of alpha is zero everywhere")
        for place in range(space().operation_count, alpha_EO.shape[1]):
            reached = bool(gradient_EO[:, place].any())
            demand(reached, f"no gradient reaches column {place} of alpha")


def draws_as_it_says(relax: Relax, says: bool, given: Given) -> None:
    """A relaxation uses the draw of a step if and only if it is registered so.

    Args:
        relax: the relaxation.
        says: whether it is.
        given: what it is asked with.
    """
    alpha_EO = given.alpha()
    judged_EO = relax(alpha_EO, given.moment(1))
    drawn = [relax(alpha_EO, given.moment(1, Draw(seed))) for seed in range(8)]
    uses = any(not torch.equal(judged_EO, each) for each in drawn)
    demand(says or not uses, 'uses progress.draw, so register it with needs=("draw",)')
    demand(uses or not says, "is registered to need a draw, and eight draws change nothing")


def _is_twice_differentiable(relax: Relax, given: Given) -> None:
    """The derivative of the gradient along a direction, by autograd and by differences."""
    alpha_EO, step = given.alpha(), 1e-5
    along_EO = example(9, *alpha_EO.shape)

    def value(alpha_EO: Tensor) -> Tensor:
        op_weights_EO = relax(alpha_EO, given.moment(1))
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


def _perturbed(perturb: Perturb, moment: Progress, sums_E1: Tensor | float = 1.0) -> Tensor:
    op_weights_EO = example_alpha().softmax(-1) * sums_E1
    generator = torch.Generator().manual_seed(5)
    with untouched(**{"the operation weights": op_weights_EO}):
        found = perturb(op_weights_EO, _train_loss, moment, generator)
    _like(found, op_weights_EO, f"the output in epoch {moment.epoch}")
    return found.detach()


def _keeps_inputs(perturb: Perturb, given: Given) -> None:
    for epoch in EPOCHS[1:]:
        with given.untouched():
            _perturbed(perturb, given.moment(epoch))


def _keeps_row_sums(perturb: Perturb, given: Given) -> None:
    for epoch in EPOCHS[1:]:
        off = float((_perturbed(perturb, given.moment(epoch)).sum(-1) - 1).abs().max())
        demand(off < 1e-6, f"rows that summed to 1 are off by {off:.2g}")


def _keeps_other_row_sums(perturb: Perturb, given: Given) -> None:
    """Of an auxiliary skip, which is what a row has over 1, and of gates that are open or shut.

    One that is for rows of sum 1 alone is no fault: those are the rows of most relaxations.

    Raises:
        NotExaminedError: it is.
    """
    sums_E1 = torch.linspace(0, 2, space().edge_count, dtype=torch.float64)[:, None]
    told = "is for rows that sum to 1, not for those of softmax-with-skip, sigmoid, hard-concrete"
    for epoch in EPOCHS[1:]:
        try:
            found = _perturbed(perturb, given.moment(epoch), sums_E1).sum(-1, keepdim=True)
        except Exception as error:
            raise NotExaminedError(f"{told} ({error})") from error
        off = float((found - sums_E1).abs().max())
        if off >= 1e-6:
            raise NotExaminedError(f"{told}: their sums are off by {off:.2g}")


def _draws_from_its_generator(perturb: Perturb, given: Given) -> None:
    repeated(lambda: [_perturbed(perturb, given.moment(epoch)) for epoch in EPOCHS[1:]])


PERTURBATION: PartChecks = {
    "keeps shape and type, stays finite, leaves the operation weights alone": _keeps_inputs,
    "keeps the sums of rows": _keeps_row_sums,
    OTHER_SUMS: _keeps_other_row_sums,
    "draws from the given generator only": _draws_from_its_generator,
}

# --- hypergradients -----------------------------------------------------------------------------


RATE, DECAY = 0.1, 0.2


class _Quadratic:
    """A bilevel problem with closed forms.

    L_train = (w - C a)' H (w - C a) / 2, L_val = |w - t|^2 / 2 + |a|^2 / 2 with a = A as a vector,
    w' = w - r (g + d w); H has the eigenvalues 1/2 and 3/2.

    Attributes:
        used: what of the problem was asked for that a part has to be registered for.
    """

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.w, self.t = example(12, 8), example(11, 8)
        self.C = example(10, 8, space().edge_count * space().operation_count)
        u = example(13, 8)
        self.H = 1.5 * torch.eye(8, dtype=u.dtype) - torch.outer(u, u) / (u @ u)

    def problem(self, weight: Tensor, progress: Progress) -> Bilevel:
        """The problem at these network weights, which are those of the closed forms at first."""

        def train(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
            self.used.add("train-batch")
            return further(op_weights_EO, weights, update=update)

        def further(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
            off = weights["w"] - self.C @ op_weights_EO.reshape(-1)
            return LossValue(off @ self.H @ off / 2, None)

        def valid(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
            outer = (weights["w"] - self.t) ** 2
            return LossValue(outer.sum() / 2 + (op_weights_EO**2).sum() / 2, None)

        def step(gradients: Sequence[Tensor], weights: Weights | None = None) -> dict[str, Tensor]:
            self.used.add("virtual-step")
            w = weight.detach() if weights is None else weights["w"]
            return {"w": w - RATE * (gradients[0] + DECAY * w)}

        def decay() -> dict[str, float]:
            self.used.add("virtual-step")
            return {"w": DECAY}

        def more(count: int) -> list[Loss]:
            self.used.add("train-batches")
            return [further] * count

        def accuracy(op_weights_EO: Tensor, weights: Weights) -> Tensor:
            return 100 / (1 + valid(op_weights_EO, weights).loss.detach())

        def judged(count: int, images: int) -> list[Judged]:
            self.used.add("valid-batches")
            return [Judged(accuracy, Draw(seed)) for seed in range(count)]

        def rate() -> float:
            self.used.add("virtual-step")
            return RATE

        def steps(gradients_at: Sequence[GradientsAt]) -> dict[str, Tensor]:
            weights = {"w": weight.detach().requires_grad_()}
            for gradients in gradients_at:
                weights = step(gradients(weights), weights)
            return weights

        return Bilevel(
            weights={"w": weight},
            train_loss=train,
            valid_loss=valid,
            virtual_step=step,
            update=False,
            progress=progress,
            weight_decay=decay,
            more_train_batches=more,
            weight_lr=rate,
            more_valid_batches=judged,
            virtual_steps=steps,
        )

    def limit(self, name: str, a: Tensor) -> Tensor:
        """The gradient of L_val in a, in closed form, w following a as far as the limit says."""
        if name == "first-order":
            return a
        if name == "one-step":
            reached = self.w - RATE * (self.H @ (self.w - self.C @ a) + DECAY * self.w)
            return a + RATE * self.C.T @ self.H @ (reached - self.t)
        regular = self.H + DECAY * torch.eye(8, dtype=a.dtype)
        reached = self.w
        if name == "converged":
            reached = torch.linalg.solve(regular, self.H @ self.C @ a)
        return a + self.C.T @ self.H @ torch.linalg.solve(regular, reached - self.t)


LIMITS = ("first-order", "one-step", "implicit", "converged")


def _relaxed(alpha_EO: Tensor) -> Tensor:
    return alpha_EO[:, : space().operation_count].softmax(-1)


def _found(compute: ComputeHypergradient, given: Given, used: set[str]) -> Hypergradient:
    quadratic = _Quadratic()
    weight, alpha_EO = quadratic.w.clone().requires_grad_(), given.alpha().requires_grad_()
    with given.untouched(alpha=alpha_EO, **{"the network weights": weight}):
        problem = quadratic.problem(weight, given.moment(3, Draw(3)))
        found = compute(problem, alpha_EO, _relaxed)
    demand(isinstance(found, Hypergradient), f"returns a {type(found).__name__}, no Hypergradient")
    used |= quadratic.used | ({"memory"} if found.memory else set())
    return found


def _gradient(compute: ComputeHypergradient, given: Given) -> Tensor | None:
    gradient_EO = _found(compute, given, set()).gradient_EO
    if gradient_EO is None:
        return None
    _like(gradient_EO, given.alpha(), "the gradient")
    return gradient_EO.detach()


def _leaves_alone(compute: ComputeHypergradient, given: Given) -> None:
    _gradient(compute, given)


def _is_the_same_twice(compute: ComputeHypergradient, given: Given) -> None:
    repeated(lambda: _gradient(compute, given))


def needs_no_more(compute: ComputeHypergradient, says: set[str], given: Given) -> None:
    """A hypergradient asks for nothing that it is not registered to need.

    Args:
        compute: the hypergradient.
        says: what it is.
        given: what it is asked with.
    """
    used: set[str] = set()
    _found(compute, given, used)
    more = ", ".join(f'"{each}"' for each in sorted(used - says))
    demand(not more, f"uses more than it is registered to need: {more}")


def reaches(compute: ComputeHypergradient, limit: str) -> None:
    """On the quadratic problem a hypergradient is the closed form that it declares.

    Args:
        compute: the hypergradient.
        limit: of `LIMITS`.

    Raises:
        FailedError: it is not.
    """
    demand(limit in LIMITS, f"declares the limit {limit!r}; there are {', '.join(LIMITS)}")
    found_EO, alpha_EO = _gradient(compute, ALONE), example_alpha().requires_grad_()
    if found_EO is None:
        raise FailedError("there is no gradient")
    op_weights_EO = _relaxed(alpha_EO)
    by_a = _Quadratic().limit(limit, op_weights_EO.detach().reshape(-1))
    (expected_EO,) = torch.autograd.grad(op_weights_EO, alpha_EO, by_a.reshape(op_weights_EO.shape))
    off = float((found_EO - expected_EO).norm() / expected_EO.norm())
    demand(off < 1e-4, f"is {100 * off:.2g} % away from the {limit} gradient")


HYPERGRADIENT: PartChecks = {
    "a finite gradient of alpha's shape; leaves alpha and network weights alone": _leaves_alone,
    "repeatable; no global generator": _is_the_same_twice,
}

# --- discretizations ----------------------------------------------------------------------------


def _chooses(discretize: Discretize, given: Given) -> None:
    del given  # it sees what has no further columns
    for alpha_EO in (example_alpha(), torch.zeros_like(example_alpha())):
        with untouched(alpha=alpha_EO):
            choice = discretize(alpha_EO)
        is_list = isinstance(choice, list) and all(type(each) is int for each in choice)
        demand(is_list, f"returns {choice!r}, no list of int")
        demand(
            len(choice) == space().edge_count,
            f"chooses {len(choice)} times for {len(alpha_EO)} edges",
        )
        demand(
            all(0 <= each < space().operation_count for each in choice),
            f"chooses {choice}, though operations are 0 to {space().operation_count - 1}",
        )


def _chooses_the_same(discretize: Discretize, given: Given) -> None:
    del given
    repeated(lambda: discretize(example_alpha()))


DISCRETIZATION: PartChecks = {
    "one operation per edge; leaves alpha alone": _chooses,
    "repeatable; no global generator": _chooses_the_same,
}

# --- what becomes of alpha after a step ---------------------------------------------------------


def _projects(project: Project, given: Given) -> None:
    def projected() -> Tensor:
        alpha_EO = given.alpha()
        with untouched(alpha=alpha_EO):
            found = project(alpha_EO)
        _like(found, alpha_EO, "the output")
        return found

    repeated(projected)


PROJECTION: PartChecks = {
    "keeps shape and type, stays finite, leaves alpha alone; repeatable": _projects
}
OF_KIND = {
    "relaxation": RELAXATION,
    "perturbation": PERTURBATION,
    "hypergradient": HYPERGRADIENT,
    "discretization": DISCRETIZATION,
}
