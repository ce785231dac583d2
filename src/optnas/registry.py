"""Names to factories: discovery by folder, by entry point, and by ``module:Object``.

A component registers itself with one decorator in one new file: in the package's folder of its
kind, in an installed distribution that declares it as an entry point, or in a file anywhere,
addressed as ``./file.py:NAME``. What a file addressed by path registers is known by that address
only. The factory's signature is the schema of its settings: every default is spelled out in a run's
``config.toml``, an unknown or ill-typed setting is a `UserError` that names the nearest valid one.
Factories are imported without torch wherever the file itself does not need it, so that bad input is
answered at once.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pydantic

from optnas.errors import COMMAND_LINE, UserError, did_you_mean
from optnas.loading import FILES, Factory, Registered, load_entry, load_object

# kind -> the package whose modules register it; the entry point group has the package's name.
KINDS = {
    "algorithm": "optnas.algorithms",
    "claim": "optnas.claims",
    "dataset": "optnas.datasets",
    "discretization": "optnas.discretizations",
    "engine": "optnas.engines",
    "figure": "optnas.figures",
    "hypergradient": "optnas.hypergradients",
    "metric": "optnas.metrics",
    "optimizer": "optnas.optimizers",
    "perturbation": "optnas.perturbations",
    "relaxation": "optnas.relaxations",
    "schedule": "optnas.schedules",
    "space": "optnas.spaces",
    "table": "optnas.benchmarks",
    "tracker": "optnas.trackers",
}

_FACTORIES: Registered = {}


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
        table = FILES.get(factory.__module__, _FACTORIES)
        taken = table.setdefault((kind, name), factory)
        if _address(taken) != _address(factory):
            raise ValueError(f"{kind} {name!r} is registered by {taken.__module__} already")
        return factory

    return decorate


def _address(factory: Factory) -> str:
    return f"{factory.__module__}:{factory.__qualname__}"


@functools.cache
def _discover(kind: str) -> None:
    package = importlib.import_module(KINDS[kind])
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


@functools.cache
def _offered(kind: str) -> Mapping[str, Sequence[importlib.metadata.EntryPoint]]:
    """Entry points by name. None is loaded before it is asked for: their modules import torch."""
    offered: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for entry in importlib.metadata.entry_points(group=KINDS[kind]):
        offered.setdefault(entry.name, []).append(entry)
    return offered


def names(kind: str) -> list[str]:
    """All names of a kind, the package's own and those of installed distributions, sorted.

    Args:
        kind: one of `KINDS`.

    Returns:
        The names a user may write.
    """
    _discover(kind)
    return sorted({name for of_kind, name in _FACTORIES if of_kind == kind} | set(_offered(kind)))


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
        UserError: there is no such name, or it cannot be loaded, or two packages offer it.
    """
    refuse = functools.partial(UserError, where=where, key=key or f"{kind}.name", value=name)
    if ":" in name:
        return load_object(kind, name, refuse)
    if name.endswith(".py"):
        raise refuse("names a file, not what is in it", remedy=f"write {name}:NAME")
    _discover(kind)
    own = _FACTORIES.get((kind, name))
    entries = [
        entry
        for entry in _offered(kind).get(name, ())
        if own is None or entry.value.replace(" ", "") != _address(own)
    ]
    homes = [KINDS[kind]] if own is not None else []
    homes += sorted(f"package {entry.dist.name}" for entry in entries if entry.dist is not None)
    if len(homes) > 1:
        raise refuse(
            f"is offered by {' and by '.join(homes)}",
            remedy="uninstall one, or write module:Object",
        )
    if own is not None:
        return own
    if entries:
        return load_entry(entries[0], homes[0], refuse)
    raise refuse(f"there is no {kind} of this name", remedy=did_you_mean(name, names(kind)))


class Part(NamedTuple):
    """Marks a setting that is a component itself: ``Annotated[Any, Part("relaxation")]``.

    A user writes its name, or a table of ``name`` and settings that its own signature checks; the
    factory whose setting it is receives the component, built.

    Attributes:
        kind: one of `KINDS`.
        many: the setting is a table of such components by a name of the user's choice.
    """

    kind: str
    many: bool = False


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
    parameters = _parameters(factory, skip)
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
    hints = _hints(factory, parameters)
    settings = {}
    for name, parameter in parameters.items():
        if name not in given and parameter.default is inspect.Parameter.empty:
            raise UserError(
                f"{label} needs this setting",
                where=where,
                key=f"{section}.{name}",
                remedy=f"add {section}.{name}=VALUE",
            )
        key, hint = f"{section}.{name}", hints.get(name, Any)
        value = given.get(name, parameter.default)
        part = _part(hint)
        if part is None:
            settings[name] = _typed(value, hint, key, where)
        elif part.many:
            each = _mapping(value, key, where)
            settings[name] = {
                name: _complete_part(part.kind, one, None, f"{key}.{name}", where, skip)
                for name, one in each.items()
            }
        else:
            default = parameter.default
            settings[name] = _complete_part(part.kind, value, default, key, where, skip)
    return settings


def _parameters(factory: Factory, skip: tuple[str, ...] = ()) -> dict[str, inspect.Parameter]:
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: parameter
        for name, parameter in inspect.signature(factory).parameters.items()
        if name not in skip and parameter.kind not in stars
    }


def _hints(factory: Factory, names: Iterable[str]) -> dict[str, Any]:
    """Annotations of these parameters; those of others may need what only a type checker sees."""
    function = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
    written = getattr(function, "__annotations__", {})
    wanted = types.SimpleNamespace(__annotations__={n: written[n] for n in names if n in written})
    space = getattr(function, "__globals__", {})
    try:
        return typing.get_type_hints(wanted, globalns=space, include_extras=True)
    except Exception as error:  # an annotation is an expression of the factory's author
        raise UserError(
            f"its annotations cannot be read ({type(error).__name__}: {error})",
            where=_address(factory),
            remedy="import what they name outside of TYPE_CHECKING",
        ) from error


def _part(hint: Any) -> Part | None:
    marks = (mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Part))
    return next(marks, None)


def _mapping(value: Any, key: str, where: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise UserError(
        "must be a table", where=where, key=key, value=value, remedy=f"write {key}.NAME="
    )


def _complete_part(
    kind: str, given: Any, default: Any, key: str, where: object, skip: tuple[str, ...]
) -> dict[str, Any]:
    """The table of a component: its name and all its settings."""
    tables = [{"name": each} if isinstance(each, str) else each for each in (default, given)]
    usual, keys = (dict(each) if isinstance(each, Mapping) else {} for each in tables)
    if not isinstance(tables[1], Mapping):
        raise UserError(
            "must be a name or a table",
            where=where,
            key=key,
            value=given,
            remedy=f"write {key}=NAME",
        )
    if keys.get("name", usual.get("name")) == usual.get("name"):
        keys = usual | keys
    name = keys.pop("name", None)
    if not isinstance(name, str):
        raise UserError(
            "needs a name" if name is None else "a name is a string",
            where=where,
            key=f"{key}.name",
            value=name,
            remedy=f"write {key}=NAME",
        )
    factory = find(kind, name, where=where, key=f"{key}.name")
    completed = complete_settings(factory, keys, section=key, where=where, skip=skip)
    return {"name": name, **completed}


def supply(
    factory: Factory, settings: Mapping[str, Any], offered: Mapping[str, Any], *, section: str
) -> Any:
    """Call a factory with its settings and with those offered things that it asks for by name.

    Args:
        factory: the component's factory.
        settings: as `complete_settings` returns them; parts are built in the same way first.
        offered: what the program can supply, by parameter name.
        section: the dotted prefix for error messages, such as ``algorithm``.

    Returns:
        The component.
    """
    parameters = _parameters(factory)
    hints = _hints(factory, settings)
    built = dict(settings)
    for name, value in settings.items():
        part, key = _part(hints.get(name)), f"{section}.{name}"
        if part is not None and part.many:
            built[name] = {n: _build(part.kind, v, offered, f"{key}.{n}") for n, v in value.items()}
        elif part is not None:
            built[name] = _build(part.kind, value, offered, key)
    return factory(**built, **{k: v for k, v in offered.items() if k in parameters})


def _build(kind: str, table: Mapping[str, Any], offered: Mapping[str, Any], section: str) -> Any:
    settings = dict(table)
    factory = find(kind, settings.pop("name"), key=f"{section}.name")
    try:
        return supply(factory, settings, offered, section=section)
    except UserError as error:
        # A part does not know where it stands: it names its own setting.
        inside = error.key is not None and error.key.startswith(section)
        raise (error if inside else error.below(section)) from error


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
