"""PC-DARTS: one channel in K passes the operations, and the edges into a node are weighed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Progress, Relax
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from optnas.spaces.network import cells
    from optnas.spaces.operations import base as operations
else:
    torch = lazy("torch")
    cells = lazy("optnas.spaces.network.cells")
    operations = lazy("optnas.spaces.operations.base")


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


@dataclass
class PartialCell:
    """x_i = sum over edges j->i of shuffle(sum_o A[e, o] o(x_j[:C / K]), b[e] x_j[C / K:]).

    b[e] = sum_o A[e, o]: what `normalised_edges` puts there, and 1 in a one-hot row. The shuffle
    deals the K groups of C / K channels out in turn.

    Attributes:
        name: prefix of its weights.
        channels: C.
        space: nodes and edges.
        k: K.
    """

    name: str
    channels: int
    space: Space
    k: int
    affine: ClassVar[bool] = False
    offers: frozenset[str] = frozenset()

    def _placed(self) -> dict[tuple[int, int], cells.Placed]:
        """Every operation but zero, by edge and column."""
        site = operations.Site(self.channels // self.k, self.channels // self.k)
        candidates = self.space.candidates()
        return {
            (e, o): cells.Placed(f"{self.name}.edges.{e}.{name}", candidates[o], site)
            for e in range(self.space.edge_count)
            for o, name in enumerate(self.space.operations)
            if o != self.space.none
        }

    def filters(self) -> dict[str, operations.Shape]:
        """Names and shapes of its filters."""
        return {n: s for placed in self._placed().values() for n, s in placed.filters().items()}

    def norms(self) -> dict[str, cells.BatchNorm]:
        """Its batch norms by name."""
        return {n: b for placed in self._placed().values() for n, b in placed.norms().items()}

    def forward(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        normalise: cells.Normalise,
    ) -> Tensor:
        """The cell's last node, see `optnas.SearchCell`."""
        own = self.channels // self.k
        sums: dict[int, Tensor] = {}
        values = {0: x_BCHW}
        placed, b_E = self._placed(), op_weights_EO.sum(-1)
        for e, (source, target) in enumerate(self.space.edges):
            if source not in values:
                # The shuffle is one permutation, so a node's edges can be summed before it.
                values[source] = self._shuffled(sums[source])
            first, rest = values[source].split([own, self.channels - own], dim=1)
            mixed = [
                op_weights_EO[e, o] * operation(first, weights, normalise)
                for (edge, o), operation in placed.items()
                if edge == e
            ]
            y = torch.cat([sum(mixed[1:], mixed[0]), b_E[e] * rest], dim=1)
            sums[target] = sums[target] + y if target in sums else y
        return self._shuffled(sums[self.space.nodes - 1])

    def _shuffled(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW.unflatten(1, (self.k, -1)).transpose(1, 2).flatten(1, 2)

    def judged(
        self,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        scale_and_shift: cells.ScaleAndShift,
    ) -> cells.Judge:
        """The cell at fixed operation weights: `forward`."""
        del weights, scale_and_shift

        def judge(x: Tensor, held: Mapping[str, Tensor], normalise: cells.Normalise) -> Tensor:
            return self.forward(x, op_weights_EO, held, normalise)

        return judge


@register("algorithm", "pc-darts", needs=("own-cell",))
def pc_darts(
    k: Annotated[int, Field(ge=1)] = 2,
    warmup: float = 0.3,
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
        UserError: the share is no share, or K does not divide the channels.

    Reference: Xu et al., ICLR 2020, and its published code; deviations in
    docs/algorithms/pc-darts.md.
    """
    if not 0 <= warmup < 1:
        raise UserError(
            "a share of the epochs that leaves some is at least 0 and below 1",
            key="warmup",
            value=warmup,
            remedy="change its value",
        )

    def cell(name: str, channels: int, space: Space) -> PartialCell:
        if channels % k:
            raise UserError(
                f"does not divide the {channels} channels of a cell",
                key="algorithm.k",
                value=k,
                remedy="use a divisor of supernet.channels",
            )
        return PartialCell(name, channels, space, k)

    def held(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        epoch, epochs = problem.progress.epoch, problem.progress.epochs
        if epoch <= min(round(warmup * epochs), epochs - 1):  # the last epoch moves alpha
            return parts.frozen(problem, alpha_EO, relax)
        return hypergradient(problem, alpha_EO, relax)

    return Algorithm(
        relax=normalised_edges(space),
        perturb=parts.unperturbed,
        hypergradient=held,
        discretize=parts.argmax_per_edge,
        columns=1,
        mixed_cell=cell if k > 1 else None,
    )
