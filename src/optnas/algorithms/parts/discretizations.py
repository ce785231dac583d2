"""From architecture parameters to an architecture. Shapes: E edges, O operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.base.registry import register

if TYPE_CHECKING:
    from torch import Tensor


@register("discretization", "argmax-per-edge", itself=True)
def argmax_per_edge(alpha_EO: Tensor) -> list[int]:
    """The operation of the largest architecture parameter of each edge, ``none`` included.

    Returns:
        One operation index per edge; the first one where several are largest.

    Reference: NAS-Bench-201's own derivation; DARTS on its own space leaves ``none`` out.
    """
    return [row.index(max(row)) for row in alpha_EO.tolist()]
