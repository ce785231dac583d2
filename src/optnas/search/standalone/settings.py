"""The settings of stand-alone training: a protocol, what is laid over it, and their hash."""

from __future__ import annotations

import copy
import functools
import hashlib
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from optnas.base.errors import COMMAND_LINE, Origins, UserError
from optnas.base.json import digest
from optnas.base.refusals import validated
from optnas.base.schema import name_in
from optnas.base.toml import Shelf
from optnas.data.sets.base import Dataset
from optnas.data.splits import KINDS
from optnas.search.settings.check import (
    SIZES,
    SearchImages,
    check_values,
    halves_too_large,
    no_multiple,
    padded_away,
    refuse,
    rises,
    single_value,
    unread,
)
from optnas.search.settings.complete import (
    SameImages,
    any_images,
    complete_optimizer,
    with_images,
)
from optnas.search.settings.layers import Layer, as_section
from optnas.search.settings.model import (
    PLACES,
    CropSection,
    Cutout,
    ImagesSection,
    OptimizerSection,
    Section,
)
from optnas.search.settings.sources import sources
from optnas.spaces import Space

SHELF = Shelf("training protocol", "search/standalone")
# Raised whenever a change moves the numbers of a training; tables of different numbers never mix.
NUMBERS_VERSION = 1
# Settings that trainings had no key for at first, with the defaults they came with: at these they
# are no part of a training's identity: keys of [data] that a search has not, and others.
OWN_DATA_KEYS = {"test": "rest", "split_seed": 0}
LATER: dict[str, dict[str, Any]] = {
    "data": OWN_DATA_KEYS,
    "optimizer.schedule": {"final_share": 0.0},
    "network": {"auxiliary_weight": 0.0, "drop_path": 0.0},
    "training": {"max_norm": 0.0},
}
ALL = "all"  # a split: every labelled image trains
COMPONENTS = ("data", "optimizer")
# Its 5 x 5 pool of stride 3 and 2 x 2 convolution leave one pixel of these, after two halvings.
AUXILIARY_SIDES = range(29, 41)
# What another split starts afresh.
OF_SPLIT = ("split", "split_file", "split_seed", *SIZES)


class NetworkSection(Section):
    """Size of the network."""

    channels: int = Field(ge=1, description="of the first stage")
    cells: int = Field(ge=1, description="per stage; N of the 3 N + 2 cells of DARTS' spaces")
    auxiliary_weight: float = Field(
        0.0,
        ge=0,
        description="of the auxiliary head's loss, added to the loss; 0: no such head",
    )
    drop_path: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="p: in epoch e of E, from 0, an operation's output is dropped for an image "
        "with probability p e / E",
    )


class PartedSection(ImagesSection):
    """Which images, and what they serve for; parted here, without a published list."""

    valid_size: int = Field(ge=0, strict=True, description="images that validate")
    split: Literal["halves", "random-halves", "all"] = Field(
        description="halves, random-halves: as in a search; all: every labelled image trains"
    )
    test: Literal["rest", "set", "none"] = Field(
        "rest",
        description="test images: the data set's own (set), the labelled images in neither part "
        "(rest), or none; by default the first of these that there is",
    )
    split_seed: int = Field(
        0,
        ge=0,
        lt=2**63,
        strict=True,
        description="of random halves: that of the search whose parts these are to be",
    )


class AugmentationSection(CropSection):
    """Of training batches."""

    cutout: Cutout


class TrainingSection(Section):
    """How long, and how often."""

    epochs: int = Field(ge=1, description="passes over the training images")
    batch_size: int = Field(ge=2, description="images of a batch")
    seeds: list[int] = Field(min_length=1, description="every cell is trained once per seed")
    max_norm: float = Field(
        0.0, ge=0, description="to which the norm of a step's gradient is clipped; 0: not at all"
    )


class TrainingSettings(pydantic.BaseModel):
    """A training protocol, complete and checked.

    Beside the sections: ``space``, what is trained, ``fingerprint``, the SHA-256 of the data, and
    ``sources``, what components of others are loaded from, see `optnas.search.settings.sources`.
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

    @property
    def manner(self) -> str:
        """SHA-256 of how cells are trained, whatever the cell, the images and the seeds.

        Equal for the runs of a study whose cells were trained alike: space, images, their split,
        crop and flip are those of each run.
        """
        document = self.document()
        del document["training"]["seeds"]
        content = {key: document[key] for key in ("network", "training", "optimizer")}
        content["cutout"] = document["augmentation"]["cutout"]
        content["sources"] = sources([document["optimizer"]])
        content["numbers_version"] = NUMBERS_VERSION
        return digest(content)

    def document(self) -> dict[str, Any]:
        """The sections as they would stand in a TOML file, without where the data lie."""
        document = self.model_dump(exclude={"space", "fingerprint", "sources"})
        for key in PLACES:
            document["data"].pop(key, None)
        for place, later in LATER.items():
            table = functools.reduce(operator.getitem, place.split("."), document)
            for key, default in later.items():
                if table.get(key) == default:
                    del table[key]
        return document

    def images(self) -> Dataset:
        """The labelled images; its ``test`` opens the test images."""
        return self.data.open()


def load_settings(
    space: Space,
    protocol: str,
    *,
    folder: Path | None = None,
    below: Sequence[Layer] = (),
    over: Sequence[Layer] = (),
    same_images: SameImages = any_images,
) -> TrainingSettings:
    """Read and check a training protocol and what is laid under and over it.

    Later layers win. One that names another data set or optimizer starts that section afresh, one
    that names another split the sizes of its parts.

    Args:
        space: whose cells are trained.
        protocol: a shipped name, or the path of a TOML file.
        folder: the data folder the user named, if any.
        below: what holds unless the protocol says otherwise.
        over: what holds whatever it says.
        same_images: as of `optnas.search.settings.complete.with_images`.

    Raises:
        UserError: there is no such protocol, or a setting is missing, unknown or wrong.
    """
    label, document = SHELF.load(protocol)
    origins = Origins(label, {})
    merged: dict[str, Any] = {}
    for layer in (*below, Layer(label, document), *over):
        for section, keys in layer.document.items():
            held = merged.get(section)
            if section == "data" and isinstance(held, Mapping) and _parts_anew(held, keys):
                held = {key: value for key, value in held.items() if key not in OF_SPLIT}
            if not (isinstance(keys, Mapping) and isinstance(held, Mapping)):
                merged[section] = copy.deepcopy(keys)
            elif section in COMPONENTS and keys.get("name", held.get("name")) != held.get("name"):
                # A protocol that names no data set says how any is parted.
                merged[section] = copy.deepcopy({**_of_any(held), **keys})
                origins.forget(section)
            else:
                merged[section] = {**held, **copy.deepcopy(keys)}
            if isinstance(keys, Mapping):
                origins.note(section, keys, layer.where)
            else:
                origins.written[section] = layer.where
    if folder is not None:
        origins.written["data.folder"] = COMMAND_LINE
    with origins.told():
        return _complete(merged, space, folder, same_images)


def _parts_anew(held: Mapping[str, Any], keys: Any) -> bool:
    return isinstance(keys, Mapping) and keys.get("split", held.get("split")) != held.get("split")


def _of_any(section: Mapping[str, Any]) -> Mapping[str, Any]:
    return {} if "name" in section else section


def _complete(
    document: dict[str, Any], space: Space, folder: Path | None, same_images: SameImages
) -> TrainingSettings:
    for section in ("data", "optimizer", "augmentation"):
        table = document.setdefault(section, {})
        if not isinstance(table, Mapping):
            raise UserError(
                "is a section, not a value",
                key=section,
                value=table,
                remedy=as_section(section, table),
            )
    data = document["data"] = dict(document["data"])
    name_in(data, "data")
    if folder is not None:
        data["folder"] = str(folder)
    if "split_file" in data or data.get("split") in KINDS:
        key = "split_file" if "split_file" in data else "split"
        raise UserError(
            "a stand-alone training parts the images itself",
            key=f"data.{key}",
            value=data[key],
            remedy="remove data.split_file, and set data.split to all, halves or random-halves",
        )
    asked = data | {}
    own = {key: data.pop(key) for key in OWN_DATA_KEYS if key in data}

    def finish(images: SearchImages) -> TrainingSettings:
        return _finished(document, space, images, asked, own)

    return with_images(document, finish, same_images)


def _finished(
    document: dict[str, Any],
    space: Space,
    images: SearchImages,
    asked: Mapping[str, Any],
    own: dict[str, Any],
) -> TrainingSettings:
    dataset = images.dataset
    if asked.get("split") == ALL:
        document["data"] |= {"train_size": dataset.size, "valid_size": 0}
        document["data"] |= {key: asked[key] for key in SIZES if key in asked}
    if "test" not in own:
        own["test"] = _default_test(dataset, [document["data"][key] for key in SIZES])
    if own["test"] == "set" and dataset.test is None:
        raise UserError(
            f"{dataset.name} has no test images of its own",
            key="data.test",
            value="set",
            remedy="set it to rest, the images in neither half, or to none",
        )
    document["data"] |= own
    complete_optimizer(document, "optimizer")
    described = {
        "name": space.name,
        "edges": [list(edge) for edge in space.edges],
        "operations": list(space.operations),
    }
    identity = {
        "space": described,
        "fingerprint": _fingerprint(images, own["test"]),
        "sources": sources([document["data"], document["optimizer"]]),
    }
    settings = validated(TrainingSettings, document | identity)
    check_values(settings.model_dump(exclude={"space"}))
    _check(settings, space, images)
    return settings


def _default_test(dataset: Dataset, sizes: Sequence[Any]) -> str:
    """The data set's own test images, else the images that are left, if there are any."""
    if dataset.test is not None:
        return "set"
    numbers = [size for size in sizes if isinstance(size, int)]  # what is none is refused later
    return "rest" if sum(numbers) < dataset.size else "none"


def _fingerprint(images: SearchImages, test: object) -> str:
    """Of the labelled images, and of the test images where they are the data set's own."""
    opened = images.dataset.test
    if test != "set" or opened is None:
        return images.fingerprint()
    both = images.fingerprint() + opened().fingerprint()
    return hashlib.sha256(both.encode()).hexdigest()


def _check(settings: TrainingSettings, space: Space, images: SearchImages) -> None:
    data, training, size = settings.data, settings.training, images.dataset.size
    every = data.split == ALL
    network, resolution = settings.network, data.resolution
    regularized = [key for key in ("auxiliary_weight", "drop_path") if getattr(network, key)]
    refuse(
        *(
            (
                not space.regularized,
                f"network.{key}",
                getattr(network, key),
                f"networks of {space.name} have no auxiliary head and no paths to drop",
                "set it to 0, or train a cell of the spaces of DARTS",
            )
            for key in regularized
        ),
        (
            network.auxiliary_weight > 0 and resolution not in AUXILIARY_SIDES,
            "network.auxiliary_weight",
            network.auxiliary_weight,
            f"the auxiliary head is for sides of 32 pixels, and these have {resolution}",
            "set it to 0",
        ),
        *([] if every else halves_too_large(data, images)),
        (
            data.train_size > size,
            "data.train_size",
            data.train_size,
            f"there are {size} labelled images",
            f"set it from 1 to {size}",
        ),
        (
            every and data.valid_size > 0,
            "data.valid_size",
            data.valid_size,
            f"data.split={ALL} trains on all labelled images and validates on none",
            "remove it, or set data.split=random-halves",
        ),
        rises("optimizer", settings.optimizer),
        unread("optimizer", settings.optimizer, training.epochs),
        no_multiple(data, space),
        single_value(data, space, "train_size", "training.batch_size", training.batch_size),
        padded_away(settings.augmentation.crop_padding, resolution),
        (
            data.test == "rest" and data.train_size + data.valid_size >= size,
            "data.train_size",
            data.train_size,
            f"training and validation use all {size} images; none is left for testing",
            "lower it, or set data.test=none to judge by the validation images alone",
        ),
        (
            data.test == "none" and data.valid_size == 0,
            "data.split",
            data.split,
            f"trains on every image of {data.name}, and there are no test images to judge by",
            "set data.split=halves or random-halves",
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
