"""Partial channels and edge normalization in the manner of PC-DARTS (Xu et al., ICLR 2020).

An algorithm with a mixed cell of its own, and the naive twin of that cell. Shapes: B images,
C channels, H x W pixels, E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from naive_supernet import NaiveSupernet
from torch import Tensor, nn

from optnas import Algorithm, Placed, Progress, SearchCell, Site, Space, parts, register

SHARE = 2  # one channel in so many passes through the operations


@dataclass(frozen=True)
class PartialCell(SearchCell):
    """x_i = sum over edges j->i of b_e shuffle(sum_o A[e, o] o(x_j[first C / 2]), x_j[rest])."""

    name: str
    channels: int
    space: Space

    def placed(self) -> dict[tuple[int, int], Placed]:
        """Every operation but zero, by edge and column."""
        site = Site(self.channels // SHARE, self.channels // SHARE)
        names, candidates = self.space.operations, self.space.candidates()
        return {
            (e, o): Placed(f"{self.name}.edges.{e}.{names[o]}", candidates[o], site)
            for e in range(self.space.edge_count)
            for o in range(self.space.operation_count)
            if o != self.space.none
        }

    def filters(self) -> dict[str, Any]:
        return {n: s for placed in self.placed().values() for n, s in placed.filters().items()}

    def norms(self) -> dict[str, Any]:
        return {n: b for placed in self.placed().values() for n, b in placed.norms().items()}

    def forward(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        weights: Mapping[str, Tensor],
        normalise: Any,
    ) -> Tensor:
        own = self.channels // SHARE
        *mixed, edge_E = op_weights_EO.unbind(-1)
        nodes: dict[int, Tensor] = {0: x_BCHW}
        placed = self.placed()
        for e, (source, target) in enumerate(self.space.edges):
            first, rest = nodes[source].split([own, self.channels - own], dim=1)
            terms = [
                mixed[o][e] * each(first, weights, normalise)
                for (edge, o), each in placed.items()
                if edge == e
            ]
            y = edge_E[e] * _shuffled(torch.cat([torch.stack(terms).sum(0), rest], dim=1))
            nodes[target] = nodes[target] + y if target in nodes else y
        return nodes[self.space.nodes - 1]


def _shuffled(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.unflatten(1, (SHARE, -1)).transpose(1, 2).flatten(1, 2)


@register("algorithm", "partial", needs=("own-cell",))
def partial(*, space: Space) -> Algorithm:
    """Softmax over operations, and over the edges into a node in a further column of alpha."""
    into_E = torch.tensor([target for _, target in space.edges])

    def relax(alpha_EP: Tensor, progress: Progress) -> Tensor:
        del progress
        alpha_EO, edge_E1 = alpha_EP.split([space.operation_count, 1], dim=-1)
        exp_E = edge_E1[:, 0].exp()
        total_N = torch.zeros(space.nodes, dtype=exp_E.dtype).index_add(0, into_E, exp_E)
        return torch.cat([alpha_EO.softmax(-1), (exp_E / total_N[into_E])[:, None]], dim=-1)

    def discretize(read_EP: Tensor) -> list[int]:
        return parts.argmax_per_edge(read_EP[:, : space.operation_count])

    return Algorithm(
        relax=relax,
        perturb=parts.unperturbed,
        hypergradient=parts.first_order,
        discretize=discretize,
        columns=1,
        mixed_cell=PartialCell,
    )


class _NaivePartial(nn.Module):
    """A naive cell of half the channels, with what goes around it."""

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.ends, self.edges = cell.ends, cell.edges

    def forward(self, x_BCHW: Tensor, op_weights_EP: Tensor) -> Tensor:
        half = x_BCHW.shape[1] // 2
        nodes = [x_BCHW]
        for node in range(1, 1 + max(target for _, target in self.ends)):
            into = torch.zeros_like(x_BCHW)
            for e, (source, target) in enumerate(self.ends):
                if target == node:
                    x = nodes[source]
                    y = torch.cat(
                        [self.edges[e](x[:, :half], op_weights_EP[e, :-1]), x[:, half:]], 1
                    )
                    order = [
                        k
                        for pair in zip(range(half), range(half, 2 * half), strict=True)
                        for k in pair
                    ]
                    into = into + op_weights_EP[e, -1] * y[:, order]
            nodes.append(into)
        return nodes[-1]


def naive_partial(space: Space, *, channels: int, **sizes: int) -> NaiveSupernet:
    """The naive supernet around such cells."""
    naive = NaiveSupernet(space.edges, space.operations, channels=channels, **sizes)
    halves = NaiveSupernet(space.edges, space.operations, channels=channels // 2, **sizes)
    naive.stages = nn.ModuleList(
        nn.ModuleList(_NaivePartial(cell) for cell in stage) for stage in halves.stages
    )
    return naive
