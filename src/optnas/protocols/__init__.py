"""Published search protocols as TOML files, and the reading of protocol files by name or path."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

from optnas.errors import COMMAND_LINE, UserError, did_you_mean
from optnas.tomlio import parse_toml, read_text


def names() -> list[str]:
    """Names of the protocols that ship with the package, sorted."""
    folder = importlib.resources.files(__name__)
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def load(name: str, *, where: object = COMMAND_LINE) -> tuple[str, dict[str, Any]]:
    """Read a protocol.

    Args:
        name: a shipped name, or the path of a TOML file.
        where: where it was asked for, for error messages.

    Returns:
        What to call the file in error messages, and its content.
    """
    label = name if _is_path(name) else f"protocol {name}"
    return label, parse_toml(text_of(name, where=where), label)


def text_of(name: str, *, where: object = COMMAND_LINE) -> str:
    """A protocol's text, comments included.

    Args:
        name: a shipped name, or the path of a TOML file.
        where: where it was asked for, for error messages.

    Returns:
        TOML.

    Raises:
        UserError: there is no such protocol.
    """
    if _is_path(name):
        return read_text(Path(name))
    if name not in names():
        raise UserError(
            "there is no protocol of this name",
            where=where,
            key="protocol",
            value=name,
            remedy=did_you_mean(name, names()) + " (or write the path of a .toml file)",
        )
    return importlib.resources.files(__name__).joinpath(f"{name}.toml").read_text()


def _is_path(name: str) -> bool:
    return name.endswith(".toml") or "/" in name
