"""The naive twin of PC-DARTS' mixed cell: a module for each edge and operation, channels by index.

Shapes: B images, C channels, H x W pixels, E edges, O operations.
"""

from __future__ import annotations

import torch
from naive_supernet import NaiveSupernet
from torch import Tensor, nn

from optnas import Space


class NaivePartial(nn.Module):
    """A naive cell of C / K channels, with what goes around it."""

    def __init__(self, cell: nn.Module, k: int):
        super().__init__()
        self.ends, self.edges, self.k = cell.ends, cell.edges, k

    def forward(self, x_BCHW: Tensor, op_weights_EO: Tensor) -> Tensor:
        own = x_BCHW.shape[1] // self.k
        order = [group * own + channel for channel in range(own) for group in range(self.k)]
        nodes = [x_BCHW]
        for node in range(1, 1 + max(target for _, target in self.ends)):
            into = torch.zeros_like(x_BCHW)
            for e, (source, target) in enumerate(self.ends):
                if target == node:
                    x, b = nodes[source], op_weights_EO[e].sum()
                    mixed = self.edges[e](x[:, :own], op_weights_EO[e] / b)
                    into = into + b * torch.cat([mixed, x[:, own:]], 1)[:, order]
            nodes.append(into)
        return nodes[-1]


def naive_partial(space: Space, *, channels: int, k: int, **sizes: int) -> NaiveSupernet:
    """The naive supernet around such cells."""
    naive = NaiveSupernet(space.edges, space.operations, channels=channels, **sizes)
    parts = NaiveSupernet(space.edges, space.operations, channels=channels // k, **sizes)
    naive.stages = nn.ModuleList(
        nn.ModuleList(NaivePartial(cell, k) for cell in stage) for stage in parts.stages
    )
    return naive
