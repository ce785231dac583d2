"""Published search protocols as TOML files, and the reading of protocol files by name or path."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

from optnas.errors import COMMAND_LINE, UserError, did_you_mean
from optnas.tomlio import parse_toml, read_toml


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

    Raises:
        UserError: there is no such protocol, or its file is not TOML.
    """
    if name.endswith(".toml") or "/" in name:
        return name, read_toml(Path(name))
    if name not in names():
        raise UserError(
            "there is no protocol of this name",
            where=where,
            key="protocol",
            value=name,
            remedy=did_you_mean(name, names()) + " (or write the path of a .toml file)",
        )
    label = f"protocol {name}"
    text = importlib.resources.files(__name__).joinpath(f"{name}.toml").read_text()
    return label, parse_toml(text, label)
