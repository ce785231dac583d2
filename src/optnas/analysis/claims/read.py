"""Claims by name, from a TOML file, or from a function; what is wrong with one is a `UserError`."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from optnas.analysis.claims.declare import Claim
from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, Origins, UserError
from optnas.base.files import inside
from optnas.base.refusals import validated
from optnas.base.toml import parse_toml, read_toml

PACKAGE = "optnas.analysis.claims"
FAMILIES = "families.toml"  # in the same folder, and no claim
ALL = "all"
# What a claim may be given as.
Claimed = str | Claim | Callable[[], Claim]
OWN = f"./file.toml or {registry.OWN}"


def shipped() -> dict[str, str]:
    """The text of every claim file of the package, by its name."""
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in importlib.resources.files(PACKAGE).iterdir()
        if entry.name.endswith(".toml") and entry.name != FAMILIES
    }


def names() -> list[str]:
    """All registered claims, H3 before H3b before H11."""
    return sorted(registry.names("claim"), key=_natural)


def _natural(name: str) -> list[Any]:
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.findall(r"\d+|\D+", name)]


def find_claim(name: str, *, where: object = COMMAND_LINE) -> Claim:
    """A claim by its name, from ``./mine.toml``, or from ``./mine.py:function``.

    Args:
        name: what the user wrote.
        where: the file or command line it was written in, for the error.

    Raises:
        UserError: there is none, or what is there is not a claim.

    Example:
        >>> find_claim("H3").parts[0].hypothesis
        '> 0'
    """
    if name.endswith(".toml"):
        return read_claim(read_toml(Path(name)), name)
    return _returned(registry.find("claim", name, where=where, key="claim", own=OWN), name, where)


def _returned(function: Callable[[], Any], name: str, where: object = COMMAND_LINE) -> Claim:
    claim = function()
    if not isinstance(claim, Claim):
        raise UserError(
            "does not return a Claim",
            where=where,
            key="claim",
            value=name,
            remedy="return an optnas.Claim",
        )
    return claim


def choose_claims(words: Iterable[Claimed] | None) -> list[Claim]:
    """The claims of some words, each once.

    Args:
        words: names, files, folders of TOML files, or ``all`` for the registered ones; those if
            not given. A program may also hand over claims, and functions that return one.

    Returns:
        The claims in the order of the words.

    Raises:
        UserError: there is no such claim, a folder holds none, or two different ones share an id.
    """
    chosen: dict[str, Claim] = {}
    for word in [ALL] if words is None else words:
        for name, claim in _meant(word):
            if chosen.setdefault(claim.id, claim) != claim:
                raise UserError(
                    "another claim of this id is judged already",
                    where=name,
                    key="id",
                    value=claim.id,
                    remedy="give yours an id of its own",
                )
    return list(chosen.values())


def _meant(word: Claimed) -> Iterator[tuple[str, Claim]]:
    """The claims that one word stands for, each with the name that it goes by."""
    if isinstance(word, Claim):
        yield word.id, word
    elif callable(word):
        yield word.__name__, _returned(word, word.__name__)
    else:
        yield from ((name, find_claim(name)) for name in _names(word))


def _names(word: str) -> list[str]:
    if word == ALL:
        return names()
    if not Path(word).is_dir():
        return [word]
    files = sorted(map(str, inside(Path(word), "*.toml")), key=_natural)
    if not files:
        raise UserError(
            "the folder holds no claim", key="--claims", value=word, remedy="put TOML files in it"
        )
    return files


def parse_claim(text: str, where: object) -> Claim:
    """A claim from TOML text; errors as of `read_claim`."""
    return read_claim(parse_toml(text, where), where)


def read_claim(document: Mapping[str, Any], where: object) -> Claim:
    """A claim from its document.

    Args:
        document: the content of a claim's TOML file.
        where: the file, for the error.

    Raises:
        UserError: something in it is wrong.
    """
    remedy = "see docs/statistics.md for what a claim file holds"
    with Origins(where).told():
        return validated(Claim, document, remedy)
