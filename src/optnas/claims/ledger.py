"""Registers every claim file of this folder under its name."""

from __future__ import annotations

import functools
from collections.abc import Callable

from optnas.claims.base import Claim
from optnas.claims.reading import parse_claim, shipped
from optnas.registry import register


def _reader(name: str, text: str) -> Callable[[], Claim]:
    @functools.cache
    def read() -> Claim:
        return parse_claim(text, f"claim {name}")

    return read


for _name, _text in shipped().items():
    register("claim", _name)(_reader(_name, _text))
