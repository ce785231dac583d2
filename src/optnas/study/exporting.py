"""Finished runs as compact records that may be committed: no checkpoints, nothing of a machine."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optnas.base.columns import OF_MEASURES
from optnas.base.errors import UserError, did_you_mean
from optnas.base.files import present, write_bytes, writing
from optnas.base.folder import folder_path
from optnas.base.json import dump_json
from optnas.base.measurements import Line, in_order, place
from optnas.base.records import FINISHED, RunFolder
from optnas.base.toml import dump_toml, read_text
from optnas.search.settings.model import PLACES
from optnas.study.folder import locate, opened, require_record
from optnas.study.states import check_readable, check_settings

# What two executions of a run may differ in: its seconds, and the table that was asked.
BESIDE = {"seconds", "benchmark"}
DATA = "--data"  # the option that names the data folder


def export(
    study: str,
    out: str | Path,
    to: str | Path,
    *,
    arrays: Collection[str] = (),
    data: Path | None = None,
) -> tuple[list[str], int]:
    """Copy the finished runs of a study as records.

    To a record that exists already only measurements are added, as `copy_record` says. Whatever is
    refused is refused before the first record is written.

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
        UserError: the study is wrong, no run of it is there, a record is damaged or has other
            numbers than the run, no finished run was measured under one of the labels, or the
            folder cannot be written or holds the runs.
    """
    loaded, runs = opened(study, folder_path(out, "out"), data)
    there = locate(loaded.runs.values(), folder_path(to, "to"))
    _check_apart(folder_path(out, "out"), folder_path(to, "to"), (runs, there))
    finished = {}
    for name, run in runs.items():
        result = run.read_result() if run.config.exists() else None
        if result is not None and result.get("status") in FINISHED:
            finished[name] = run
    require_record([run for run in runs.values() if run.config.exists()])
    _check_measured(arrays, finished.values())
    records = {name: _record(run, there[name], arrays) for name, run in finished.items()}
    return [name for name, record in records.items() if record.write()], len(finished)


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

    A record of the same numbers stays as it is, and gets the measurements that it lacks. Where it
    has one of the same epoch and settings that found something else, the run's takes its place, as
    in the run's own folder, unless it failed.

    Args:
        run: its folder.
        target: the record's folder, made if need be.
        arrays: labels of measures whose arrays are copied too.

    Returns:
        Whether anything changed.

    Raises:
        UserError: a file of the run or the record is damaged, the record has other numbers, or the
            target cannot be written.
    """
    return _record(run, RunFolder(target), arrays).write()


@dataclass(frozen=True)
class _Record:
    """What is to change in the folder of a record: files by their new content, and arrays to go."""

    path: Path
    files: Mapping[str, bytes]
    gone: Collection[Path]

    def write(self) -> bool:
        with writing("here", key="--to", path=self.path):
            for name, content in self.files.items():
                path = self.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, content)
            for path in self.gone:
                path.unlink(missing_ok=True)
        return bool(self.files)


def _record(run: RunFolder, there: RunFolder, arrays: Iterable[str]) -> _Record:
    """Look at a run and its record, and write nothing."""
    check_readable(run)
    labels = set(arrays)
    files = _settings_and_epochs(run, there)
    gone: set[str] = set()
    for label in run.measures.labels():
        content, same, fresh, replaced = _joined(run, there, label)
        files[f"measures/{label}.jsonl"] = content
        gone |= {line["arrays"] for line in replaced if "arrays" in line}
        if label in labels:
            wanted = same + fresh
        else:  # arrays of what was measured before do not stay beside the numbers of now
            wanted = [line for line in fresh if there.measures.has_arrays(line)]
        for line in wanted:
            run.measures.arrays(line)  # a damaged file is no record
            if "arrays" in line:
                gone.discard(line["arrays"])
                held = (run.measures.path / line["arrays"]).read_bytes()
                files[f"measures/{line['arrays']}"] = held
    new = {name: content for name, content in files.items() if _holds(there.path / name) != content}
    return _Record(there.path, new, [there.measures.path / name for name in gone])


def _holds(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _settings_and_epochs(run: RunFolder, there: RunFolder) -> dict[str, bytes]:
    """What a record needs beside its measures, by file; of one that has it, what is to change."""
    config = _of_no_machine(run.read_config())
    turns = {run.turns.name: read_text(run.turns).encode()} if present(run.turns) else {}
    if _has_the_numbers(there, run):
        check_settings(there)
        known = there.read_config()
        held = known.get("measures", {})
        measures = {**config.get("measures", {}), **held}
        kept = _of_no_machine(known if measures == held else {**known, "measures": measures})
        changed = {} if kept == known else {"config.toml": dump_toml(kept).encode()}
        return changed if present(there.turns) else changed | turns
    return turns | {
        "config.toml": dump_toml(config).encode(),
        "environment.json": _environment(run).encode(),
        "epochs.jsonl": read_text(run.epochs).encode(),
        "result.json": read_text(run.result).encode(),
    }


def _of_no_machine(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without where files lie, who looked on and what gives access there.

    None of it is in the hash; of a protocol named by path its settings are all there.
    """
    found = {**config, "data": {k: v for k, v in config["data"].items() if k not in PLACES}}
    found["protocol"] = Path(config["protocol"]).name
    if "tracking" in config:
        found["tracking"] = {"name": "none"}
    return found


def _has_the_numbers(there: RunFolder, run: RunFolder) -> bool:
    """Whether a record is whole and of the numbers of a run; refuses one of other numbers."""
    if not (there.config.exists() and there.epochs.exists()):
        return False
    ended = (there.read_result() or {}).get("status") in FINISHED
    if there.epochs.read_bytes() == run.epochs.read_bytes():
        return ended
    held, records = there.read_epochs(), run.read_epochs()
    for one, other in zip(held, records, strict=False):
        for key in one.keys() & other.keys() - BESIDE:
            # A measure's columns are null where it was not due.
            due = key not in OF_MEASURES or None not in (one[key], other[key])
            if due and one[key] != other[key]:
                raise UserError(
                    f"the record {there.path} has other numbers than {run.path}, from epoch "
                    f"{one['epoch']} on ({key}): they are two executions of one run",
                    key="--to",
                    value=str(there.path.parent),
                    remedy="export to another folder, or remove the record",
                )
    return ended and len(held) >= len(records)


def _joined(
    run: RunFolder, there: RunFolder, label: str
) -> tuple[bytes, list[Line], list[Line], list[Line]]:
    """The lines of a measure in a record with those of the run.

    Returns:
        The file, the run's lines that the record has already, its others that are written, and the
        record's whose place these take.
    """
    name = f"{label}.jsonl"
    lines, text = run.read_measures(label), read_text(run.measures.path / name)
    if not (there.measures.path / name).exists():
        return text.encode(), [], lines, []
    known, held = read_text(there.measures.path / name), there.read_measures(label)
    by_place: dict[tuple[int, str], list[Line]] = {}
    for line in held:
        by_place.setdefault(place(line), []).append(line)
    same, fresh = [], []
    for line in lines:
        others = by_place.get(place(line), [])
        if any(_found(line) == _found(other) for other in others):
            same.append(line)
        elif line["status"] != "failed" or not others:
            fresh.append(line)
    if not fresh:
        return known.encode(), same, [], []
    taken = {place(line) for line in fresh}
    kept = [line for line in held if place(line) not in taken]
    content = "".join(dump_json(line) + "\n" for line in in_order([*kept, *fresh]))
    return content.encode(), same, fresh, [line for line in held if place(line) in taken]


def _found(line: Line) -> Line:
    """A line without what it cost, in which two equal measurements differ."""
    return {key: value for key, value in line.items() if key != "cost"}


def _environment(run: RunFolder) -> str:
    """The starts of a run without the folders of its machine."""
    starts = run.read_starts()
    for start in starts:
        command = start.get("command", [])[1:]
        words = [
            word
            for before, word in zip(["", *command], command, strict=False)
            if before != DATA and not _of_this_machine(word)
        ]
        start["command"] = [
            "optnas",
            *(Path(w).name if Path(w).is_absolute() else w for w in words),
        ]
    return json.dumps(starts, indent=1) + "\n"


def _of_this_machine(word: str) -> bool:
    """Whether a word of a command says where something lies here, or who looked on."""
    key, _, value = word.partition("=")
    section, _, name = key.partition(".")
    place = section == "data" and (not name or name in PLACES)
    value = value.strip("\"'")
    return (
        section in (DATA, "tracking") or place or value.startswith("~") or Path(value).is_absolute()
    )
