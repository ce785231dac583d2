"""An auxiliary skip, taken off the operation weights. Shapes: E edges, O operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from optnas.algorithms.base import Algorithm
    from optnas.spaces.base import Space


def without_auxiliary(
    op_weights_EO: Tensor, algorithm: Algorithm, space: Space
) -> tuple[Tensor, Tensor]:
    """What an auxiliary skip adds, apart from the rest.

    Rows that do not sum to 1 for another reason, such as gates of their own, stay as they are.

    Args:
        op_weights_EO: operation weights; unchanged.
        algorithm: says whether they hold an auxiliary skip.
        space: for the columns of its skips.

    Returns:
        Operation weights without it, and its weight on each edge, 0 where there is none.
    """
    own_EO = op_weights_EO.clone()
    if not algorithm.auxiliary_skip:
        return own_EO, own_EO.new_zeros(len(own_EO))
    auxiliary_E = own_EO.sum(-1) - 1
    for rows, column in space.skip_entries("an auxiliary one stands beside each"):
        own_EO[rows, column] -= auxiliary_E[rows]
    return own_EO, auxiliary_E
