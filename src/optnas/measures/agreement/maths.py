"""First derivatives of a loss in the architecture, batch by batch, and how far two sets agree.

Shapes: E edges, O operations, N batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.measures.evaluation import Batch
from optnas.measures.snapshot import Snapshot


class Gradients(NamedTuple):
    """Of the mean cross-entropy of each batch; float64 on the CPU."""

    loss_N: Tensor
    op_weights_NEO: Tensor
    logits_NEO: Tensor


def gradients(snapshot: Snapshot, batches: Iterable[Batch]) -> Gradients:
    """Losses, d L / dA and d L / d alpha of batches, w fixed, under each batch's own statistics.

    Returns:
        Losses, d L / dA and d L / d alpha, one each per batch. An operation weight that the network
        never reads has a gradient of 0 in A.
    """
    losses, op_weights, logits = [], [], []
    alpha_EO = snapshot.alpha_EO.clone().requires_grad_()
    for batch in batches:
        with torch.enable_grad():
            A_EO = snapshot.relax(alpha_EO)
            network = snapshot.supernet(batch.images_BCHW, A_EO, statistics=None)
            loss = F.cross_entropy(network.logits_BK, batch.labels_B)
            by_A_EO, by_alpha_EO = torch.autograd.grad(loss, (A_EO, alpha_EO))
        losses.append(loss.detach().double().cpu())
        op_weights.append(by_A_EO.double().cpu())
        logits.append(by_alpha_EO.double().cpu())
    return Gradients(torch.stack(losses), torch.stack(op_weights), torch.stack(logits))


def cosine(one: Tensor, other: Tensor) -> float | None:
    """Cosine of the angle between two arrays read as vectors.

    Args:
        one: an array.
        other: another of this shape.

    Returns:
        The cosine; None where one of the arrays is 0.
    """
    length = float(one.norm() * other.norm())
    return float((one * other).sum()) / length if length else None


def sign_agreement(one: Tensor, other: Tensor) -> float | None:
    """Share of the entries in which two arrays have the same sign.

    Args:
        one: an array.
        other: another of this shape.

    Returns:
        The share, among the entries that are 0 in neither array; None where there is no such entry.
    """
    read = (one != 0) & (other != 0)
    return float((one.sign() == other.sign())[read].double().mean()) if read.any() else None


def mean_cosine(one_NEO: Tensor, other_NEO: Tensor, *, distinct: bool) -> float | None:
    """Mean cosine over pairs of a batch of one set and a batch of the other.

    Args:
        one_NEO: gradients.
        other_NEO: gradients.
        distinct: leave out pairs of equal number; for a set against itself.

    Returns:
        The mean over the pairs that have a cosine; None where there is no such pair.
    """
    pairs = [
        cosine(one_EO, other_EO)
        for i, one_EO in enumerate(one_NEO)
        for j, other_EO in enumerate(other_NEO)
        if not (distinct and i == j)
    ]
    known = [pair for pair in pairs if pair is not None]
    return sum(known) / len(known) if known else None
