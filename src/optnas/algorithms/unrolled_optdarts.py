"""The second-order gradient of OptDARTS: a step of the configured optimizer, then SGD's formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.parts.hypergradients import DISPLACEMENT, RelaxNow, norm_of
from optnas.base.lazy import lazy
from optnas.base.registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("hypergradient", "unrolled-optdarts", needs=("virtual-step", "train-batch"), itself=True)
def unrolled_optdarts(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
    """What ``--unrolled`` computes in OptDARTS; no derivative of any one function.

        G = d L_tr(w, A(alpha)) / d alpha + d L_val(w', A(alpha)) / d alpha
        gradient = G - lr (g+ - g-) / (2 R)
        g+- = d L_tr(w +- R v, A(a)) / da  at  a = alpha +- R G

    with w' = step(w, d L_tr / d w), the step of the configured optimizer from its live state,
    v = d L_val / d w', R = 0.01 / |(v, G)| and lr the weight optimizer's learning rate. Three
    things differ from the derivative through that step, `unrolled`: the factor lr in front is that
    of plain SGD, whatever the optimizer (deliberately or not, the program's second term is blind to
    it); the displacement moves alpha too; and G holds the train loss's gradient of alpha, which the
    virtual step leaves in the copy's alpha and nothing clears.

    Args:
        problem: the iteration's losses and weights.
        alpha_EO: architecture parameters; unchanged.
        relax: alpha -> operation weights at the current progress.

    Returns:
        The gradient. It moves no statistics, generator or optimizer state.

    Source: sodabori/OptDARTS at f5f0e59 under torch 1.11, which its README names. Under torch 2 the
    program computes something else: ``zero_grad`` drops gradients instead of zeroing them, so that
    G adds up over all steps, and ``load_state_dict`` no longer copies, so that the virtual step
    moves the live optimizer's state. Deviation: no running statistics move (there two further
    forward passes move them).
    """
    names, live = list(problem.weights), list(problem.weights.values())
    alpha = alpha_EO.detach().requires_grad_()
    inner = problem.train_loss(relax(alpha), problem.weights).loss
    inner_EO, *gradients = torch.autograd.grad(inner, [alpha, *live])
    stepped = problem.virtual_step(gradients)
    reached = {name: stepped[name].detach().requires_grad_() for name in names}
    outer = problem.valid_loss(relax(alpha), reached).loss
    outer_EO, *v = torch.autograd.grad(outer, [alpha, *reached.values()])
    G_EO = inner_EO + outer_EO
    R = DISPLACEMENT / norm_of([G_EO, *v])

    def displaced(factor: Tensor) -> Tensor:
        weights = {n: w.detach() + factor * d for n, w, d in zip(names, live, v, strict=True)}
        there = (alpha_EO.detach() + factor * G_EO).requires_grad_()
        (gradient_EO,) = torch.autograd.grad(problem.train_loss(relax(there), weights).loss, there)
        return gradient_EO

    difference_EO = (displaced(R) - displaced(-R)) / (2 * R)
    return Hypergradient(G_EO - problem.weight_lr() * difference_EO)
