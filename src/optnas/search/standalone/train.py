"""One network trained from scratch, and what it is worth on images it was not trained on.

Shapes: N images held, S channels of all batch norms together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
from optnas.optimizers.reloading import load_state
from optnas.optimizers.stepping import take_step, to_evaluation_point
from optnas.search.checkpoints import compare
from optnas.search.draws import seed_of
from optnas.search.standalone.settings import TrainingSettings
from optnas.spaces import Architecture
from optnas.spaces.network import FixedNetwork, Statistics, build_fixed
from optnas.spaces.network.protocol import Heads, RegularizedNetwork, Sizes

DTYPE = torch.float32
# One number per step: the seed of dropped paths and of what operations draw.
REGULARIZATION = "regularization"
# Images, running statistics, whether they move -> both heads.
Forward = Callable[[Tensor, Statistics | None, bool], Heads]


@dataclass(frozen=True)
class Parts:
    """The labelled images of a data set in disjoint parts.

    Attributes:
        train: what networks are trained on.
        valid: what a search may judge by, and a validation accuracy is measured on; None for none.
        test: what neither has seen; None for none.
        dataset: the data set.
    """

    train: Images
    valid: Images | None
    test: Images | None
    dataset: Dataset


@dataclass(frozen=True)
class Trained:
    """What came of one training.

    Attributes:
        train_loss: mean cross-entropy of the last epoch's augmented batches in nats, None if it is
            no finite number.
        valid: accuracy on the validation images in percent, None where there are none.
        test: accuracy on the test images in percent, None where there are none.
    """

    train_loss: float | None
    valid: float | None
    test: float | None


def load_parts(settings: TrainingSettings, device: torch.device | str = "cpu") -> Parts:
    """Decode and part the images; parts do not depend on a seed of `TrainingSettings.training`.

    The first two parts are those that a search with the same ``data`` section sees; of a search by
    random halves where ``data.split_seed`` is its seed. Test images are in neither.

    Args:
        settings: the training protocol.
        device: where the images lie.
    """
    asked, dataset = settings.data, settings.images()
    dataset.warn()
    moments = dataset.moments()

    def loaded(of: Dataset, rows_N: torch.Tensor) -> Images | None:
        return load_images(of, rows_N, asked.resolution, moments, device) if len(rows_N) else None

    every_N = torch.arange(dataset.size)
    if asked.split == "all":
        train_N, valid_N = every_N[: asked.train_size], every_N[:0]
    else:
        generator = named_generator(asked.split_seed, "split")
        train_N, valid_N = split_indices(
            asked.split, dataset.size, asked.train_size, asked.valid_size, generator
        )
    seen = torch.zeros(dataset.size, dtype=torch.bool)
    seen[torch.cat((train_N, valid_N))] = True
    train = loaded(dataset, train_N)
    assert train is not None
    test = None
    if asked.test == "rest":
        test = loaded(dataset, every_N[~seen])
    elif asked.test == "set" and dataset.test is not None:
        own = dataset.test()
        test = loaded(own, torch.arange(own.size))
    return Parts(train, loaded(dataset, valid_N), test, dataset)


def sizes_of(
    settings: TrainingSettings, dataset: Dataset, seed: int, device: torch.device | str = "cpu"
) -> Sizes:
    """What a network is built from, at the start of the stream of its initial weights.

    Args:
        settings: the training protocol.
        dataset: gives the number of classes and of colour channels.
        seed: names initial weights.
        device: of the weights.
    """
    return {
        "channels": settings.network.channels,
        "cells": settings.network.cells,
        "classes": dataset.classes,
        "image_channels": dataset.channels,
        "generator": named_generator(seed, "weight-init"),
        "dtype": DTYPE,
        "device": device,
    }


class Training:
    """One network on its way from its initial weights to its last epoch.

    Architectures of one seed see the same batches and augmentations, so they are paired.

    Args:
        settings: the training protocol.
        parts: its images, from `load_parts`.
        architecture: the cell.
        seed: names initial weights, order of batches and augmentation.

    Attributes:
        epoch: finished epochs.
        losses: mean cross-entropy of the augmented batches of each, in nats.
        network: its weights are those of the last epoch.
        statistics: batch-norm statistics.

    Raises:
        UserError: the optimizer averages the weights it is judged at.
    """

    def __init__(
        self, settings: TrainingSettings, parts: Parts, architecture: Architecture, seed: int
    ):
        self.settings, self.parts = settings, parts
        device = parts.train.labels_N.device
        sizes, asked = sizes_of(settings, parts.dataset, seed, device), settings.network
        more: Mapping[str, Any] = {"auxiliary": True} if asked.auxiliary_weight else {}
        network: Any = build_fixed(architecture, **sizes, **more)
        draws = asked.auxiliary_weight or asked.drop_path or draws_noise(architecture)
        self.network: FixedNetwork = network
        self._regularized: RegularizedNetwork | None = network if draws else None
        own = settings.optimizer
        weights = self.network.weights
        self.optimizer = build(
            own.name, own.settings, list(weights.values()), section="optimizer", names=list(weights)
        )
        if to_evaluation_point(self.optimizer):
            raise UserError(
                "it judges the weights at another point than it trains them, for which stand-alone "
                "training collects no batch-norm statistics",
                key="optimizer.name",
                value=own.name,
                remedy="choose another",
            )
        streams = ["train-order", "train-augmentation"]
        streams += [REGULARIZATION] if self._regularized else []
        self.generators = {name: named_generator(seed, name) for name in streams}
        self.statistics: Statistics | None = self.network.initial_statistics()
        self.epoch = 0
        self.losses: list[float] = []

    def train_epoch(self) -> None:
        """One pass over the training images."""
        training, asked, own = (
            self.settings.training,
            self.settings.augmentation,
            self.settings.optimizer,
        )
        key = "optimizer.schedule"
        schedule = registry.build("schedule", own.schedule.table, section=key)
        augmentation = Augmentation(asked.crop_padding, asked.flip, asked.cutout)
        order, draws = self.generators["train-order"], self.generators["train-augmentation"]
        train = self.parts.train
        self.epoch += 1
        rate = schedule(own.settings["lr"], self.epoch, training.epochs)
        set_learning_rate(self.optimizer, rate)
        loss_sum = torch.zeros((), dtype=torch.float64, device=train.labels_N.device)
        for indices_B in epoch_batches(len(train), training.batch_size, order):
            batch = augmented_batch(train, indices_B, augmentation, draws, DTYPE)
            loss, self.statistics = self._step(batch)
            loss_sum += loss.double() * len(indices_B)
        self.losses.append(float(loss_sum) / len(train))

    def _step(self, batch: Batch) -> tuple[Tensor, Statistics | None]:
        """One step; the loss and the statistics after its first evaluation, as in a search."""
        seen: list[tuple[Tensor, Statistics | None]] = []
        asked, max_norm = self.settings.network, self.settings.training.max_norm
        forward = self._forward()

        def evaluate() -> Tensor:
            first = not seen
            statistics = self.statistics if first else None
            logits_BK, auxiliary_BK, after = forward(batch.images_BCHW, statistics, first)
            loss = F.cross_entropy(logits_BK, batch.labels_B)
            objective = loss
            if auxiliary_BK is not None:
                added = F.cross_entropy(auxiliary_BK, batch.labels_B)
                objective = loss + asked.auxiliary_weight * added
            self.optimizer.zero_grad()
            objective.backward()
            if max_norm > 0:
                torch.nn.utils.clip_grad_norm_(list(self.network.weights.values()), max_norm)
            seen.append((loss.detach(), after))
            return objective.detach()

        take_step(self.optimizer, evaluate)
        return seen[0]

    def _forward(self) -> Forward:
        """The network in one step; whatever it draws is the same in each evaluation."""
        regularized = self._regularized
        if regularized is None:

            def plain(images: Tensor, statistics: Statistics | None, update: bool) -> Heads:
                logits_BK, after = self.network(images, statistics=statistics, update=update)
                return Heads(logits_BK, None, after)

            return plain
        share = (self.epoch - 1) / self.settings.training.epochs
        drop_path = self.settings.network.drop_path * share
        draw = seed_of(self.generators[REGULARIZATION])

        def drawing(images: Tensor, statistics: Statistics | None, update: bool) -> Heads:
            return regularized.heads(
                images, statistics=statistics, update=update, draw=draw, drop_path=drop_path
            )

        return drawing

    def outcome(self) -> Trained:
        """The network's accuracies; the test images choose nothing, not even an epoch."""
        last = self.losses[-1]

        def of(images: Images | None) -> float | None:
            return None if images is None else accuracy(self.network, self.statistics, images)

        return Trained(
            train_loss=last if math.isfinite(last) else None,
            valid=of(self.parts.valid),
            test=of(self.parts.test),
        )

    def content(self) -> dict[str, Any]:
        """All that it goes on from; shares its memory."""
        assert self.statistics is not None
        weights = self.network.weights
        return {
            "epoch": self.epoch,
            "losses": self.losses,
            "weights": {name: weight.detach() for name, weight in weights.items()},
            "statistics": [self.statistics.mean_S, self.statistics.variance_S],
            "optimizer": self.optimizer.state_dict(),
            "generators": {name: each.get_state() for name, each in self.generators.items()},
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Go on where `content` was taken, of a training of the same settings, cell and seed.

        Args:
            content: what `content` returned.

        Raises:
            ValueError: it is of another form.
            TypeError: likewise.
        """
        mine = self.content()
        for key in ("epoch", "weights", "statistics", "generators"):
            compare(key, mine[key], content[key])
        for part in ("param_groups", "state"):
            compare(part, mine["optimizer"][part], content["optimizer"][part], same_keys=False)
        if not 0 <= content["epoch"] == len(content["losses"]) <= self.settings.training.epochs:
            raise ValueError(f"epoch is {content['epoch']}")
        with torch.no_grad():
            for name, weight in self.network.weights.items():
                weight.copy_(content["weights"][name])
        device = self.parts.train.labels_N.device
        mean_S, variance_S = (each.to(device) for each in content["statistics"])
        self.statistics = Statistics(mean_S, variance_S)
        load_state(self.optimizer, content["optimizer"])
        for name, generator in self.generators.items():
            generator.set_state(content["generators"][name])
        self.epoch, self.losses = content["epoch"], list(content["losses"])


def train(
    settings: TrainingSettings, parts: Parts, architecture: Architecture, seed: int
) -> Trained:
    """Train the network of one architecture from scratch; see `Training`."""
    training = Training(settings, parts, architecture, seed)
    while training.epoch < settings.training.epochs:
        training.train_epoch()
    return training.outcome()


def draws_noise(architecture: Architecture) -> bool:
    """Whether an operation of it draws noise."""
    candidates = architecture.space.candidates()
    return any(candidates[operation].noise for operation in architecture.operations)


def accuracy(network: FixedNetwork, statistics: Statistics | None, images: Images) -> float:
    """Percent of the images, not augmented, that are classified right under running statistics."""
    return mean_scores(
        lambda images_BCHW: network(images_BCHW, statistics=statistics).logits_BK,
        in_order(images, len(images), 256, DTYPE),
    )[1]
