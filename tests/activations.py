"""ReLU with another derivative: what finite differences need to meet an exact second derivative.

It imports nothing of optnas. The supernet calls ``Tensor.relu`` and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from unittest.mock import patch

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

RELU = torch.Tensor.relu


def _instead(function: Callable[[Tensor], Tensor]) -> contextlib.AbstractContextManager[object]:
    return patch.object(torch.Tensor, "relu", lambda x: function(x))


@contextlib.contextmanager
def as_relu(forward: Callable[[], object]) -> Iterator[None]:
    """ReLU as it is."""
    yield


@contextlib.contextmanager
def with_masks_held(forward: Callable[[], object]) -> Iterator[None]:
    """x times the 0 or 1 of ReLU's derivative in one pass: smooth, and equal to ReLU near it."""
    masks: list[Tensor] = []

    def noted(x: Tensor) -> Tensor:
        masks.append((x.detach() > 0).to(x.dtype))
        return RELU(x)

    with _instead(noted):
        forward()
    turns = itertools.cycle(masks)
    with _instead(lambda x: x * next(turns)):
        yield


@contextlib.contextmanager
def as_softplus(forward: Callable[[], object]) -> Iterator[None]:
    """log(1 + exp x) in the place of ReLU."""
    with _instead(F.softplus):
        yield


ACTIVATIONS = {
    "relu": as_relu,
    "relu, masks held": with_masks_held,
    "softplus": as_softplus,
}
