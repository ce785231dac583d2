"""One schema of settings: what a factory's signature says of them, and what is wrong with some.

A parameter's annotation is the type of its setting; where there is none, its default says the type.
Values are checked by pydantic, strictly: no text for a number, no number for a truth value.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Union

import pydantic

from optnas.base.errors import UserError, did_you_mean
from optnas.base.refusals import UNIONS, alternatives, is_plain, wrong

EMPTY = inspect.Parameter.empty
KEPT = 2048  # signatures and annotations that are kept read
# Annotations of settings that are numbers with a bound.
Count = typing.Annotated[int, pydantic.Field(ge=0)]
AtLeastOne = typing.Annotated[int, pydantic.Field(ge=1)]
AtLeastTwo = typing.Annotated[int, pydantic.Field(ge=2)]
NotNegative = typing.Annotated[float, pydantic.Field(ge=0)]
Positive = typing.Annotated[float, pydantic.Field(gt=0)]
Share = typing.Annotated[float, pydantic.Field(ge=0, lt=1)]


class Part(NamedTuple):
    """Marks a setting that is a component itself: ``Annotated[Any, Part("relaxation")]``.

    A user writes its name, or a table of ``name`` and settings that its own signature checks; the
    factory whose setting it is receives the component, built.

    Attributes:
        kind: one of `optnas.base.registry.KINDS`.
        many: the setting is a table of such components by a name of the user's choice.
        fixed: settings of the component that the section around it decides.
    """

    kind: str
    many: bool = False
    fixed: tuple[str, ...] = ()


class Setting(NamedTuple):
    """What a signature says of one setting.

    Attributes:
        hint: the type of its values.
        default: `EMPTY` where the setting has to be given.
    """

    hint: Any
    default: Any = EMPTY


class Component(NamedTuple):
    """The settings that a name stands for.

    Attributes:
        label: what to call it in messages.
        settings: by name, in the order of the signature.
    """

    label: str
    settings: Mapping[str, Setting]


# (kind, name, dotted key) -> the component; the errors are those of `registry.find`
Describe = Callable[[str, str, str], Component]


def parameters_of(
    factory: Callable[..., Any], skip: tuple[str, ...] = ()
) -> dict[str, inspect.Parameter]:
    """The settings of a factory.

    Args:
        factory: a function or class.
        skip: parameters that the program supplies.

    Returns:
        The other parameters of the factory by name, ``*args`` and ``**kwargs`` left out.

    Raises:
        UserError: an annotation names nothing that is there, where Python evaluates it here.
    """
    return {name: each for name, each in _parameters(factory).items() if name not in skip}


# A study asks for the same few signatures in each of its runs.
# What a factory's annotations and defaults say is what they said when it was first asked.
@functools.lru_cache(KEPT)
def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    with _evaluated(factory, NameError):  # other errors are of what has no signature
        parameters = inspect.signature(factory).parameters
    return {name: each for name, each in parameters.items() if each.kind not in stars}


def hints_of(factory: Callable[..., Any], names: Iterable[str]) -> dict[str, Any]:
    """Annotations of parameters; those of others may need what only a type checker sees.

    Args:
        factory: a function or class.
        names: of the parameters.

    Returns:
        Types by name, of those that have one.

    Raises:
        UserError: an annotation names nothing that is there.
    """
    function = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
    with _evaluated(factory, Exception):
        written = getattr(function, "__annotations__", {})
        return {name: _hint(function, name) for name in names if name in written}


@functools.lru_cache(KEPT)
def _hint(function: Callable[..., Any], name: str) -> Any:
    wanted = types.SimpleNamespace(__annotations__={name: function.__annotations__[name]})
    space = getattr(function, "__globals__", {})
    return typing.get_type_hints(wanted, globalns=space, include_extras=True)[name]


@contextlib.contextmanager
def _evaluated(factory: Callable[..., Any], errors: type[Exception]) -> Iterator[None]:
    """An annotation is an expression of the factory's author, from Python 3.14 on run when read."""
    try:
        yield
    except errors as error:
        raise UserError(
            f"its annotations cannot be read ({type(error).__name__}: {error})",
            where=f"{factory.__module__}:{factory.__qualname__}",
            remedy="import what they name outside of TYPE_CHECKING",
        ) from error


def part_of(hint: Any) -> Part | None:
    """The mark of an annotation, if it has one."""
    for each in alternatives(hint):
        for mark in getattr(getattr(each, "__supertype__", each), "__metadata__", ()):
            if isinstance(mark, Part):
                return mark
    return None


def settings_of(
    factory: Callable[..., Any], skip: tuple[str, ...] = (), *, foreign: bool = False
) -> dict[str, Setting]:
    """The schema of a factory's settings.

    Args:
        factory: a function or class.
        skip: parameters that the program supplies.
        foreign: the factory is not written for this program: an annotation that cannot be read
            counts as none.

    Returns:
        Settings by name.

    Raises:
        UserError: an annotation cannot be read.
    """
    return dict(_settings(factory, skip, foreign))


@functools.lru_cache(KEPT)
def _settings(
    factory: Callable[..., Any], skip: tuple[str, ...], foreign: bool
) -> Mapping[str, Setting]:
    parameters = parameters_of(factory, skip)
    hints: dict[str, Any] = {}
    for names in [[name] for name in parameters] if foreign else [list(parameters)]:
        try:
            hints |= hints_of(factory, names)
        except UserError:
            if not foreign:
                raise
    return {
        name: Setting(_readable(hints.get(name, type_of(each.default))), each.default)
        for name, each in parameters.items()
    }


def type_of(default: Any) -> Any:
    """The type that a default says."""
    if isinstance(default, (list, tuple)) and default:
        if all(isinstance(each, str) for each in default):
            return list[str]
        return tuple[tuple(map(type_of, default))]  # type: ignore[misc]
    if type(default) is int:
        return int | float  # who writes 0 may mean any number
    return type(default) if type(default) in (bool, float, str) else Any


def _readable(hint: Any) -> Any:
    """An annotation without alternatives that no file can hold, such as tensors."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if part_of(hint) is not None:
        return hint
    if origin in UNIONS:
        return Any if Any in inside else either(map(_readable, inside))
    if origin in (list, tuple):
        return origin[tuple(each if each is ... else _readable(each) for each in inside)]
    try:
        _adapter(hint)
    except (pydantic.PydanticUserError, pydantic.PydanticUndefinedAnnotation, TypeError):
        return Any
    return hint


def either(kinds: Iterable[Any]) -> Any:
    """The union of some types; anything where only None, or nothing known, is among them."""
    kept = tuple(kind for kind in kinds if kind is not Any)
    return Union[kept] if set(kept) - {type(None)} else Any  # noqa: UP007, a tuple of them


@functools.cache
def _adapter(hint: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(hint)


def complete(
    component: Component,
    given: Mapping[str, Any],
    *,
    section: str,
    describe: Describe,
    besides: tuple[str, ...] = (),
    fixed: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Settings checked against their schema, with every default spelled out.

    Args:
        component: the schema.
        given: what the user wrote, without the ``name``.
        section: the dotted prefix for error messages, such as ``algorithm``.
        describe: finds the components that settings name.
        besides: further keys of the section, to be named in a remedy.
        fixed: settings that the section around this one decides.

    Returns:
        All settings by name, those that are components as tables of their own. A value that equals
        the default is spelt as the default is, so that 0 and 0.0 are one run. Left to the factory:
        None (TOML has none), and defaults that no file could hold.

    Raises:
        UserError: a setting is unknown, missing or of the wrong type, or None where that is not
            its default.
    """
    settings = {name: each for name, each in component.settings.items() if name not in fixed}
    for name, value in given.items():
        if name not in settings:
            valid, top = [*settings, *besides], section.partition(".")[0]
            remedy = did_you_mean(name, valid) if valid else f"remove {section}.{name}"
            if name in fixed:
                remedy = f"remove it, and set {top}.{name}"
            raise UserError(
                f"{component.label} has no setting '{name}'"
                + (f" here: it has that of {top}" if name in fixed else ""),
                key=f"{section}.{name}",
                value=value,
                remedy=remedy,
            )
    completed: dict[str, Any] = {}
    for name, setting in settings.items():
        key, part, default = f"{section}.{name}", part_of(setting.hint), setting.default
        value = default if given.get(name) is None else given[name]
        if name in given and given[name] is None and default not in (None, EMPTY):
            instead = f"the default {default}" if is_plain(default) else "its default"
            raise UserError("is None", key=key, remedy=f"leave it out for {instead}")
        if value is EMPTY:
            raise UserError(
                f"{component.label} needs "
                + ("this setting" if part is None else f"another {part.kind} here"),
                key=key,
                remedy=f"add {key}=VALUE" if part is None else f"add {key}.name=NAME",
            )
        if value is None:
            continue
        if part is not None and part.many:
            completed[name] = {
                label: complete_part(part, one, section=f"{key}.{label}", describe=describe)
                for label, one in _table(value, key).items()
            }
        elif part is not None:
            completed[name] = complete_part(part, value, default, section=key, describe=describe)
        elif value is not default:
            completed[name] = typed(value, setting, key)
        elif is_plain(default):
            completed[name] = dict(default) if isinstance(default, Mapping) else default
    return completed


def _table(value: Any, key: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise UserError("must be a table", key=key, value=value, remedy=f"write {key}.NAME=")


def complete_part(
    part: Part,
    given: Any,
    default: Any = None,
    *,
    section: str,
    describe: Describe,
) -> dict[str, Any]:
    """The table of a component: its name and all its settings.

    Args:
        part: what is asked for.
        given: its name, or a table.
        default: likewise; the settings of its table hold as long as the name is the same.
        section: the dotted key of the table.
        describe: as for `complete`.

    Raises:
        UserError: there is no such component, or a setting of it is wrong.
    """
    usual, table = ({"name": each} if isinstance(each, str) else each for each in (default, given))
    if not isinstance(table, Mapping):
        raise UserError(
            "must be a name or a table",
            key=section,
            value=given,
            remedy=f"write {section}=NAME",
        )
    if isinstance(usual, Mapping) and table.get("name", usual["name"]) == usual["name"]:
        table = {**usual, **table}
    name = name_in(table, section)
    completed = complete(
        describe(part.kind, name, f"{section}.name"),
        {key: value for key, value in table.items() if key != "name"},
        section=section,
        describe=describe,
        fixed=part.fixed,
    )
    return {"name": name, **completed}


def name_in(table: Mapping[str, Any], section: str) -> str:
    """The name of the component that a table is for; a `UserError` if it has none."""
    name = table.get("name")
    if isinstance(name, str):
        return name
    raise UserError(
        "needs a name" if name is None else "a name is a string",
        key=f"{section}.name",
        value=name,
        remedy=f"write {section}.name=NAME",
    )


def typed(value: Any, setting: Setting, key: str) -> Any:
    """A value checked against its setting's type.

    Args:
        value: what the user wrote.
        setting: the setting.
        key: the dotted key, for the error.

    Returns:
        The value: a float where one is due, a tuple for a list where one is due.

    Raises:
        UserError: it is of another type.
    """
    hint, default = setting
    try:
        value = _adapter(hint).validate_python(_shaped(value, hint), strict=True)
    except pydantic.ValidationError as error:
        reason, remedy = wrong(error.errors()[0], hint, default, value, key)
        raise UserError(reason, key=key, value=value, remedy=remedy) from None
    same = is_plain(default) and not isinstance(default, bool) and value == default
    return default if same else value


def _shaped(value: Any, hint: Any) -> Any:
    """Lists as the tuples that are due: TOML knows no tuple."""
    for each in alternatives(hint):
        origin, inside = typing.get_origin(each), typing.get_args(each)
        if isinstance(value, (list, tuple)) and origin in (list, tuple):
            return origin(_shaped(one, inside[0]) for one in value)
    return value
