"""What a factory's signature says of its settings."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pydantic

from optnas.base.errors import UserError


class Part(NamedTuple):
    """Marks a setting that is a component itself: ``Annotated[Any, Part("relaxation")]``.

    A user writes its name, or a table of ``name`` and settings that its own signature checks; the
    factory whose setting it is receives the component, built.

    Attributes:
        kind: one of `optnas.base.registry.KINDS`.
        many: the setting is a table of such components by a name of the user's choice.
    """

    kind: str
    many: bool = False


def parameters_of(
    factory: Callable[..., Any], skip: tuple[str, ...] = ()
) -> dict[str, inspect.Parameter]:
    """The settings of a factory.

    Args:
        factory: a function or class.
        skip: parameters that the program supplies.

    Returns:
        Its other parameters by name, ``*args`` and ``**kwargs`` left out.
    """
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: parameter
        for name, parameter in inspect.signature(factory).parameters.items()
        if name not in skip and parameter.kind not in stars
    }


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
    written = getattr(function, "__annotations__", {})
    wanted = types.SimpleNamespace(__annotations__={n: written[n] for n in names if n in written})
    space = getattr(function, "__globals__", {})
    try:
        return typing.get_type_hints(wanted, globalns=space, include_extras=True)
    except Exception as error:  # an annotation is an expression of the factory's author
        raise UserError(
            f"its annotations cannot be read ({type(error).__name__}: {error})",
            where=f"{factory.__module__}:{factory.__qualname__}",
            remedy="import what they name outside of TYPE_CHECKING",
        ) from error


def part_of(hint: Any) -> Part | None:
    """The mark of an annotation, if it has one."""
    marks = (mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Part))
    return next(marks, None)


@functools.cache
def _adapter(hint: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(hint)


def typed(value: Any, hint: Any, key: str, where: object) -> Any:
    """A value checked against an annotation.

    Args:
        value: what the user wrote, or a default.
        hint: the annotation.
        key: the dotted key, for the error.
        where: the file or command line, for the error.

    Returns:
        The value, converted.

    Raises:
        UserError: it is of another type.
    """
    # Strict but for an int where a float is due, and a list where TOML knows no tuple.
    try:
        return _adapter(hint).validate_python(value, strict=not isinstance(value, list))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            first["msg"][0].lower() + first["msg"][1:],
            where=where,
            key=key,
            value=value,
            remedy="change its value",
        ) from error
