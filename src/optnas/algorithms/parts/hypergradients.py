"""Gradients of the validation loss with respect to alpha.

Symbols: w network weights, A = relax(alpha) operation weights, L_tr and L_val the losses of the two
batches at hand. Shapes: E edges, O operations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from optnas.algorithms.base import ComputeHypergradient, DerivativeName
from optnas.algorithms.bilevel import Bilevel, Hypergradient, LossValue, Weights
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import parameters_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

RelaxNow = Callable[["Tensor"], "Tensor"]
# Published displacement of the finite difference: |R v| = 0.01.
DISPLACEMENT = 0.01


def hypergradient(
    chosen: ComputeHypergradient | str, derivative: DerivativeName = "exact"
) -> ComputeHypergradient:
    """The hypergradient of a setting, for algorithms written for 0.1.0, which called this.

    Args:
        chosen: the part, or the name of one that is registered.
        derivative: how the one of that name differentiates.

    Raises:
        UserError: the part has been built, or has no such choice, and another derivative than
            ``exact`` is asked for.
    """
    if isinstance(chosen, str):
        factory = registry.find("hypergradient", chosen, key="algorithm.hypergradient")
        if "derivative" in parameters_of(factory):
            return factory(derivative=derivative)
        if derivative == "exact":
            return factory()
    elif derivative == "exact":
        return chosen
    raise UserError(
        "the hypergradient takes its derivative among its own settings, if it has a choice",
        key="algorithm.derivative",
        value=derivative,
        remedy="remove it, and set algorithm.hypergradient.derivative",
    )


@register("hypergradient", "frozen", itself=True)
def frozen(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
    """No gradient: alpha stays where it is, whatever the architecture optimizer."""
    del problem, alpha_EO, relax
    return Hypergradient(None)


def warmup_epochs(share: float, epochs: int) -> int:
    """Epochs of a warm-up: a share of the run's, rounded, never the last one."""
    return min(round(share * epochs), epochs - 1)


def after_warmup(compute: ComputeHypergradient, share: float) -> ComputeHypergradient:
    """A hypergradient that leaves alpha where it is in the epochs of a warm-up.

    Args:
        compute: what is asked from then on.
        share: of the run's epochs, see `warmup_epochs`.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        progress = problem.progress
        still = progress.epoch <= warmup_epochs(share, progress.epochs)
        return (frozen if still else compute)(problem, alpha_EO, relax)

    return part


def seldom(compute: ComputeHypergradient, every: int) -> ComputeHypergradient:
    """A hypergradient that is asked in one step in several; the others leave alpha where it is.

    Args:
        compute: what is asked in the first step of an epoch and in every ``every``-th after it.
        every: weight steps to one of alpha; the count begins anew with each epoch.

    Returns:
        The part, of an algorithm that is registered with ``needs=("step-number",)``: where no
        step is numbered, as in a measure, each is taken for the first.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        moves = (problem.progress.step or 0) % every == 0
        return (compute if moves else frozen)(problem, alpha_EO, relax)

    return part


@register("hypergradient", "first-order", itself=True, limit="first-order")
def first_order(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
    """Gradient of the validation loss with the network weights held fixed.

    d L_val(w, relax(alpha)) / d alpha, the unrolled form with a step of zero. Biased: it leaves
    out how w follows alpha.

    Args:
        problem: the iteration's losses and weights.
        alpha_EO: architecture parameters; unchanged.
        relax: alpha -> operation weights at the current progress.

    Returns:
        The gradient, and the statistics after the forward pass if the protocol updates them.

    Reference: Liu et al., ICLR 2019, section 2.3. Deviation: none.
    """
    alpha = alpha_EO.detach().requires_grad_()
    held = _detached(problem.weights)
    loss, statistics = problem.valid_loss(relax(alpha), held, update=problem.update)
    (gradient_EO,) = torch.autograd.grad(loss, alpha)
    return Hypergradient(gradient_EO, statistics if problem.update else None)


@register("hypergradient", "unrolled", needs=("virtual-step", "train-batch"), limit="one-step")
def unrolled(derivative: DerivativeName = "finite-difference") -> ComputeHypergradient:
    """Gradient through one virtual step of the weight optimizer.

    d L_val(w'(alpha), A) / d alpha with w'(alpha) = step(w, d L_tr(w, A) / d w), the step that the
    configured weight optimizer would take from its live state. With J = d w' / d g the Jacobian of
    that step in the gradients g and v = d L_val / d w' this is

        d L_val(w', A) / d alpha + (d/d alpha) <d L_tr(w, A) / d w, J^T v>.

    ``exact`` takes the second term by double backward, ``finite-difference`` as published:
    (d_alpha L_tr(w + e u) - d_alpha L_tr(w - e u)) / (2 e) with u = J^T v and e = 0.01 / |u|. For
    SGD u = -lr v, which is the published R = 0.01 / |v| with the factor -lr in front. The two are
    not one number to rounding: the exact one does not see that ReLUs change sign between w and
    w + e u (docs/numerics.md has what that does).

    Args:
        derivative: ``exact`` or ``finite-difference``.

    Returns:
        The part. It moves no statistics, generator or optimizer state.

    Reference: Liu et al., ICLR 2019, equations 6 to 8. Deviations: the step is that of the
    configured optimizer (published: SGD whatever the optimizer); no running statistics move
    (published: three further forward passes move them).
    """
    compute = {"exact": _unrolled_exact, "finite-difference": _unrolled_difference}[derivative]

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        return Hypergradient(compute(problem, alpha_EO.detach().requires_grad_(), relax))

    return part


def _unrolled_exact(problem: Bilevel, alpha: Tensor, relax: RelaxNow) -> Tensor:
    op_weights_EO = relax(alpha)
    live = list(problem.weights.values())
    inner = problem.train_loss(op_weights_EO, problem.weights).loss
    gradients = torch.autograd.grad(inner, live, create_graph=True)
    outer = problem.valid_loss(op_weights_EO, problem.virtual_step(gradients)).loss
    (gradient_EO,) = torch.autograd.grad(outer, alpha)
    return gradient_EO


def _unrolled_difference(problem: Bilevel, alpha: Tensor, relax: RelaxNow) -> Tensor:
    names, live = list(problem.weights), list(problem.weights.values())
    inner = problem.train_loss(relax(alpha).detach(), problem.weights).loss
    gradients = [g.requires_grad_() for g in torch.autograd.grad(inner, live)]
    stepped = problem.virtual_step(gradients)
    reached = {name: stepped[name].detach().requires_grad_() for name in names}
    outer = problem.valid_loss(relax(alpha), reached).loss
    direct_EO, *v = torch.autograd.grad(outer, [alpha, *reached.values()])
    u = torch.autograd.grad(
        [stepped[name] for name in names], gradients, v, allow_unused=True, materialize_grads=True
    )
    # u = 0, as at a learning rate of 0, leaves the first-order gradient.
    e = DISPLACEMENT / norm_of(u).clamp(min=torch.finfo(u[0].dtype).tiny)

    def alpha_gradient(factor: float | Tensor) -> Tensor:
        shifted = {n: w.detach() + factor * d for n, w, d in zip(names, live, u, strict=True)}
        loss = problem.train_loss(relax(alpha), shifted).loss
        return torch.autograd.grad(loss, alpha)[0]

    return direct_EO + (alpha_gradient(e) - alpha_gradient(-e)) / (2 * e)


def asked(
    compute: ComputeHypergradient, problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow
) -> Hypergradient:
    """What a hypergradient hands back, with the loss that its gradient descends.

    Args:
        compute: the hypergradient.
        problem: the iteration's losses and weights.
        alpha_EO: architecture parameters; unchanged.
        relax: alpha -> operation weights at the current progress.

    Returns:
        The same; where it names no loss, that is the last validation loss it asked for, and None
        if it asked for none.
    """
    losses: list[Tensor] = []

    def noted(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
        value = problem.valid_loss(op_weights_EO, weights, update=update)
        losses.append(value.loss.detach())
        return value

    found = compute(dataclasses.replace(problem, valid_loss=noted), alpha_EO, relax)
    return found._replace(loss=losses[-1]) if found.loss is None and losses else found


def _detached(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in weights.items()}


def norm_of(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of tensors as one vector."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t) for t in tensors]))
