"""The defaults that settings of components came with: at these they are in no run's identity.

See docs/decisions/0008-identity.md; `optnas.search.settings.identity` is about whole settings, and
lies above the measures, whose labels need these too. Importable without torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import PydanticUndefined

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.schema import EMPTY, Part, part_of
from optnas.optimizers import signatures

# (section or kind, name of the component or "", setting) -> the default it was introduced with, for
# settings whose default was changed since; `PydanticUndefined` where there was none. A default that
# changes gets its line here in the same commit, else two runs of different numbers would have one
# hash.
INTRODUCED: dict[tuple[str, str, str], Any] = {}
# Sections whose components are of a kind of another name.
KINDS = {
    "data": "dataset",
    "weight_optimizer": "optimizer",
    "arch_optimizer": "optimizer",
    "tracking": "tracker",
}
# Whose defaults this project answers for. Of any other package every setting counts: nobody could
# tell that a later version of it has changed a default.
OURS = ("optnas", "torch")

# What a default is, for settings that have one.
Defaults = Mapping[str, Any]
# Kind, name, settings, section -> other settings.
OfComponent = Callable[[str, str, Defaults, str], dict[str, Any]]


def spelled_out(section: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded section with the settings of its component that came later, at their defaults.

    That is what the run was computed with: two runs of which one was recorded before a setting
    existed do not differ in it.

    Args:
        section: its name.
        table: its content in a config.toml.

    Returns:
        The same, and more keys; where the component cannot be loaded, the same.
    """
    settings = {key: value for key, value in table.items() if key != "name"}
    if isinstance(settings.get("schedule"), Mapping):
        settings["schedule"] = spelled_out("schedule", settings["schedule"])
    name = table.get("name")
    if not isinstance(name, str):
        return settings
    # What a record names by path or module is not run to read it, and answers for its own defaults.
    if ":" not in name:
        settings = _filled(KINDS.get(section, section), name, settings, section)
    return {"name": name, **settings}


def _filled(kind: str, name: str, settings: Defaults, section: str) -> dict[str, Any]:
    filled = dict(settings)
    try:
        defaults, parts = _signature(kind, name, section)
    except UserError:  # a file that is gone
        return filled
    for key, default in defaults.items():
        fill(filled, (kind, name, key), default)
    for key in parts.keys() & filled.keys():
        if parts[key].kind == "optimizer":  # its rate is that of the one around it
            continue
        filled[key] = _within(parts[key], section, filled[key], _filled)
    return filled


def fill(table: dict[str, Any], place: tuple[str, str, str], default: Any) -> None:
    """Put the default that a setting came with into a table that lacks it; None is in no file."""
    default = INTRODUCED.get(place, default)
    if place[-1] not in table and _written(default) not in ("", _written(None)):
        table[place[-1]] = plain(default)


def plain(value: Any) -> Any:
    """A value as the hash sees it: 1 and 1.0, a tuple and a list are the same."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def of_component(kind: str, name: str, settings: Defaults, section: str) -> dict[str, Any]:
    """The settings of a component that count: those not at the default they came with."""
    defaults, parts = _signature(kind, name, section)
    kept = {}
    for key, value in settings.items():
        default = defaults.get(key, PydanticUndefined)
        if key in parts:
            value, default = (
                _within(parts[key], section, x, of_component) for x in (value, default)
            )
        if not is_default((kind, name, key), value, default):
            kept[key] = plain(value)
    return kept


def is_default(place: tuple[str, str, str], value: Any, default: Any) -> bool:
    """Whether a value is the default that the setting at a place of `INTRODUCED` came with."""
    default = INTRODUCED.get(place, default)
    if default is PydanticUndefined:
        return False
    return _written(value) == _written(default)


def _written(value: Any) -> str:
    """A value as text that tells true from 1; a default that no file can hold equals none."""
    try:
        return json.dumps(plain(value), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        return ""


def _signature(kind: str, name: str, section: str) -> tuple[Defaults, Mapping[str, Part]]:
    """Defaults of a component's settings, and which of them are components."""
    torchs = kind == "optimizer" and signatures.is_torchs(name)
    if not (torchs or _ours(registry.find(kind, name))):
        return {}, {}
    settings = signatures.describe(kind, name, f"{section}.name").settings
    marked = {key: part_of(setting.hint) for key, setting in settings.items()}
    return (
        {key: setting.default for key, setting in settings.items() if setting.default is not EMPTY},
        {key: part for key, part in marked.items() if part is not None},
    )


def _ours(factory: registry.Factory) -> bool:
    return factory.__module__.partition(".")[0] in OURS


def _within(part: Part, section: str, value: Any, of: OfComponent) -> Any:
    """A setting that is a component, or several by name, with `of` its own settings."""
    if not part.many:
        return _component(part.kind, section, value, of)
    if not isinstance(value, Mapping):
        return value
    return {key: _component(part.kind, section, each, of) for key, each in value.items()}


def _component(kind: str, section: str, value: Any, of: OfComponent) -> Any:
    """A component inside a section; its name always counts."""
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        return value
    others = {key: each for key, each in table.items() if key != "name"}
    return {"name": table["name"], **of(kind, table["name"], others, section)}
