"""A space in the manner of DARTS' own: two kinds of cell, joined outputs, strided edges.

Its own network and operations, in one file, as a stranger would write them. Shapes: B images,
E edges of both kinds, O operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas import (
    Layers,
    Operation,
    Output,
    Placed,
    SearchNetwork,
    Site,
    Space,
    Statistics,
    Wiring,
    register,
)
from optnas.spaces.operations.nasbench201 import none

EDGES = ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NORMAL = Wiring("normal", 4, EDGES, inputs=2, output="concat")
REDUCE = Wiring("reduce", 4, EDGES, inputs=2, output="concat", strided=(0, 1, 2, 3))


def skip_connect() -> Operation:
    """The identity; a strided convolution and its batch norm where the size is halved."""

    def filters(site: Site) -> dict[str, tuple[int, ...]]:
        return {} if site.keeps_size else {"weight": (site.outputs, site.inputs, 1, 1)}

    def norms(site: Site) -> dict[str, int]:
        return {} if site.keeps_size else {"norm": site.outputs}

    def call(x_BCHW: Tensor, site: Site, weights: Mapping[str, Tensor], norm: Any) -> Tensor:
        if site.keeps_size:
            return x_BCHW
        return norm(F.conv2d(x_BCHW.relu(), weights["weight"], stride=site.stride), "norm")

    return Operation(call, filters, norms)


def sep_conv_3x3() -> Operation:
    """ReLU, 3x3 convolution of each channel, 1x1 convolution, batch norm."""

    def filters(site: Site) -> dict[str, tuple[int, ...]]:
        channels, outputs = site.inputs, site.outputs
        return {"depth.weight": (channels, 1, 3, 3), "point.weight": (outputs, channels, 1, 1)}

    def norms(site: Site) -> dict[str, int]:
        return {"norm": site.outputs}

    def call(x_BCHW: Tensor, site: Site, weights: Mapping[str, Tensor], norm: Any) -> Tensor:
        depth = weights["depth.weight"]
        y = F.conv2d(x_BCHW.relu(), depth, stride=site.stride, padding=1, groups=len(depth))
        return norm(F.conv2d(y, weights["point.weight"]), "norm")

    return Operation(call, filters, norms)


class TwoKinds(Layers, SearchNetwork):
    """Stem, normal cell, reduction cell, normal cell, head; each cell reads the two before it."""

    def __init__(
        self,
        space: Space,
        *,
        channels: int,
        cells: int,
        classes: int,
        image_channels: int,
        **of: Any,
    ):
        super().__init__(**of)
        del cells
        self.space, self.channels = space, channels
        self.kinds = (0, 1, 0)
        self.cells = len(self.kinds)
        self.convolution("stem.conv", image_channels, 2 * channels, 3)
        self.norm("stem.norm", 2 * channels)
        candidates = space.candidates()
        self.placed: list[list[list[Placed]]] = []
        for i, kind in enumerate(self.kinds):
            for j in range(2):
                self.convolution(f"cells.{i}.input{j}.conv", 2 * channels, channels, 1)
                self.norm(f"cells.{i}.input{j}.norm", channels)
            wiring = space.wirings[kind]
            edges = []
            for e in range(len(wiring.edges)):
                site = Site(channels, channels, 2 if e in wiring.strided else 1)
                names = [f"cells.{i}.edges.{e}.{name}" for name in space.operations]
                edges.append([Placed(n, o, site) for n, o in zip(names, candidates, strict=True)])
            self.placed.append(edges)
            for placed in (each for edge in edges for each in edge):
                self.add(placed, affine=False)
        self.linear("head", 2 * channels, classes)

    def __call__(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None,
        update: bool = False,
    ) -> Output:
        held, normalise, after = self.begin(weights, statistics, update)
        x = normalise(
            F.conv2d(x_BCHW, held["stem.conv.weight"], padding=1), "stem.norm", None, None
        )
        outputs = [x, x]
        for i, kind in enumerate(self.kinds):
            own_EO = op_weights_EO if op_weights_EO.ndim == 2 else op_weights_EO[i]
            rows_EO = own_EO.split([len(w.edges) for w in self.space.wirings])[kind]
            side = outputs[1].shape[-1]
            nodes = []
            for j, y in enumerate(outputs):
                stride = y.shape[-1] // side
                y = F.conv2d(y.relu(), held[f"cells.{i}.input{j}.conv.weight"], stride=stride)
                nodes.append(normalise(y, f"cells.{i}.input{j}.norm", None, None))
            wiring = self.space.wirings[kind]
            for target in range(wiring.inputs, wiring.nodes):
                terms = [
                    rows_EO[e, o] * placed(nodes[source], held, normalise)
                    for e, (source, into) in enumerate(wiring.edges)
                    for o, placed in enumerate(self.placed[i][e])
                    if into == target and o != self.space.none
                ]
                nodes.append(torch.stack(terms).sum(0))
            outputs = [outputs[1], torch.cat(nodes[wiring.inputs :], dim=1)]
        pooled = outputs[1].mean((2, 3))
        return Output(F.linear(pooled, held["head.weight"], held["head.bias"]), after)


@register("space", "two-kinds")
def two_kinds() -> Space:
    """Two kinds of cell with five edges each, and three operations."""
    return Space.of_wirings(
        "two-kinds",
        (NORMAL, REDUCE),
        ("none", "skip_connect", "sep_conv_3x3"),
        none=0,
        skip=1,
        weighted=(2,),
        own={"none": none, "skip_connect": skip_connect, "sep_conv_3x3": sep_conv_3x3},
        network=TwoKinds,
        multiple=2,
    )
