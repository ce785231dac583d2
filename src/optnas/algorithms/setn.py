"""SETN: random cells train the shared weights, and alpha says which cells are validated.

Shapes: E edges, O operations, K cells, G rows that are decided together, X choices for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Trial
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.chosen import LEFT_OUT, columns_of_cells, kept_into_each_node
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.algorithms.rsps import trained_by_cells
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Candidates = Literal["likeliest", "drawn"]


@register(
    "algorithm",
    "setn",
    needs=("noise",),
    paper="One-Shot Neural Architecture Search via Self-Evaluated Template Network",
    year=2019,
)
def setn(
    cells: AtLeastOne = 100,
    candidates: Candidates = "likeliest",
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> Algorithm:
    """Each weight step trains a uniformly drawn cell, each alpha step sees the mixture of all.

        p     = softmax(alpha)
        alpha <- architecture optimizer, along d L_val(w, p) / d alpha
        w     <- weight optimizer, along d L_train(w, z) / d w, z of `drawn_cell`

    Before the last epoch k cells are taken by P(cell) ~ product over e of p[e, cell[e]], and the
    most accurate one with the shared weights, the first of equals, is the run's. The last epoch
    moves neither alpha nor w: it judges that cell. Where derived cells keep some of the edges into
    a node, the product is over the edges that are kept, and cells have operations but ``none``.

    Args:
        cells: k.
        candidates: the k cells of the largest P, or k independent draws, which may be equal.
        hypergradient: the gradient that moves alpha.
        space: the search space; the program supplies it, for its edges.

    Reference: Dong and Yang, ICCV 2019, and the code of NAS-Bench-201; deviations in
    docs/algorithms/setn.md.
    """

    def taken(trial: Trial) -> Tensor:
        choices = choices_of(trial.alpha_EO, space)
        if candidates == "likeliest":
            return likeliest_cells(choices, cells)
        return drawn_cells(choices, cells, trial.generator())

    def until_chosen(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        last = problem.progress.epoch == problem.progress.epochs
        return (parts.frozen if last else hypergradient)(problem, alpha_EO, relax)

    return trained_by_cells(taken, until_chosen, space)


class Choices(NamedTuple):
    """What a cell may have on rows of alpha that are decided together.

    Attributes:
        columns_XG: of each choice a column of alpha per row, or `LEFT_OUT`.
        logits_X: log P of each choice but for a constant, in double precision.
    """

    columns_XG: Tensor
    logits_X: Tensor


def choices_of(alpha_EO: Tensor, space: Space) -> list[Choices]:
    """The cells of a space as independent choices, which alpha makes more or less likely.

    An edge has one of its operations. Of a node into which m of n edges are kept, m edges have one
    each, and the others are left out.

    Args:
        alpha_EO: architecture parameters.
        space: what is searched.

    Returns:
        In order of the rows, on the CPU.
    """
    log_EO, found = alpha_EO.cpu().double().log_softmax(-1), []
    for rows, kept in _decided_together(space):
        columns_XG = torch.tensor(_choices([columns_of_cells(space, row) for row in rows], kept))
        entries_XG = log_EO[torch.tensor(rows), columns_XG.clamp(min=0)]
        logits_X = entries_XG.masked_fill(columns_XG == LEFT_OUT, 0.0).sum(-1)
        found.append(Choices(columns_XG, logits_X))
    return found


def likeliest_cells(choices: Sequence[Choices], count: int) -> Tensor:
    """The cells of the largest P, the likeliest first; of equals the first in order of choices.

    Of the beginnings of cells, row by row, only the ``count`` likeliest can begin one of the
    ``count`` likeliest cells: the whole space is not listed.

    Args:
        choices: of `choices_of`.
        count: how many, or as many as there are.

    Returns:
        ``[cells, edges]``.
    """
    cells_KE, logits_K = torch.empty(1, 0, dtype=torch.long), torch.zeros(1, dtype=torch.float64)
    for columns_XG, logits_X in choices:
        sums = (logits_K[:, None] + logits_X).flatten()
        # In order of choices again, so that the next rows find equals in that order.
        best = sums.argsort(descending=True, stable=True)[:count].sort().values
        begun, choice = best // len(logits_X), best % len(logits_X)
        cells_KE = torch.cat([cells_KE[begun], columns_XG[choice]], dim=1)
        logits_K = sums[best]
    return cells_KE[logits_K.argsort(descending=True, stable=True)]


def drawn_cells(choices: Sequence[Choices], count: int, generator: torch.Generator) -> Tensor:
    """Independent draws of a cell, each with its P.

    Args:
        choices: of `choices_of`.
        count: how many.
        generator: of the CPU.

    Returns:
        ``[cells, edges]``.
    """
    drawn = [
        columns_XG[logits_X.softmax(-1).multinomial(count, replacement=True, generator=generator)]
        for columns_XG, logits_X in choices
    ]
    return torch.cat(drawn, dim=1)


def _decided_together(space: Space) -> list[tuple[list[int], int]]:
    """Rows of alpha, and how many of them a cell keeps: an edge, or the edges into a node."""
    found: list[tuple[list[int], int]] = []
    for rows, kept in kept_into_each_node(space):
        found += [(list(rows), kept)] if kept < len(rows) else [([row], 1) for row in rows]
    return found


def _choices(columns: Sequence[Sequence[int]], kept: int) -> list[list[int]]:
    """All ways to give so many of the rows one of their columns."""
    rows = range(len(columns))
    return [
        [dict(zip(places, each, strict=True)).get(row, LEFT_OUT) for row in rows]
        for places in itertools.combinations(rows, kept)
        for each in itertools.product(*(columns[place] for place in places))
    ]
