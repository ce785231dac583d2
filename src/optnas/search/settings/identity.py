"""What of a run's settings says which run it is: see docs/decisions/0008-identity.md.

A setting at the default it was introduced with is no part of it, so that one added later leaves
every run that does not use it what it was. Importable without torch.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import pydantic
from pydantic_core import PydanticUndefined

from optnas.base import registry
from optnas.base.schema import EMPTY, part_of
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

# What a default is, for settings that have one; how a value that is a component is reduced.
Defaults = Mapping[str, Any]
Reduce = Callable[[Any], Any]


def identity_of(settings: pydantic.BaseModel, without: tuple[str, ...]) -> dict[str, Any]:
    """The settings that count, by section; sections of which nothing counts are left out.

    Args:
        settings: complete settings, section by section.
        without: fields that are no sections, or do not count.

    Returns:
        Plain values: lists for tuples, whole numbers as integers however they were written.
    """
    content = {}
    for section in type(settings).model_fields:
        value = getattr(settings, section)
        if section in without:
            continue
        kept = _of_model(section, value) if isinstance(value, pydantic.BaseModel) else value
        if kept:
            content[section] = kept
    return content


def plain(value: Any) -> Any:
    """A value as the hash sees it: 1 and 1.0, a tuple and a list are the same."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _of_model(section: str, model: pydantic.BaseModel) -> dict[str, Any]:
    """A section: its fixed keys by their defaults, the others by those of the component."""
    fixed = {name: getattr(model, name) for name in type(model).model_fields}
    kept = {}
    for key, value in fixed.items():
        if isinstance(value, pydantic.BaseModel):
            kept[key] = _of_model(key, value)
            continue
        field = type(model).model_fields[key]
        default = field.get_default(call_default_factory=True, validated_data={})
        if not _is_default((section, "", key), value, default):
            kept[key] = plain(value)
    if "name" in fixed:
        kind, name = KINDS.get(section, section), fixed["name"]
        kept |= _of_component(kind, name, dict(model.model_extra or {}), section)
    return kept


def _of_component(kind: str, name: str, settings: Defaults, section: str) -> dict[str, Any]:
    defaults, parts = _signature(kind, name, section)
    kept = {}
    for key, value in settings.items():
        default = defaults.get(key, PydanticUndefined)
        if key in parts:
            value, default = parts[key](value), parts[key](default)
        if not _is_default((kind, name, key), value, default):
            kept[key] = plain(value)
    return kept


def _is_default(place: tuple[str, str, str], value: Any, default: Any) -> bool:
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


def _signature(kind: str, name: str, section: str) -> tuple[Defaults, Mapping[str, Reduce]]:
    """Defaults of a component's settings, and how those that are components are reduced."""
    torchs = kind == "optimizer" and signatures.is_torchs(name)
    if not (torchs or _ours(registry.find(kind, name))):
        return {}, {}
    settings = signatures.describe(kind, name, f"{section}.name").settings
    marked = {key: part_of(setting.hint) for key, setting in settings.items()}
    return (
        {key: setting.default for key, setting in settings.items() if setting.default is not EMPTY},
        {
            key: functools.partial(_components if part.many else _component, part.kind, section)
            for key, part in marked.items()
            if part is not None
        },
    )


def _ours(factory: registry.Factory) -> bool:
    return factory.__module__.partition(".")[0] in OURS


def _component(kind: str, section: str, value: Any) -> Any:
    """A component inside a section, its own settings reduced; its name always counts."""
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        return value
    others = {key: each for key, each in table.items() if key != "name"}
    return {"name": table["name"], **_of_component(kind, table["name"], others, section)}


def _components(kind: str, section: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _component(kind, section, each) for key, each in value.items()}
