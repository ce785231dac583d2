"""Where a study's runs lie: the run folders are the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError
from optnas.base.folder import BusyError, folder_path
from optnas.base.records import FINISHED, RunFolder, find_runs
from optnas.search.settings.model import NUMBERS_VERSION, Settings
from optnas.study.declare import ID_LENGTH, PlannedRun, Study, load_study
from optnas.study.states import each_once, look_and_read


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
    given = {} if data is None else {"data.folder": str(folder_path(data, "data"))}
    loaded = load_study(study, given)
    return loaded, recorded(loaded.runs.values(), out, numbers_version)


def _present(out: Path, version: int) -> dict[str, RunFolder]:
    """Runs of a version below a folder by today's hash; of equal ones that which is furthest."""
    found: dict[str, list[RunFolder]] = {}
    for run, document in _documents(out):
        if version_in(document) != version:
            continue
        digest = document["identity"].get("hash")
        if version != NUMBERS_VERSION:
            try:
                digest = Settings.recorded(document).hash
            except (UserError, ValueError):  # a component that is no longer here
                continue
        if isinstance(digest, str):
            found.setdefault(digest, []).append(run)
    return {digest: _furthest(digest, runs) for digest, runs in found.items()}


def _furthest(digest: str, runs: Sequence[RunFolder]) -> RunFolder:
    """Of equal runs the finished one, else the one that a process goes on with.

    Then the one with the most epochs, then the one in the folder that a runner makes: a copy
    beside it is run by nobody.
    """

    def rank(run: RunFolder) -> tuple[bool, bool, int, bool]:
        (state, _), records = look_and_read(run)
        named = run.path.name == digest[:ID_LENGTH]
        return state in FINISHED, state == "running", len(records), named

    return runs[0] if len(runs) == 1 else max(runs, key=rank)


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
    return found if type(found) is int else 0  # true is none


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
        try:
            Settings.check_recorded(document)
        except UserError:  # `look` says why
            continue
        identity, data = document["identity"], document["data"]["name"]
        for file, digest in identity.get("sources", {}).items():
            if now.get(file, digest) != digest:
                counts[f"an earlier {file}"] += 1
        if identity["fingerprint"] not in images.get(data, {identity["fingerprint"]}):
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
