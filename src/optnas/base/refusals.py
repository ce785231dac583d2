"""What pydantic refuses, told in one line: the key, the value, and what to write instead."""

from __future__ import annotations

import collections.abc
import contextlib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union

import pydantic
from pydantic_core import ErrorDetails

from optnas.base.errors import UserError, did_you_mean, offered

Model = TypeVar("Model", bound=pydantic.BaseModel)
CHANGE = "change its value"
UNIONS = (Union, types.UnionType)
LISTS = (list, tuple, collections.abc.Sequence)
TABLES = ("dict_type", "mapping_type", "model_type")  # what pydantic calls a table that is none
# type -> what one is called, and several
WORDS: dict[Any, tuple[str, str]] = {
    bool: ("a truth value", "truth values"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "words"),
}
# pydantic's names of what says most, the first before the others
SPEAKING = {"extra_forbidden": 0, "finite_number": 1}
# pydantic's name for a bound -> its name in the details, what to use
BOUNDS = {
    "greater_than_equal": ("ge", "use {} or more"),
    "greater_than": ("gt", "use more than {}"),
    "less_than_equal": ("le", "use {} or less"),
    "less_than": ("lt", "use less than {}"),
}


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in UNIONS else (hint,)


def is_plain(value: Any) -> bool:
    """Whether a file of settings can hold a value."""
    if isinstance(value, (tuple, list)):
        return all(map(is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
    return type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def _words(hint: Any, number: int = 0) -> str:
    """What a value of a type is called, in the singular or (1) plural; nothing if there is none."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _words(inside[0], number)
    if origin in UNIONS:
        kinds = [each for each in inside if not (each is int and float in inside)]
        return " or ".join(filter(None, dict.fromkeys(_words(each, number) for each in kinds)))
    if origin in LISTS and inside:
        count = f"{len(inside)} " if origin is tuple and ... not in inside else ""
        return f"a list of {count}{_words(inside[0], 1) or 'values'}"
    return WORDS[hint][number] if hint in WORDS else ""


def _choices(hint: Any) -> list[str]:
    """The words that a type consists of, if it does."""
    found = [each for each in alternatives(hint) if typing.get_origin(each) is Literal]
    return [str(word) for each in found for word in typing.get_args(each)]


def wrong(problem: ErrorDetails, hint: Any, default: Any, value: Any, key: str) -> tuple[str, str]:
    """Why a value was refused, and what to write instead.

    Args:
        problem: what pydantic says.
        hint: the type of the setting.
        default: of the setting; an example of a value, if a file could hold it.
        value: what the user wrote.
        key: the dotted key.
    """
    kind, details = problem["type"], problem.get("ctx", {})
    if kind in BOUNDS:
        name, remedy = BOUNDS[kind]
        return "is out of range", remedy.format(details[name])
    if kind == "too_short":
        least = details["min_length"]
        return f"must have at least {least} value{'s' if least > 1 else ''}", "add some"
    if kind == "finite_number":
        return "must be a finite number", CHANGE
    if _choices(hint):
        return "there is no such choice", did_you_mean(str(value), _choices(hint))
    if kind in TABLES:
        return "is a table of settings", f"write {key}.KEY=VALUE"
    words = _words(hint)
    if words and kind not in ("value_error", "assertion_error"):
        return f"must be {words}", _instead(value, hint, default)
    message = problem["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:], CHANGE


def _instead(value: Any, hint: Any, default: Any) -> str:
    """What to write instead of a value of another type."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    kinds = alternatives(hint)
    if bool in kinds:
        return "write true or false"
    for kind in (int, float):
        if kind in kinds and isinstance(value, str):
            with contextlib.suppress(ValueError):
                return f"write {kind(value)} without quotes"
    if is_plain(default):
        return f"write one such as {list(default) if isinstance(default, tuple) else default}"
    return CHANGE


def validated(model: type[Model], document: Mapping[str, Any], remedy: str = CHANGE) -> Model:
    """A document of fixed sections as its model.

    Args:
        model: the sections and their keys.
        document: what the user wrote, completed where the model has no defaults.
        remedy: what to do where nothing better is known.

    Raises:
        UserError: a key is unknown or missing, or a value is none of its type.
    """
    try:
        return model.model_validate(document)
    except pydantic.ValidationError as error:
        refused = refusal(error.errors(), model, remedy)
        raise refused from None


def refusal(
    problems: Iterable[ErrorDetails], model: type[pydantic.BaseModel], remedy: str = CHANGE
) -> UserError:
    """The error of what pydantic says is wrong with a document, as of `validated`.

    Args:
        problems: one or more.
        model: the sections and their keys.
        remedy: what to do where nothing better is known.
    """
    # A misspelt key is missing under its right name too; the misspelling says more. Of the
    # members of a union the one that the value is of says more than the others.
    problem = min(problems, key=lambda each: SPEAKING.get(each["type"], len(SPEAKING)))
    key, value, reason, found = _told(problem, model)
    found = remedy if found is CHANGE else found
    return UserError(reason, key=key or None, value=value, remedy=found)


def _told(problem: ErrorDetails, model: type[pydantic.BaseModel]) -> tuple[str, Any, str, str]:
    """Key, value, reason and remedy."""
    value = problem["input"]
    place, hint, default = _declared(model, problem["loc"])
    key, section = (".".join(map(str, steps)) for steps in (place, place[:-1]))
    if problem["type"] == "missing":
        return key, None, "is missing", f"add {key}=VALUE"
    if isinstance(value, (Mapping, pydantic.BaseModel)):
        value = None
    if problem["type"] == "extra_forbidden":
        _, holder, _ = _declared(model, place[:-1])
        known = [name for each in _models(holder) for name in each.model_fields]
        found = [] if section else keys_called(str(place[-1]), model)
        remedy = offered(found) or did_you_mean(str(place[-1]), known)
        told = f"{section} has no setting '{place[-1]}'" if section else "there is no such section"
        return key, value, told, remedy
    return key, value, *wrong(problem, hint, default, value, key)


def keys_called(word: str, model: type[pydantic.BaseModel]) -> list[str]:
    """The dotted keys of a model's sections that end in a word, of those that it fixes."""
    return [
        f"{section}.{word}"
        for section, field in model.model_fields.items()
        if any(word in each.model_fields for each in _models(field.annotation))
    ]


def _declared(
    model: type[pydantic.BaseModel], place: Iterable[str | int]
) -> tuple[tuple[str | int, ...], Any, Any]:
    """A place as a user writes it, and the type and default that a model declares there."""
    hint: Any = model
    default, kept = None, []
    for step in place:
        fields: dict[Any, Any] = {}
        for each in _models(hint):
            fields |= each.model_fields
        members = [_bare(kind) for kind in alternatives(_bare(hint)) if kind is not type(None)]
        inside = [each for kind in members for each in typing.get_args(kind)]
        if step in fields:
            hint, default = fields[step].annotation, fields[step].default
        elif len(members) > 1:  # the member of a union, as pydantic calls it: float, dict[...]
            kinds = {getattr(typing.get_origin(kind), "__name__", ""): kind for kind in members}
            hint = kinds.get(str(step).partition("[")[0], hint)
            continue
        else:  # of a list, or of a table
            hint, default = next((e for e in reversed(inside) if e is not ...), Any), None
        kept.append(step)
    return tuple(kept), hint, default


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _models(hint: Any) -> list[type[pydantic.BaseModel]]:
    kinds = [kind for kind in alternatives(hint) if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, pydantic.BaseModel)]
