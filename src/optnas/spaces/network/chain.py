"""Networks whose cell is a chain of layers: one to search, and one of a fixed architecture.

Shapes: B images, E layers, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Unpack

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.base.errors import UserError
from optnas.spaces.base import Architecture, Space
from optnas.spaces.network.cells import Normalise, Placed
from optnas.spaces.network.dropout import dropping
from optnas.spaces.network.layers import Layers
from optnas.spaces.network.protocol import (
    SKIP_DROPOUT,
    FixedNetwork,
    Output,
    SearchNetwork,
    Sizes,
)
from optnas.spaces.network.statistics import Statistics
from optnas.spaces.operations.base import Site

HEAD = 40  # channels before the pool by those of the stem: 1280 by 32 where they are as published


def sites(space: Space, channels: int) -> list[Site]:
    """Where each layer stands: a strided one halves the sides and doubles the channels.

    Args:
        space: a chain, node to node.
        channels: those of the first layer's input.

    Raises:
        UserError: the space's edges are no chain.
    """
    if space.edges != tuple((node, node + 1) for node in range(space.edge_count)):
        raise UserError(
            "its edges are no chain",
            key="space.name",
            value=space.name,
            remedy="give the space a network of its own, Space(network=...)",
        )
    found = []
    for edge in range(space.edge_count):
        factor = 2 if edge in space.strided else 1
        found.append(Site(channels, factor * channels, factor))
        channels *= factor
    return found


class _Layered(Layers):
    """conv3x3(C)-BN-ReLU; the layers; conv1x1(40 C)-BN-ReLU-global average pool-linear.

    Args:
        space: a chain.
        chosen: operations of a layer, by its place.
        affine: whether batch norms of the layers have weights and biases of their own.
        auxiliary: whether strided layers have a second skip, with weights of its own, after these.
        **sizes: as of `Sizes`; ``cells`` is not read, the space says how many layers there are.

    Attributes:
        placed: the operations of each layer.
    """

    def __init__(
        self,
        space: Space,
        chosen: Callable[[int], Sequence[int]],
        *,
        affine: bool,
        auxiliary: bool = False,
        **sizes: Unpack[Sizes],
    ):
        dtype, device = sizes.get("dtype", torch.float32), sizes.get("device", "cpu")
        super().__init__(sizes["generator"], dtype, device)
        channels, candidates = sizes["channels"], space.candidates()
        self.convolution("stem.conv", sizes["image_channels"], channels, 3)
        self.norm("stem.norm", channels)
        self.placed: list[list[Placed]] = []
        for edge, site in enumerate(sites(space, channels)):
            name = f"chain.edges.{edge}"
            layer = [
                Placed(f"{name}.{space.operations[o]}", candidates[o], site) for o in chosen(edge)
            ]
            if auxiliary and edge in space.strided:
                space.skip_entries("the algorithm has an auxiliary one")
                assert space.skip is not None
                layer.append(Placed(f"{name}.auxiliary", candidates[space.skip], site))
            for placed in layer:
                self.add(placed, affine=affine)
            self.placed.append(layer)
        self.convolution("head.conv", site.outputs, HEAD * channels, 1)
        self.norm("head.norm", HEAD * channels, affine=sizes.get("head_affine", True))
        self.linear("head.linear", HEAD * channels, sizes["classes"])

    def run(
        self,
        run_layer: Callable[[int, Tensor, Mapping[str, Tensor], Normalise], Tensor],
        x_BCHW: Tensor,
        weights: Mapping[str, Tensor] | None,
        statistics: Statistics | None,
        update: bool,
    ) -> Output:
        """Logits of a batch, in a mode of `SearchNetwork.__call__`.

        Args:
            run_layer: a layer's output from its place, its input, the weights and the batch norm.
            x_BCHW: normalised images.
            weights: network weights to use instead of the network's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.
        """
        held, normalise, after = self.begin(weights, statistics, update)
        x = x_BCHW.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, held["stem.conv.weight"], padding=1)
        x = normalise(x, "stem.norm", None, None).relu()
        for edge in range(len(self.placed)):
            x = run_layer(edge, x, held, normalise)
        x = normalise(F.conv2d(x, held["head.conv.weight"]), "head.norm", None, None)
        x = x.relu().mean(dim=(2, 3))
        logits_BK = F.linear(x, held["head.linear.weight"], held["head.linear.bias"])
        return Output(logits_BK, after)


class Chain(_Layered, SearchNetwork):
    """The chain with every candidate operation of each layer, weighted; all of it is one cell.

    x_{e+1} = sum_o A[e, o] o_e(x_e). As in the cells of `Supernet`, batch norms of the candidates
    have no weights and biases of their own, which would rescale what A weighs.

    With ``auxiliary`` a row of A that sums to 1 + b is one that sums to 1 and an auxiliary skip of
    weight b, which `softmax-with-skip` adds to the skip's column. On a strided layer, where skip is
    no identity, the auxiliary skip s' has weights of its own beside those of the skip s:

        x_{e+1} = sum_o A[e, o] o_e(x_e) + b (s'_e(x_e) - s_e(x_e)),    b = sum_o A[e, o] - 1

    Args:
        space: a chain.
        auxiliary: whether A may hold an auxiliary skip.
        **sizes: as of `Sizes`; ``cells`` is not read, the space says how many layers there are.

    Source: Su et al., CVPR 2021, and the network published with NAS-Bench-Macro (32 channels),
    whose batch norms all have weights and biases.
    """

    offers = frozenset({SKIP_DROPOUT})

    def __init__(self, space: Space, *, auxiliary: bool = False, **sizes: Unpack[Sizes]):
        super().__init__(space, space.columns_at, affine=False, auxiliary=auxiliary, **sizes)
        self.space, self.cells = space, 1

    def __call__(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None,
        update: bool = False,
        draw: int = 0,
        skip_dropout: float = 0.0,
    ) -> Output:
        """Logits of a batch under given operation weights; modes as of `SearchNetwork.__call__`.

        Args:
            x_BCHW: normalised images.
            op_weights_EO: operation weights, any real matrix, or ``[1, E, O]``; gradients flow to
                them.
            weights: network weights to use instead of the network's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.
            draw: as of `Supernet`.
            skip_dropout: likewise.

        Returns:
            Logits and statistics.
        """
        drop = dropping(skip_dropout, torch.Generator().manual_seed(draw))
        own_EO = op_weights_EO.reshape(self.space.edge_count, self.space.operation_count)

        def mixed(edge: int, x: Tensor, held: Mapping[str, Tensor], normalise: Normalise) -> Tensor:
            row_O, layer = own_EO[edge], self.placed[edge]
            outputs = [placed(x, held, normalise) for placed in layer]
            if skip_dropout:
                for column, o in enumerate(self.space.columns_at(edge)):
                    if self.space.is_identity(edge, o):
                        outputs[column] = drop(outputs[column])
            if len(layer) > len(row_O):
                skip = self.space.columns_at(edge).index(self.space.skip)
                outputs[-1] = outputs[-1] - outputs[skip]
                row_O = torch.cat([row_O, row_O.sum(0, keepdim=True) - 1])
            first, *others = (a * y for a, y in zip(row_O, outputs, strict=True))
            return sum(others, first)

        return self.run(mixed, x_BCHW, weights, statistics, update)


class FixedChain(_Layered, FixedNetwork):
    """The chain of one architecture; all its batch norms have weights and biases.

    Args:
        architecture: one operation per layer.
        **sizes: as of `Chain`.

    Source: the network published with NAS-Bench-Macro.
    """

    def __init__(self, architecture: Architecture, **sizes: Unpack[Sizes]):
        super().__init__(
            architecture.space,
            lambda edge: architecture.operations[edge : edge + 1],
            affine=True,
            **sizes,
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

        def only(edge: int, x: Tensor, held: Mapping[str, Tensor], normalise: Normalise) -> Tensor:
            (placed,) = self.placed[edge]
            return placed(x, held, normalise)

        return self.run(only, x_BCHW, weights, statistics, update)
