"""Batch-norm statistics as a value: handed in and out, never a hidden buffer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """Running mean and variance of every batch norm of a supernet, one flat vector each.

    A value: nothing changes it. A forward pass that updates hands a new one out, so a functional
    call with other weights (virtual step, attack, measure) cannot move a search's statistics.

    Attributes:
        mean_S: running means, layers joined in the supernet's order.
        variance_S: running unbiased variances, same order.
    """

    mean_S: Tensor
    variance_S: Tensor

    def clone(self) -> Statistics:
        """The same values in memory of their own."""
        return Statistics(self.mean_S.clone(), self.variance_S.clone())
