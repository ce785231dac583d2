"""The runs of a study as a report lists them: how far each has come, and what names it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optnas.analysis.claims.declare import Cell
from optnas.base.errors import UserError, did_you_mean
from optnas.base.escapes import for_shell
from optnas.base.records import RunFolder
from optnas.study.declare import ID_LENGTH, Study, describe_settings
from optnas.study.states import STATES, State, look


@dataclass(frozen=True)
class Entry:
    """One run of the study, there or not.

    ``reason`` is what went wrong, ``started`` the time of its last start, ``packages`` the versions
    it was computed with; empty where nothing says.
    """

    id: str
    label: str
    hash: str
    fingerprint: str
    numbers_version: int
    state: State
    reason: str
    recorded: bool
    epochs: int
    planned_epochs: int
    started: str
    packages: Mapping[str, str]
    settings: Mapping[str, Any]
    folder: RunFolder


def inventory(study: Study, folders: Mapping[str, RunFolder]) -> list[Entry]:
    """Every run of a study.

    Args:
        study: the study.
        folders: the folder of each run, by id.

    Returns:
        One entry per run, in the study's order.
    """
    entries = []
    for name, run in study.runs.items():
        folder = folders[name]
        state, reason = look(folder)
        there = state not in ("missing", "unreadable")
        records = folder.read_epochs() if there else []
        document = folder.read_config() if there else run.settings.document()
        start = _last_start(folder) if there else {}
        identity = document["identity"]
        entries.append(
            Entry(
                id=identity["hash"][:ID_LENGTH],
                label=run.label,
                hash=identity["hash"],
                fingerprint=str(identity.get("fingerprint", "")),
                numbers_version=int(identity["numbers_version"]),
                state=state,
                reason=reason,
                recorded=bool(records),
                epochs=max(0, len(records) - 1),
                planned_epochs=int(document["search"]["epochs"]),
                started=str(start.get("started", "")),
                packages=start.get("packages", {}),
                settings=describe_settings(document),
                folder=folder,
            )
        )
    return entries


def _last_start(folder: RunFolder) -> dict[str, Any]:
    starts = folder.read_starts()
    return starts[-1] if starts else {}


def counted(entries: Iterable[Entry]) -> dict[str, int]:
    """How many runs are in each state, in the order of `STATES`, states without a run left out."""
    counts = Counter(entry.state for entry in entries)
    return {state: counts[state] for state in STATES if counts[state]}


def declared(entries: Iterable[Entry], cell: Cell) -> str:
    """What a study says of the runs of a cell: how many it declares, in which states."""
    chosen = [e for e in entries if all(e.settings.get(k) == v for k, v in cell.items())]
    if not chosen:
        return "the study declares none"
    told = ", ".join(f"{count} {state}" for state, count in counted(chosen).items())
    return f"the study declares {len(chosen)}: {told}"


def chosen(entries: list[Entry], named: Iterable[str], newest: int) -> list[Entry]:
    """The runs that get a page of their own.

    Args:
        entries: all runs.
        named: ids, or beginnings of them that fit one run; empty for the newest.
        newest: how many of the newest otherwise.

    Returns:
        The named runs, or the newest by the time of their last start; in the study's order.

    Raises:
        UserError: a name fits no run, several, or one without a record.
    """
    there = [entry for entry in entries if entry.recorded]
    if not named:
        latest = sorted(there, key=lambda entry: entry.started, reverse=True)[:newest]
        return [entry for entry in there if entry in latest]
    wanted = set()
    for name in named:
        fitting = [entry for entry in entries if entry.id.startswith(name)]
        if len(fitting) != 1 or fitting[0] not in there:
            told = "fits no run" if not fitting else "fits several runs"
            raise UserError(
                "this run has no record" if len(fitting) == 1 else f"{told} of the study",
                key="--run",
                value=name,
                remedy=did_you_mean(name, [entry.id for entry in there])
                if len(fitting) < 2
                else "write more of the id",
            )
        wanted.add(fitting[0].id)
    return [entry for entry in there if entry.id in wanted]


def study_command(study: str, out: Path) -> str:
    """The command that runs what is missing of a study."""
    return f"optnas study run {for_shell(study)} --out {for_shell(out)}"
