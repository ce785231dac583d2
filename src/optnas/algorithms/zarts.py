"""ZARTS: alpha moves seldom, along what candidates of it reach after the weights have followed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.composed import composed
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, Share

if TYPE_CHECKING:
    from torch import Tensor


@register(
    "algorithm",
    "zarts",
    needs=("step-number",),
    paper="ZARTS: On Zero-order Optimization for Neural Architecture Search",
    year=2022,
)
def zarts(
    every: AtLeastOne = 10,
    warmup: Share = 0.2,
    hypergradient: HypergradientName = "zeroth-order",
) -> Algorithm:
    """DARTS whose alpha moves in one step of an epoch in several, by `zeroth_order`.

    A = softmax(alpha). Of the steps of an epoch the first, and every ``every``-th after it, moves
    alpha; the others leave it where it is.

    Args:
        every: weight steps to one of alpha; the count begins anew with each epoch.
        warmup: share of the run's epochs, rounded, from the first, in which alpha stays; the last
            epoch moves it.
        hypergradient: what moves alpha. Its schedules count from the end of the warm-up.

    Reference: Wang et al., NeurIPS 2022, and its published code; deviations in
    docs/algorithms/zarts.md.
    """

    def since_warmup(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        progress = problem.progress
        still = parts.warmup_epochs(warmup, progress.epochs)
        since = dataclasses.replace(
            progress, epoch=progress.epoch - still, epochs=progress.epochs - still
        )
        return hypergradient(dataclasses.replace(problem, progress=since), alpha_EO, relax)

    return composed(
        relaxation=parts.softmax,
        perturbation=parts.unperturbed,
        hypergradient=parts.seldom(parts.after_warmup(since_warmup, warmup), every),
        discretization=parts.argmax_per_edge,
    )
