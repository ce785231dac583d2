"""The settings of stand-alone training: one TOML file, every key written out, and its hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, UserError
from optnas.base.toml import Shelf
from optnas.data.sets.base import Dataset
from optnas.search.settings.complete import complete_optimizer, sources, tell_first_problem
from optnas.search.settings.model import DATA_KEYS, PLACES, DataSection, OptimizerSection, Section
from optnas.spaces import Space
from optnas.spaces.tables import data_folder

SHELF = Shelf("training protocol", "search/standalone")
# Raised whenever a change moves the numbers of a training; tables of different numbers never mix.
NUMBERS_VERSION = 1


class NetworkSection(Section):
    """Channels of the first stage, cells a stage."""

    channels: int = Field(ge=1)
    cells: int = Field(ge=1)


class PartedSection(DataSection):
    """Which images; a stand-alone training parts them itself, without a published list."""

    split: Literal["halves", "random-halves"]


class AugmentationSection(Section):
    """Of training batches: crop padding and cutout side in pixels."""

    crop_padding: int = Field(ge=0)
    flip: bool
    cutout: int = Field(ge=0)


class TrainingSection(Section):
    """Epochs are passes over the training images; every cell is trained once a seed."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    seeds: list[int] = Field(min_length=1)


class TrainingSettings(pydantic.BaseModel):
    """A training protocol, complete and checked.

    Beside the sections: ``space``, what is trained, ``fingerprint``, the SHA-256 of the data, and
    ``sources``, that of each file a component is loaded from by path.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    network: NetworkSection
    data: PartedSection
    augmentation: AugmentationSection
    training: TrainingSection
    optimizer: OptimizerSection
    space: dict[str, Any]
    fingerprint: str
    sources: dict[str, str] = {}

    @property
    def hash(self) -> str:
        """SHA-256 of everything that can move a training's numbers, 64 hexadecimal digits.

        Left out: where the data lie, and which seeds are asked for, so that seeds may be added.
        """
        content = self.document()
        del content["training"]["seeds"]
        content |= {"space": self.space, "fingerprint": self.fingerprint}
        content |= {"sources": self.sources} if self.sources else {}
        content["numbers_version"] = NUMBERS_VERSION
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """The sections as they would stand in a TOML file, without where the data lie."""
        document = self.model_dump(exclude={"space", "fingerprint", "sources"})
        for key in PLACES:
            document["data"].pop(key, None)
        return document


def load_settings(space: Space, protocol: str, *, folder: Path | None) -> TrainingSettings:
    """Read and check a training protocol.

    Args:
        space: whose cells are trained.
        protocol: a shipped name, or the path of a TOML file.
        folder: the data folder the user named, if any.

    Returns:
        The settings.

    Raises:
        UserError: there is no such protocol, or a setting is missing, unknown or wrong.
    """
    label, document = SHELF.load(protocol)
    try:
        return _complete(document, space, folder)
    except UserError as error:
        if error.where != COMMAND_LINE:  # whoever named a file knows better
            raise
        raise error.at(label) from error


def _complete(document: dict[str, Any], space: Space, folder: Path | None) -> TrainingSettings:
    dataset = _complete_data(document, folder)
    complete_optimizer(document, "optimizer")
    described = {
        "name": space.name,
        "edges": [list(edge) for edge in space.edges],
        "operations": list(space.operations),
    }
    try:
        settings = TrainingSettings(
            **document,
            space=described,
            fingerprint=dataset.fingerprint(),
            sources=sources([document["data"], document["optimizer"]]),
        )
    except pydantic.ValidationError as error:
        tell_first_problem(error, TrainingSettings)
    _check(settings, dataset)
    return settings


def _check(settings: TrainingSettings, dataset: Dataset) -> None:
    data, training = settings.data, settings.training
    halves = {"train_size": dataset.size // 2, "valid_size": dataset.size - dataset.size // 2}
    checks = [
        *(
            (
                getattr(data, key) > half,
                f"data.{key}",
                getattr(data, key),
                f"its half of the {dataset.size} labelled images has {half}",
                f"set it from 1 to {half}",
            )
            for key, half in halves.items()
        ),
        (
            data.train_size + data.valid_size == dataset.size,
            "data.train_size",
            data.train_size,
            f"training and validation use all {dataset.size} images; none is left for testing",
            "lower it",
        ),
        (
            training.batch_size > data.train_size,
            "training.batch_size",
            training.batch_size,
            f"larger than the training images ({data.train_size})",
            "lower it",
        ),
        (
            len(set(training.seeds)) < len(training.seeds),
            "training.seeds",
            training.seeds,
            "a seed is given twice",
            "give each once",
        ),
    ]
    for wrong, key, value, reason, remedy in checks:
        if wrong:
            raise UserError(reason, key=key, value=value, remedy=remedy)


def _complete_data(document: dict[str, Any], folder: Path | None) -> Dataset:
    section = document.get("data")
    name = section.get("name") if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(name, str):
        raise UserError("needs a name", key="data.name", remedy="write data.name = NAME")
    if "split_file" in section:
        raise UserError(
            "a stand-alone training parts the images itself",
            key="data.split_file",
            value=section["split_file"],
            remedy="remove it",
        )
    factory = registry.find("dataset", name, key="data.name")
    given = {key: value for key, value in section.items() if key not in DATA_KEYS}
    own = registry.complete_settings(
        factory, given, section="data", skip=("folder",), besides=DATA_KEYS
    )
    written = section.get("folder")
    folder = data_folder(folder if folder is not None or written is None else Path(written))
    if folder is not None:
        section["folder"] = str(folder)
    section |= own
    dataset: Dataset = factory(folder=folder, **own)
    return dataset
