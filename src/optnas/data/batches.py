"""Which images a batch has, drawn on the CPU from named generators, and the way to the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def send(tensors: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Tensors of eight bytes per entry from the CPU to a device, in one copy nobody waits for.

    Args:
        tensors: ``int64`` or ``float64``, of any shapes.
        device: where to.

    Returns:
        The same values there; the tensors themselves if that is the CPU.
    """
    if device.type == "cpu":
        return list(tensors)
    joined = join(tensors)
    # Only from page-locked memory does a copy run beside the program.
    joined = joined.pin_memory() if device.type == "cuda" else joined
    return split(joined.to(device, non_blocking=True), tensors)


def join(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The bits of tensors of eight bytes per entry one after the other, as ``int64``."""
    return torch.cat([each.reshape(-1).view(torch.int64) for each in tensors])


def split(joined: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What `join` joined, in the shapes and types of the tensors it was given; views."""
    parts = joined.split([each.numel() for each in like])
    return [part.view(each.dtype).view(each.shape) for part, each in zip(parts, like, strict=True)]


def epoch_batches(
    size: int, batch_size: int, generator: torch.Generator, *, drop_last: bool = False
) -> list[torch.Tensor]:
    """One pass over all positions in random order, cut into batches.

    Args:
        size: number of images.
        batch_size: positions in a batch.
        generator: draws one permutation.
        drop_last: leave out a short last batch; published loaders keep it.

    Returns:
        Batches of positions, ``int64 [B]`` each; none if all of them are left out.

    Example:
        >>> [len(batch) for batch in epoch_batches(10, 4, torch.Generator())]
        [4, 4, 2]
    """
    batches = list(torch.randperm(size, generator=generator).split(batch_size))
    return batches[:-1] if drop_last and size % batch_size else batches


def fresh_batch(size: int, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    """The first batch of a new random order: no repeats inside it, repeats from call to call.

    This is what published code does by asking for ``next(iter(loader))`` at every step. A whole
    permutation is drawn for it: 0.2 ms for 25,000 images, little beside a step.

    Args:
        size: number of images.
        batch_size: positions in a batch.
        generator: draws one permutation.

    Returns:
        Positions, ``int64 [min(batch_size, size)]``.
    """
    return torch.randperm(size, generator=generator)[:batch_size].clone()


class CyclingBatches:
    """Batches without replacement, pass after pass; a new random order when one is used up.

    Each pass has the batches of `epoch_batches`, the short last one included.

    Args:
        size: number of images.
        batch_size: positions in a batch.
        generator: draws one permutation per pass, when its first batch is asked for.
    """

    def __init__(self, size: int, batch_size: int, generator: torch.Generator):
        self.size, self.batch_size, self.generator = size, batch_size, generator
        self._order_N = torch.empty(0, dtype=torch.int64)
        self._cursor = 0

    def next_batch(self) -> torch.Tensor:
        """Positions of the next batch, ``int64 [B]``."""
        if self._cursor >= len(self._order_N):
            self._order_N = torch.randperm(self.size, generator=self.generator)
            self._cursor = 0
        start, self._cursor = self._cursor, self._cursor + self.batch_size
        return self._order_N[start : self._cursor].clone()

    def state_dict(self) -> dict[str, Any]:
        """All that later batches depend on: the order, the position in it, the generator."""
        generator = self.generator.get_state()
        return {"order": self._order_N, "cursor": self._cursor, "generator": generator}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a saved state left off.

        Args:
            state: what `state_dict` returned, for the same size and batch size.
        """
        self._order_N, self._cursor = state["order"], state["cursor"]
        self.generator.set_state(state["generator"])
