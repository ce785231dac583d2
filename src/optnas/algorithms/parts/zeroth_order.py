"""A hypergradient of losses alone: candidates of alpha are tried, and weighed by what they reach.

Symbols: w network weights, A = relax(alpha) operation weights, L_val the validation loss of the
batch at hand. Shapes: E edges, O operations, N candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from optnas.algorithms.base import ComputeHypergradient
from optnas.algorithms.bilevel import (
    Bilevel,
    GradientsAt,
    Hypergradient,
    Loss,
    Weights,
    undeclared,
)
from optnas.algorithms.parts.hypergradients import RelaxNow, asked, first_order
from optnas.algorithms.progress import Progress
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, Count, NotNegative, Positive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from optnas.base import seeds
else:
    torch = lazy("torch")
    seeds = lazy("optnas.base.seeds")

Proposal = Literal["mixture", "published"]
ShareOrAll = Annotated[float, Field(ge=0, le=1)]


@register(
    "hypergradient",
    "zeroth-order",
    needs=("virtual-step", "train-batches", "draw"),
    limit="first-order",
    limit_at={"std": 1e-9, "unguided": 0.0},
)
def zeroth_order(
    samples: AtLeastOne = 4,
    steps: Count = 10,
    std: Positive = 0.025,
    annealed: bool = True,
    temperature: Positive = 0.01,
    unguided: ShareOrAll = 0.001,
    floor: NotNegative = 1e-4,
    proposal: Proposal = "mixture",
) -> ComputeHypergradient:
    """The way to where N candidates of alpha lead, backwards: maximum-likelihood guided search.

    With g = d L_val(w, A) / d alpha to first order, candidate i lies at alpha + D_i, D_i drawn from

        q(D) = (1 - lambda) N(D; -g, s^2) + lambda N(D; 0, s^2)

    K virtual steps of the weight optimizer from the live w, along the train loss at
    relax(alpha + D_i), reach w_i; L_i = L_val(w_i, relax(alpha + D_i)). The gradient is

        - sum over i of c_i D_i,    c_i proportional to exp(-L_i / tau) / (q(D_i) + floor)

    with sum of c_i = 1 and q without its factor (2 pi s^2)^(-E O / 2), which cancels where floor is
    0. An optimizer that steps along it at a rate of 1 moves alpha by sum c_i D_i, which estimates
    the mean of D under exp(-L / tau). Each train batch is a fresh one, the same for all candidates.

    Args:
        samples: N.
        steps: K; 0 judges every candidate at the live w.
        std: s at first.
        annealed: whether s falls over the epochs, as s (1 + cos(pi t)) / 2 with t the elapsed share
            of the search.
        temperature: tau, in nats.
        unguided: lambda, the share of candidates around alpha itself.
        floor: added to the density; the larger it is, the less the density says.
        proposal: ``mixture``, or ``published`` for what published code draws and divides by: the
            sum (1 - lambda) N(-g, s^2) + lambda N(0, s^2) of two draws, and in the density
            exp(-s^2 |D|^2 / 2) in place of exp(-|D|^2 / (2 s^2)).

    Returns:
        The part. It moves the statistics as `first_order` does, and no generator or optimizer
        state. A candidate whose loss is no finite number has no weight; where none has a finite
        loss, the gradient is not a number. Its loss is L_val(w, A).

    Reference: Wang et al., NeurIPS 2022 (ZARTS); the estimator is that of Welleck and Cho, AAAI
    2021. Deviations in docs/algorithms/zarts.md.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        found = asked(first_order, problem, alpha_EO, relax)
        g_EO, alpha_EO = found.gradient_EO, alpha_EO.detach()
        assert g_EO is not None
        s = std
        if annealed:
            s = std * (1 + math.cos(math.pi * problem.progress.fraction)) / 2
        with torch.no_grad():
            d_NEO = _drawn(problem.progress, g_EO, samples, s, unguided, proposal)
            batches = problem.more_train_batches(steps)
            losses_N = [_reached(problem, relax(alpha_EO + d_EO), batches) for d_EO in d_NEO]
            log_q_N = _log_density(d_NEO.double(), g_EO.double(), s, unguided, floor, proposal)
            c_N = _weights(torch.stack(losses_N).double(), log_q_N, temperature)
            moved_EO = (c_N[:, None, None] * d_NEO).sum(0)
        return found._replace(gradient_EO=-moved_EO.to(g_EO))

    return part


def _drawn(
    progress: Progress, g_EO: Tensor, count: int, s: float, unguided: float, proposal: Proposal
) -> Tensor:
    """The candidates D_i of a step, drawn on the CPU in double precision, one after another."""
    if progress.draw is None:
        raise undeclared("draws candidates", "draw")
    # A stream of its own: a relaxation may draw from the beginning of the step's.
    generator = seeds.named_generator(progress.draw.seed, "candidates")
    noise, shares = [], []
    for _ in range(count):
        z_EO = torch.randn(g_EO.shape, generator=generator, dtype=torch.float64)
        if proposal == "published":
            other_EO = torch.randn(g_EO.shape, generator=generator, dtype=torch.float64)
            noise.append((1 - unguided) * z_EO + unguided * other_EO)
            shares.append(1 - unguided)
        else:
            noise.append(z_EO)
            u = torch.rand((), generator=generator, dtype=torch.float64)
            shares.append(float(u >= unguided))  # of -g in the centre
    centre_N = torch.tensor(shares, dtype=torch.float64).to(g_EO.device)
    z_NEO = torch.stack(noise).to(g_EO.device)
    return (s * z_NEO - centre_N[:, None, None] * g_EO.double()).to(g_EO.dtype)


def _reached(problem: Bilevel, op_weights_EO: Tensor, batches: Sequence[Loss]) -> Tensor:
    """The validation loss at these operation weights after a virtual step on each batch."""

    def along(loss: Loss) -> GradientsAt:
        @torch.enable_grad()
        def gradients(weights: Weights) -> Sequence[Tensor]:
            at = {name: w.detach().requires_grad_() for name, w in weights.items()}
            return torch.autograd.grad(loss(op_weights_EO, at).loss, list(at.values()))

        return gradients

    reached = problem.virtual_steps([along(loss) for loss in batches])
    return problem.valid_loss(op_weights_EO, reached).loss


def _log_density(
    d_NEO: Tensor, g_EO: Tensor, s: float, unguided: float, floor: float, proposal: Proposal
) -> Tensor:
    """log(q(D_i) + floor), q without its common factor."""
    off_N, far_N = (each.square().sum((1, 2)) for each in (d_NEO + g_EO, d_NEO))
    width = 1 / s**2 if proposal == "published" else s**2
    guided_N = _log(1 - unguided) - off_N / (2 * s**2)
    free_N = _log(unguided) - far_N / (2 * width)
    return torch.stack([guided_N, free_N, torch.full_like(off_N, _log(floor))]).logsumexp(0)


def _log(x: float) -> float:
    return math.log(x) if x else -math.inf


def _weights(losses_N: Tensor, log_q_N: Tensor, temperature: float) -> Tensor:
    """c: exp(-L / tau) / q, divided by its sum; by logarithms, as both may be out of range."""
    losses_N = torch.where(losses_N.isfinite(), losses_N, torch.inf)
    return (-(losses_N - losses_N.min()) / temperature - log_q_N).softmax(0)
