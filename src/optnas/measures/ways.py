"""The way in which a measure was taken: its settings, and the version of its file.

A run may be measured in several ways under one label; numbers of several ways are not mixed. A
table reads those of one (`optnas.search.own_way`). Importable without torch.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from optnas.optimizers.introduced import plain, spelled_out

Way = dict[str, Any]
SOURCE = "source"  # the SHA-256 of a measure's file
SHOWN = 12  # digits of it


def way_of(config: Mapping[str, Any], label: str, line: Mapping[str, Any]) -> Way:
    """The way in which a line was measured; of two that were measured alike it is the same.

    Args:
        config: the content of the run's config.toml.
        label: of the measure.
        line: one of its lines.

    Returns:
        The settings, those that are newer than the line at the default they came with, and
        ``source`` where the measure was named by path.
    """
    source = line.get(SOURCE)
    name = config.get("measures", {}).get(label, {}).get("name", label)
    # What a file takes, only the file says, and it is not run to read what it found.
    settings = _whole("" if source is not None else name, json.dumps(line["settings"]))
    return dict(settings) if source is None else {**settings, SOURCE: source}


def labels_of(config: Mapping[str, Any], name: str) -> list[str]:
    """The labels under which a run may have lines of a measure, its own name first.

    Args:
        config: the content of the run's config.toml.
        name: of the measure; ``./file.py:NAME`` takes the measure NAME.

    Example:
        >>> labels_of({"measures": {"mine": {"name": "./my.py:flatness"}}}, "flatness")
        ['flatness', 'mine']
    """
    sections = config.get("measures", {})
    named = {label: str(each.get("name", label)) for label, each in sections.items()}
    of_name = [each for each, told in named.items() if told.rpartition(":")[2] == name]
    # Under a name that is another measure's label nothing of this one is found.
    own = [name] if name not in named or name in of_name else []
    return list(dict.fromkeys([*own, *of_name]))


@functools.lru_cache(1024)
def _whole(name: str, settings: str) -> Way:
    found = json.loads(settings)
    if name:
        found = spelled_out("measure", {**found, "name": name})
        del found["name"]
    return {key: plain(value) for key, value in found.items()}


def written(way: Way) -> str:
    """A way as strict JSON text with sorted keys."""
    return json.dumps(way, sort_keys=True, allow_nan=False)


def difference(ways: Iterable[Way]) -> tuple[str, str, str] | None:
    """What tells ways apart.

    Args:
        ways: of a measure.

    Returns:
        A key of which they have several values, and two of these in words; None where all are one.

    Example:
        >>> difference([{"batches": 50, "part": 0.25}, {"batches": 10, "part": 0.25}])
        ('batches', '50', '10')
    """
    every = list({written(way): way for way in ways}.values())
    for key in sorted({key for way in every for key in way}):
        values = {written({key: way[key]} if key in way else {}): way.get(key) for way in every}
        if len(values) > 1:
            one, other, *_ = (_word(key, value) for value in values.values())
            return key, one, other
    return None


def _word(key: str, value: Any) -> str:
    if key == SOURCE:
        return str(value)[:SHOWN]
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)
