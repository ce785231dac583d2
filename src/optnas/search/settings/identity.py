"""What of a run's settings says which run it is: see docs/decisions/0008-identity.md.

A setting at the default it was introduced with is no part of it, so that one added later leaves
every run that does not use it what it was. Importable without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic

from optnas.optimizers import introduced
from optnas.optimizers.introduced import KINDS, fill, is_default, of_component, plain


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


def spelled_out(model: type[pydantic.BaseModel], document: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded run's settings, with those that came after it at the default they came with.

    Args:
        model: of complete settings, section by section.
        document: the content of a config.toml.

    Returns:
        The same, and more keys; a component that cannot be loaded is left as it is.
    """
    found = dict(document)
    for section, field in model.model_fields.items():
        if isinstance(document.get(section), Mapping):
            found[section] = _filled(section, field.annotation, document[section])
    return found


def _filled(section: str, model: Any, table: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(table)
    if not (isinstance(model, type) and issubclass(model, pydantic.BaseModel)):
        return filled
    for key, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        fill(filled, (section, "", key), default)
    return introduced.spelled_out(section, filled)


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
        if not is_default((section, "", key), value, default):
            kept[key] = plain(value)
    if "name" in fixed:
        kind, name = KINDS.get(section, section), fixed["name"]
        kept |= of_component(kind, name, dict(model.model_extra or {}), section)
    return kept
