"""A memory of chosen operations, edge by edge, as algorithms that select at the end have it.

Shapes: E edges, O operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Memory, Progress
from optnas.base.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

# Memory: the operation chosen for each edge, -1 where none is yet.
CHOSEN, OPEN = "chosen_E", -1


def softmax_or_chosen(alpha_EO: Tensor, progress: Progress) -> Tensor:
    """The softmax; one-hot rows for the edges whose operation the memory tells."""
    op_weights_EO = parts.softmax(alpha_EO, progress)
    if CHOSEN not in progress.memory:
        return op_weights_EO
    return projected(op_weights_EO, progress.memory[CHOSEN])


def projected(op_weights_EO: Tensor, chosen_E: Tensor) -> Tensor:
    """Rows of decided edges replaced by one-hot ones; no gradient reaches them."""
    chosen_E = chosen_E.to(op_weights_EO.device)  # measures look at alpha on the CPU
    one_hot_EO = torch.zeros_like(op_weights_EO).scatter(-1, chosen_E.clamp(min=0)[:, None], 1.0)
    return torch.where((chosen_E == OPEN)[:, None], op_weights_EO, one_hot_EO)


def chosen_or_usual(choice: list[int], memory: Memory) -> list[int]:
    """The operations that the memory tells, elsewhere those of the discretization."""
    chosen = memory[CHOSEN].tolist()
    return [own if own != OPEN else usual for own, usual in zip(chosen, choice, strict=True)]
