"""The state of a run, by what lies in its folder, and which runs count."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.base.files import present
from optnas.base.measurements import Line
from optnas.base.records import FINISHED, Record, RunFolder
from optnas.base.toml import flat, parse_toml, read_text
from optnas.search.settings.check import check_values
from optnas.search.settings.layers import check_format
from optnas.search.settings.model import NOT_IDENTITY, NUMBERS_VERSION, PLACES, Settings
from optnas.study.declare import ID_LENGTH
from optnas.study.starts import StartLog

log = logging.getLogger(__name__)
RESTORE = "restore the file"
State = Literal[
    "missing",
    "unfinished",
    "queued",
    "running",
    "interrupted",
    "failed",
    "timeout",
    "unreadable",
    "diverged",
    "done",
]
STATES: tuple[State, ...] = (
    "done",
    "diverged",
    "failed",
    "timeout",
    "unreadable",
    "interrupted",
    "unfinished",
    "running",
    "queued",
    "missing",
)
NOT_COUNTED = (*NOT_IDENTITY, "identity")  # in the hash
WAITING: tuple[State, ...] = ("missing", "unfinished", "interrupted")  # for someone to go on
AGAIN: tuple[State, ...] = ("failed", "timeout")  # for someone who was told to try once more
BEGUN = "running"  # how what a queue says of a job ends that has begun


class Look(NamedTuple):
    """What became of a run so far, and why, where something went wrong."""

    state: State
    reason: str = ""


def look(run: RunFolder) -> Look:
    """What became of a run so far, whatever lies in its folder.

    Returns:
        How it ended; ``running`` while a process holds its folder, ``unfinished`` if one held it
        and was killed, ``missing`` if there is no run, ``unreadable`` if its files are not those of
        a run.
    """
    return look_and_read(run)[0]


def look_and_read(run: RunFolder) -> tuple[Look, list[Record]]:
    """As `look`, with the records it has read: none where it is ``missing`` or ``unreadable``."""
    try:
        if not present(run.config):
            return Look("missing"), []
        # The result first: whoever writes it has written the records.
        result = run.read_result()
        records = check_readable(run)
        status: Any = "unfinished" if result is None else result["status"]
        if status not in FINISHED and run.running():
            return Look("running"), records
        reason = "" if result is None or status == "done" else result.get("reason", "")
        return Look(status, str(reason)), records
    except (UserError, OSError) as error:
        return Look("unreadable", " ".join(str(error).split())), []


def check_readable(run: RunFolder) -> list[Record]:
    """Read everything of a run once but its checkpoints.

    Args:
        run: its folder.

    Returns:
        Its records.

    Raises:
        UserError: there is no run, one of its files is not as a run's, or its settings were edited.
    """
    check_settings(run)
    run.read_starts()
    records = run.read_epochs()
    run.measures.check()
    StartLog(run).read()
    return records


def check_settings(run: RunFolder) -> dict[str, Any]:
    """Refuse settings that are not whole, or of another hash than the run was started with.

    Of runs of another numbers version, of components that are no longer here, and of those that
    somebody's own code supplies, no hash is told: to read a run must not import what it names.

    Returns:
        The run's identity.

    Raises:
        UserError: the settings are others or not whole, or of a newer format; or there is no run.
    """
    check_format(run.read_config(), run.config)
    identity = run.read_identity()
    found, problem = _judged(read_text(run.config))
    if problem is not None:
        raise UserError(
            problem.reason,
            where=run.config,
            key=problem.key,
            value=problem.value,
            remedy=_newer(run) + (problem.remedy or RESTORE),
        )
    if found not in (None, identity["hash"]):
        raise UserError(
            "the settings were edited after the run was started",
            where=run.config,
            key="identity.hash",
            value=identity["hash"],
            remedy=_newer(run) + "undo the edit",
        )
    return identity


def _newer(run: RunFolder) -> str:
    """What to do first about settings that this optnas does not know, if a newer one wrote them."""
    try:
        starts = run.read_starts()
    except UserError:  # told by itself once this is mended
        return ""
    written = str(starts[-1].get("packages", {}).get("optnas", "")) if starts else ""
    ours = importlib.metadata.version("optnas")
    if written == ours or _release(written) < _release(ours):
        return ""
    return f"upgrade optnas (written by {written}), or "


def _release(version: str) -> list[int]:
    """The numbers of a version before what says how it was built, such as 0.2.0 of 0.2.0.dev1."""
    return [int(each) for each in re.findall(r"\d+", version.partition(".dev")[0])[:3]]


@functools.lru_cache(4096)
def _judged(config: str) -> tuple[str | None, UserError | None]:
    """Of the text of a config.toml: the settings' hash, if it can be told; what is wrong there."""
    document = parse_toml(config, "config.toml")
    identity = document["identity"]
    ours = identity["numbers_version"] == NUMBERS_VERSION
    try:
        Settings.check_recorded(document)
        if ours:
            check_values({k: v for k, v in document.items() if k in Settings.model_fields})
    except UserError as error:
        return None, error
    counted = {key: value for key, value in document.items() if key not in NOT_COUNTED}
    values = (str(v) for key, v in flat(counted).items() if key.rpartition(".")[2] not in PLACES)
    # module:Object, ./file.py:Object
    if not ours or identity.get("sources") or any(":" in value for value in values):
        return None, None
    try:
        return Settings.recorded(document).hash, None
    except UserError:  # a component that is no longer here
        return None, None


def each_once(runs: Iterable[RunFolder]) -> list[RunFolder]:
    """Runs to draw or to tabulate, without copies: the same run twice is no second seed.

    Args:
        runs: folders; one without a run stays, for the error that it deserves.

    Returns:
        The runs in their order. Of equal settings and seed it is the first that is done, and a
        warning names the others.

    Raises:
        UserError: the configuration of one is no run's, or was edited.
    """
    kept: dict[object, RunFolder] = {}
    for run in runs:
        key = check_settings(run)["hash"] if present(run.config) else run.path
        other = kept.setdefault(key, run)
        if other is run:
            continue
        if state_of(other) != "done" and state_of(run) == "done":
            kept[key], run, other = run, other, run
        told = f"{run.path}: has the settings and the seed of {other.path}, and is left out"
        log.warning("optnas: warning: %s", for_terminal(told))
    return [*kept.values()]


def state_of(run: RunFolder) -> State:
    """The state of `look`."""
    return look(run).state


def with_queue(state: State, run: RunFolder, queued: Mapping[Path, str]) -> State:
    """The state of a run beside a cluster's queue, of which its folder knows nothing.

    Args:
        state: as its folder says; one that failed may have done so in a job that runs.
        run: its folder.
        queued: folders that are in the queue, absolute, and where in it.
    """
    where = queued.get(run.path.resolve())
    again = state in AGAIN and where is not None and not where.endswith(BEGUN)
    return "queued" if again or (state in WAITING and where is not None) else state


def epochs_of(run: RunFolder) -> int:
    """Finished epochs, epoch 0 not counted."""
    return max(0, len(run.read_epochs()) - 1)


def failed_measures(run: RunFolder) -> dict[str, list[Line]]:
    """The lines of a run that say that a measure failed, by label; the run itself may be done.

    Raises:
        UserError: the lines of a measure are not such.
    """
    found = {
        label: [line for line in run.read_measures(label) if line["status"] == "failed"]
        for label in run.measures.labels()
    }
    return {label: lines for label, lines in found.items() if lines}


def standing(run: RunFolder) -> dict[str, Any]:
    """Where a run stands, for JSON.

    Returns:
        ``id``, the first 16 digits of its hash; ``folder``; ``status``, as of `state_of`, or
        ``unreadable``; ``epoch``, the last recorded one, None before epoch 0; ``reason`` of a run
        that is not done, if there is one; ``numbers_version``; ``failed_measures``, by label the
        ``epochs`` in which a measure failed and the first ``reason``.
    """
    told: dict[str, Any] = {
        "id": None,
        "folder": str(run.path),
        "status": "unreadable",
        "epoch": None,
    }
    told |= {"reason": None, "numbers_version": None, "failed_measures": {}}
    try:
        (status, reason), epochs = look_and_read(run)
        if status in ("missing", "unreadable"):
            return told | {"status": status, "reason": reason or None}
        identity = run.read_identity()
        return told | {
            "id": identity["hash"][:ID_LENGTH],
            "status": status,
            "epoch": epochs[-1]["epoch"] if epochs else None,
            "reason": reason or None,
            "numbers_version": identity["numbers_version"],
            "failed_measures": {
                label: {
                    "epochs": [line["epoch"] for line in lines],
                    "reason": lines[0].get("reason", ""),
                }
                for label, lines in failed_measures(run).items()
            },
        }
    except (UserError, KeyError, TypeError, AttributeError) as error:
        return told | {"reason": str(error)}
