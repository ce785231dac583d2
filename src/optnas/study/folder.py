"""Where a study's runs lie, and how far each has come. The run folders are the truth."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from optnas.base.errors import UserError
from optnas.base.records import FINISHED, BusyError, RunFolder, find_runs
from optnas.study.declare import ID_LENGTH, PlannedRun, Study, load_study

State = Literal["missing", "unfinished", "running", "interrupted", "failed", "diverged", "done"]
STATES: tuple[State, ...] = (
    "done",
    "diverged",
    "failed",
    "interrupted",
    "unfinished",
    "running",
    "missing",
)


def state_of(run: RunFolder) -> State:
    """What became of a run so far.

    Args:
        run: its folder.

    Returns:
        How it ended; ``running`` while a process holds its folder, ``unfinished`` if one held it
        and was killed, ``missing`` if there is no run.
    """
    if not run.config.exists():
        return "missing"
    result = run.read_result()
    status: State = "unfinished" if result is None else result.get("status", "unfinished")
    if status not in FINISHED and run.running():
        return "running"
    return status


def epochs_of(run: RunFolder) -> int:
    """Finished epochs, epoch 0 not counted."""
    lines = run.epochs.read_bytes().count(b"\n") if run.epochs.exists() else 0
    return max(0, lines - 1)


def standing(run: RunFolder) -> dict[str, Any]:
    """Where a run stands, for JSON.

    Args:
        run: its folder.

    Returns:
        ``id``, the first 16 digits of its hash; ``folder``; ``status``, as of `state_of`, or
        ``unreadable``; ``epoch``, the last recorded one, None before epoch 0; ``reason`` of a run
        that is not done, if there is one; ``numbers_version``.
    """
    told: dict[str, Any] = {
        "id": None,
        "folder": str(run.path),
        "status": "unreadable",
        "epoch": None,
    }
    told |= {"reason": None, "numbers_version": None}
    try:
        status = state_of(run)
        if status == "missing":
            return told | {"status": status}
        identity = run.read_config()["identity"]
        result = run.read_result() or {}
        epochs = run.read_epochs()
        return told | {
            "id": identity["hash"][:ID_LENGTH],
            "status": status,
            "epoch": epochs[-1]["epoch"] if epochs else None,
            "reason": result.get("reason"),
            "numbers_version": identity["numbers_version"],
        }
    except (UserError, KeyError, TypeError, AttributeError) as error:
        return told | {"reason": str(error)}


def locate(runs: Iterable[PlannedRun], out: Path | None) -> dict[str, RunFolder]:
    """The folder of each run: one below ``out`` with the same hash, else ``out/ID``.

    Args:
        runs: runs of a study.
        out: the study's folder, or any folder with run folders or committed records below it.

    Returns:
        The folders by id; they need not exist.

    Raises:
        UserError: ``out`` is a file.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(
            "is not a folder", key="--out", value=str(out), remedy="name the study's folder"
        )
    present = _present(out) if out is not None and out.exists() else {}
    return {
        run.id: present.get(run.settings.hash) or RunFolder((out or Path()) / run.id)
        for run in runs
    }


def opened(study: str, out: Path, data: Path | None = None) -> tuple[Study, dict[str, RunFolder]]:
    """A study and the folders of its runs.

    Args:
        study: a shipped name, or the path of a study.
        out: the study's folder, or any folder with run folders or committed records below it.
        data: the data folder; default: the variable ``OPTNAS_DATA``.

    Returns:
        The study, and the folders by id.

    Raises:
        UserError: the study is wrong, or ``out`` is a file.
    """
    loaded = load_study(study, {} if data is None else {"data.folder": str(data)})
    return loaded, locate(loaded.runs.values(), out)


def runs_of(study: str | None, out: Path, data: Path | None = None) -> list[RunFolder]:
    """The run folders of a study as of `opened`; without a study every run below ``out``."""
    return find_runs(out) if study is None else [*opened(study, out, data)[1].values()]


def _present(out: Path) -> dict[str, RunFolder]:
    """Runs below a folder by hash; of equal ones a finished one."""
    found: dict[str, RunFolder] = {}
    for run in find_runs(out):
        try:
            digest = run.read_config().get("identity", {}).get("hash")
        except (UserError, AttributeError):  # another program's config.toml
            continue
        if isinstance(digest, str) and (
            digest not in found or state_of(found[digest]) not in FINISHED
        ):
            found[digest] = run
    return found


def prepare(run: PlannedRun, folder: RunFolder) -> None:
    """Write a run's configuration, so that whoever gets the folder can go on with it.

    Args:
        run: the run.
        folder: its folder; one that holds a run already is left as it is.

    Raises:
        UserError: the folder cannot be written, or holds something else.
    """
    while not folder.config.exists():
        try:
            with folder.created(run.settings.document()):
                return
        except BusyError:
            continue  # another runner is writing it now
        except UserError:
            if not folder.config.exists():
                raise
