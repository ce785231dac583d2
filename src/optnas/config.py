"""A run's settings: layers of TOML and command line in, one checked and complete value out.

Importable, and able to check every setting and name, without torch.

Order of precedence, later wins: protocol, configuration file, command line. Naming a component
(algorithm, data set, either optimizer) starts its section afresh: the protocol's table for that
name if it has one (such as ``[weight_optimizers.Adam]``), else the component's own defaults, then
the user's keys. Nothing is inherited across names.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from optnas import benchmarks, protocols, registry
from optnas.datasets.base import Dataset
from optnas.errors import COMMAND_LINE, UserError, did_you_mean
from optnas.optimizers import signatures

FORMAT = 1
# Raised whenever a change moves the numbers of a search; runs of different numbers never mix.
NUMBERS_VERSION = 1
DEFAULT_PROTOCOL = "cpu"

# component section -> the protocol's tables by name
COMPONENTS = {
    "algorithm": "algorithms",
    "space": "spaces",
    "data": "datasets",
    "weight_optimizer": "weight_optimizers",
    "arch_optimizer": "arch_optimizers",
}
# Keys of [data] that belong to every data set rather than to one factory.
DATA_KEYS = ("name", "folder", "train_size", "valid_size", "resolution", "split")


class Section(pydantic.BaseModel):
    """A section with fixed keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class Component(pydantic.BaseModel):
    """A section whose keys are those of the component it names."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class SearchSection(Section):
    """The alternation. Epochs are passes over the training half."""

    epochs: int = Field(40, ge=1)
    seed: int = Field(0, ge=0, lt=2**63)
    batch_size: int = Field(64, ge=2)
    step_order: Literal["arch-first", "weights-first"] = "arch-first"
    valid_order: Literal["fresh-batches", "independent-images", "passes"] = "fresh-batches"


class SupernetSection(Section):
    """Size and modes of the supernet; ``alpha_scale``: standard deviation of initial alpha."""

    channels: int = Field(8, ge=1)
    cells: int = Field(1, ge=1)
    batch_norm: Literal["running", "batch"] = "running"
    arch_step_updates_statistics: bool = True
    alpha_scale: float = Field(1e-3, ge=0)
    dtype: Literal["float32", "float64"] = "float32"


class DataSection(Component):
    """Which images, how many of each half, and at which resolution."""

    train_size: int = Field(ge=1, strict=True)
    valid_size: int = Field(ge=1, strict=True)
    resolution: int = Field(ge=4, strict=True)
    split: Literal["halves", "random-halves"]


class AugmentationSection(Section):
    """Crop padding and cutout side in pixels; ``validation``: also for the alpha step's batches."""

    crop_padding: int = Field(ge=0)
    flip: bool
    cutout: int = Field(0, ge=0)
    validation: bool = True


class OptimizerSection(Component):
    """An optimizer, its own settings, and the schedule of its learning rate."""

    schedule: Component

    @property
    def settings(self) -> dict[str, Any]:
        """The optimizer's own settings."""
        return dict(self.model_extra or {})


class ClippingSection(Section):
    """Clipping in the weight step; 0 is none. ``also_counts``: a further gradient in the norm."""

    max_norm: float = Field(5.0, ge=0)
    also_counts: Literal["nothing", "alpha", "op-weights"] = "nothing"


class EvaluationSection(Section):
    """Batches of the pass over the validation half, in order."""

    batch_size: int = Field(256, ge=2)


class CurvatureSection(Section):
    """The alpha-Hessian is measured at epoch 0, every so many epochs and at the end; 0 never."""

    every: int = Field(5, ge=0)
    batch_size: int = Field(64, ge=2)


class BenchmarkSection(Section):
    """The table that is asked for the derived cell's accuracy."""

    table: str


class RunSection(Section):
    """Where the numbers are computed. Not part of a run's identity."""

    device: str = "auto"
    threads: int = Field(1, ge=1)


class Settings(pydantic.BaseModel):
    """All settings of one run, complete and checked; `Settings.document` is its TOML."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    protocol: str
    search: SearchSection
    algorithm: Component
    space: Component
    supernet: SupernetSection
    data: DataSection
    augmentation: AugmentationSection
    weight_optimizer: OptimizerSection
    arch_optimizer: OptimizerSection
    clipping: ClippingSection
    evaluation: EvaluationSection
    curvature: CurvatureSection
    benchmark: BenchmarkSection
    run: RunSection
    fingerprint: str

    @property
    def data_folder(self) -> Path | None:
        """The data folder in force, if there is one."""
        folder = self.data.settings.get("folder")
        return None if folder is None else Path(folder)

    @property
    def hash(self) -> str:
        """SHA-256 of everything that can move a number, 64 hexadecimal digits.

        Left out: device, threads, folders, and the protocol's name (its content is in).
        """
        content = self.model_dump(exclude={"run", "protocol"})
        content["data"].pop("folder", None)
        content["numbers_version"] = NUMBERS_VERSION
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """The content of ``config.toml``: every setting, and the run's identity."""
        document = self.model_dump(exclude={"fingerprint"})
        identity = {
            "hash": self.hash,
            "fingerprint": self.fingerprint,
            "numbers_version": NUMBERS_VERSION,
        }
        return {"format": FORMAT, **document, "identity": identity}


@dataclass(frozen=True)
class Layer:
    """A nested document of settings and where it came from."""

    where: object
    document: Mapping[str, Any]


def resolve(layers: Sequence[Layer]) -> Settings:
    """Turn layers of user settings into complete, checked settings.

    Args:
        layers: configuration files and command line, later ones win.

    Returns:
        The settings, with the data's fingerprint.

    Raises:
        UserError: anything in them is unknown, ill-typed, out of range or contradictory.
    """
    layers = [Layer(layer.where, _plain(layer)) for layer in layers]
    name, where = DEFAULT_PROTOCOL, COMMAND_LINE
    for layer in layers:
        if "protocol" in layer.document:
            name, where = layer.document["protocol"], str(layer.where)
    if not isinstance(name, str):
        raise UserError(
            "must be a name or path",
            where=where,
            key="protocol",
            value=name,
            remedy=f"use one of: {', '.join(protocols.names())}",
        )
    label, protocol = protocols.load(name, where=where)
    merged, origins = _merge([Layer(label, protocol), *layers])
    merged["protocol"] = name
    return _complete(merged, origins)


def _plain(layer: Layer) -> Mapping[str, Any]:
    """Accept a run's own ``config.toml`` as a configuration file; its identity is made anew."""
    check_format(layer.document, layer.where)
    return {k: v for k, v in layer.document.items() if k not in ("format", "identity")}


def check_format(document: Mapping[str, Any], where: object) -> None:
    """Refuse a configuration written by a newer optnas.

    Args:
        document: the configuration.
        where: its file, for the error.

    Raises:
        UserError: its format is not one this version reads.
    """
    found = document.get("format", FORMAT)
    if found != FORMAT:
        raise UserError(
            f"this optnas reads format {FORMAT}",
            where=where,
            key="format",
            value=found,
            remedy="upgrade optnas, or start a new run",
        )


class _Origins:
    """Which file or command line a dotted key came from; missing ones are the default's fault."""

    def __init__(self) -> None:
        self._of: dict[str, object] = {}
        self.default: object = COMMAND_LINE

    def note(self, section: str, keys: Mapping[str, Any], where: object) -> None:
        self._of |= {f"{section}.{key}": where for key in keys}

    def blame(self, error: UserError) -> UserError:
        """The same error, told of the place that its key was written in."""
        if error.key is None:
            return error
        if error.value is None:
            return error.at(self.default)
        section, _, rest = error.key.partition(".")
        written = f"{section}.{rest.partition('.')[0]}"
        return error.at(self._of[written]) if written in self._of else error


def _tables(protocol: Layer) -> dict[str, Mapping[str, Mapping[str, Any]]]:
    """A protocol's tables by component section and name."""
    tables = {}
    for section, plural in COMPONENTS.items():
        tables[section] = found = protocol.document.get(plural, {})
        of_tables = isinstance(found, Mapping) and all(
            isinstance(table, Mapping) for table in found.values()
        )
        if not of_tables:
            raise UserError(
                "holds one table a name",
                where=protocol.where,
                key=plural,
                value=found,
                remedy=f"write [{plural}.NAME] and the settings below it",
            )
    return tables


def _first_key(section: str, keys: Any) -> tuple[str, Any]:
    """The first setting of a section as a dotted key, and its value."""
    while isinstance(keys, Mapping) and keys:
        key, keys = next(iter(keys.items()))
        section = f"{section}.{key}"
    return section, keys


def _merge(layers: Sequence[Layer]) -> tuple[dict[str, Any], _Origins]:
    tables = _tables(layers[0])
    merged: dict[str, Any] = {}
    origins = _Origins()
    known = set(Settings.model_fields) - {"fingerprint", "protocol"}
    for position, layer in enumerate(layers):
        for section, keys in layer.document.items():
            if section == "protocol" or (position == 0 and section in COMPONENTS.values()):
                continue
            if section not in known:
                key, value = _first_key(section, keys)
                raise UserError(
                    f"there is no section '{section}'",
                    where=layer.where,
                    key=key,
                    value=value,
                    remedy=did_you_mean(section, known),
                )
            if not isinstance(keys, Mapping):
                raise UserError(
                    "is a section, not a value",
                    where=layer.where,
                    key=section,
                    value=keys,
                    remedy=f"write {section}.KEY=VALUE",
                )
            origins.note(section, keys, layer.where)
            if section in COMPONENTS and "name" in keys:
                own = [t for name, t in tables[section].items() if name == keys["name"]]
                merged[section] = copy.deepcopy(dict(own[0])) if own else {}
            _update(merged.setdefault(section, {}), keys)
    return merged, origins


def _update(target: dict[str, Any], keys: Mapping[str, Any]) -> None:
    for key, value in keys.items():
        # A schedule is a component too: naming one starts its table afresh.
        nested = isinstance(value, Mapping) and isinstance(target.get(key), Mapping)
        if nested and "name" not in value:
            target[key] = {**target[key], **value}
        else:
            target[key] = copy.deepcopy(value)


def _complete(merged: dict[str, Any], origins: _Origins) -> Settings:
    try:
        return _checked(merged)
    except UserError as error:
        raise origins.blame(error) from error


def _checked(merged: dict[str, Any]) -> Settings:
    for section in COMPONENTS:
        _named(merged, section)
    space = registry.find("space", merged["space"]["name"], key="space.name")
    _complete_component(merged, "space")
    _complete_component(merged, "algorithm", supplied=("space",))
    dataset = _complete_data(merged)
    for section in ("weight_optimizer", "arch_optimizer"):
        _complete_optimizer(merged, section)
    merged.setdefault("benchmark", {}).setdefault("table", "auto")
    if merged["benchmark"]["table"] == "auto":
        merged["benchmark"]["table"] = benchmarks.default_table(_folder(merged))
    for section in ("evaluation", "curvature", "run"):
        merged.setdefault(section, {})
    try:
        settings = Settings(**merged, fingerprint=dataset.fingerprint())
    except pydantic.ValidationError as error:
        raise _first_problem(error) from error
    _check_values(settings.model_dump())
    _check_consistency(settings, dataset)
    build_algorithm(settings, space(**settings.space.settings), check_only=True)
    return settings


def _named(merged: Mapping[str, Any], section: str, key: str | None = None) -> None:
    name = merged.get(section, {}).get("name")
    if not isinstance(name, str):
        raise UserError(
            "needs a name" if name is None else "a name is a string",
            key=f"{key or section}.name",
            value=name,
            remedy=f"write {key or section}.name=NAME",
        )


def _complete_component(
    merged: dict[str, Any], section: str, supplied: tuple[str, ...] = ()
) -> None:
    keys = dict(merged[section])
    name = keys.pop("name")
    factory = registry.find(section, name)
    settings = registry.complete_settings(factory, keys, section=section, skip=supplied)
    merged[section] = {"name": name, **settings}


def _folder(merged: Mapping[str, Any]) -> Path | None:
    option = merged["data"].get("folder")
    if not (option is None or isinstance(option, str)):
        raise UserError(
            "a folder is a string", key="data.folder", value=option, remedy="write it in quotes"
        )
    return benchmarks.data_folder(None if option is None else Path(option))


def _complete_data(merged: dict[str, Any]) -> Dataset:
    data = dict(merged["data"])
    general = {key: data.pop(key) for key in DATA_KEYS if key in data}
    factory = registry.find("dataset", general["name"], key="data.name")
    own = registry.complete_settings(
        factory, data, section="data", skip=("folder",), besides=DATA_KEYS
    )
    folder = _folder(merged)
    dataset: Dataset = factory(folder=folder, **own)
    general.setdefault("train_size", dataset.size // 2)
    general.setdefault("valid_size", dataset.size - dataset.size // 2)
    general.setdefault("resolution", dataset.resolution)
    general.setdefault("split", "halves")
    if folder is not None:
        general["folder"] = str(folder)
    merged["data"] = {**general, **own}
    augmentation = merged.setdefault("augmentation", {})
    resolution = general["resolution"]
    if isinstance(resolution, int):
        scaled = round(dataset.crop_padding * resolution / dataset.resolution)
        augmentation.setdefault("crop_padding", scaled)
    augmentation.setdefault("flip", dataset.flip)
    return dataset


def _complete_optimizer(merged: dict[str, Any], section: str) -> None:
    keys = dict(merged[section])
    name = keys.pop("name")
    schedule, key = keys.pop("schedule", "constant"), f"{section}.schedule"
    settings = signatures.complete_settings(name, keys, section=section)
    if isinstance(schedule, str):
        schedule = {"name": schedule}
    if not isinstance(schedule, Mapping):
        raise UserError(
            "must be a name or a table", key=key, value=schedule, remedy=f"write {key}=NAME"
        )
    _named({section: schedule}, section, key)
    schedule_keys = dict(schedule)
    schedule_name = schedule_keys.pop("name")
    factory = registry.find("schedule", schedule_name, key=f"{key}.name")
    completed = registry.complete_settings(factory, schedule_keys, section=key)
    try:
        factory(**completed)
    except UserError as error:
        raise UserError(
            error.reason,
            key=f"{section}.{error.key}",
            value=error.value,
            remedy=error.remedy or "change its value",
        ) from error
    merged[section] = {"name": name, **settings, "schedule": {"name": schedule_name, **completed}}


def _first_problem(error: pydantic.ValidationError) -> UserError:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    section, _, name = key.partition(".")
    remedy = "change its value"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    if problem["type"] == "extra_forbidden":
        model: Any = Settings.model_fields[section].annotation
        remedy, message = (
            did_you_mean(name, model.model_fields),
            f"{section} has no setting {name!r}",
        )
    value = None if problem["type"] == "missing" else problem["input"]
    return UserError(message, key=key, value=value, remedy=remedy)


def _check_values(document: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse what no file of a run could hold: infinities, dates."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            _check_values(value, f"{prefix}{key}.")
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            number = isinstance(each, (int, float)) and math.isfinite(each)
            if not (number or each is None or isinstance(each, str)):
                raise UserError(
                    "must be text or a finite number",
                    key=f"{prefix}{key}",
                    value=value,
                    remedy="change its value",
                )


def _check_consistency(settings: Settings, dataset: Dataset) -> None:
    search, supernet, data = settings.search, settings.supernet, settings.data
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
            search.batch_size > min(data.train_size, data.valid_size),
            "search.batch_size",
            search.batch_size,
            f"larger than a half (train {data.train_size}, valid {data.valid_size})",
            "lower it, or raise data.train_size and data.valid_size",
        ),
        (
            settings.curvature.batch_size > data.valid_size,
            "curvature.batch_size",
            settings.curvature.batch_size,
            f"larger than the validation half of {data.valid_size}",
            "lower it",
        ),
        (
            supernet.batch_norm == "batch" and supernet.arch_step_updates_statistics,
            "supernet.arch_step_updates_statistics",
            True,
            "there are no running statistics under supernet.batch_norm=batch",
            "set it to false",
        ),
        (
            settings.benchmark.table not in benchmarks.table_names(),
            "benchmark.table",
            settings.benchmark.table,
            "there is no benchmark table of this name",
            did_you_mean(settings.benchmark.table, benchmarks.table_names()),
        ),
        (
            not re.fullmatch(r"auto|cpu|cuda(:\d+)?", settings.run.device),
            "run.device",
            settings.run.device,
            "there is no such kind of device",
            "use auto, cpu, cuda or cuda:N",
        ),
    ]
    for wrong, key, value, reason, remedy in checks:
        if wrong:
            raise UserError(reason, key=key, value=value, remedy=remedy)


def build_algorithm(settings: Settings, space: Any, *, check_only: bool = False) -> Any:
    """The algorithm of a run; with ``check_only`` only whether the settings allow it, no torch.

    Args:
        settings: the run's settings.
        space: the search space.
        check_only: do not build the parts.

    Returns:
        The `optnas.algorithms.Algorithm`, or None.

    Raises:
        UserError: the unrolled hypergradient is asked of an optimizer or order without one.
    """
    if settings.algorithm.settings.get("hypergradient") == "unrolled":
        name = settings.weight_optimizer.name
        if name not in signatures.UNROLLABLE:
            raise UserError(
                f"the unrolled hypergradient differentiates a step of "
                f"{', '.join(signatures.UNROLLABLE)}, not of {name}",
                key="algorithm.hypergradient",
                value="unrolled",
                remedy="use first-order, or one of those for weight_optimizer.name",
            )
        if settings.search.step_order != "arch-first":
            raise UserError(
                "the unrolled hypergradient needs the train batch about to be used",
                key="search.step_order",
                value=settings.search.step_order,
                remedy="set search.step_order=arch-first",
            )
    if check_only:
        return None
    factory = registry.find("algorithm", settings.algorithm.name)
    return registry.supply(factory, settings.algorithm.settings, {"space": space})


def build_dataset(settings: Settings) -> Dataset:
    """The data set of a run."""
    own = {k: v for k, v in settings.data.settings.items() if k not in DATA_KEYS}
    dataset: Dataset = registry.find("dataset", settings.data.name)(
        folder=settings.data_folder, **own
    )
    return dataset


def reread(document: Mapping[str, Any], where: object, overrides: Mapping[str, Any]) -> Settings:
    """The settings of an existing run, proven to be those it was started with.

    Args:
        document: the content of its config.toml.
        where: that file, for error messages.
        overrides: new values of what is no part of a run's identity: ``run`` and ``data.folder``.

    Returns:
        The settings.

    Raises:
        UserError: the file is of a newer format, was edited, belongs to other data or to numbers
            that have moved since; or an override would change the run's identity.
    """
    check_format(document, where)
    identity = document.get("identity")
    if not isinstance(identity, Mapping) or "hash" not in identity:
        raise UserError(
            "is no run's configuration (it has no identity.hash)",
            where=where,
            remedy=f"start a run from it: optnas search -c {where} --out DIR",
        )
    if identity.get("numbers_version") != NUMBERS_VERSION:
        raise UserError(
            f"this optnas computes numbers version {NUMBERS_VERSION}",
            where=where,
            key="identity.numbers_version",
            value=identity.get("numbers_version"),
            remedy="start a new run, or use the version of optnas that began this one",
        )
    for section, keys in overrides.items():
        folder_only = section == "data" and isinstance(keys, Mapping) and set(keys) <= {"folder"}
        if not (section == "run" or folder_only):
            key, value = _first_key(section, keys)
            raise UserError(
                "a resumed run keeps its settings",
                key=key,
                value=value,
                remedy="only run.* and data.folder may change; start a new run for the rest",
            )
    own = Layer(where, _plain(Layer(where, document)))
    merged, origins = _merge([Layer(where, {}), own, Layer(COMMAND_LINE, overrides)])
    origins.default = where
    merged["protocol"] = document.get("protocol", "")
    settings = _complete(merged, origins)
    if settings.fingerprint != identity.get("fingerprint"):
        raise UserError(
            "the data are not those this run was started with",
            where=where,
            key="identity.fingerprint",
            value=identity.get("fingerprint"),
            remedy="point data.folder to the original data, or start a new run",
        )
    if settings.hash != identity["hash"]:
        raise UserError(
            "the settings were edited after the run was started",
            where=where,
            key="identity.hash",
            value=identity["hash"],
            remedy="undo the edit, or start a new run with -c",
        )
    return settings
