"""Finished runs as compact records that may be committed: no checkpoints, nothing of a machine."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from optnas.base.errors import UserError, did_you_mean
from optnas.base.files import inside, write_bytes, writing
from optnas.base.folder import folder_path
from optnas.base.records import FINISHED, RunFolder
from optnas.base.toml import dump_toml, read_text
from optnas.search.settings.model import PLACES
from optnas.study.folder import locate, opened, require_record
from optnas.study.states import check_readable


def export(
    study: str,
    out: str | Path,
    to: str | Path,
    *,
    arrays: Collection[str] = (),
    data: Path | None = None,
) -> tuple[list[str], int]:
    """Copy the finished runs of a study as records; a record that exists already is not touched.

    Args:
        study: a shipped name, or the path of a study.
        out: the study's folder.
        to: the folder of records.
        arrays: labels of measures whose arrays are copied too; without them a record has only
            the lines. The figure F4 needs those of ``landscape``.
        data: the data folder; default: the variable ``OPTNAS_DATA``.

    Returns:
        The ids of runs whose record is new or changed, and the number of finished runs.

    Raises:
        UserError: the study is wrong, no run of it is there, a record is damaged, no finished run
            was measured under one of the labels, or the folder cannot be written or holds the runs.
    """
    loaded, runs = opened(study, folder_path(out), data)
    there = locate(loaded.runs.values(), folder_path(to))
    _check_apart(folder_path(out), folder_path(to), (runs, there))
    finished = {}
    for name, run in runs.items():
        result = run.read_result() if run.config.exists() else None
        if result is not None and result.get("status") in FINISHED:
            finished[name] = run
    require_record([run for run in runs.values() if run.config.exists()])
    _check_measured(arrays, finished.values())
    changed = [name for name, run in finished.items() if copy_record(run, there[name].path, arrays)]
    return changed, len(finished)


def _check_apart(out: Path, to: Path, both: tuple[Mapping[str, RunFolder], ...]) -> None:
    """Refuse to write records over the runs, whose settings say where their data lie."""
    runs, there = ({run.path.resolve() for run in each.values()} for each in both)
    if out.resolve().is_relative_to(to.resolve()) or runs & there:
        raise UserError(
            "the runs themselves lie there, and records are copies of them",
            key="--to",
            value=str(to),
            remedy="choose a folder that does not hold the runs of --out",
        )


def _check_measured(labels: Iterable[str], runs: Iterable[RunFolder]) -> None:
    measured = {label for run in runs for label in run.measures.labels()}
    for label in labels:
        if label not in measured:
            raise UserError(
                "no finished run of the study was measured under this label",
                key="--arrays",
                value=label,
                remedy=did_you_mean(label, measured) if measured else "leave it out",
            )


def copy_record(run: RunFolder, target: Path, arrays: Iterable[str] = ()) -> bool:
    """Copy one run: settings, versions, epochs, result and measures.

    Args:
        run: its folder.
        target: the record's folder, made if need be.
        arrays: labels of measures whose arrays are copied too.

    Returns:
        Whether anything changed.

    Raises:
        UserError: a file of the run is damaged, or the target cannot be written.
    """
    check_readable(run)
    config = run.read_config()
    for key in PLACES:
        config["data"].pop(key, None)
    files = {
        "config.toml": dump_toml(config).encode(),
        "environment.json": _environment(run).encode(),
        "epochs.jsonl": read_text(run.epochs).encode(),
        "result.json": read_text(run.result).encode(),
    }
    for path in inside(run.measures.path, "*.jsonl"):
        files[f"measures/{path.name}"] = read_text(path).encode()
    for line in (line for label in arrays for line in run.read_measures(label)):
        run.measures.arrays(line)  # a damaged file is no record
        if "arrays" in line:
            files[f"measures/{line['arrays']}"] = (run.measures.path / line["arrays"]).read_bytes()
    changed = False
    for name, content in files.items():
        path = target / name
        if path.exists() and path.read_bytes() == content:
            continue
        changed = True
        with writing("here", key="--to", path=target):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
    return changed


def _environment(run: RunFolder) -> str:
    """The starts of a run without the folders of its machine."""
    starts = run.read_starts()
    for start in starts:
        command = start.get("command", [])[1:]
        words = [Path(w).name if Path(w).is_absolute() else w for w in command]
        start["command"] = ["optnas", *(w for w in words if not _names_a_folder(w))]
    return json.dumps(starts, indent=1) + "\n"


def _names_a_folder(word: str) -> bool:
    return Path(word.partition("=")[2].strip("\"'")).is_absolute()
