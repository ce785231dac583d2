"""Documents whose numbers are built: nothing between two marks is written by hand.

<!-- built: NAME -->
<!-- end of built -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from optnas.report.material import Material
from optnas.report.summary import COLUMNS, summary, told

Source = TypeVar("Source")
BUILT = re.compile(r"(<!-- built: (?P<name>[\w-]+) -->\n).*?(<!-- end of built -->)", re.DOTALL)


def built(document: str, parts: Mapping[str, Callable[[Source], str]], source: Source) -> str:
    """A document with every built part as the records have it.

    Args:
        document: its text.
        parts: by name, what makes a part.
        source: what the parts are made of.

    Returns:
        The text.
    """
    return BUILT.sub(lambda part: f"{part[1]}{parts[part['name']](source)}\n{part[3]}", document)


def as_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def summary_table(material: Material) -> str:
    """T1 of the report: means over seeds with 95 % bootstrap intervals."""
    heads = ["algorithm", "w + alpha", "n", *(f"{name} ({unit})" for name, unit, _ in COLUMNS)]
    rows = [
        (
            *(line.algorithm, line.pair, line.n),
            *(told(e, digits) for e, (_, _, digits) in zip(line.estimates, COLUMNS, strict=True)),
        )
        for line in summary(material)
    ]
    return as_table(heads, rows)
