"""What an operation is: a function of an edge's input and of weights of its own.

Importable without torch, as every file that registers one should be. Shapes: B images, C channels,
H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
# Batch norm of a value, by the name of the layer; whose statistics is the network's business.
Norm = Callable[["Tensor", str], "Tensor"]


class Site(NamedTuple):
    """Where an operation stands.

    Attributes:
        inputs: channels of its input.
        outputs: channels of its output.
        stride: what height and width are divided by, rounded up.
    """

    inputs: int
    outputs: int
    stride: int = 1

    @property
    def keeps_size(self) -> bool:
        """Whether the output is shaped as the input."""
        return self.inputs == self.outputs and self.stride == 1


def _nothing(site: Site) -> dict[str, Shape]:
    return {}


def _no_norms(site: Site) -> dict[str, int]:
    return {}


@dataclass(frozen=True)
class Operation:
    """A candidate operation; what a factory registered as ``operation`` returns.

    Attributes:
        call: input ``[B, inputs, H, W]``, site, filters by name, batch norm by name -> output
            ``[B, outputs, H / stride, W / stride]``; it keeps nothing, changes nothing in place
            that it was handed, and is differentiable twice.
        filters: site -> name and shape ``(outputs, inputs per group, K, K)`` of each filter; a
            site at which the operation cannot stand is a ``ValueError``.
        norms: site -> name and channels of each batch norm.
        kernel: K of an operation that is no other than ReLU, one convolution ``weight`` of K x K
            with padding K // 2, and a batch norm ``norm``: networks run those of all edges that
            leave a node as one convolution. None of every other operation.
        tangents: of an operation without weights: that it calls only what the tangents of
            `optnas.measures.curvature.tangents` pass through.
        noise: that it reads ``noise`` among its filters, numbers from N(0, 1) shaped as its output
            that the network draws for each batch. The network of `optnas.spaces.darts` does.
    """

    call: Callable[[Tensor, Site, Mapping[str, Tensor], Norm], Tensor]
    filters: Callable[[Site], Mapping[str, Shape]] = _nothing
    norms: Callable[[Site], Mapping[str, int]] = _no_norms
    kernel: int | None = None
    tangents: bool = False
    noise: bool = False

    def weightless(self, site: Site) -> bool:
        """Whether it is the same function on every edge that leaves a node."""
        return not (self.filters(site) or self.norms(site))
