"""One network trained from scratch, and what it is worth on images it was not trained on.

Shapes: B images, N images held, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.seeds import named_generator
from optnas.data.augmentation import Augmentation
from optnas.data.batches import epoch_batches
from optnas.data.images import Images, load_images, split_indices
from optnas.data.sets.base import Dataset
from optnas.measures.evaluation import Batch, augmented_batch, in_order, mean_scores
from optnas.optimizers.adapter import build, set_learning_rate
from optnas.optimizers.stepping import take_step, to_evaluation_point
from optnas.search.standalone.settings import TrainingSettings
from optnas.spaces import Architecture
from optnas.spaces.network import Network, Statistics

DTYPE = torch.float32


@dataclass(frozen=True)
class Parts:
    """The labelled images of a data set in three disjoint parts.

    Attributes:
        train: what networks are trained on.
        valid: what a search may judge by, and a validation accuracy is measured on.
        test: all other images.
        classes: number of classes.
        channels: number of colour channels.
    """

    train: Images
    valid: Images
    test: Images
    classes: int
    channels: int


@dataclass(frozen=True)
class Trained:
    """What came of one training.

    Attributes:
        train_loss: mean cross-entropy of the last epoch's augmented batches in nats, None if it is
            no finite number.
        valid: accuracy on the validation images in percent.
        test: accuracy on the test images in percent.
    """

    train_loss: float | None
    valid: float
    test: float


def load_parts(settings: TrainingSettings) -> Parts:
    """Decode and part the images; parts do not depend on a seed.

    The first two parts are those a search with the same ``data`` section and ``split="halves"``
    sees; the test images are in neither.
    """
    asked = settings.data
    dataset: Dataset = registry.find("dataset", asked.name, key="data.name")(
        folder=asked.place("folder"), **asked.dataset_settings
    )
    halves = split_indices(
        asked.split,
        dataset.size,
        asked.train_size,
        asked.valid_size,
        named_generator(0, "split"),
    )
    seen = torch.zeros(dataset.size, dtype=torch.bool)
    seen[torch.cat(halves)] = True
    rest = torch.arange(dataset.size)[~seen]
    moments = dataset.moments()
    train, valid, test = (
        load_images(dataset, rows, asked.resolution, moments) for rows in (*halves, rest)
    )
    return Parts(train, valid, test, dataset.classes, dataset.channels)


def train(
    settings: TrainingSettings, parts: Parts, architecture: Architecture, seed: int
) -> Trained:
    """Train the network of one architecture from scratch.

    Architectures of one seed see the same batches and augmentations, so they are paired.

    Args:
        settings: the training protocol.
        parts: its images, from `load_parts`.
        architecture: the cell.
        seed: names initial weights, order of batches and augmentation.

    Returns:
        The last network's accuracies; the test images choose nothing, not even an epoch.

    Raises:
        UserError: the optimizer averages the weights it is judged at.
    """
    training, asked = settings.training, settings.augmentation
    network = Network(
        architecture,
        channels=settings.network.channels,
        cells=settings.network.cells,
        classes=parts.classes,
        image_channels=parts.channels,
        generator=named_generator(seed, "weight-init"),
        dtype=DTYPE,
    )
    own = settings.optimizer
    leaves = list(network.weights.values())
    names = list(network.weights)
    optimizer = build(own.name, own.settings, leaves, section="optimizer", names=names)
    if to_evaluation_point(optimizer):
        raise UserError(
            "it judges the weights at another point than it trains them, for which stand-alone "
            "training collects no batch-norm statistics",
            key="optimizer.name",
            value=own.name,
            remedy="choose another",
        )
    schedule = registry.find("schedule", own.schedule.name)(**own.schedule.settings)
    augmentation = Augmentation(asked.crop_padding, asked.flip, asked.cutout)
    order, draws = (named_generator(seed, n) for n in ("train-order", "train-augmentation"))
    statistics: Statistics | None = network.initial_statistics()
    mean_loss = math.nan
    for epoch in range(1, training.epochs + 1):
        set_learning_rate(optimizer, schedule(own.settings["lr"], epoch, training.epochs))
        loss_sum = 0.0
        for indices_B in epoch_batches(len(parts.train), training.batch_size, order):
            batch = augmented_batch(parts.train, indices_B, augmentation, draws, DTYPE)
            loss, statistics = _step(network, optimizer, batch, statistics)
            loss_sum += loss * len(indices_B)
        mean_loss = loss_sum / len(parts.train)
    return Trained(
        train_loss=mean_loss if math.isfinite(mean_loss) else None,
        valid=accuracy(network, statistics, parts.valid),
        test=accuracy(network, statistics, parts.test),
    )


def _step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    statistics: Statistics | None,
) -> tuple[float, Statistics | None]:
    """One step; the loss and the statistics after its first evaluation, as in a search."""
    seen: list[tuple[float, Statistics | None]] = []

    def evaluate() -> Tensor:
        first = not seen
        logits_BK, after = network(
            batch.images_BCHW, statistics=statistics if first else None, update=first
        )
        loss = F.cross_entropy(logits_BK, batch.labels_B)
        optimizer.zero_grad()
        loss.backward()
        seen.append((loss.item(), after))
        return loss.detach()

    take_step(optimizer, evaluate)
    return seen[0]


def accuracy(network: Network, statistics: Statistics | None, images: Images) -> float:
    """Percent of the images, not augmented, that are classified right under running statistics."""
    return mean_scores(
        lambda images_BCHW: network(images_BCHW, statistics=statistics).logits_BK,
        in_order(images, len(images), 256, DTYPE),
    )[1]
