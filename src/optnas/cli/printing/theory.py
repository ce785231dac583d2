"""Verdicts on readings of a claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optnas.cli.printing.text import aligned, say

HEADS = ("claim", "verdict", "<estimate", "<low", "<high", "<n", "says", "size", "reading")


def print_verdicts(verdicts: Sequence[dict[str, Any]]) -> None:
    """A line per reading: what was found, and whether the claim holds in it."""
    rows = [
        [
            *(each["claim"], each["verdict"]),
            *(_text(each[key]) for key in ("estimate", "low", "high")),
            str(each["n"] or "-"),
            *(each["says"], each["size"]),
            f"{each['reading']}: {each['quantity']}",
        ]
        for each in verdicts
    ]
    say("\n".join(aligned(HEADS, rows)))


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
