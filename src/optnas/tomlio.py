"""TOML files in, TOML text out; errors in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from optnas.errors import UserError


def parse_toml(text: str, where: object) -> dict[str, Any]:
    """Parse TOML text.

    Args:
        text: the text.
        where: the file it came from, for the error.

    Returns:
        The document.

    Raises:
        UserError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"not valid TOML ({error})", where=where, remedy="fix the file") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; errors as of `read_text` and `parse_toml`."""
    return parse_toml(read_text(path), path)


def read_text(path: Path) -> str:
    """Read a text file.

    Args:
        path: the file.

    Returns:
        Its text.

    Raises:
        UserError: the file is missing, unreadable or not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(
            f"cannot read it ({reason})", where=path, remedy="check the path"
        ) from error


def dump_toml(document: dict[str, Any]) -> str:
    """Write a document as TOML text."""
    return tomli_w.dumps(document)


def parse_override(text: str) -> tuple[list[str], Any]:
    """Parse one ``dotted.key=value`` of the command line.

    The value is TOML where it reads as TOML (numbers, true, lists, quoted strings), else a string.

    Args:
        text: what the user wrote.

    Returns:
        The key's parts and the value.

    Raises:
        UserError: there is no ``=``, or a part of the key is empty.

    Example:
        >>> parse_override("weight_optimizer.lr=0.05")
        (['weight_optimizer', 'lr'], 0.05)
    """
    key, separator, value = text.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise UserError(
            "not a setting",
            key=text,
            remedy="write it as dotted.key=value, such as search.epochs=5",
        )
    try:
        return parts, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return parts, value.strip()
