"""Measures that a study asks for now and that runs begun before do not take.

Measures are no part of a run's identity: a run that is there counts, whatever it measures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.files import present
from optnas.base.records import RunFolder
from optnas.base.toml import inline_toml
from optnas.measures.base import FORMER_SECTIONS
from optnas.search.settings.complete import complete_measure
from optnas.search.settings.model import MeasureSection
from optnas.study.declare import Study


def begun_without(study: Study, folders: Mapping[str, RunFolder]) -> list[str]:
    """What to say of runs that were begun without measures of the study, and how to take these.

    Nothing of runs that took the measure afterwards, and of records, which have no checkpoints.

    Args:
        study: the study as it is now.
        folders: of its runs by id.

    Returns:
        A line for each measure that some of them lack.
    """
    lacking: dict[tuple[str, str], list[RunFolder]] = {}
    for name, run in study.runs.items():
        asked = {
            label: section
            for label, section in run.settings.measures.items()
            if section.every or section.at
        }
        for label in asked.keys() - _taken(folders[name], asked):
            key = label, _words(label, asked[label])
            lacking.setdefault(key, []).append(folders[name])
    return [_line(label, words, runs) for (label, words), runs in sorted(lacking.items())]


def _taken(folder: RunFolder, asked: Mapping[str, Any]) -> set[str]:
    """Labels that a run takes or has taken; all of one that has not begun or is a record."""
    try:
        recorded = not present(folder.checkpoint) and folder.read_result() is not None
        if recorded or not present(folder.config):
            return set(asked)
        config = folder.read_config()
        sections = dict(config.get("measures", {}))
        sections |= {now: config[then] for then, now in FORMER_SECTIONS.items() if then in config}
        due = {label for label, each in sections.items() if each.get("every") or each.get("at")}
        return due | set(folder.measures.labels())
    except (UserError, OSError, AttributeError, TypeError, ValueError):  # `look` says why
        return set(asked)


def _words(label: str, section: MeasureSection) -> str:
    """What takes a measure afterwards as the study asks for it, after the folders."""
    default = complete_measure(section.own_name, {"name": section.name})
    own = {k: v for k, v in section.settings.items() if v != default.get(k)}
    if label != section.own_name:  # no command gives a label
        return inline_toml({label: {"name": section.name, **own}})
    words = (for_shell(f"{key}={inline_toml(value)}") for key, value in own.items())
    return " ".join([for_shell(section.name), *words])


def _line(label: str, words: str, runs: list[RunFolder]) -> str:
    told = f"{len(runs)} run{'s were' if len(runs) > 1 else ' was'} begun without measures.{label}"
    if words.startswith("{"):
        return f"{told}; to take it afterwards, in Python: optnas.measure(RUN, MEASURES) of {words}"
    out = os.path.commonpath([run.path.parent for run in runs]) or "."
    return f"{told}; to take it afterwards: optnas measure {for_shell(out)} {words}"
