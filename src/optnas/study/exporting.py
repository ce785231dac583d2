"""Finished runs as compact records that may be committed: no checkpoints, nothing of a machine."""

from __future__ import annotations

import json
from pathlib import Path

from optnas.config import PLACES
from optnas.files import write_text, writing
from optnas.records import FINISHED, RunFolder
from optnas.study.declare import load_study
from optnas.study.folder import locate
from optnas.tomlio import dump_toml, read_text


def export(
    study: str, out: str | Path, to: str | Path, *, data: Path | None = None
) -> tuple[list[str], int]:
    """Copy the finished runs of a study as records; what is there already is not touched.

    Args:
        study: a shipped name, or the path of a study.
        out: the study's folder.
        to: the folder of records.
        data: the data folder; default: the variable ``OPTNAS_DATA``.

    Returns:
        The ids of runs whose record is new or changed, and the number of finished runs.

    Raises:
        UserError: the study is wrong, a record is damaged, or the folder cannot be written.
    """
    settings = {} if data is None else {"data.folder": str(data)}
    runs = load_study(study, settings).runs.values()
    there = locate(runs, Path(to))
    changed, finished = [], 0
    for name, run in locate(runs, Path(out)).items():
        result = run.read_result() if run.config.exists() else None
        if result is None or result["status"] not in FINISHED:
            continue
        finished += 1
        if copy_record(run, there[name].path):
            changed.append(name)
    return changed, finished


def copy_record(run: RunFolder, target: Path) -> bool:
    """Copy one run: settings, versions, epochs, result and measures.

    Args:
        run: its folder.
        target: the record's folder, made if need be.

    Returns:
        Whether anything changed.

    Raises:
        UserError: a file of the run is damaged, or the target cannot be written.
    """
    config = run.read_config()
    for key in PLACES:
        config["data"].pop(key, None)
    files = {
        "config.toml": dump_toml(config),
        "environment.json": _environment(run),
        "epochs.jsonl": read_text(run.epochs),
        "result.json": read_text(run.result),
    }
    for path in sorted((run.path / "measures").glob("*.jsonl")):
        files[f"measures/{path.name}"] = read_text(path)
    changed = False
    for name, text in files.items():
        path = target / name
        if path.exists() and read_text(path) == text:
            continue
        changed = True
        with writing("here", key="--to", path=target):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
    return changed


def _environment(run: RunFolder) -> str:
    """The starts of a run without the folders of its machine."""
    starts = json.loads(read_text(run.environment))
    for start in starts:
        words = [Path(w).name if Path(w).is_absolute() else w for w in start["command"][1:]]
        start["command"] = ["optnas", *(w for w in words if not _names_a_folder(w))]
    return json.dumps(starts, indent=1) + "\n"


def _names_a_folder(word: str) -> bool:
    return Path(word.partition("=")[2].strip("\"'")).is_absolute()
