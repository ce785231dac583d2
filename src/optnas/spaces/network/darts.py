"""The networks of DARTS: normal cells with two reduction cells among them.

Shapes: B images, C channels, H x W pixels, E edges of both kinds, O columns of alpha, L cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.spaces.base import Space
from optnas.spaces.network.cells import Noise, Normalise, Placed
from optnas.spaces.network.dropout import dropping
from optnas.spaces.network.layers import Layers
from optnas.spaces.network.protocol import SKIP_DROPOUT, Output, SearchNetwork
from optnas.spaces.network.statistics import Statistics
from optnas.spaces.operations.base import Operation, Site
from optnas.spaces.operations.darts import halved, halved_filters
from optnas.spaces.wiring import Wiring

STEM = 3
# Seed of what operations draw where no step of a search or training asks, in every run: numbers by
# place in the batch, so that an accuracy is the same again on the same batches only.
JUDGED = 0

# By key: the operation's name, and the operation. A key is a column of alpha in the network that is
# searched, and the operation's index in one that is fixed.
Candidates = Sequence[tuple[int, str, Operation]]
# An edge of a cell and its input -> what it adds to its target, each in memory of its own.
Terms = Callable[[int, Tensor], Iterator[Tensor]]


@dataclass(frozen=True)
class PlacedCell:
    """A cell at its place.

    Attributes:
        name: prefix of its weights, such as ``cells.2``.
        wiring: its kind.
        rows: where that kind's edges stand among the rows of alpha.
        operations: by edge: keys, as of `Candidates`, and the operations they stand for.
        after_reduction: whether its first input is twice as high and wide as its second.
    """

    name: str
    wiring: Wiring
    rows: slice
    operations: tuple[tuple[tuple[int, Placed], ...], ...]
    after_reduction: bool


class CellsOfTwoInputs(Layers):
    """Stem and 3 N + 2 cells: the third and the two-thirds cell are reduction cells.

    stem conv3x3(3 C)-BN; cell i reads the outputs of cells i - 1 and i - 2, each brought to the
    cell's channels by ReLU-conv1x1-BN (the earlier one by a strided pair of those where a reduction
    lies between); its output joins its inner nodes; channels double in a reduction cell.

    Args:
        space: a normal and a reduction cell with two inputs and joined outputs.
        candidates: edge -> its operations.
        affine: whether batch norms of cells have weights and biases.
        channels: C.
        cells: N; the published 8 cells are N = 2, and 20 are N = 6.
        image_channels: channels of the images.
        **of: as of `Layers`.

    Attributes:
        cells: L = 3 N + 2.
        placed: the cells.
        tapped: place of the second reduction cell, and the channels of its output.
        width: channels of the last output.
    """

    def __init__(
        self,
        space: Space,
        candidates: Callable[[int], Candidates],
        *,
        affine: bool,
        channels: int,
        cells: int,
        image_channels: int,
        **of: Any,
    ):
        super().__init__(**of)
        self.space, self.cells, self._affine = space, 3 * cells + 2, affine
        reductions = (self.cells // 3, 2 * self.cells // 3)
        rows, start = [], 0
        for wiring in space.wirings:
            rows.append(slice(start, start + len(wiring.edges)))
            start += len(wiring.edges)
        self.convolution("stem.conv", image_channels, STEM * channels, 3)
        self.norm("stem.norm", STEM * channels)
        widths = (STEM * channels, STEM * channels)
        self.placed: list[PlacedCell] = []
        for i in range(self.cells):
            kind, after = int(i in reductions), i - 1 in reductions
            channels *= 1 + kind
            wiring, name = space.wirings[kind], f"cells.{i}"
            self._inputs(name, widths, channels, after)
            operations = tuple(
                tuple(
                    (key, Placed(f"{name}.edges.{e}.{own}", operation, site))
                    for key, own, operation in candidates(rows[kind].start + e)
                )
                for e in range(len(wiring.edges))
                for site in [Site(channels, channels, 2 if e in wiring.strided else 1)]
            )
            for _, placed in (each for edge in operations for each in edge):
                self.add(placed, affine=affine)
            self.placed.append(PlacedCell(name, wiring, rows[kind], operations, after))
            widths = (widths[1], (wiring.nodes - wiring.inputs) * channels)
            if i == reductions[1]:
                self.tapped = (i, widths[1])
        self.width = widths[1]

    def _inputs(self, name: str, widths: tuple[int, int], channels: int, after: bool) -> None:
        for j, width in enumerate(widths):
            if j == 0 and after:
                for key, shape in halved_filters(width, channels).items():
                    self.leaf(f"{name}.input_0.{key}", shape, width)
            else:
                self.convolution(f"{name}.input_{j}.conv", width, channels, 1)
            self.norm(f"{name}.input_{j}.norm", channels, affine=self._affine)

    def through(
        self,
        x_BCHW: Tensor,
        terms_of: Callable[[int], Terms],
        held: Mapping[str, Tensor],
        normalise: Normalise,
    ) -> tuple[Tensor, Tensor]:
        """Images through stem and cells.

        Args:
            x_BCHW: normalised images.
            terms_of: place of a cell -> what its edges compute.
            held: network weights.
            normalise: batch norm by name.

        Returns:
            The outputs of the last and of the second reduction cell.
        """
        x = x_BCHW.contiguous(memory_format=torch.channels_last)
        x = normalise(F.conv2d(x, held["stem.conv.weight"], padding=1), "stem.norm", None, None)
        before, tapped = (x, x), x
        for i, cell in enumerate(self.placed):
            nodes = self._nodes_of_inputs(cell, before, held, normalise)
            wiring, terms = cell.wiring, terms_of(i)
            for target in range(wiring.inputs, wiring.nodes):
                total: Tensor | None = None
                for e, (source, into) in enumerate(wiring.edges):
                    for term in terms(e, nodes[source]) if into == target else ():
                        total = term if total is None else total.add_(term)
                assert total is not None, "the space has a node without a way in"
                nodes.append(total)
            before = (before[1], torch.cat(nodes[wiring.inputs :], dim=1))
            tapped = before[1] if i == self.tapped[0] else tapped
        return before[1], tapped

    def _nodes_of_inputs(
        self,
        cell: PlacedCell,
        before: tuple[Tensor, Tensor],
        weights: Mapping[str, Tensor],
        normalise: Normalise,
    ) -> list[Tensor]:
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
        return nodes


def noise_of(generator: torch.Generator) -> Noise:
    """What draws an operation's noise.

    Single precision on the CPU, so that the numbers depend on neither device nor dtype.

    Args:
        generator: of the CPU; it advances.
    """

    def drawn(x_BCHW: Tensor, site: Site) -> Tensor:
        sides = [-(-side // site.stride) for side in x_BCHW.shape[2:]]
        shape = (len(x_BCHW), site.outputs, *sides)
        numbers = torch.randn(shape, generator=generator, dtype=torch.float32)
        return numbers.to(x_BCHW, memory_format=torch.channels_last)

    return drawn


class TwoInputs(CellsOfTwoInputs, SearchNetwork):
    """The network that is searched: `CellsOfTwoInputs`, global average pool, linear.

    Node j of a cell is the sum over edges i->j of sum_o A[e, o] o(x_i). Batch norms have no affine
    terms but the stem's.

    With ``auxiliary`` a row of A that sums to 1 + b is one that sums to 1 and an auxiliary skip of
    weight b, which `softmax-with-skip` adds to the column of the edge's skip. Where that is the
    identity, so it is computed. On a strided edge the auxiliary skip s' has weights of its own
    beside those of the skip s, and adds b (s'(x) - s(x)). A row of zeros, of an edge that is left
    out, has b = 0.

    Source: Liu, Simonyan and Yang, ICLR 2019, section 3.1 (C = 16, 8 cells: N = 2); the auxiliary
    skip: Chu et al., ICLR 2021, and its published code. Deviation: ``none`` is not computed; its
    products are zero.

    Args:
        space: a normal and a reduction cell with two inputs and joined outputs.
        classes: width of the head.
        auxiliary: whether A may hold an auxiliary skip.
        **of: as of `CellsOfTwoInputs`.
    """

    offers = frozenset({SKIP_DROPOUT})

    def __init__(self, space: Space, *, classes: int, auxiliary: bool = False, **of: Any):
        built = space.candidates()

        def candidates(edge: int) -> Candidates:
            return [
                (column, space.operations[o], built[o])
                for column, o in enumerate(space.columns_at(edge))
                if o != space.none
            ]

        super().__init__(space, candidates, affine=False, **of)
        self.linear("head.linear", self.width, classes)
        # By cell and edge; last of all, so that the other weights begin as they do without.
        self._auxiliary: dict[tuple[int, int], Placed] = {}
        if not auxiliary:
            return
        space.skip_entries("the algorithm has an auxiliary one")
        assert space.skip is not None
        for i, cell in enumerate(self.placed):
            for e, placed in enumerate(cell.operations):
                site = placed[0][1].site
                if site.stride > 1:
                    name = f"{cell.name}.edges.{e}.auxiliary"
                    self._auxiliary[i, e] = Placed(name, built[space.skip], site)
                    self.add(self._auxiliary[i, e], affine=False)

    def __call__(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None,
        update: bool = False,
        draw: int | None = None,
        skip_dropout: float = 0.0,
    ) -> Output:
        """Logits of a batch; modes as of `SearchNetwork.__call__`.

        Args:
            x_BCHW: normalised images.
            op_weights_EO: operation weights, the rows of the normal cell first, or ``[L, E, O]``.
            weights: network weights to use instead of the network's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.
            draw: seed of what its operations draw on this batch; None draws the numbers that every
                judging pass over the same batches sees.
            skip_dropout: share of the elements of a skip's output on an edge that is dropped, but
                on strided edges, where skip is no identity.

        Returns:
            Logits and statistics.
        """
        held, normalise, after = self.begin(weights, statistics, update)
        drawn = torch.Generator().manual_seed(JUDGED if draw is None else draw)
        noise, drop = noise_of(drawn), dropping(skip_dropout, drawn)

        def terms_of(i: int) -> Terms:
            cell = self.placed[i]
            own_EO = op_weights_EO if op_weights_EO.ndim == 2 else op_weights_EO[i]
            entries_OE = [column.unbind() for column in own_EO[cell.rows].unbind(1)]
            b_E = _over_one(own_EO[cell.rows]).unbind() if self._auxiliary else ()

            def terms(e: int, x: Tensor) -> Iterator[Tensor]:
                row, branch = cell.rows.start + e, self._auxiliary.get((i, e))
                for column, operation in cell.operations[e]:
                    y, weight = operation(x, held, normalise, noise), entries_OE[column][e]
                    if skip_dropout and self._is_identity(row, column):
                        y = drop(y)
                    if branch is not None and column == self._skip_of(row):
                        weight = weight - b_E[e]
                    yield weight * y
                if branch is not None:
                    yield b_E[e] * branch(x, held, normalise)

            return terms

        last, _ = self.through(x_BCHW, terms_of, held, normalise)
        logits = F.linear(last.mean((2, 3)), held["head.linear.weight"], held["head.linear.bias"])
        return Output(logits, after)

    def _is_identity(self, row: int, column: int) -> bool:
        return self.space.is_identity(row, self.space.columns_at(row)[column])

    def _skip_of(self, row: int) -> int:
        return self.space.columns_at(row).index(self.space.skip)


def _over_one(op_weights_EO: Tensor) -> Tensor:
    """What rows have over 1; 0 of a row of zeros, whose edge is left out."""
    over_E = op_weights_EO.sum(-1) - 1
    return torch.where((op_weights_EO != 0).any(-1), over_E, torch.zeros_like(over_E))
