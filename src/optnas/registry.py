"""Names to factories: discovery by folder, by entry point, and by ``module:Object``.

A component registers itself with one decorator in one new file. The factory's signature is the
schema of its settings: every default is spelled out in a run's ``config.toml``, an unknown or
ill-typed setting is a `UserError` that names the nearest valid one. Factories are imported without
torch wherever the file itself does not need it, so that bad input is answered at once.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pydantic

from optnas.errors import COMMAND_LINE, UserError, did_you_mean

Factory = Callable[..., Any]

# kind -> the package whose modules register it; the entry point group has the package's name.
KINDS = {
    "algorithm": "optnas.algorithms",
    "dataset": "optnas.datasets",
    "figure": "optnas.figures",
    "metric": "optnas.metrics",
    "schedule": "optnas.schedules",
    "space": "optnas.spaces",
}

_FACTORIES: dict[tuple[str, str], Factory] = {}


def register(kind: str, name: str) -> Callable[[Factory], Factory]:
    """Register the decorated factory under a name.

    Args:
        kind: one of `KINDS`.
        name: the name users write.

    Returns:
        The decorator; it hands the factory back unchanged.

    Raises:
        ValueError: the name is taken by another factory, or there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; there are {sorted(KINDS)}")

    def decorate(factory: Factory) -> Factory:
        taken = _FACTORIES.setdefault((kind, name), factory)
        if (taken.__module__, taken.__qualname__) != (factory.__module__, factory.__qualname__):
            raise ValueError(f"{kind} {name!r} is registered by {taken.__module__} already")
        return factory

    return decorate


@functools.cache
def _discover(kind: str) -> None:
    package = importlib.import_module(KINDS[kind])
    for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
        importlib.import_module(f"{package.__name__}.{module.name}")
    for entry in importlib.metadata.entry_points(group=KINDS[kind]):
        register(kind, entry.name)(entry.load())


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted.

    Args:
        kind: one of `KINDS`.

    Returns:
        The names a user may write.
    """
    _discover(kind)
    return sorted(name for of_kind, name in _FACTORIES if of_kind == kind)


def find(kind: str, name: str, *, where: object = COMMAND_LINE, key: str | None = None) -> Factory:
    """The factory behind a registered name, a ``module:Object`` or a ``./file.py:Object``.

    Args:
        kind: one of `KINDS`.
        name: what the user wrote.
        where: the file or command line it was written in, for the error.
        key: its dotted key, for the error.

    Returns:
        The factory.

    Raises:
        UserError: there is no such name.
    """
    key = key or f"{kind}.name"
    if ":" in name:
        return _load_object(name, where=where, key=key)
    _discover(kind)
    if (kind, name) not in _FACTORIES:
        raise UserError(
            f"there is no {kind} of this name",
            where=where,
            key=key,
            value=name,
            remedy=did_you_mean(name, names(kind)),
        )
    return _FACTORIES[kind, name]


def _load_object(name: str, *, where: object, key: str) -> Factory:
    target, _, attribute = name.rpartition(":")
    try:
        module = _load_file(target) if target.endswith(".py") else importlib.import_module(target)
        factory = typing.cast(Factory, getattr(module, attribute))
        inspect.signature(factory)
    # The file is the user's: importing it may fail in any way.
    except (Exception, SystemExit) as error:
        raise UserError(
            f"cannot load it ({type(error).__name__}: {error})",
            where=where,
            key=key,
            value=name,
            remedy="write it as module:Object or ./file.py:Object",
        ) from error
    return factory


def _load_file(target: str) -> types.ModuleType:
    path = Path(target).resolve()
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def complete_settings(
    factory: Factory,
    given: Mapping[str, Any],
    *,
    section: str,
    where: object = COMMAND_LINE,
    skip: tuple[str, ...] = (),
    besides: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Settings checked against a factory's signature, with every default spelled out.

    Args:
        factory: the component's factory; its annotated keyword parameters are the schema.
        given: what the user wrote, without the ``name``.
        section: the dotted prefix for error messages, such as ``algorithm``.
        where: the file or command line, for error messages.
        skip: parameters that the program, not the user, supplies.
        besides: settings of the section that are no parameters, to be named in a remedy.

    Returns:
        All settings by name, values converted to the annotated types.

    Raises:
        UserError: a setting is unknown, missing or of the wrong type.

    Example:
        >>> complete_settings(lambda beta=1.0: beta, {}, section="algorithm")
        {'beta': 1.0}
    """
    hints = _hints(factory)
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(factory).parameters.items()
        if name not in skip
    }
    label = getattr(factory, "__name__", section).replace("_", "-")
    for name, value in given.items():
        if name not in parameters:
            valid = [*parameters, *besides]
            remedy = did_you_mean(name, valid) if valid else f"remove {section}.{name}"
            raise UserError(
                f"{label} has no setting '{name}'",
                where=where,
                key=f"{section}.{name}",
                value=value,
                remedy=remedy,
            )
    settings = {}
    for name, parameter in parameters.items():
        if name not in given and parameter.default is inspect.Parameter.empty:
            raise UserError(
                f"{label} needs this setting",
                where=where,
                key=f"{section}.{name}",
                remedy=f"add {section}.{name}=VALUE",
            )
        value = given.get(name, parameter.default)
        settings[name] = _typed(value, hints.get(name, Any), f"{section}.{name}", where)
    return settings


def _hints(factory: Factory) -> dict[str, Any]:
    """Types of a factory's parameters; that of its result may be known to type checkers only."""
    if not inspect.isfunction(factory):
        return typing.get_type_hints(factory)
    written = {k: v for k, v in factory.__annotations__.items() if k != "return"}
    holder = types.SimpleNamespace(__annotations__=written)
    return typing.get_type_hints(holder, globalns=factory.__globals__)


def supply(factory: Factory, settings: Mapping[str, Any], offered: Mapping[str, Any]) -> Any:
    """Call a factory with its settings and with those offered things that it asks for by name.

    Args:
        factory: the component's factory.
        settings: as `complete_settings` returns them.
        offered: what the program can supply, by parameter name.

    Returns:
        The component.
    """
    asked = inspect.signature(factory).parameters
    return factory(**settings, **{k: v for k, v in offered.items() if k in asked})


def _typed(value: Any, hint: Any, key: str, where: object) -> Any:
    # Strict but for an int where a float is due, and a list where TOML knows no tuple.
    adapter = pydantic.TypeAdapter(hint)
    try:
        return adapter.validate_python(value, strict=not isinstance(value, list))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            first["msg"][0].lower() + first["msg"][1:],
            where=where,
            key=key,
            value=value,
            remedy="change its value",
        ) from error
