"""Optimizers inside a CUDA graph: what they count has to be counted on the GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from optnas.optimizers.composite import Composite
from optnas.optimizers.stepping import parts

# They count nothing.
WITHOUT_COUNTS = ("SGD", "Muon")


def uncapturable(optimizer: torch.optim.Optimizer) -> str | None:
    """The name of what in an optimizer counts or decides in Python, None if nothing does.

    Only torch's optimizers say that they can count on the GPU (their ``capturable``); of another
    package's nobody knows.

    Args:
        optimizer: the optimizer, with all inside it.
    """
    for part in parts(optimizer):
        name = type(part).__name__
        if isinstance(part, Composite):
            known = type(part).__module__.startswith("optnas.") and not part.decides
        else:
            known = getattr(torch.optim, name, None) is type(part) and (
                name in WITHOUT_COUNTS or all("capturable" in each for each in part.param_groups)
            )
        if not known:
            return name
    return None


@contextlib.contextmanager
def counting_on_device(optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[None]:
    """Let optimizers that have taken a step count their steps on the GPU inside the block.

    Counts, and products of as many factors, are in double precision there: Adam's 1 - b2^t, in
    single precision, would be wrong in the fifth digit at first. Outside, they lie on the CPU, as
    checkpoints have them.

    Args:
        optimizers: those for which `uncapturable` is None.

    Yields:
        Nothing.
    """
    counted = [
        (part, group)
        for optimizer in optimizers
        for part in parts(optimizer)
        if not isinstance(part, Composite)  # its groups are those of its parts
        for group in part.param_groups
        if group.get("capturable") is False
    ]
    moved: list[tuple[dict[str, Any], str, Tensor]] = []
    for part, group in counted:
        group["capturable"] = True
        for leaf in group["params"]:
            state = part.state.get(leaf, {})
            for key, count in state.items():
                if isinstance(count, Tensor) and count.ndim == 0 and count.device.type == "cpu":
                    state[key] = count.to(leaf.device, torch.float64)
                    moved.append((state, key, count))
    try:
        yield
    finally:
        for _, group in counted:
            group["capturable"] = False
        for state, key, before in moved:
            state[key] = state[key].to(before)
