"""Two protocols side by side, with the defaults that a file leaves to the program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pydantic

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.toml import flat
from optnas.optimizers.introduced import KINDS
from optnas.search.settings.complete import (
    COMPONENTS,
    OPTIMIZERS,
    complete_measure,
    complete_optimizer,
)
from optnas.search.settings.model import DEFAULT_MEASURES, Section, Settings
from optnas.spaces import complete_space


class Difference(NamedTuple):
    """A setting in which two protocols differ.

    Attributes:
        key: the dotted key, as in a protocol's file.
        a: its value under one; None where that has none, such as a size that is all of a half.
        b: its value under the other.
    """

    key: str
    a: Any
    b: Any


# What to call a protocol in error messages, and the content of its file.
Labelled = tuple[str, Mapping[str, Any]]


def differences(a: Labelled, b: Labelled) -> list[Difference]:
    """The settings that one protocol or both write down and that have different values under them.

    A setting that a file does not write has its default: that of its section, or of the component
    its table is for, whether or not the file has that table.

    Args:
        a: a protocol, as `optnas.search.protocols.load` returns it.
        b: another.

    Returns:
        Differences sorted by key.

    Raises:
        UserError: a section is no table, or holds a setting that its component does not take.
    """
    for label, document in (a, b):
        _check_tables(label, document)
    written = sorted(flat(a[1]).keys() | flat(b[1]).keys())
    whole_a, whole_b = (flat(_completed(*one, other[1])) for one, other in ((a, b), (b, a)))
    pairs = (Difference(key, whole_a.get(key), whole_b.get(key)) for key in written)
    return [each for each in pairs if each.a != each.b]


def _check_tables(label: str, document: Mapping[str, Any]) -> None:
    nested = {*COMPONENTS.values(), "measures"}
    for section, table in document.items():
        inside = table.items() if isinstance(table, Mapping) and section in nested else ()
        for key, value in ((section, table), *((f"{section}.{k}", v) for k, v in inside)):
            if not isinstance(value, Mapping):
                raise UserError(
                    "is a table of settings",
                    where=label,
                    key=key,
                    value=value,
                    remedy=f"write [{key}] and the settings below it",
                )


def _completed(label: str, document: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol with defaults spelled out, for each section and component that either has."""
    completed = dict(document)
    for section in {*document, *other} & Settings.model_fields.keys():
        model = Settings.model_fields[section].annotation
        if isinstance(model, type) and issubclass(model, Section):
            completed[section] = {**_defaults(model), **document.get(section, {})}
    for section, plural in (*COMPONENTS.items(), ("measure", "measures")):
        tables = document.get(plural, {})
        completed[plural] = {
            name: _component(label, section, name, tables.get(name))
            for name in {**tables, **other.get(plural, {})}
        }
    return completed


def _defaults(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    return {
        name: field.get_default(call_default_factory=True, validated_data={})
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def _component(
    label: str, section: str, name: str, given: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """The whole table of a component; nothing where it needs settings that no file gives.

    A measure that a file does not name is not taken, but for those of every search.
    """
    if section == "measure" and given is None and name not in DEFAULT_MEASURES:
        return {}
    try:
        return _whole(section, name, given or {})
    except UserError as error:
        if given is None:
            return {}
        raise error.at(label) from error


def _whole(section: str, name: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    if section == "data":  # what a table leaves open depends on the images
        return {"split": "halves", **given}
    if section == "measure":
        return complete_measure(name, given)
    named = {"name": name, **given}
    if section in OPTIMIZERS:
        merged: dict[str, Any] = {section: named}
        complete_optimizer(merged, section)
        return dict(merged[section])
    if section == "space":
        return complete_space(named)
    return registry.complete_component(
        KINDS.get(section, section), named, section=section, skip=("space",)
    )
