"""Where a study's runs lie, and how far each has come. The run folders are the truth."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.base.files import present
from optnas.base.folder import BusyError
from optnas.base.records import FINISHED, Record, RunFolder, find_runs
from optnas.base.toml import flat, parse_toml, read_text
from optnas.search.settings.model import NOT_IDENTITY, NUMBERS_VERSION, PLACES, Settings
from optnas.study.declare import ID_LENGTH, PlannedRun, Study, load_study
from optnas.study.starts import StartLog

log = logging.getLogger(__name__)
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
WAITING: tuple[State, ...] = ("missing", "unfinished", "interrupted")  # for someone to go on


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
    """Refuse settings of another hash than the one that the run was started with.

    Nothing is said of runs of another numbers version, of components that are no longer here, and
    of those that somebody's own code supplies: to read a run must not import what it names.

    Returns:
        The run's identity.

    Raises:
        UserError: the settings are others, or there is no run.
    """
    identity = run.read_identity()
    ours = identity["numbers_version"] == NUMBERS_VERSION and not identity.get("sources")
    if ours and _hash_of(read_text(run.config)) not in (None, identity["hash"]):
        raise UserError(
            "the settings were edited after the run was started",
            where=run.config,
            key="identity.hash",
            value=identity["hash"],
            remedy="undo the edit",
        )
    return identity


@functools.lru_cache(4096)
def _hash_of(config: str) -> str | None:
    """The hash of the settings in the text of a config.toml; None where it cannot be told."""
    document = parse_toml(config, "config.toml")
    counted = {
        key: value for key, value in document.items() if key not in (*NOT_IDENTITY, "identity")
    }
    values = (str(v) for key, v in flat(counted).items() if key.rpartition(".")[2] not in PLACES)
    if any(":" in value for value in values):  # module:Object, ./file.py:Object
        return None
    try:
        return Settings.recorded(document).hash
    except (UserError, ValueError):
        return None


def each_once(runs: Iterable[RunFolder]) -> list[RunFolder]:
    """Runs to draw or to tabulate, without copies: the same run twice is no second seed.

    Args:
        runs: folders; one without a run, or without identity, stays, for the error that it
            deserves.

    Returns:
        The runs in their order. Of equal settings and seed it is the first that is done, and a
        warning names the others.

    Raises:
        UserError: the settings of one were edited.
    """
    kept: dict[object, RunFolder] = {}
    for run in runs:
        key: object = run.path
        try:
            key = run.read_identity()["hash"]
        except UserError:  # whoever reads it says what is wrong
            pass
        else:
            check_settings(run)
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


def with_queue(state: State, run: RunFolder, queued: Container[Path]) -> State:
    """The state of a run beside a cluster's queue, of which its folder knows nothing.

    Args:
        state: as its folder says.
        run: its folder.
        queued: folders that are in the queue, absolute.
    """
    return "queued" if state in WAITING and run.path.resolve() in queued else state


def epochs_of(run: RunFolder) -> int:
    """Finished epochs, epoch 0 not counted."""
    return max(0, len(run.read_epochs()) - 1)


def standing(run: RunFolder) -> dict[str, Any]:
    """Where a run stands, for JSON.

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
        }
    except (UserError, KeyError, TypeError, AttributeError) as error:
        return told | {"reason": str(error)}


def locate(
    runs: Iterable[PlannedRun], out: Path | None, numbers_version: int = NUMBERS_VERSION
) -> dict[str, RunFolder]:
    """The folder of each run: one below ``out`` with the same hash, else ``out/ID``.

    Args:
        runs: runs of a study.
        out: the study's folder, or any folder with run folders or committed records below it.
        numbers_version: count those of this version. One of an earlier version is known by the
            hash that its settings have now.

    Returns:
        The folders by id; they need not exist.

    Raises:
        UserError: ``out`` is a file.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(
            "is not a folder", key="--out", value=str(out), remedy="name the study's folder"
        )
    present = _present(out, numbers_version) if out is not None and out.exists() else {}
    return {
        run.id: present.get(run.settings.hash) or RunFolder((out or Path()) / run.id)
        for run in runs
    }


def opened(
    study: str, out: Path, data: Path | None = None, numbers_version: int | None = None
) -> tuple[Study, dict[str, RunFolder]]:
    """A study and the folders of its runs, to be read.

    Args:
        study: a shipped name, or the path of a study.
        out: the study's folder, or any folder with run folders or committed records below it.
        data: the data folder; default: the variable ``OPTNAS_DATA``.
        numbers_version: of the runs; default: the present one.

    Returns:
        The study, and the folders by id.

    Raises:
        UserError: the study is wrong, ``out`` is a file, or all that lies there is of another
            numbers version.
    """
    loaded = load_study(study, {} if data is None else {"data.folder": str(data)})
    return loaded, recorded(loaded.runs.values(), out, numbers_version)


def _present(out: Path, version: int) -> dict[str, RunFolder]:
    """Runs of a version below a folder by today's hash; of equal ones a finished one."""
    found: dict[str, RunFolder] = {}
    for run, document in _documents(out):
        if version_in(document) != version:
            continue
        digest = document["identity"].get("hash")
        if version != NUMBERS_VERSION:
            try:
                digest = Settings.recorded(document).hash
            except (UserError, ValueError):  # a component that is no longer here
                continue
        if isinstance(digest, str) and (
            digest not in found or state_of(found[digest]) not in FINISHED
        ):
            found[digest] = run
    return found


def _documents(out: Path) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
    for run in find_runs(out):
        try:
            document = run.read_config()
        except UserError:  # another program's config.toml
            continue
        if isinstance(document.get("identity"), dict):
            yield run, document


def version_in(document: Mapping[str, Any]) -> int:
    """The numbers version in a run's config.toml; 0 where there is none."""
    found = document.get("identity", {}).get("numbers_version", 0)
    return found if isinstance(found, int) else 0


def other_versions(out: Path | None) -> dict[int, int]:
    """How many records of other numbers versions lie there, which a study does not count."""
    if out is None or not out.is_dir():
        return {}
    counts = Counter(version_in(document) for _, document in _documents(out))
    counts.pop(NUMBERS_VERSION, None)
    return dict(sorted(counts.items()))


def require_record(found: Collection[object]) -> None:
    """Refuse to read a study of which no run is there.

    Args:
        found: what there is of its runs.

    Raises:
        UserError: nothing is.
    """
    if not found:
        raise UserError(
            "no run of the study has a record there",
            key="--out",
            remedy="run it first, or name the folder that holds its runs",
        )


def told_versions(counts: Mapping[int, int]) -> str:
    """In words, such as ``48 records of version 1``."""
    return ", ".join(
        f"{count} record{'s' if count > 1 else ''} of version {version}"
        for version, count in counts.items()
    )


def of_edited_files(runs: Iterable[PlannedRun], out: Path | None) -> str:
    """What to say of runs of files or images edited since, such as ``4 runs of an earlier a.py``.

    Args:
        runs: runs of a study.
        out: the study's folder.
    """
    if out is None or not out.is_dir():
        return ""
    runs = list(runs)
    now = {file: digest for run in runs for file, digest in run.settings.sources.items()}
    images: dict[object, set[str]] = {}
    for run in runs:
        images.setdefault(run.settings.data.name, set()).add(run.settings.fingerprint)
    counts: Counter[str] = Counter()
    for _, document in _documents(out):
        if version_in(document) != NUMBERS_VERSION:
            continue
        identity, data = document["identity"], document.get("data", {}).get("name")
        for file, digest in dict(identity.get("sources") or {}).items():
            if now.get(file, digest) != digest:
                counts[f"an earlier {file}"] += 1
        if identity.get("fingerprint") not in images.get(data, {identity.get("fingerprint")}):
            counts[f"other images in {data}"] += 1
    return ", ".join(
        f"{count} run{'s' if count > 1 else ''} of {what}" for what, count in sorted(counts.items())
    )


def recorded(
    runs: Iterable[PlannedRun], out: Path, numbers_version: int | None = None
) -> dict[str, RunFolder]:
    """As `locate`, for what is to be read.

    Args:
        runs: runs of a study.
        out: the study's folder.
        numbers_version: of the runs; default: the present one.

    Returns:
        The folders by id.

    Raises:
        UserError: ``out`` is a file, or all that lies there is of another numbers version, or of a
            file or images that were edited since.
    """
    runs = list(runs)
    folders = locate(runs, out, numbers_version or NUMBERS_VERSION)
    if any(folder.config.exists() for folder in folders.values()):
        return folders
    others, edited = told_versions(other_versions(out)), of_edited_files(runs, out)
    if edited:
        raise UserError(
            f"no run of the study is there, but {edited}: what was edited makes another run",
            key="--out",
            value=str(out),
            remedy="undo the edit, or run the study again",
        )
    if numbers_version is None and others:
        raise UserError(
            f"no run of the study is there, but {others}, not counted",
            key="--out",
            value=str(out),
            remedy=f"to read them add --numbers-version {others.split()[-1]}",
        )
    return folders


def runs_of(
    study: str | None, out: Path, *, data: Path | None = None, numbers_version: int | None = None
) -> list[RunFolder]:
    """The runs of a study, or every run below a folder, all of one numbers version.

    Args:
        study: a shipped name or the path of a study; None takes every run below ``out``.
        out: the study's folder, or a folder of committed records.
        data: the data folder.
        numbers_version: of the runs; by default the present one for a study, and whichever there
            is for a folder.

    Returns:
        The runs, each once; those of a study need not exist.

    Raises:
        UserError: the study is wrong, runs of several versions lie below the folder, only those
            of a version that is not asked for, or one whose configuration is not a run's.
    """
    if study is not None:
        return list(opened(study, out, data, numbers_version)[1].values())
    found = [(run, run.read_identity()["numbers_version"]) for run in find_runs(out)]
    versions = sorted({version for _, version in found})
    if numbers_version is None and len(versions) > 1:
        raise UserError(
            f"holds runs of numbers versions {', '.join(map(str, versions))}, and numbers of "
            "different versions are not compared",
            key="--out",
            value=str(out),
            remedy=f"choose one: --numbers-version {versions[-1]}",
        )
    return each_once(run for run, version in found if numbers_version in (None, version))


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
