"""A memory of chosen operations, edge by edge, as algorithms that select at the end have it.

Shapes: E edges, O operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Memory, Progress
from optnas.base.lazy import lazy
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

# Memory: the operation chosen for each edge, -1 where none is yet, -2 where the edge is left out.
CHOSEN, OPEN, LEFT_OUT = "chosen_E", -1, -2


def softmax_or_chosen(alpha_EO: Tensor, progress: Progress) -> Tensor:
    """The softmax; one-hot rows for the edges whose operation the memory tells, or rows of 0."""
    op_weights_EO = parts.softmax(alpha_EO, progress)
    if CHOSEN not in progress.memory:
        return op_weights_EO
    return projected(op_weights_EO, progress.memory[CHOSEN])


def projected(op_weights_EO: Tensor, chosen_E: Tensor) -> Tensor:
    """Rows of decided edges replaced by one-hot ones, or by 0; no gradient reaches them."""
    chosen_E1 = chosen_E.to(op_weights_EO.device)[:, None]  # measures look at alpha on the CPU
    zeros_EO = torch.zeros_like(op_weights_EO)
    one_hot_EO = zeros_EO.scatter(-1, chosen_E1.clamp(min=0), (chosen_E1 >= 0).to(zeros_EO))
    return torch.where(chosen_E1 == OPEN, op_weights_EO, one_hot_EO)


def softmax_unless_left_out(alpha_EO: Tensor, progress: Progress) -> Tensor:
    """What edges are ranked by: the softmax, and -1 for those that the memory leaves out."""
    strength_EO = parts.softmax(alpha_EO, progress)
    if CHOSEN not in progress.memory:
        return strength_EO
    left_E1 = progress.memory[CHOSEN].to(strength_EO.device)[:, None] == LEFT_OUT
    return torch.where(left_E1, -torch.ones_like(strength_EO), strength_EO)


def columns_of_cells(space: Space, edge: int) -> list[int]:
    """Columns of alpha that cells may have on an edge: not ``none`` where they keep some edges."""
    barred = space.none if space.keeps_some else None
    return [column for column, o in enumerate(space.columns_at(edge)) if o != barred]


def kept_into_each_node(space: Space) -> list[tuple[range, int]]:
    """Of each node the rows of the edges into it, and how many of them a derived cell keeps."""
    return [
        (rows, kind.kept if 0 < kind.kept < len(rows) else len(rows))
        for kind, _, rows in space.joints
    ]


def thinned(space: Space) -> list[tuple[slice, int]]:
    """Of each node with more edges than a derived cell keeps: their rows, and how many are kept."""
    return [
        (slice(rows.start, rows.stop), kept)
        for rows, kept in kept_into_each_node(space)
        if kept < len(rows)
    ]


def strongest_into_each_node(strength_ZE: Tensor, space: Space) -> Tensor:
    """Which edges a derived cell keeps: the strongest into each node.

    Args:
        strength_ZE: of each edge, in the last dimension.
        space: what is searched.

    Returns:
        Of the same shape: whether the edge is kept; all are, of a space whose cells keep all. Of
        equally strong ones the first is kept.
    """
    kept_ZE = torch.ones_like(strength_ZE, dtype=torch.bool)
    for into, kept in thinned(space):
        ranked_ZE = strength_ZE[..., into].argsort(dim=-1, descending=True, stable=True)
        places = ranked_ZE[..., :kept]
        kept_ZE[..., into] = torch.zeros_like(kept_ZE[..., into]).scatter(-1, places, True)
    return kept_ZE


def chosen_or_usual(choice: list[int], memory: Memory) -> list[int]:
    """The operations that the memory tells, elsewhere those of the discretization."""
    chosen = memory[CHOSEN].tolist()
    return [own if own >= 0 else usual for own, usual in zip(chosen, choice, strict=True)]
