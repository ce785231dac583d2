"""Settings completed and checked section by section, against the signatures of what they name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from optnas.algorithms.former import respelled
from optnas.base import registry
from optnas.base.errors import FEW, Origins, UserError
from optnas.base.refusals import validated
from optnas.base.schema import name_in
from optnas.data.sets.base import Dataset
from optnas.data.splits import KINDS, FixedSplit, read_split
from optnas.measures.base import Measure
from optnas.optimizers import signatures
from optnas.search.settings.check import SearchImages, check
from optnas.search.settings.model import DATA_KEYS, DEFAULT_MEASURES, Settings
from optnas.search.settings.sources import sources
from optnas.spaces import CANDIDATES, build_space, complete_space, tables
from optnas.spaces.narrowing import candidates_of

# component section -> the protocol's tables by name
COMPONENTS = {
    "algorithm": "algorithms",
    "space": "spaces",
    "data": "datasets",
    "weight_optimizer": "weight_optimizers",
    "arch_optimizer": "arch_optimizers",
    "tracking": "trackers",
}
OPTIMIZERS = ("weight_optimizer", "arch_optimizer")
Complete = TypeVar("Complete")
# Refuses images, and the section that names them, that are others than those that are meant.
SameImages = Callable[[Mapping[str, Any], SearchImages], None]


def any_images(data: Mapping[str, Any], images: SearchImages) -> None:
    """Refuse none."""


def complete(
    merged: dict[str, Any], origins: Origins, same_images: SameImages = any_images
) -> Settings:
    """Check every setting and spell every default out.

    Args:
        merged: sections of settings, the layers laid over each other; changed in place.
        origins: which layer wrote what; the settings keep it.
        same_images: as of `with_images`.

    Raises:
        UserError: a setting is unknown, ill-typed, out of range or contradicts another.
    """
    with origins.told():
        settings = _complete(merged, same_images)
    settings._origins = origins
    return settings


def _complete(merged: dict[str, Any], same_images: SameImages) -> Settings:
    merged.setdefault("tracking", {}).setdefault("name", "none")
    for section in COMPONENTS:
        name_in(merged.get(section, {}), section)
    merged["algorithm"] = respelled(merged["algorithm"])
    _not_of_another("space", merged["space"], "space", (), besides=(CANDIDATES,))
    merged["space"] = complete_space(merged["space"])
    if merged["space"][CANDIDATES]:
        merged["space"][CANDIDATES] = candidates_of(build_space(merged["space"]))
    for section, kind, skip in (
        ("tracking", "tracker", ()),
        ("algorithm", "algorithm", ("space",)),
    ):
        _not_of_another(kind, merged[section], section, skip)
        merged[section] = registry.complete_component(
            kind, merged[section], section=section, skip=skip
        )
    return with_images(merged, lambda images: _finished(merged, images), same_images)


def _not_of_another(
    kind: str,
    table: Mapping[str, Any],
    section: str,
    skip: tuple[str, ...],
    besides: tuple[str, ...] = (),
) -> None:
    """Refuse a setting that not the named component has but others of its kind, and name these."""

    def settings(name: str) -> Mapping[str, Any]:
        try:
            return registry.describe(kind, name, f"{section}.name", skip).settings
        except UserError:  # it cannot be loaded here
            return {}

    name = table["name"]
    held = registry.describe(kind, name, f"{section}.name", skip).settings
    for key in table:
        if key in ("name", *besides, *held):
            continue
        found = [other for other in registry.names(kind) if key in settings(other)]
        if found:
            takers = f"{section}.name={' or '.join(found[:FEW])}"
            raise UserError(
                f"{name} has no setting '{key}'",
                key=f"{section}.{key}",
                value=table[key],
                remedy=f"{takers} has it",
            )


def _finished(merged: dict[str, Any], images: SearchImages) -> Settings:
    for section in OPTIMIZERS:
        complete_optimizer(merged, section)
    merged.setdefault("benchmark", {}).setdefault("table", "auto")
    table = merged["benchmark"]["table"]
    if not isinstance(table, str):
        raise UserError(
            "a table is called by its name",
            key="benchmark.table",
            value=table,
            remedy=f"use one of: auto, {', '.join(registry.names('table'))}",
        )
    if table == "auto":
        merged["benchmark"]["table"] = _default_table(merged)
    for section in ("evaluation", "run", "measures", "checkpoints"):
        merged.setdefault(section, {})
    for label in DEFAULT_MEASURES:
        merged["measures"].setdefault(label, {})
    for label in merged["measures"]:
        merged["measures"][label] = complete_measure(label, merged["measures"][label])
    _check_epochs(merged["checkpoints"].get("keep", []), "checkpoints.keep", ("named", "all"))
    # A tracker moves no number, nor does a table.
    files = sources([merged[section] for section in COMPONENTS if section != "tracking"])
    identity = {"fingerprint": images.fingerprint(), "sources": files}
    settings = validated(Settings, merged | identity)
    check(settings, images)
    return settings


def _default_table(merged: Mapping[str, Any]) -> str:
    """The preferred table of the space; none for data of the user's own, which no table knows."""
    name = merged["data"]["name"]
    ours = registry.find("dataset", name, key="data.name").__module__.partition(".")[0] == "optnas"
    if registry.facts("dataset", name).get("own", not ours):
        return tables.NO_TABLE.name
    return tables.default_table(_folder(merged), build_space(merged["space"]))


def _folder(merged: Mapping[str, Any]) -> Path | None:
    option = merged["data"].get("folder")
    if not (option is None or isinstance(option, str)):
        raise UserError(
            "a folder is a string", key="data.folder", value=option, remedy="write it in quotes"
        )
    return tables.data_folder(None if option is None else Path(option))


def with_images(
    merged: dict[str, Any],
    finish: Callable[[SearchImages], Complete],
    same_images: SameImages = any_images,
) -> Complete:
    """Check the section ``data``, spell every default out, and make settings of all sections.

    Where the images cannot be had, whatever else is wrong is told first: a stand-in of as many
    images as anybody asks for takes their place, and their own error comes last.

    Args:
        merged: sections of settings; ``data`` and ``augmentation`` are replaced.
        finish: checks all the others and makes settings of them.
        same_images: asked first: of images that have changed, every size in the settings is wrong.

    Returns:
        What `finish` returns.

    Raises:
        UserError: there is no such data set, its files are not there, or a setting is wrong.
    """
    data = merged["data"]
    try:
        dataset, own = _opened(data)
        images = SearchImages(dataset, _fixed_split(data, dataset))
    except UserError:
        images = SearchImages(_stand_in(), None)
        _spell_out(merged, images, _own(data))
        finish(images)
        raise
    same_images(data, images)
    _spell_out(merged, images, own)
    return finish(images)


def _stand_in() -> Dataset:
    # Each half is a multiple of any usual batch size, so that no batch is left over.
    return Dataset(
        name="images that are not there",
        classes=10,
        channels=3,
        resolution=32,
        size=2 * math.factorial(20),
        mean=(),
        std=(),
        crop_padding=0,
        flip=False,
        note="",
        files=(),
        decode=lambda rows_N: (rows_N, rows_N),
        test=_stand_in,
    )


def _spell_out(merged: dict[str, Any], images: SearchImages, own: Mapping[str, Any]) -> None:
    """Replace the section ``data`` and what depends on it by whole ones."""
    dataset = images.dataset
    general = {key: merged["data"][key] for key in DATA_KEYS if key in merged["data"]}
    folder = _folder(merged)
    general.setdefault("split", dataset.split)
    for key, count in images.available.items():
        general.setdefault(key, count)
    general.setdefault("resolution", dataset.resolution)
    if folder is not None:
        general["folder"] = str(folder)
    merged["data"] = {**general, **own}
    augmentation = merged.setdefault("augmentation", {})
    resolution = general["resolution"]
    if isinstance(resolution, int):
        scaled = round(dataset.crop_padding * resolution / dataset.resolution)
        augmentation.setdefault("crop_padding", scaled)
    augmentation.setdefault("flip", dataset.flip)


def open_dataset(data: Mapping[str, Any]) -> Dataset:
    """The images that a section ``data`` names; what it says of splits is passed over.

    Args:
        data: the section.

    Raises:
        UserError: there is no such data set, its files are not there, or a setting is wrong.
    """
    return _opened(data)[0]


def _opened(data: Mapping[str, Any]) -> tuple[Dataset, dict[str, Any]]:
    """A data set, and its own settings with every default."""
    factory = registry.find("dataset", data["name"], key="data.name")
    _not_of_another("dataset", data, "data", ("folder",), DATA_KEYS)
    own = registry.complete_settings(
        factory, _own(data), section="data", skip=("folder",), besides=DATA_KEYS
    )
    table, offered = {"name": data["name"], **own}, {"folder": _folder({"data": data})}
    dataset: Dataset = registry.build("dataset", table, offered, section="data")
    return dataset, own


def _own(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in DATA_KEYS}


def _fixed_split(data: Mapping[str, Any], dataset: Dataset) -> FixedSplit | None:
    kind, file = data.get("split", dataset.split), data.get("split_file")
    if kind not in KINDS:
        if file is not None:
            raise UserError(
                f"no split file is read under data.split={kind}",
                key="data.split_file",
                value=file,
                remedy=f"set data.split to {' or '.join(KINDS)}, or remove it",
            )
        return None
    if not isinstance(file, str):
        raise UserError(
            f"data.split={kind} needs the path of a split file",
            key="data.split_file",
            value=file,
            remedy="add data.split_file=PATH, or set data.split=random-halves",
        )
    return read_split(kind, Path(file), dataset)


def complete_optimizer(merged: dict[str, Any], section: str) -> None:
    """Check an optimizer's section and its schedule, and spell every default out.

    Args:
        merged: sections of settings; the one of this name is replaced.
        section: its name.

    Raises:
        UserError: there is no such optimizer or schedule, or a setting of it is wrong.
    """
    keys = dict(merged[section])
    name = name_in(keys, section)
    del keys["name"]
    schedule, key = keys.pop("schedule", "constant"), f"{section}.schedule"
    settings = signatures.complete_settings(name, keys, section=section)
    if "lr" not in settings:
        raise UserError(
            f"{name} has no setting 'lr' that a schedule could set",
            key=f"{section}.name",
            value=name,
            remedy="give its constructor a keyword lr",
        )
    schedule = registry.complete_component("schedule", schedule, section=key)
    registry.build("schedule", schedule, section=key)
    merged[section] = {"name": name, **settings, "schedule": schedule}


def complete_measure(label: str, given: Any, *, section: str | None = None) -> dict[str, Any]:
    """Check one measure's section and spell every default out.

    Args:
        label: its key below ``measures``; names its files, and the measure unless ``name`` does.
        given: the section: ``name``, ``every``, ``at``, and the measure's own settings. One of
            ``every`` and ``at`` replaces the measure's own cadence.
        section: the dotted prefix for error messages; ``measures.LABEL`` by default.

    Returns:
        The whole section.

    Raises:
        UserError: there is no such measure, or a setting of it is wrong.
    """
    section = section or f"measures.{label}"
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", label, re.ASCII):
        raise UserError(
            "the label names files", key=section, value=label, remedy="use letters, digits, -, _"
        )
    if not isinstance(given, Mapping):
        raise UserError(
            "is a section, not a value",
            key=section,
            value=given,
            # A protocol may say either, and what one of them says the other leaves.
            remedy=f"write {section}.every=5, or for never {section}.every=0 and {section}.at=[]",
        )
    own = {key: value for key, value in given.items() if key not in ("name", "every", "at")}
    name = name_in({"name": label, **given}, section)
    factory = registry.find("measure", name, key=section, own=f"{section}.name={registry.OWN}")
    settings = registry.complete_settings(factory, own, section=section, besides=("every", "at"))
    measure: Measure = registry.build("measure", {"name": name, **settings}, section=section)
    return {"name": name, **_cadence(measure, given, section), **settings}


def _cadence(measure: Measure, given: Mapping[str, Any], section: str) -> dict[str, Any]:
    if not {"every", "at"} & set(given):
        return {"every": measure.cadence.every, "at": list(measure.cadence.at)}
    every, at = given.get("every", 0), given.get("at", [])
    if not isinstance(every, int) or isinstance(every, bool) or every < 0:
        raise UserError(
            "a number of epochs, 0 for never",
            key=f"{section}.every",
            value=every,
            remedy="write it as every=5",
        )
    _check_epochs(at, f"{section}.at")
    return {"every": every, "at": at}


def _check_epochs(value: Any, key: str, words: tuple[str, ...] = ()) -> None:
    def is_epoch(each: Any) -> bool:
        number = isinstance(each, int) and not isinstance(each, bool) and each >= 0
        return number or each == "end"

    if value in words or (isinstance(value, list) and all(map(is_epoch, value))):
        return
    others = f", or use one of: {', '.join(words)}" if words else ""
    raise UserError(
        "is no list of epochs",
        key=key,
        value=value,
        remedy=f'write it as [0, 10, "end"]{others}',
    )
