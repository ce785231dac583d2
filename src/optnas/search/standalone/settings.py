"""The settings of stand-alone training: one TOML file, every key written out, and its hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from optnas.base.errors import COMMAND_LINE, Origins, UserError
from optnas.base.json import digest
from optnas.base.refusals import validated
from optnas.base.schema import name_in
from optnas.base.toml import Shelf
from optnas.data.splits import KINDS
from optnas.search.settings.check import SearchImages, halves_too_large, refuse, rises, single_value
from optnas.search.settings.complete import complete_data, complete_optimizer, sources
from optnas.search.settings.model import PLACES, DataSection, OptimizerSection, Section
from optnas.spaces import Space

SHELF = Shelf("training protocol", "search/standalone")
# Raised whenever a change moves the numbers of a training; tables of different numbers never mix.
NUMBERS_VERSION = 1


class NetworkSection(Section):
    """Channels of the first stage, cells per stage."""

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
    """Epochs are passes over the training images; every cell is trained once per seed."""

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
        return digest(content)

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

    Raises:
        UserError: there is no such protocol, or a setting is missing, unknown or wrong.
    """
    label, document = SHELF.load(protocol)
    origins = Origins(label, {} if folder is None else {"data.folder": COMMAND_LINE})
    with origins.told():
        return _complete(document, space, folder)


def _complete(document: dict[str, Any], space: Space, folder: Path | None) -> TrainingSettings:
    for section in ("data", "optimizer", "augmentation"):
        table = document.setdefault(section, {})
        if not isinstance(table, Mapping):
            raise UserError(
                "must be a table", key=section, value=table, remedy=f"write [{section}]"
            )
    data = document["data"]
    name_in(data, "data")
    if folder is not None:
        data["folder"] = str(folder)
    if "split_file" in data or data.get("split") in KINDS:
        key = "split_file" if "split_file" in data else "split"
        raise UserError(
            "a stand-alone training parts the images itself",
            key=f"data.{key}",
            value=data[key],
            remedy="remove data.split_file, and set data.split to halves or random-halves",
        )
    images = complete_data(document)
    complete_optimizer(document, "optimizer")
    described = {
        "name": space.name,
        "edges": [list(edge) for edge in space.edges],
        "operations": list(space.operations),
    }
    identity = {
        "space": described,
        "fingerprint": images.fingerprint(),
        "sources": sources([document["data"], document["optimizer"]]),
    }
    settings = validated(TrainingSettings, document | identity)
    _check(settings, images)
    return settings


def _check(settings: TrainingSettings, images: SearchImages) -> None:
    data, training, size = settings.data, settings.training, images.dataset.size
    refuse(
        *halves_too_large(data, images),
        rises("optimizer", settings.optimizer),
        single_value(data, "train_size", "training.batch_size", training.batch_size),
        (
            data.train_size + data.valid_size == size,
            "data.train_size",
            data.train_size,
            f"training and validation use all {size} images; none is left for testing",
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
    )
