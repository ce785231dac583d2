"""A mixed cell in which one channel in K passes the operations, as PC-DARTS has it.

Shapes: B images, C channels, H x W pixels, E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from optnas.spaces.base import Space
from optnas.spaces.network.cells import BatchNorm, Normalise, Placed, SearchCell
from optnas.spaces.operations.base import Shape, Site


@dataclass(frozen=True)
class PartialCell(SearchCell):
    """x_i = sum over edges j->i of shuffle(sum_o A[e, o] o(x_j[:C / K]), b[e] x_j[C / K:]).

    b[e] = sum_o A[e, o]: the weight of an edge in `pc-darts`, and 1 in a one-hot row. The shuffle
    deals the K groups of C / K channels out in turn.

    Attributes:
        name: prefix of its weights.
        channels: C.
        space: nodes and edges.
        k: K, a divisor of C.
    """

    name: str
    channels: int
    space: Space
    k: int

    @cached_property
    def placed(self) -> list[dict[int, Placed]]:
        """Every operation but zero, by edge, then column."""
        site = Site(self.channels // self.k, self.channels // self.k)
        candidates, names = self.space.candidates(), self.space.operations
        return [
            {
                column: Placed(f"{self.name}.edges.{e}.{names[o]}", candidates[o], site)
                for column, o in enumerate(self.space.columns_at(e))
                if o != self.space.none
            }
            for e in range(self.space.edge_count)
        ]

    def filters(self) -> dict[str, Shape]:
        """Names and shapes of its filters."""
        each = [placed for edge in self.placed for placed in edge.values()]
        return {n: s for placed in each for n, s in placed.filters().items()}

    def norms(self) -> dict[str, BatchNorm]:
        """Its batch norms by name."""
        each = [placed for edge in self.placed for placed in edge.values()]
        return {n: b for placed in each for n, b in placed.norms().items()}

    def forward(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        normalise: Normalise,
    ) -> Tensor:
        """The cell's last node, see `optnas.SearchCell`."""
        own = self.channels // self.k
        sums: dict[int, Tensor] = {}
        values = {0: x_BCHW}
        b_E = op_weights_EO.sum(-1)
        for e, (source, target) in enumerate(self.space.edges):
            if source not in values:
                # The shuffle is one permutation, so a node's edges can be summed before it.
                values[source] = self._shuffled(sums[source])
            first, rest = values[source].split([own, self.channels - own], dim=1)
            mixed = [
                op_weights_EO[e, column] * operation(first, weights, normalise)
                for column, operation in self.placed[e].items()
            ]
            y = torch.cat([sum(mixed[1:], mixed[0]), b_E[e] * rest], dim=1)
            sums[target] = sums[target] + y if target in sums else y
        return self._shuffled(sums[self.space.nodes - 1])

    def _shuffled(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW.unflatten(1, (self.k, -1)).transpose(1, 2).flatten(1, 2)
