"""The network of one genotype, to be trained from scratch with an auxiliary head and drop path.

Shapes: B images, C channels, H x W pixels, K classes, P paths that may be dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.spaces.base import Architecture
from optnas.spaces.network.darts import JUDGED, Candidates, CellsOfTwoInputs, Terms, noise_of
from optnas.spaces.network.protocol import Heads, Output, RegularizedNetwork
from optnas.spaces.network.statistics import Statistics
from optnas.spaces.operations.base import Operation

# Channels of the auxiliary head.
NARROW, WIDE = 128, 768


class FixedTwoInputs(CellsOfTwoInputs, RegularizedNetwork):
    """The cells of one genotype; all batch norms have weights and biases.

    Source: `NetworkCIFAR` of the code published with Liu, Simonyan and Yang, ICLR 2019 (C = 36,
    20 cells: N = 6). The auxiliary head reads the output of the second reduction cell: ReLU,
    average of 5x5 with stride 3, conv1x1(128)-BN-ReLU, conv2x2(768)-BN-ReLU, linear; it comes last,
    so that the other weights begin alike without it.

    Args:
        architecture: the cell.
        operations: by name, as they are in derived cells.
        classes: K.
        auxiliary: whether there is an auxiliary head.
        **of: as of `CellsOfTwoInputs`.

    Raises:
        UserError: all edges into a node carry ``none``.
    """

    def __init__(
        self,
        architecture: Architecture,
        operations: Mapping[str, Callable[[], Operation]],
        *,
        classes: int,
        auxiliary: bool = False,
        **of: Any,
    ):
        space = architecture.space
        space.check_ways_in(architecture.operations, key="architecture", value=architecture.string)

        def candidates(edge: int) -> Candidates:
            chosen = architecture.operations[edge]
            name = space.operations[chosen]
            return [] if chosen == space.none else [(chosen, name, operations[name]())]

        super().__init__(space, candidates, affine=True, **of)
        self.linear("head.linear", self.width, classes)
        self._auxiliary = auxiliary
        if auxiliary:
            self.convolution("auxiliary.conv_0", self.tapped[1], NARROW, 1)
            self.norm("auxiliary.norm_0", NARROW)
            self.convolution("auxiliary.conv_1", NARROW, WIDE, 2)
            self.norm("auxiliary.norm_1", WIDE)
            self.linear("auxiliary.linear", WIDE, classes)
        self._paths = sum(
            not space.is_identity(cell.rows.start + e, chosen)
            for cell in self.placed
            for e, edge in enumerate(cell.operations)
            for chosen, _ in edge
        )

    def __call__(
        self,
        x_BCHW: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None,
        update: bool = False,
    ) -> Output:
        """Logits of a batch; for the modes see `SearchNetwork.__call__`.

        Args:
            x_BCHW: normalised images.
            weights: network weights to use instead of the network's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.

        Returns:
            Logits and statistics.
        """
        held, normalise, after = self.begin(weights, statistics, update)
        drawn = torch.Generator().manual_seed(JUDGED)
        last, _ = self.through(x_BCHW, self._terms(held, normalise, drawn, None), held, normalise)
        return Output(_linear(last.mean((2, 3)), held, "head"), after)

    def heads(
        self,
        x_BCHW: Tensor,
        *,
        statistics: Statistics | None,
        update: bool,
        draw: int,
        drop_path: float,
    ) -> Heads:
        """Logits of both heads, as of `RegularizedNetwork`."""
        held, normalise, after = self.begin(None, statistics, update)
        drawn = torch.Generator().manual_seed(draw)
        kept_PB = self.kept(len(x_BCHW), drop_path, drawn).to(x_BCHW) if drop_path else None
        terms_of = self._terms(held, normalise, drawn, kept_PB)
        last, tapped = self.through(x_BCHW, terms_of, held, normalise)
        auxiliary_BK = None
        if self._auxiliary:
            y = F.avg_pool2d(tapped.relu(), 5, stride=3)
            for i in range(2):
                y = F.conv2d(y, held[f"auxiliary.conv_{i}.weight"])
                y = normalise(y, f"auxiliary.norm_{i}", None, None).relu()
            auxiliary_BK = _linear(y.flatten(1), held, "auxiliary")
        return Heads(_linear(last.mean((2, 3)), held, "head"), auxiliary_BK, after)

    def kept(self, images: int, drop_path: float, drawn: torch.Generator) -> Tensor:
        """What the outputs of the paths are multiplied with.

        Args:
            images: B.
            drop_path: p.
            drawn: generator of the CPU; it advances.

        Returns:
            ``float64 [P, B]``: 0 with probability p, else 1 / (1 - p).
        """
        shape, keep = (self._paths, images), 1 - drop_path
        return (torch.rand(shape, generator=drawn, dtype=torch.float64) < keep) / keep

    def _terms(
        self,
        held: Mapping[str, Tensor],
        normalise: Callable[..., Tensor],
        drawn: torch.Generator,
        kept_PB: Tensor | None,
    ) -> Callable[[int], Terms]:
        noise, space = noise_of(drawn), self.space
        kept = None if kept_PB is None else iter(kept_PB[:, :, None, None, None])

        def terms_of(i: int) -> Terms:
            cell = self.placed[i]

            def terms(e: int, x: Tensor) -> Iterator[Tensor]:
                for chosen, operation in cell.operations[e]:
                    y = operation(x, held, normalise, noise)
                    if space.is_identity(cell.rows.start + e, chosen):
                        yield y.clone()  # others read it
                    else:
                        yield y if kept is None else y * next(kept)

            return terms

        return terms_of


def _linear(x_BC: Tensor, held: Mapping[str, Tensor], name: str) -> Tensor:
    return F.linear(x_BC, held[f"{name}.linear.weight"], held[f"{name}.linear.bias"])
