"""JSON and JSON lines in and out: strict values, errors in one line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pydantic_core

from optnas.base.errors import UserError
from optnas.base.files import present
from optnas.base.toml import read_text

# A number beyond the largest float, 1.8e308, has an exponent of three digits, or one of at most 99
# behind 210 digits or more.
_EXPONENT = re.compile(r"[eE]\+?\d{3}")
_ROW, _DIGITS_TO_NOUGHT = b"0" * 210, bytes.maketrans(b"123456789", b"000000000")


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
        UserError: it is not JSON, holds NaN or a number that is not finite, is nested too deeply,
            or holds an integer of thousands of digits.
    """
    try:
        value = _parsed(text)
        if _EXPONENT.search(text) or _ROW in text.encode().translate(_DIGITS_TO_NOUGHT):
            _check_finite(value)
    except (RecursionError, ValueError) as error:
        reason = "an integer of too many digits"
        if isinstance(error, (json.JSONDecodeError, _NotFiniteError)):
            reason = error.msg
        elif isinstance(error, RecursionError):
            reason = "nested too deeply"
        raise UserError(f"not JSON ({reason})", where=where, remedy=remedy) from error
    return value


class _NotFiniteError(ValueError):
    def __init__(self, number: object):
        self.msg = f"{number} is not a finite number"
        super().__init__(self.msg)


def _parsed(text: str) -> Any:
    with contextlib.suppress(ValueError):  # the slower parser knows what is wrong
        return pydantic_core.from_json(text, allow_inf_nan=False)
    return json.loads(text, parse_constant=_refuse)


def _refuse(token: str) -> None:
    raise _NotFiniteError(token)


def _check_finite(document: Any) -> None:
    values = [document]
    while values:
        value = values.pop()
        if isinstance(value, float) and not math.isfinite(value):
            raise _NotFiniteError(value)
        if isinstance(value, (dict, list)):
            values += value.values() if isinstance(value, dict) else value


def parse_object(text: str, where: object, *, remedy: str = "restore the file") -> dict[str, Any]:
    """Parse a JSON object; errors as of `parse_json`, and for any other value.

    Args:
        text: the text.
        where: the file it came from, for the error.
        remedy: what to do, for the error.

    Raises:
        UserError: it is not a JSON object.
    """
    value = parse_json(text, where, remedy=remedy)
    if not isinstance(value, dict):
        raise UserError("not a JSON object", where=where, remedy=remedy)
    return value


def read_lines(path: Path, *, torn: bool = True) -> list[dict[str, Any]]:
    """All complete objects of a JSON-lines file.

    Args:
        path: the file; none is as an empty one.
        torn: whether the last line may be torn, as in a file that is appended to; it is left out.

    Returns:
        The objects in order.

    Raises:
        UserError: a complete line is not a JSON object, or the last one is torn and may not be.
    """
    if not present(path):
        return []
    *lines, last = read_text(path).split("\n")
    if last and not torn:
        raise UserError("its last line is torn", where=path, remedy="restore the file")
    return [
        parse_object(line, f"{path} line {number}") for number, line in enumerate(lines, start=1)
    ]
