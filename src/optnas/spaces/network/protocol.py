"""What a search needs of the network it trains, whatever the space.

Shapes: B images, E edges, O operations, K classes, L cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, NotRequired, Protocol, TypedDict

import torch
from torch import Tensor

from optnas.spaces.network.statistics import Statistics

# What a network may offer beyond the protocol, to measures that are theorems about one network.
TANGENTS = "tangents"  # its forward pass takes the stand-ins of `optnas.measures.curvature`
ONE_SHOT = "one-shot"  # it is `Supernet` around `MixedCell`, as the merged ranking of cells needs
# To algorithms: a call takes ``draw`` and ``skip_dropout``, as of `optnas.spaces.network.Supernet`.
SKIP_DROPOUT = "skip-dropout"


class Output(NamedTuple):
    """What a forward pass hands back.

    Attributes:
        logits_BK: the logits.
        statistics: batch-norm statistics as they are after it, None where none are kept.
    """

    logits_BK: Tensor
    statistics: Statistics | None


class Sizes(TypedDict):
    """What a network is built from beside its space.

    Attributes:
        channels: C of the first stage.
        cells: cells per stage.
        classes: width of the head.
        image_channels: channels of the images.
        generator: CPU generator of the initial network weights; it advances.
        head_affine: whether the head's batch norm has a weight and a bias.
        dtype: of the network weights.
        device: of the network weights.
    """

    channels: int
    cells: int
    classes: int
    image_channels: int
    generator: torch.Generator
    head_affine: NotRequired[bool]
    dtype: NotRequired[torch.dtype]
    device: NotRequired[torch.device | str]


class SearchNetwork(Protocol):
    """A network with every candidate operation at once, weighted by operation weights handed in.

    It holds neither architecture parameters nor batch-norm buffers, and a call changes nothing.
    What is written out here is inherited by a class that names the protocol as its base.

    Attributes:
        weights: the network weights by name, leaves that require gradients. A shallow copy of the
            network with another mapping here computes with that one.
        cells: L, the number of cells, in the order in which images pass through them.
        offers: what else it offers, of `TANGENTS`, `ONE_SHOT` and `SKIP_DROPOUT`.
    """

    weights: dict[str, Tensor]
    cells: int
    offers: frozenset[str] = frozenset()

    def initial_statistics(self) -> Statistics:
        """Running means of 0 and variances of 1."""
        ...

    def named_statistics(self, statistics: Statistics) -> dict[str, tuple[Tensor, Tensor]]:
        """Running mean and variance by name of layer, views."""
        ...

    def __call__(
        self,
        x_BCHW: Tensor,
        op_weights_EO: Tensor,
        *,
        weights: Mapping[str, Tensor] | None = None,
        statistics: Statistics | None,
        update: bool = False,
    ) -> Output:
        """Logits of a batch under given operation weights.

        | ``statistics`` | ``update`` | normalised by | statistics handed back |
        |---|---|---|---|
        | None | False | the batch | None |
        | a value | True | the batch | a new value, moved towards the batch by 0.1 |
        | a value | False | the value | the same value |

        Args:
            x_BCHW: normalised images.
            op_weights_EO: operation weights, any real matrix ``[E, O]``, or ``[L, E, O]`` with the
                rows of each cell; gradients flow to them.
            weights: network weights to use instead of the network's own.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.

        Returns:
            Logits and statistics.
        """
        ...

    def judged_by(
        self, op_weights_EO: Tensor, statistics: Statistics
    ) -> Callable[[Tensor], Tensor]:
        """The network at fixed operation weights and statistics, for many batches.

        The same function of the images as a call without ``update``, to rounding. No gradients.

        Args:
            op_weights_EO: operation weights, as of a call.
            statistics: running statistics to normalise by.

        Returns:
            Normalised images to logits.
        """

        @torch.no_grad()
        def logits(x_BCHW: Tensor) -> Tensor:
            return self(x_BCHW, op_weights_EO, statistics=statistics).logits_BK

        return logits


class FixedNetwork(Protocol):
    """The network of one architecture, to be trained from scratch.

    Attributes:
        weights: the network weights by name, leaves that require gradients.
    """

    weights: dict[str, Tensor]

    def initial_statistics(self) -> Statistics:
        """Running means of 0 and variances of 1."""
        ...

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
        ...


class Heads(NamedTuple):
    """What a forward pass of a training hands back.

    Attributes:
        logits_BK: the logits.
        auxiliary_BK: those of the auxiliary head, None where there is none.
        statistics: batch-norm statistics as they are after it.
    """

    logits_BK: Tensor
    auxiliary_BK: Tensor | None
    statistics: Statistics | None


class RegularizedNetwork(FixedNetwork, Protocol):
    """One that may have an auxiliary head, drops paths, and draws noise for each batch."""

    def heads(
        self,
        x_BCHW: Tensor,
        *,
        statistics: Statistics | None,
        update: bool,
        draw: int,
        drop_path: float,
    ) -> Heads:
        """Logits of both heads in a step of a training.

        Args:
            x_BCHW: normalised images.
            statistics: running statistics, or None to use and keep none.
            update: whether running statistics move.
            draw: seed of what is drawn on this batch, on the CPU.
            drop_path: p: the output of each operation but the identity is 0 for an image with
                probability p, and else divided by 1 - p.

        Returns:
            Both logits, and statistics.
        """
        ...


# Space and `Sizes` by keyword -> network. One that takes other mixed cells has the keyword
# ``mixed_cell``, as `Supernet` has; one that may hold an auxiliary skip has ``auxiliary``.
BuildNetwork = Callable[..., SearchNetwork]
# Architecture and `Sizes` by keyword -> network; one that returns a `RegularizedNetwork` has the
# keyword ``auxiliary``, whether there is an auxiliary head.
BuildFixed = Callable[..., FixedNetwork]
