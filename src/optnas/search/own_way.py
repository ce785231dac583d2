"""Which lines of a measure a table reads, where a run was measured in several ways.

Whoever tabulates, compares or correlates what was measured asks `one_way`. Importable without
torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.measures.ways import SOURCE, Way, difference, way_of, written
from optnas.search.settings.complete import complete_measure

FRAME = ("name", "every", "at")  # what in a measure's section is no setting of the measure


def one_way(run: RunFolder, label: str) -> list[Line]:
    """The lines of a label that a table reads: all of one way, one for an epoch.

    Where a run was measured in several ways, they are those that ``optnas measure RUN LABEL`` would
    take now: with the settings of the run's own section, else the measure's defaults, and by the
    file as it is. The lines have no order of time by which the last could be chosen.

    Args:
        run: the run.
        label: of a measure.

    Returns:
        The lines in order of epochs; none where nothing was measured.

    Raises:
        UserError: they are of several ways, none of which is the run's own.
    """
    lines = run.read_measures(label)
    if len({json.dumps([line["settings"], line.get(SOURCE)]) for line in lines}) < 2:
        return lines
    config = run.read_config()
    ways = [way_of(config, label, line) for line in lines]
    chosen = written(ways[0] if difference(ways) is None else _own(run, config, label, ways))
    kept = [line for line, way in zip(lines, ways, strict=True) if written(way) == chosen]
    # Of two lines of an epoch the one with fewer settings is of an earlier version of the measure.
    found = {line["epoch"]: line for line in sorted(kept, key=lambda line: len(line["settings"]))}
    return [found[epoch] for epoch in sorted(found)]


def _own(run: RunFolder, config: Mapping[str, Any], label: str, ways: Sequence[Way]) -> Way:
    """Of the ways of a run's lines its own."""
    section = config.get("measures", {}).get(label)
    lines, place = run.measures.path / f"{label}.jsonl", for_shell(run.path)
    if section is None:
        try:
            section = complete_measure(label, {})
        except UserError:  # it was measured by a file, and the lines do not say where that lies
            found = difference(ways)
            advice = f"take the lines of one out of {lines}, and give another way another label"
            if found is not None and found[0] == SOURCE:
                advice = f"measure it once more: optnas measure {place} FILE:{label} --again"
            raise _mixed(run, label, ways, "", advice) from None
    settings = {key: value for key, value in section.items() if key not in FRAME}
    own = way_of(config, label, {"settings": settings})
    file = str(section.get("name", label)).rpartition(":")[0]
    command = f"optnas measure {place} {label}"
    if not file.endswith(".py"):
        if own in ways:
            return own
        advice = f"measure it so ({command}), or take the lines of one out of {lines}"
        raise _mixed(run, label, ways, "; neither is the run's own way", advice)
    versions = [way for way in ways if way == {**own, SOURCE: way.get(SOURCE)}]
    now = hashlib.sha256(Path(file).read_bytes()).hexdigest() if Path(file).is_file() else None
    for way in versions:
        if difference(versions) is None or way[SOURCE] == now:
            return way
    advice = f"measure it once more, in the folder from which {file} is found: {command} --again"
    told = "; neither is the file that lies there now" if versions else "; neither is the run's own"
    raise _mixed(run, label, versions or ways, told, advice)


def _mixed(run: RunFolder, label: str, ways: Sequence[Way], told: str, remedy: str) -> UserError:
    found = difference(ways)
    assert found is not None
    key, one, other = found
    by = f"with {key} = {one} and with {key} = {other}"
    if key == SOURCE:
        by = f"by two versions of its file, {one} and {other}"
    return UserError(
        f"was measured {by}{told}: a table reads one way",
        where=run.path,
        key=f"measures.{label}",
        remedy=remedy,
    )
