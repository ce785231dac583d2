"""JSON and JSON lines in and out: strict values, errors in one line."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import pydantic_core

from optnas.base.errors import UserError
from optnas.base.toml import read_text


def dump_json(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON text: no NaN, no infinity."""
    return json.dumps(value, allow_nan=False, indent=indent)


def digest(value: Any) -> str:
    """SHA-256 of a value as JSON with sorted keys, 64 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse_json(text: str, where: object, *, remedy: str = "restore the file") -> Any:
    """Parse JSON text.

    Args:
        text: the text.
        where: the file it came from, for the error.
        remedy: what to do, for the error.

    Raises:
        UserError: it is not JSON, nested too deeply, or holds an integer of thousands of digits.
    """
    with contextlib.suppress(ValueError):  # the slower parser knows what is wrong
        return pydantic_core.from_json(text)
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        reason = "an integer of too many digits"
        if isinstance(error, json.JSONDecodeError):
            reason = error.msg
        elif isinstance(error, RecursionError):
            reason = "nested too deeply"
        raise UserError(f"not JSON ({reason})", where=where, remedy=remedy) from error


def parse_object(text: str, where: object) -> dict[str, Any]:
    """Parse a JSON object; errors as of `parse_json`, and for any other value.

    Args:
        text: the text.
        where: the file it came from, for the error.

    Raises:
        UserError: it is not a JSON object.
    """
    value = parse_json(text, where)
    if not isinstance(value, dict):
        raise UserError("not a JSON object", where=where, remedy="restore the file")
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All complete objects of a JSON-lines file; a torn last line is left out.

    Args:
        path: the file; none is as an empty one.

    Returns:
        The objects in order.

    Raises:
        UserError: a complete line is not a JSON object.
    """
    if not path.exists():
        return []
    *lines, _torn = read_text(path).split("\n")
    return [
        parse_object(line, f"{path} line {number}") for number, line in enumerate(lines, start=1)
    ]
