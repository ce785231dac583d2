"""P-DARTS: steps drop parts of what skips hand on, alpha waits, and a cell has few skips."""

from __future__ import annotations

import math

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Progress
from optnas.base.registry import register
from optnas.base.schema import Count, NotNegative, Share
from optnas.spaces.base import Space


@register(
    "algorithm",
    "p-darts",
    needs=("skip-dropout",),
    paper="Progressive Differentiable Architecture Search: Bridging the Depth Gap between Search"
    " and Evaluation",
    year=2019,
)
def p_darts(
    dropout: Share = 0.1,
    warmup: Share = 0.4,
    decay: NotNegative = 0.2,
    skips: Count = 2,
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> Algorithm:
    """One stage of P-DARTS: DARTS with dropout behind skips and few skips in the derived cell.

    Elements of the output of each skip that is an identity are dropped, in the steps of both
    levels, with probability p_t in epoch t of T. With W epochs of warm-up, in which alpha stays,

        p_t = p (T - t) / T  for t <= W,  else  p exp(-decay (t - W - 1))

    A derived cell has at most ``skips`` skips, see `Algorithm.most_skips`. Later stages search what
    `optnas.narrow` leaves of the space.

    Args:
        dropout: p.
        warmup: W as a share of the run's epochs, rounded; the last epoch moves alpha.
        decay: per epoch.
        skips: the most, of the first kind of cell.
        hypergradient: the gradient that moves alpha.
        space: the search space; the program supplies it, to see whether it has such skips.

    Reference: Chen et al., ICCV 2019, and its published code; deviations in
    docs/algorithms/p-darts.md.
    """

    def share(progress: Progress) -> float:
        epoch, epochs = progress.epoch, progress.epochs
        past = epoch - parts.warmup_epochs(warmup, epochs) - 1
        return dropout * (math.exp(-decay * past) if past >= 0 else (epochs - epoch) / epochs)

    has_skips = any(
        space.is_identity(edge, operation)
        for edge in range(space.edge_count)
        for operation in space.columns_at(edge)
    )
    return Algorithm(
        relax=parts.softmax,
        perturb=parts.unperturbed,
        hypergradient=parts.after_warmup(hypergradient, warmup),
        discretize=parts.argmax_per_edge,
        skip_dropout=share,
        most_skips=skips,
        caveat=""
        if has_skips or not dropout
        else "no edge has a skip that is an identity, so nothing is dropped; set "
        "algorithm.dropout=0, or choose another space",
    )
