"""The network of DARTS' search: normal cells with two reduction cells among them.

Shapes: B images, C channels, H x W pixels, E edges of both kinds, O operations, L cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.spaces.base import Space
from optnas.spaces.network.cells import Normalise, Placed
from optnas.spaces.network.layers import Layers
from optnas.spaces.network.protocol import Output, SearchNetwork
from optnas.spaces.network.statistics import Statistics
from optnas.spaces.operations.base import Site
from optnas.spaces.operations.darts import halved, halved_filters
from optnas.spaces.wiring import Wiring

STEM = 3


@dataclass(frozen=True)
class PlacedCell:
    """A cell at its place.

    Attributes:
        name: prefix of its weights, such as ``cells.2``.
        wiring: its kind.
        rows: where that kind's edges stand among the rows of alpha.
        operations: by edge and column.
        after_reduction: whether its first input is twice as high and wide as its second.
    """

    name: str
    wiring: Wiring
    rows: slice
    operations: tuple[tuple[Placed, ...], ...]
    after_reduction: bool


class TwoInputs(Layers, SearchNetwork):
    """Stem, 3 N + 2 cells, head: the third and the two-thirds cell are reduction cells.

    stem conv3x3(3 C)-BN; cell i reads the outputs of cells i - 1 and i - 2, each brought to the
    cell's channels by ReLU-conv1x1-BN (the earlier one by a strided pair of those where a reduction
    lies between); node j is the sum over edges i->j of sum_o A[e, o] o(x_i); the output joins the
    inner nodes; channels double in a reduction cell; head: global average pool, linear. Batch norms
    have no affine terms but the stem's.

    Source: Liu, Simonyan and Yang, ICLR 2019, section 3.1 (C = 16, 8 cells: N = 2). Deviation:
    ``none`` is not computed; its products are zero.

    Args:
        space: a normal and a reduction cell with two inputs and joined outputs.
        channels: C.
        cells: N; the published 8 cells are N = 2, and 20 are N = 6.
        classes: width of the head.
        image_channels: channels of the images.
        **of: as of `Layers`.
    """

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
        self.space, self.cells = space, 3 * cells + 2
        reductions = (self.cells // 3, 2 * self.cells // 3)
        rows, start = [], 0
        for wiring in space.wirings:
            rows.append(slice(start, start + len(wiring.edges)))
            start += len(wiring.edges)
        self.convolution("stem.conv", image_channels, STEM * channels, 3)
        self.norm("stem.norm", STEM * channels)
        widths = (STEM * channels, STEM * channels)
        self.placed = []
        for i in range(self.cells):
            kind, after = int(i in reductions), i - 1 in reductions
            channels *= 1 + kind
            wiring, name = space.wirings[kind], f"cells.{i}"
            self._inputs(name, widths, channels, after)
            cell = PlacedCell(name, wiring, rows[kind], self._place(name, wiring, channels), after)
            for placed in (each for edge in cell.operations for each in edge):
                self.add(placed, affine=False)
            self.placed.append(cell)
            widths = (widths[1], (wiring.nodes - wiring.inputs) * channels)
        self.linear("head.linear", widths[1], classes)

    def _inputs(self, name: str, widths: tuple[int, int], channels: int, after: bool) -> None:
        for j, width in enumerate(widths):
            if j == 0 and after:
                for key, shape in halved_filters(width, channels).items():
                    self.leaf(f"{name}.input_0.{key}", shape, width)
            else:
                self.convolution(f"{name}.input_{j}.conv", width, channels, 1)
            self.norm(f"{name}.input_{j}.norm", channels, affine=False)

    def _place(self, name: str, wiring: Wiring, channels: int) -> tuple[tuple[Placed, ...], ...]:
        candidates, names = self.space.candidates(), self.space.operations
        return tuple(
            tuple(
                Placed(
                    f"{name}.edges.{e}.{own}",
                    operation,
                    Site(channels, channels, 2 if e in wiring.strided else 1),
                )
                for own, operation in zip(names, candidates, strict=True)
            )
            for e in range(len(wiring.edges))
        )

    def __call__(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None,
        update: bool = False,
    ) -> Output:
        """Logits of a batch; modes as of `SearchNetwork.__call__`.

        Args:
            x_BCHW: normalised images.
            op_weights_EO: operation weights, the rows of the normal cell first, or ``[L, E, O]``.
            weights: network weights to use instead of the network's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.

        Returns:
            Logits and statistics.
        """
        held, normalise, after = self.begin(weights, statistics, update)
        x = x_BCHW.contiguous(memory_format=torch.channels_last)
        x = normalise(F.conv2d(x, held["stem.conv.weight"], padding=1), "stem.norm", None, None)
        before = (x, x)
        for i, cell in enumerate(self.placed):
            own_EO = op_weights_EO if op_weights_EO.ndim == 2 else op_weights_EO[i]
            before = (before[1], self._cell(cell, before, own_EO[cell.rows], held, normalise))
        logits = F.linear(
            before[1].mean((2, 3)), held["head.linear.weight"], held["head.linear.bias"]
        )
        return Output(logits, after)

    def _cell(
        self,
        cell: PlacedCell,
        before: tuple[Tensor, Tensor],
        rows_EO: Tensor,
        weights: Mapping[str, Tensor],
        normalise: Normalise,
    ) -> Tensor:
        nodes = []
        for j, x in enumerate(before):
            name = f"{cell.name}.input_{j}"
            if j == 0 and cell.after_reduction:
                y = halved(
                    x, {f"conv_{i}.weight": weights[f"{name}.conv_{i}.weight"] for i in (1, 2)}
                )
            else:
                y = F.conv2d(x.relu(), weights[f"{name}.conv.weight"])
            nodes.append(normalise(y, f"{name}.norm", None, None))
        entries_OE = [column.unbind() for column in rows_EO.unbind(1)]
        wiring = cell.wiring
        for target in range(wiring.inputs, wiring.nodes):
            total: Tensor | None = None
            for e, (source, into) in enumerate(wiring.edges):
                if into != target:
                    continue
                for o, operation in enumerate(cell.operations[e]):
                    if o == self.space.none:
                        continue
                    term = entries_OE[o][e] * operation(nodes[source], weights, normalise)
                    total = term if total is None else total.add_(term)
            assert total is not None, "the space has a node without a way in"
            nodes.append(total)
        return torch.cat(nodes[wiring.inputs :], dim=1)
