"""Documents: which belong together, and those whose numbers are built.

Nothing between two marks is written by hand:

<!-- built: NAME -->
<!-- end of built -->
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from optnas.analysis import paired

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


def spread(values: Sequence[float], form: str) -> str:
    """A mean and its exact 95 % interval over seeds; with fewer than six, their ends."""
    found = [*paired.interval(values), min(values), max(values)]
    mean, low, high, least, most = (f"{round(each, 12) + 0.0:{form}}" for each in found)
    if math.isfinite(found[1]):
        return f"{mean} [{low}, {high}]"
    return mean if len(values) < 2 else f"{mean} ({least} to {most})"


def topic(folder: Path) -> list[Path]:
    """The page of a topic, then those of its folder in the order in which that page links to them.

    Args:
        folder: beside the page, of its name.

    Returns:
        The pages; those that it does not link to come last, by name.
    """
    page = folder.with_suffix(".md")
    text = page.read_text() if page.exists() else ""
    # Its list of them comes first, then what else it links to.
    text = "".join(re.findall(r"(?m)^- \[.*\n", text)) + text

    def place(each: Path) -> tuple[int, str]:
        return text.find(f"({folder.name}/{each.name}") % (len(text) + 1), each.name

    return [page] * bool(text) + sorted(folder.glob("*.md"), key=place)
