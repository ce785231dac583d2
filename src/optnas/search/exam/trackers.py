"""Checks of trackers: they look on."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError
from optnas.base.records import Record, RunFolder
from optnas.search.exam.base import Check, NotExaminedError, Subject, demand, difference
from optnas.search.exam.searches import reference, tiny, trace
from optnas.search.loop import run


def _use(subject: Subject) -> dict[str, Any]:
    try:
        subject.build()
    except UserError as error:
        raise NotExaminedError(str(error)) from error
    return {"tracking": {"name": subject.name, **subject.settings}}


def _follows(subject: Subject) -> None:
    for stop in (None, 0):
        followed = trace(tiny(_use(subject)), stop)
        demand(not followed["warnings"], followed["warnings"].strip())


def _moves_nothing(subject: Subject) -> None:
    followed = {**trace(tiny(_use(subject))), "warnings": ""}
    found = difference(reference({}), followed, "the trace")
    demand(found is None, f"with it differs {found}")


def _keeps_what_it_is_given(subject: Subject) -> None:
    settings = tiny(_use(subject))
    told: list[Record] = []
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder(Path(path) / "run")
        with folder.created(settings.document()):
            run(settings, folder, lambda record: told.append(copy.deepcopy(record)))
        found = difference(folder.read_epochs(), told, "the records")
    demand(found is None, f"changes {found} that it is given")


TRACKER_CHECKS: dict[str, Check] = {
    "follows a run, and one that is resumed, without failing": _follows,
    "moves no number": _moves_nothing,
    "leaves the records it is given alone": _keeps_what_it_is_given,
}
