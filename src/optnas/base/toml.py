"""TOML files in, TOML text out; errors in one line."""

from __future__ import annotations

import copy
import functools
import importlib.resources
import itertools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from optnas.base.errors import COMMAND_LINE, UserError, did_you_mean
from optnas.base.files import regular

MOST_NESTED = 64  # tables and lists inside each other
MOST_BITS = 64  # of an integer, as TOML promises them
TOO_DEEP = "nested too deeply"
TOO_LONG = f"an integer of more than {MOST_BITS} bits"

POINTED = re.compile(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?")


# A study reads its protocol once per run.
@functools.lru_cache(maxsize=8)
def _loads(text: str) -> dict[str, Any]:
    return _parsed(text)


def _parsed(text: str) -> dict[str, Any]:
    """TOML that everything after it can take.

    Raises:
        ValueError: it is not TOML, nested too deeply, or holds an integer that is too long.
    """
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    except ValueError as error:
        if isinstance(error, tomllib.TOMLDecodeError):
            raise
        raise ValueError(TOO_LONG) from error  # more digits than Python reads
    _check(document)
    return document


def _check(document: Any) -> None:
    # No recursion: what is nested too deeply would exhaust the stack here too.
    values = [(document, 0)]
    while values:
        value, depth = values.pop()
        if depth > MOST_NESTED:
            raise ValueError(TOO_DEEP)
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise ValueError(TOO_LONG)
        if isinstance(value, (dict, list)):
            inner = value.values() if isinstance(value, dict) else value
            values += ((each, depth + 1) for each in inner)


def parse_toml(text: str, where: object) -> dict[str, Any]:
    """Parse TOML text.

    Args:
        text: the text.
        where: the file it came from, for the error.

    Raises:
        UserError: it is not TOML, nested too deeply, or holds an integer of more than 64 bits.
    """
    try:
        return copy.deepcopy(_loads(text))
    except ValueError as error:
        raise UserError(f"not valid TOML ({error})", where=where, remedy="fix the file") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; errors as of `read_text` and `parse_toml`."""
    return parse_toml(read_text(path), path)


def read_text(path: Path) -> str:
    """Read a text file.

    Returns:
        The text of the file.

    Raises:
        UserError: the file is missing, unreadable or not text.
    """
    try:
        return regular(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(
            f"cannot read it ({reason})", where=path, remedy="check the path"
        ) from error


def dump_toml(document: dict[str, Any]) -> str:
    """Write a document as TOML text."""
    return tomli_w.dumps(document)


def inline_toml(value: Any) -> str:
    """A value as it stands on one line of TOML, such as ``{ name = "SGD", lr = 0.1 }``."""
    if isinstance(value, Mapping):
        held = [f"{_key(key)} = {inline_toml(each)}" for key, each in value.items()]
        return f"{{ {', '.join(held)} }}" if held else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(inline_toml, value))}]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else inline_toml(key)


def parse_override(text: str) -> tuple[list[str], Any]:
    """Parse one ``dotted.key=value`` of the command line.

    The value is TOML where it reads as TOML (numbers, true, lists, quoted strings), a number too
    where TOML wants a digit on either side of its point (``.001``), else a string.

    Returns:
        The key's parts and the value.

    Raises:
        UserError: there is no ``=``, a part of the key is empty, or key or value are nested too
            deeply or an integer of more than 64 bits.

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
    if len(parts) > MOST_NESTED:
        raise UserError(TOO_DEEP, key=key.strip(), remedy="write a key that is shorter")
    try:
        return parts, _parsed(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        value = value.strip()
        return parts, float(value) if POINTED.fullmatch(value) else value
    except ValueError as error:
        raise UserError(
            str(error), key=key.strip(), value=value, remedy="write a value that is simpler"
        ) from error


def require_table(given: Any, where: object, example: str = "search.epochs=5") -> None:
    """Refuse what is no dictionary where Python's functions take settings.

    Args:
        given: what was handed over.
        where: what to call it in error messages.
        example: what to write where the text is no setting.

    Raises:
        UserError: it is something else, such as the text of a command line.
    """
    if isinstance(given, Mapping):
        return
    words = given if isinstance(given, (list, tuple)) else [given]
    meant = [word for word in words if isinstance(word, str) and "=" in word] or [example]
    raise UserError(
        f"a dictionary is due here, and this is of type {type(given).__name__}",
        where="arguments",
        key=str(where),
        value=given,
        remedy="write " + repr({".".join(key): value for key, value in map(parse_override, meant)}),
    )


def nest(dotted: Mapping[str, Any], where: object = "settings") -> dict[str, Any]:
    """Dotted keys, nested tables and any mixture of them to nested tables.

    Args:
        dotted: such as ``{"search.epochs": 5, "search": {"seed": 1}}``.
        where: what to call them in error messages.

    Returns:
        Such as ``{"search": {"epochs": 5, "seed": 1}}``.

    Raises:
        UserError: a value is given twice, or as a whole and in parts, or this is no dictionary.

    Example:
        >>> nest({"search.epochs": 5, "search": {"seed": 1}})
        {'search': {'epochs': 5, 'seed': 1}}
    """
    require_table(dotted, where)
    nested: dict[str, Any] = {}
    _nest_into(nested, dotted, "", where)
    return nested


def _nest_into(
    tables: dict[str, Any], dotted: Mapping[str, Any], prefix: str, where: object
) -> None:
    def refuse(key: str, value: Any) -> UserError:
        reason = "is given twice, or as a whole and in parts"
        return UserError(
            reason, where=where, key=f"{prefix}{key}", value=value, remedy="give it one way"
        )

    for key, value in dotted.items():
        *parents, last = key.split(".")
        table = tables
        for place, parent in enumerate(parents, start=1):
            if not isinstance(table.setdefault(parent, {}), dict):
                raise refuse(".".join(parents[:place]), table[parent])
            table = table[parent]
        if isinstance(value, Mapping) and isinstance(table.setdefault(last, {}), dict):
            _nest_into(table[last], value, f"{prefix}{key}.", where)
        elif last in table:
            raise refuse(key, value)
        else:
            table[last] = value


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables to dotted keys, the reverse of `nest`.

    Args:
        document: nested tables.
        prefix: what to put before every key.

    Returns:
        The values by dotted key.

    Example:
        >>> flat({"search": {"epochs": 5}})
        {'search.epochs': 5}
    """
    dotted: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            dotted |= flat(value, f"{prefix}{key}.")
        else:
            dotted[f"{prefix}{key}"] = value
    return dotted


@dataclass(frozen=True)
class Shelf:
    """TOML files that ship with the package; a name or a path is accepted wherever one is due.

    Args:
        kind: what one file is, such as ``protocol``.
        folder: where they lie, below the package.
    """

    kind: str
    folder: str

    def names(self) -> list[str]:
        """The shipped names, sorted."""
        entries = importlib.resources.files("optnas").joinpath(self.folder).iterdir()
        return sorted(e.name.removesuffix(".toml") for e in entries if e.name.endswith(".toml"))

    def summary(self, name: str) -> str:
        """What a shipped file is: its question, if it has one, else how its comment begins."""
        text = self.text_of(name)
        question = parse_toml(text, name).get(self.kind, {}).get("question")
        if question is not None:
            return str(question)
        lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
        comment = " ".join(line.removeprefix("#").strip() for line in lines)
        said = re.match(r".{30,}?(?=[.:] |\.?$)", comment)  # what follows a colon is detail
        return said[0] if said else comment

    def load(self, name: str, *, where: object = COMMAND_LINE) -> tuple[str, dict[str, Any]]:
        """Read a file.

        Args:
            name: a shipped name, or the path of a TOML file.
            where: where it was asked for, for error messages.

        Returns:
            What to call the file in error messages, and its content.
        """
        label = name if _is_path(name) else f"{self.kind} {name}"
        return label, parse_toml(self.text_of(name, where=where), label)

    def text_of(self, name: str, *, where: object = COMMAND_LINE) -> str:
        """A file's text, comments included.

        Args:
            name: a shipped name, or the path of a TOML file.
            where: where it was asked for, for error messages.

        Returns:
            TOML.

        Raises:
            UserError: there is no such file.
        """
        if _is_path(name):
            return read_text(Path(name))
        if name not in self.names():
            raise UserError(
                f"there is no {self.kind} of this name",
                where=where,
                key=self.kind,
                value=name,
                remedy=did_you_mean(name, self.names()) + " (or write the path of a .toml file)",
            )
        folder = importlib.resources.files("optnas").joinpath(self.folder)
        return folder.joinpath(f"{name}.toml").read_text(encoding="utf-8")


def _is_path(name: str) -> bool:
    return name.endswith(".toml") or "/" in name
