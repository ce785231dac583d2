"""PC-DARTS: one channel in K passes the operations, and the edges into a node are weighed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Progress, Relax
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, Share
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from optnas.spaces.network import partial
else:
    torch = lazy("torch")
    partial = lazy("optnas.spaces.network.partial")


def normalised_edges(space: Space) -> Relax:
    """A[e, o] = b[e] softmax(alpha[e, :O])[o], b = softmax of alpha[:, O] over a node's edges.

    Rows sum to b, and the rows of the edges into one node to 1 together.

    Args:
        space: for which edges enter one node.

    Returns:
        The relaxation, of alpha with one further column.
    """
    counts = [  # of the edges into each node, kind of cell by kind
        len(list(into))
        for wiring in space.wirings
        for _, into in itertools.groupby(wiring.edges, lambda edge: edge[1])
    ]

    def relax(alpha_EP: Tensor, progress: Progress) -> Tensor:
        del progress
        b_E = torch.cat([logits.softmax(0) for logits in alpha_EP[:, -1].split(counts)])
        return alpha_EP[:, :-1].softmax(-1) * b_E[:, None]

    return relax


@register(
    "algorithm",
    "pc-darts",
    needs=("own-cell",),
    paper="PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search",
    year=2020,
)
def pc_darts(
    k: AtLeastOne = 2,
    warmup: Share = 0.3,
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> Algorithm:
    """DARTS with partial channels (`PartialCell`) and edge normalization (`normalised_edges`).

    Args:
        k: K, one channel in K passes the operations; 1 leaves the normalization of edges alone.
        warmup: share of the run's epochs, rounded, from the first, in which alpha stays; the last
            epoch moves it.
        hypergradient: the gradient that moves alpha.
        space: the search space; the program supplies it, for its edges.

    Raises:
        UserError: K does not divide the channels.

    Reference: Xu et al., ICLR 2020, and its published code; deviations in
    docs/algorithms/pc-darts.md.
    """

    def cell(name: str, channels: int, space: Space) -> partial.PartialCell:
        if channels % k:
            raise UserError(
                f"does not divide the {channels} channels of a cell",
                key="algorithm.k",
                value=k,
                remedy="use a divisor of supernet.channels",
            )
        return partial.PartialCell(name, channels, space, k)

    return Algorithm(
        relax=normalised_edges(space),
        perturb=parts.unperturbed,
        hypergradient=parts.after_warmup(hypergradient, warmup),
        discretize=parts.argmax_per_edge,
        columns=1,
        mixed_cell=cell if k > 1 else None,
    )
