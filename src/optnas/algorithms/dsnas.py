"""DSNAS: cells are drawn from softmax(alpha), and alpha follows the score function of the draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pydantic

from optnas.algorithms import parts
from optnas.algorithms.base import (
    Algorithm,
    HypergradientName,
    Memory,
    Progress,
    Selection,
    Trial,
)
from optnas.algorithms.chosen import CHOSEN, OPEN, chosen_or_usual, projected
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

# A difference of two probabilities of one row.
Margin = Annotated[float, pydantic.Field(gt=0, le=1)]


@register("relaxation", "score-function", needs=("draw",), itself=True)
def score_function(alpha_EO: Tensor, progress: Progress) -> Tensor:
    """A = Z (1 + log p - constant), elementwise, Z one-hot per edge with Z ~ p = softmax(alpha).

    The value is Z. With s the operation drawn on edge e, G = d L / d A and the constant the value
    of log p, the gradient of a loss is the score of the draw times what the loss says of the drawn
    operation,

        d L / d alpha[e, o] = G[e, s] d log p[e, s] / d alpha[e, o] = G[e, s] (Z[e, o] - p[e, o]);

    that of other operations is not read. The mean of it over draws is sum over s of
    p[e, s] E[G[e, s] | s] (1[o = s] - p[e, o]), the gradient of E[L] where L is linear in each row
    of A, and a biased estimate of that elsewhere. Where A is judged there is no draw: Z is the
    argmax of alpha.

    Args:
        alpha_EO: architecture parameters, unbounded.
        progress: where the search stands, for the draw.

    Returns:
        Operation weights, one-hot rows exactly.

    Reference: Hu et al., CVPR 2020, who derive it from SNAS (Xie et al., ICLR 2019) at temperature
    0, with G held at the cell; published code.
    """
    log_p_EO = alpha_EO.log_softmax(-1)
    z_EO = log_p_EO.detach()
    if progress.draw is not None:
        z_EO = z_EO + parts.gumbel(progress.draw, alpha_EO)
    zeros_EO = torch.zeros_like(z_EO)
    cell_EO = zeros_EO.scatter(-1, z_EO.argmax(-1, keepdim=True), 1.0)
    # The value is the cell exactly: the difference is 0 before 1 is added.
    return cell_EO * (1 + (log_p_EO - log_p_EO.detach()))


@register(
    "algorithm",
    "dsnas",
    needs=("draw",),
    paper="DSNAS: Direct Neural Architecture Search without Parameter Retraining",
    year=2020,
)
def dsnas(
    margin: Margin = 1.0,
    hypergradient: HypergradientName = "single-level",
    *,
    space: Space,
) -> Algorithm:
    """Both levels see drawn cells and one loss, that of the train batch; see `score_function`.

    Early stop: as an epoch begins, each edge whose two largest entries of softmax(alpha) are
    ``margin`` or more apart is fixed, its operation drawn no longer; where derived cells keep some
    of the edges, none is fixed at ``none``.

    Args:
        margin: from which an edge is fixed; 1 fixes none.
        hypergradient: the gradient that moves alpha.
        space: the search space; the program supplies it, for its edges.

    Reference: Hu et al., CVPR 2020, and its published code. Deviations: one level after the other,
    each with a draw of its own; every operation is computed, see docs/algorithms/dsnas.md.
    """

    def choose(trial: Trial) -> Memory:
        # Edges that derived cells keep have an operation: none is not fixed there.
        none_E = torch.full((space.edge_count,), -1)
        for rows, column in space.entries_of(space.none) if space.keeps_some else []:
            none_E[rows] = column
        p_EO = trial.alpha_EO.double().softmax(-1)
        return {CHOSEN: fixed(trial.progress.memory[CHOSEN], p_EO, margin, none_E)}

    def start() -> Memory:
        return {CHOSEN: torch.full((space.edge_count,), OPEN)}

    selection = Selection(lambda epochs: 1, choose, chosen_or_usual, rate=None)
    return Algorithm(
        relax=drawn_or_fixed,
        perturb=parts.unperturbed,
        hypergradient=hypergradient,
        discretize=parts.argmax_per_edge,
        start=start if margin < 1 else None,
        select=selection if margin < 1 else None,
    )


def drawn_or_fixed(alpha_EO: Tensor, progress: Progress) -> Tensor:
    """`score_function`; one-hot rows without gradient for the edges that the memory fixes."""
    op_weights_EO = score_function(alpha_EO, progress)
    if CHOSEN not in progress.memory:
        return op_weights_EO
    return projected(op_weights_EO, progress.memory[CHOSEN])


def fixed(chosen_E: Tensor, p_EO: Tensor, margin: float, barred_E: Tensor | None = None) -> Tensor:
    """The memory of chosen operations, with those edges that are now decided.

    Args:
        chosen_E: as it was; whatever is chosen stays.
        p_EO: the probabilities of each edge's operations.
        margin: how far apart the two largest are of an edge that is decided.
        barred_E: a column of each edge that it is not decided for; -1 is none of them.
    """
    largest_E, operation_E = p_EO.max(-1)
    second_E = p_EO.scatter(-1, operation_E[:, None], 0.0).amax(-1)
    decided_E = (largest_E - second_E >= margin) & (chosen_E == OPEN)
    if barred_E is not None:
        decided_E &= operation_E != barred_E.to(operation_E.device)
    return torch.where(decided_E, operation_E, chosen_E)
