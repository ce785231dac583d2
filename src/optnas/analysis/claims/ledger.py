"""Registers every claim file of this folder under its name."""

from __future__ import annotations

import functools
from collections.abc import Callable

from optnas.analysis.claims.declare import Claim
from optnas.analysis.claims.read import parse_claim, shipped
from optnas.base.registry import register


def _reader(name: str, text: str) -> Callable[[], Claim]:
    @functools.cache
    def read() -> Claim:
        return parse_claim(text, f"claim {name}")

    read.__doc__ = parse_claim(text, f"claim {name}").text
    return read


for _name, _text in shipped().items():
    register("claim", _name)(_reader(_name, _text))
