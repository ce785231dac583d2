"""From layers of TOML and command line to the settings of a run.

Importable, and able to check every setting and name, without torch.

Order of precedence, later wins: protocol, configuration file, command line. Naming another
component (algorithm, data set, either optimizer) starts its section afresh: the protocol's table
for that name if it has one (such as ``[weight_optimizers.Adam]``), else the component's own
defaults, then the user's keys. Nothing is inherited across names; naming the component that is
there already changes nothing. A component inside a section (a schedule, a part) follows the same
rule.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, Origins, UserError, did_you_mean, offered
from optnas.base.escapes import for_shell
from optnas.base.refusals import keys_called
from optnas.base.schema import Component
from optnas.base.toml import inline_toml, nest
from optnas.measures.base import FORMER_SECTIONS
from optnas.optimizers import signatures
from optnas.optimizers.introduced import KINDS
from optnas.search import protocols
from optnas.search.settings.check import SearchImages
from optnas.search.settings.complete import COMPONENTS, OPTIMIZERS, complete
from optnas.search.settings.model import (
    FORMAT,
    NUMBERS_VERSION,
    PLACES,
    Settings,
)
from optnas.search.settings.sources import spelled_alike
from optnas.spaces import Space, build_space

DEFAULT_PROTOCOL = "cpu"


@dataclass(frozen=True)
class Layer:
    """A nested document of settings and where it came from."""

    where: object
    document: Mapping[str, Any]


def resolve(layers: Sequence[Layer], *, default: object = COMMAND_LINE) -> Settings:
    """Turn layers of user settings into complete, checked settings.

    Args:
        layers: configuration files and command line, later ones win.
        default: what to call, in error messages, the place of what none of them says.

    Returns:
        The settings, with the data's fingerprint.

    Raises:
        UserError: anything in them is unknown, ill-typed, out of range or contradictory.
    """
    layers = [Layer(layer.where, spelled_alike(_plain(layer))) for layer in layers]
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
    lowest = Layer(label, spelled_alike(_respelled(protocol, label)))
    merged, origins = _merge([lowest, *layers], default)
    merged["protocol"] = name
    return complete(merged, origins)


def driver_of(settings: Settings) -> Settings | None:
    """The run whose operation weights a run follows; None of one that follows no other.

    Args:
        settings: complete; ``algorithm.driver`` says in what the other differs.

    Raises:
        UserError: what it says is unknown, ill-typed, out of range or contradictory.
    """
    driver = settings.algorithm.settings.get("driver")
    needs = registry.facts("algorithm", settings.algorithm.name).get("needs", ())
    if "driver" not in needs or not driver:
        return None
    own = {key: each for key, each in settings.document().items() if key != "algorithm"}
    with settings.origins.told():
        return resolve([Layer("algorithm.driver", own), Layer("algorithm.driver", nest(driver))])


def default_space() -> Space:
    """The space of the default protocol, for what is asked or drawn without naming one."""
    _, protocol = protocols.load(DEFAULT_PROTOCOL)
    return build_space(protocol["space"])


def _plain(layer: Layer) -> Mapping[str, Any]:
    """Accept a run's own ``config.toml`` as a configuration file; its identity is made anew."""
    check_format(layer.document, layer.where)
    kept = {k: v for k, v in layer.document.items() if k not in ("format", "identity")}
    return _respelled(kept, layer.where)


def _respelled(document: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Former sections as the measures they are now."""
    document = dict(document)
    for section, label in FORMER_SECTIONS.items():
        measures = document.get("measures", {})
        if not (isinstance(document.get(section), Mapping) and isinstance(measures, Mapping)):
            continue
        given, now = document.pop(section), measures.get(label, {})
        twice = sorted(set(given) & set(now)) if isinstance(now, Mapping) else [label]
        if twice:
            raise UserError(
                f"is given as measures.{label}.{twice[0]} too",
                where=where,
                key=f"{section}.{twice[0]}",
                value=given.get(twice[0]),
                remedy="give it one way",
            )
        document["measures"] = {**measures, label: {**now, **given}}
    return document


def recorded_in(document: Mapping[str, Any], where: object) -> Settings:
    """The settings of a run's config.toml, as `Settings.recorded`.

    Raises:
        UserError: it holds no complete settings.
    """
    try:
        return Settings.recorded(document)
    except ValueError as error:
        raise UserError(
            "holds no complete settings", where=where, remedy="restore the file"
        ) from error


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


def reread(document: Mapping[str, Any], where: object, overrides: Mapping[str, Any]) -> Settings:
    """The settings of an existing run, proven to be those it was started with.

    Args:
        document: the content of its config.toml.
        where: that file, for error messages.
        overrides: new values of what is no part of a run's identity: ``run``, ``tracking`` and
            where data lie.

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
            remedy=f"start a run from it: optnas search -c {for_shell(where)} --out DIR",
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
        places_only = section == "data" and isinstance(keys, Mapping) and set(keys) <= set(PLACES)
        if not (section in ("run", "tracking") or places_only):
            key, value = _first_key(section, keys)
            raise UserError(
                "a resumed run keeps its settings",
                key=key,
                value=value,
                remedy="only run.*, tracking.*, data.folder, data.path and data.split_file may "
                "change; start a new run for the rest",
            )
    own = Layer(where, _plain(Layer(where, document)))
    merged, origins = _merge([Layer(where, {}), own, Layer(COMMAND_LINE, overrides)], where)
    merged["protocol"] = document.get("protocol", "")

    def same_images(data: Mapping[str, Any], images: SearchImages) -> None:
        places = [f"data.{key}" for key in PLACES if key in data] or ["data.folder"]
        if images.fingerprint() != identity.get("fingerprint"):
            raise UserError(
                "the data are not those this run was started with",
                where=where,
                key="identity.fingerprint",
                value=identity.get("fingerprint"),
                remedy=f"point {' and '.join(places)} to the original data, or start a new run",
            )

    settings = complete(merged, origins, same_images)
    # config.toml is read before the folder that it lies in is overwritten.
    folder = Path(str(where)).parent
    anew = f"optnas search -c {for_shell(where)} --out {for_shell(folder)} --overwrite"
    _check_sources(settings, identity.get("sources"), where, anew)
    if settings.hash != identity["hash"]:
        raise UserError(
            "the settings were edited after the run was started",
            where=where,
            key="identity.hash",
            value=identity["hash"],
            remedy=f"undo the edit, or start anew: {anew}",
        )
    return settings


def _check_sources(settings: Settings, recorded: Any, where: object, anew: str) -> None:
    """Refuse code of others that is not what a run was started with."""
    for name, now in settings.sources.items():
        before = recorded.get(name) if isinstance(recorded, Mapping) else None
        if before == now:
            continue
        if name.startswith("package "):
            told, undone = f"{name} was {before} when the run was started", f"install it ({now} is)"
        else:
            told, undone = f"{name} was edited after the run was started", "undo the edit"
        if before is None:  # of another setting, or before it was recorded
            told, undone = f"{name} is not recorded as what the run was started with", ""
        raise UserError(
            told,
            where=where,
            key="identity.sources",
            remedy=f"{undone}{', or ' * bool(undone)}start anew: {anew}",
        )


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
                "holds one table per name",
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


def _merge(layers: Sequence[Layer], default: object) -> tuple[dict[str, Any], Origins]:
    tables = _tables(layers[0])
    merged: dict[str, Any] = {}
    origins = Origins(default)
    known = set(Settings.model_fields) - {"fingerprint", "sources", "protocol"}
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
                    remedy=offered(settings_called(section, merged))
                    or did_you_mean(section, known),
                )
            if not isinstance(keys, Mapping):
                raise UserError(
                    "is a section, not a value",
                    where=layer.where,
                    key=section,
                    value=keys,
                    remedy=as_section(section, keys),
                )
            if section in COMPONENTS and _names_another(keys, merged.get(section, {})):
                own = [dict(t) for name, t in tables[section].items() if name == keys["name"]]
                merged[section] = copy.deepcopy(own[0]) if own else {}
                origins.forget(section)
                origins.note(section, merged[section], layers[0].where)
            _refuse_none(section, keys, merged.get(section, {}), origins, layer.where)
            origins.note(section, keys, layer.where)
            _update(merged.setdefault(section, {}), keys)
    # Where data lie is said by whoever starts the program, unless a file says it.
    origins.written.setdefault("data.folder", COMMAND_LINE)
    return merged, origins


def _refuse_none(
    section: str, keys: Mapping[str, Any], held: Any, origins: Origins, where: object
) -> None:
    """A None over a value of a lower layer would leave neither the value nor a choice.

    Where None is the setting's own default it is a choice, and stays.

    Raises:
        UserError: there is such a None; it is told of the layer that has it.
    """
    below = held if isinstance(held, Mapping) else {}
    for name, value in keys.items():
        key, former = f"{section}.{name}", below.get(name)
        if isinstance(value, Mapping):
            _refuse_none(key, value, former, origins, where)
        elif value is None and former is not None and not _may_be_none(section, name, keys, below):
            place = origins.place(UserError("", key=key)).where
            said = "table" if isinstance(former, Mapping) else inline_toml(former)
            remedy = f"leave it out for the {said} of {place}"
            raise UserError("is None", where=where, key=key, remedy=remedy)


def _may_be_none(section: str, name: str, keys: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    if section == "data" and name in PLACES:  # where data lie is said by the program then
        return True
    component = keys.get("name", held.get("name"))
    if section in COMPONENTS and isinstance(component, str):
        with contextlib.suppress(UserError):
            setting = _described(section, component).settings.get(name)
            return setting is not None and setting.default is None
    return False


def _described(section: str, name: str) -> Component:
    """The component that a section is for."""
    return signatures.describe(KINDS.get(section, section), name, f"{section}.name")


def as_section(section: str, value: Any) -> str:
    """What to write instead of a value where a section is due.

    Args:
        section: its name.
        value: what the user wrote; the name of a component, if it is one, is told as such.
    """
    if isinstance(value, list):  # an array of tables
        return f"write [{section}]"
    remedy = f"write {section}.KEY=VALUE"
    with contextlib.suppress(UserError):
        if isinstance(value, str) and (section in COMPONENTS or section == "optimizer"):
            _described(section, value)
            remedy = f"write {section}.name={value}"
    return remedy


def settings_called(word: str, merged: Mapping[str, Any]) -> list[str]:
    """The dotted keys that a word is the last name of, else sections that end in it.

    Args:
        word: what the user wrote.
        merged: tables that name the components whose settings count too.
    """
    found = keys_called(word, Settings)
    for section in COMPONENTS:
        name = merged.get(section, {}).get("name")
        with contextlib.suppress(UserError):
            further = ("schedule",) if section in OPTIMIZERS else ()
            if isinstance(name, str) and word in (*_described(section, name).settings, *further):
                found.append(f"{section}.{word}")
    ends = [section for section in Settings.model_fields if section.endswith(f"_{word}")]
    return list(dict.fromkeys(found)) or ends


def _names_another(keys: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    return "name" in keys and keys["name"] != held.get("name")


def _update(target: dict[str, Any], keys: Mapping[str, Any]) -> None:
    for key, value in keys.items():
        target[key] = copy.deepcopy(_laid_over(target.get(key), value))


def _laid_over(held: Any, given: Any) -> Any:
    """A schedule or part is a component too; its bare name stands for a table of that name."""
    if not (isinstance(held, Mapping) or isinstance(given, Mapping)):
        return given
    below, above = ({"name": each} if isinstance(each, str) else each for each in (held, given))
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return given
    if _names_another(above, below):
        return given
    return {**below, **{key: _laid_over(below.get(key), value) for key, value in above.items()}}
