"""Passes over images at given network weights and operation weights; nothing is moved.

Shapes: B images of a batch, K classes, E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.data.augmentation import Augmentation, normalise
from optnas.data.batches import send
from optnas.data.images import Images
from optnas.spaces.network.layers import MOMENTUM
from optnas.spaces.network.protocol import SearchNetwork
from optnas.spaces.network.statistics import Statistics


class Batch(NamedTuple):
    """Normalised images and labels on the device.

    Attributes:
        images_BCHW: the images, floats of the search's precision, `[B, C, H, W]`.
        labels_B: their classes, ``int64 [B]``.
        draw: in a step of a search whose network draws, the seed of what it draws on this
            batch; None elsewhere.
        skip_dropout: in a step, the share of the elements of a skip's output that is dropped.
    """

    images_BCHW: Tensor
    labels_B: Tensor
    draw: int | None = None
    skip_dropout: float = 0.0


class Score(NamedTuple):
    """Sum of cross-entropies in nats and number of correct images, still on the device."""

    loss_sum: Tensor
    correct: Tensor


def score_of(logits_BK: Tensor, labels_B: Tensor) -> Score:
    """The score of a batch."""
    return Score(
        F.cross_entropy(logits_BK, labels_B, reduction="sum"),
        (logits_BK.argmax(dim=1) == labels_B).sum(),
    )


def clean_batch(images: Images, indices_B: Tensor, dtype: torch.dtype) -> Batch:
    """A batch without augmentation."""
    pixels, labels_B = images.to_batch(indices_B)
    return Batch(normalise(pixels, images.mean_C, images.std_C, dtype), labels_B)


def batch_draws(
    images: Images, indices_B: Tensor, augmentation: Augmentation, generator: torch.Generator
) -> Tensor:
    """All that decides a batch, as numbers.

    Args:
        images: the images.
        indices_B: which of them, on the CPU.
        augmentation: what is done to them.
        generator: moved only by what is switched on.

    Returns:
        ``int64 [1 + K, B]`` on the CPU: the positions, then the K numbers of `Augmentation.draw`.
    """
    resolution = images.images_NCHW.shape[2], images.images_NCHW.shape[3]
    draws_KB = augmentation.draw(len(indices_B), resolution, generator)
    return torch.cat([indices_B[None], draws_KB])


def drawn_batch(
    images: Images, augmentation: Augmentation, draws_KB: Tensor, dtype: torch.dtype
) -> Batch:
    """The batch of what `batch_draws` returned, wherever that lies by now."""
    draws_KB = draws_KB.to(images.labels_N.device)
    pixels, labels_B = images.to_batch(draws_KB[0])
    inputs = augmentation.apply(pixels, images.mean_C, images.std_C, draws_KB[1:], dtype)
    return Batch(inputs, labels_B)


def in_order(images: Images, count: int, batch_size: int, dtype: torch.dtype) -> Iterator[Batch]:
    """The first images as clean batches; the last may be short.

    Args:
        images: the images.
        count: how many of them.
        batch_size: images of a batch.
        dtype: a floating type.

    Yields:
        The batches.
    """
    # Positions on the device: a copy from the CPU would be waited for.
    for indices_B in torch.arange(count, device=images.labels_N.device).split(batch_size):
        yield clean_batch(images, indices_B, dtype)


def augmented_batch(
    images: Images,
    indices_B: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Batch:
    """A batch after what is done to images before the network sees them.

    Args:
        images: the images.
        indices_B: which of them, on the CPU.
        augmentation: what is done; `Augmentation()` leaves a `clean_batch`.
        generator: moved only by what is switched on.
        dtype: a floating type.
    """
    drawn_KB = batch_draws(images, indices_B, augmentation, generator)
    (draws_KB,) = send([drawn_KB], images.labels_N.device)
    return drawn_batch(images, augmentation, draws_KB, dtype)


def fixed_indices(size: int, count: int, batch_size: int) -> Iterator[Tensor]:
    """Positions of ``count`` full batches in stored order, from the first image on, wrapping round.

    Args:
        size: number of images.
        count: number of batches.
        batch_size: positions in each, at most ``size``.

    Yields:
        Positions, ``int64 [batch_size]``.

    Raises:
        ValueError: a batch would hold an image twice.
    """
    if batch_size > size:
        raise ValueError(f"a batch of {batch_size} from {size} images")
    for start in range(0, count * batch_size, batch_size):
        yield torch.arange(start, start + batch_size) % size


@torch.no_grad()
def evaluate(
    supernet: SearchNetwork,
    images: Images,
    op_weights_EO: Tensor,
    *,
    statistics: Statistics | None,
    batch_size: int,
    dtype: torch.dtype,
) -> tuple[float, float]:
    """Loss and accuracy over all images, in order, without augmentation.

    Args:
        supernet: the network; its weights are used.
        images: the images.
        op_weights_EO: the operation weights to judge.
        statistics: normalise by these; None normalises each batch by its own.
        batch_size: images of a batch.
        dtype: of the images.

    Returns:
        Mean cross-entropy in nats, accuracy in percent.
    """
    batches = in_order(images, len(images), batch_size, dtype)
    return evaluate_batches(supernet, batches, op_weights_EO, statistics=statistics)


@torch.no_grad()
def evaluate_batches(
    supernet: SearchNetwork,
    batches: Iterable[Batch],
    op_weights_EO: Tensor,
    *,
    statistics: Statistics | None,
) -> tuple[float, float]:
    """Loss and accuracy over the images of batches.

    Args:
        supernet: the network; its weights are used.
        batches: the images.
        op_weights_EO: the operation weights to judge.
        statistics: normalise by these; None normalises each batch by its own.

    Returns:
        Mean cross-entropy in nats, accuracy in percent.
    """
    if statistics is not None:
        return mean_scores(supernet.judged_by(op_weights_EO, statistics), batches)
    # Each batch has statistics of its own: nothing can be folded.
    return mean_scores(
        lambda images_BCHW: supernet(images_BCHW, op_weights_EO, statistics=None).logits_BK,
        batches,
    )


@torch.no_grad()
def mean_scores(
    logits_of: Callable[[Tensor], Tensor], batches: Iterable[Batch]
) -> tuple[float, float]:
    """Loss and accuracy of any network over the images of batches.

    Args:
        logits_of: images -> logits ``[B, K]``.
        batches: the images.

    Returns:
        Mean cross-entropy in nats, accuracy in percent.
    """
    total = Score(torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64))
    size = 0
    for batch in batches:
        score = score_of(logits_of(batch.images_BCHW), batch.labels_B)
        total = Score(total.loss_sum + score.loss_sum, total.correct + score.correct)
        size += len(batch.labels_B)
    return float(total.loss_sum) / size, 100.0 * int(total.correct) / size


@torch.no_grad()
def recalibrated(
    supernet: SearchNetwork, op_weights_EO: Tensor, batches: Iterable[Batch]
) -> Statistics:
    """Batch-norm statistics for given operation weights: averages over batches, from scratch.

        mean = (1/N) sum_b mean_b,    variance = (1/N) sum_b variance_b (unbiased within a batch)

    where each batch passes through the network normalised by its own statistics. This is what
    torch's BatchNorm2d collects after a reset with ``momentum=None``, its cumulative average.

    Args:
        supernet: the network; its weights are used.
        op_weights_EO: the operation weights.
        batches: at least one; of equal size, so that all images count alike.

    Returns:
        A new value.

    Source: as in Yu et al., ICLR 2020, for one-shot evaluation; the statistics of a mixture do not
    fit a one-hot cell.
    """
    zero = supernet.initial_statistics().mean_S
    means, variances, count = zero.double(), zero.double(), 0
    for batch in batches:
        after = supernet(
            batch.images_BCHW, op_weights_EO, statistics=Statistics(zero, zero), update=True
        ).statistics
        assert after is not None
        # From zero, one update is MOMENTUM times the batch's own value.
        means = means + after.mean_S.double()
        variances = variances + after.variance_S.double()
        count += 1
    scale = MOMENTUM * count
    return Statistics((means / scale).to(zero.dtype), (variances / scale).to(zero.dtype))
