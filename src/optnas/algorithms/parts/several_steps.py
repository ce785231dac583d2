"""Hypergradients that follow the weight optimizer for several virtual steps.

The first step's batch is the train batch about to be used, each further step has a fresh one.
Buffers such as a momentum go on from step to step; clipping is no part of a virtual step.

Symbols: w network weights, A = relax(alpha) operation weights, L_tr and L_val the losses of the two
batches at hand, L_k the train loss of step k. Shapes: E edges, O operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms.base import ComputeHypergradient
from optnas.algorithms.bilevel import Bilevel, GradientsAt, Hypergradient, Loss, Weights
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, Positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

NEEDS = ("virtual-step", "train-batch", "train-batches")


@register("hypergradient", "k-step", needs=NEEDS, limit="converged", limit_at={"steps": 300})
def k_step(steps: AtLeastOne = 2) -> ComputeHypergradient:
    """Gradient through K virtual steps of the weight optimizer, back to the live weights.

    d L_val(w_K(alpha), A) / d alpha with w_0 = w and w_(k+1) = step(w_k, d L_k(w_k, A) / dw), the
    steps that the configured optimizer would take from its live state, differentiated exactly. Its
    buffers depend on alpha too. K = 1 is `unrolled` with ``derivative=exact``.

    What backpropagation keeps grows with K: the activations of K training passes, forward and
    backward, and K copies of weights and buffers.

    Args:
        steps: K.

    Returns:
        The part. It moves no statistics, generator or optimizer state.

    Reference: Shaban et al., AISTATS 2019 (truncated backpropagation). Deviation: the K steps lie
    ahead of the live weights instead of behind them.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        alpha = alpha_EO.detach().requires_grad_()
        op_weights_EO = relax(alpha)

        def along(loss: Loss) -> GradientsAt:
            def gradients(weights: Weights) -> Sequence[Tensor]:
                inner = loss(op_weights_EO, weights).loss
                return torch.autograd.grad(inner, list(weights.values()), create_graph=True)

            return gradients

        batches = [problem.train_loss, *problem.more_train_batches(steps - 1)]
        reached = problem.virtual_steps([along(loss) for loss in batches])
        outer = problem.valid_loss(op_weights_EO, reached).loss
        (gradient_EO,) = torch.autograd.grad(outer, alpha)
        return Hypergradient(gradient_EO)

    return part


@register(
    "hypergradient",
    "value-function",
    needs=(*NEEDS, "full-precision"),
    limit="converged",
    limit_at={"steps": 300, "multiplier": 1e6},
)
def value_function(steps: AtLeastOne = 2, multiplier: Positive = 100.0) -> ComputeHypergradient:
    """The gradient of the value-function penalty, of first derivatives only.

        min over w of  L_val(w, A) + c (L_tr(w, A) - min over z of L_tr(z, A))

    has the gradient, in alpha,

        d L_val(y, A) / d alpha + c (d L_tr(y, A) / d alpha - d L_tr(z, A) / d alpha)

    with z a minimum of L_tr and y one of L_tr + L_val / c. Here z and y are what K virtual steps of
    the weight optimizer reach from the live weights along d L_k / dw and d (L_k + L_val / c) / dw.
    With many steps and a large multiplier it tends to the implicit gradient at the minimum. With
    K = 1 it is to first order in the learning rate `unrolled` with v at w, its second term by a
    one-sided difference; the mixed derivative is taken at w', and the direct term at y. Rounding
    is amplified by c: in single precision stay below 1e4.

    Args:
        steps: K.
        multiplier: c.

    Returns:
        The part. It moves no statistics, generator or optimizer state, and keeps no graph beyond
        one pass: memory does not grow with K.

    Reference: Kwon, Kwon, Wright and Nowak, ICML 2023, algorithm 1. Deviations: y and z begin anew
    at the live weights in every step; they move by the configured optimizer's steps.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        alpha = alpha_EO.detach().requires_grad_()
        held_EO = relax(alpha).detach()

        def reached(share: float) -> Weights:
            def along(loss: Loss) -> GradientsAt:
                @torch.enable_grad()
                def gradients(weights: Weights) -> Sequence[Tensor]:
                    at = {name: w.detach().requires_grad_() for name, w in weights.items()}
                    inner = loss(held_EO, at).loss
                    if share:
                        inner = inner + share * problem.valid_loss(held_EO, at).loss
                    return torch.autograd.grad(inner, list(at.values()))

                return gradients

            with torch.no_grad():
                return problem.virtual_steps([along(loss) for loss in batches])

        batches = [problem.train_loss, *problem.more_train_batches(steps - 1)]
        z, y = reached(0.0), reached(1 / multiplier)
        op_weights_EO = relax(alpha)
        rise = problem.train_loss(op_weights_EO, y).loss - problem.train_loss(op_weights_EO, z).loss
        penalized = problem.valid_loss(op_weights_EO, y).loss + multiplier * rise
        (gradient_EO,) = torch.autograd.grad(penalized, alpha)
        return Hypergradient(gradient_EO, loss=penalized.detach())

    return part
