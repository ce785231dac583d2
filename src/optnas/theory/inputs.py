"""Samples of unit norm from real images, the targets that are fitted, and seeds side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from optnas.base.errors import UserError
from optnas.base.json import digest
from optnas.base.registry import complete_settings, find, supply
from optnas.base.schema import EMPTY, parameters_of
from optnas.data.images import resize
from optnas.data.sets.base import Dataset
from optnas.spaces.tables import data_folder
from optnas.theory.cell import Problem


class Sizes(Protocol):
    """A dataclass of what a command of the theory is run with."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def dataset(self) -> str:
        """Where the images come from."""

    @property
    def seeds(self) -> int:
        """How many."""

    def check(self) -> None:
        """Refuse what cannot be run."""


S = TypeVar("S", bound=Sizes)


def check_least(settings: Sizes, **least: int) -> None:
    """Refuse a size below its least.

    Args:
        settings: the sizes.
        **least: the smallest of each that can be run.

    Raises:
        UserError: one is smaller.
    """
    for key, fewest in least.items():
        value = getattr(settings, key)
        if value < fewest:
            raise UserError(f"is at least {fewest}", key=f"--{key}", value=value, remedy="raise it")


def run_seeds(
    of_seed: Callable[[S, Path | None, int], dict[str, Any]],
    settings: S,
    folder: Path | None,
    jobs: int,
) -> dict[str, Any]:
    """Run every seed.

    Args:
        of_seed: what one finds, from the settings, the data folder and its number.
        settings: the sizes.
        folder: the data folder; default: the variable OPTNAS_DATA.
        jobs: seeds side by side, each on one core.

    Returns:
        The settings, what the data are, the digest of both, torch's version, and what each seed
        found.

    Raises:
        UserError: a setting is out of range.
    """
    import joblib

    settings.check()
    folder = data_folder(folder)
    if folder is not None:  # joblib keeps its processes: they have an earlier folder and variables
        folder = folder.absolute()
    dataset = opened(settings.dataset, folder)
    each = (joblib.delayed(of_seed)(settings, folder, seed) for seed in range(settings.seeds))
    made_from = {
        "settings": asdict(settings),
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint()},
    }
    return {
        "hash": digest(made_from),
        **made_from,
        "torch": torch.__version__,
        "seeds": list(joblib.Parallel(n_jobs=jobs)(each)),
    }


def opened(name: str, folder: Path | None) -> Dataset:
    """A data set by name; ``folder`` as of the variable OPTNAS_DATA where it is not given."""
    factory, skip = find("dataset", name, key="--dataset"), ("folder",)
    if any(each.default is EMPTY for each in parameters_of(factory, skip).values()):
        raise UserError(
            "needs settings, and none are taken here",
            key="--dataset",
            value=name,
            remedy="name one without, such as cifar10 or digits",
        )
    settings = complete_settings(factory, {}, section="--dataset", skip=skip)
    offered = {"folder": data_folder(folder)}
    dataset: Dataset = supply(factory, settings, offered, section="--dataset")
    return dataset


def best_here(folder: Path | None) -> str:
    """CIFAR-10 where the data folder has it, else the digits that are embedded."""
    try:
        opened("cifar10", folder).fingerprint()
    except UserError:
        return "digits"
    return "cifar10"


def problem(dataset: Dataset, samples: int, side: int, generator: torch.Generator) -> Problem:
    """Images drawn without replacement, shrunk, centred and scaled to ||X_i||_F = 1.

    The target is +1 for the upper half of the classes, -1 for the lower.

    Args:
        dataset: where the images come from.
        samples: n.
        side: height and width after shrinking, in pixels.
        generator: of the rows.

    Raises:
        UserError: the data set is smaller, or an image has pixels of one value only.
    """
    if not 2 <= samples <= dataset.size:
        raise UserError(
            f"{dataset.name} has {dataset.size:,} images, and two samples are needed at least",
            key="--samples",
            value=samples,
            remedy=f"set it from 2 to {dataset.size}",
        )
    rows = torch.randperm(dataset.size, generator=generator)[:samples]
    images, labels = dataset.read(np.sort(rows.numpy()))
    return scaled(torch.from_numpy(images), torch.from_numpy(labels), dataset.classes, side)


def scaled(images_NHWC: Tensor, labels_N: Tensor, classes: int, side: int) -> Problem:
    """Images shrunk, centred and scaled to ||X_i||_F = 1; targets as of `problem`.

    Args:
        images_NHWC: ``uint8``.
        labels_N: 0 to ``classes`` - 1.
        classes: how many.
        side: height and width after shrinking, in pixels.

    Raises:
        UserError: an image has pixels of one value only.
    """
    pixels_NCP = resize(images_NHWC, side).double().permute(0, 3, 1, 2).flatten(2)
    centred_NCP = pixels_NCP - pixels_NCP.mean((1, 2), keepdim=True)
    norms_N = centred_NCP.flatten(1).norm(dim=1)
    if not bool((norms_N > 0).all()):
        raise UserError(
            "an image has pixels of one value only",
            key="side",
            value=side,
            remedy="use larger images",
        )
    targets_N = torch.where(labels_N < classes / 2, -1.0, 1.0).double()
    return Problem(centred_NCP / norms_N[:, None, None], targets_N)
