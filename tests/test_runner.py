"""The runner of a study where a folder, an old result or a name is in its way; no real runs."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import sys
import time
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import copied
from studies import tiny_study

from optnas.base.errors import UserError, in_toml
from optnas.base.records import RunFolder
from optnas.base.toml import parse_override
from optnas.study.declare import ID_LENGTH, load_study
from optnas.study.engines.base import Job
from optnas.study.engines.local import LOG, local
from optnas.study.folder import locate, prepare
from optnas.study.runner import ATTEMPTS, Runner
from optnas.study.starts import StartLog
from optnas.study.states import look
from optnas.study.worker import execute

NAMES = ("daten é", "daten 😀", "𠮷", "a\x7fb", "a\nb'\"\\", "5", "true")


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_reads_whatever_name_a_folder_of_data_has(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON writes a character beyond U+FFFF as two escapes, which TOML does not take."""
    worker = tmp_path / "worker"
    worker.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    engine = local()
    handle, until = engine.start(Job(tmp_path, {"data.folder": name}, 1)), time.monotonic() + 60
    while not engine.wait([handle], 1.0):
        assert time.monotonic() < until
    *_, told = (tmp_path / LOG).read_bytes().decode().rstrip("\0").split("\0")
    assert parse_override(told) == (["data", "folder"], name)


def test_a_remedy_in_a_file_of_settings_is_toml() -> None:
    told = in_toml("write data.folder=/a/😀").removeprefix("write ").removesuffix(" in data")
    assert tomllib.loads(told) == {"folder": "/a/😀"}


class Told:
    """An engine whose processes do what a function says of their folders, and end by signal 9."""

    def __init__(self, work: Callable[[RunFolder], object] = lambda folder: None) -> None:
        self.work, self.started = work, list[str]()

    def start(self, job: Job) -> str:
        self.started.append(job.folder.name)
        self.work(RunFolder(job.folder))
        return f"{len(self.started)} {job.folder.name}"

    def wait(self, handles: Any, seconds: float) -> dict[str, str]:
        return dict.fromkeys(handles, "signal 9")

    def interrupt(self, handle: str) -> None: ...

    def close(self) -> None: ...


def end(folder: RunFolder) -> None:
    StartLog(folder).add("start")
    folder.finish("diverged", epoch=0, reason="as told")


Lines = list[tuple[str, str, str]]


def runner_in(tmp_path: Path, seeds: str, engine: Any, **more: Any) -> tuple[Runner, Lines]:
    told: Lines = []
    runner = Runner(load_study(tiny_study(tmp_path, seeds)), tmp_path / "out", engine, 1, **more)
    runner.on_change = lambda run, state, why: told.append((run.id, state, why))
    return runner, told


def denied(folder: RunFolder, name: str = LOG) -> PermissionError:
    return PermissionError(errno.EACCES, "Permission denied", str(folder.path / name))


def test_a_folder_that_may_not_be_written_stops_no_other_run(tmp_path: Path) -> None:
    def work(folder: RunFolder) -> None:
        if folder.path.name == first:
            raise denied(folder)
        end(folder)

    runner, told = runner_in(tmp_path, "[0, 1]", Told(work))
    first, second = runner.study.runs
    assert not runner.go()
    assert told[0][:2] == (first, "failed")
    assert "cannot write here (Permission denied)" in told[0][2]
    assert look(runner.folders[second]).state == "diverged"


def test_what_refuses_every_run_is_no_folders_fault(tmp_path: Path) -> None:
    def work(folder: RunFolder) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    runner, told = runner_in(tmp_path, "[0, 1]", Told(work))
    with pytest.raises(BlockingIOError):
        runner.go()
    assert told == []


@pytest.mark.parametrize("refused", ["lock", "result"])
def test_a_folder_in_which_nothing_can_be_noted_is_told(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Given up, and a completion that its process did not note: the study ended by an error."""
    runner, told = runner_in(tmp_path, "[0, 1, 2]", Told(lambda f: f.path.name == last and end(f)))
    first, second, last = runner.study.runs
    for name in (first, second):
        prepare(runner.study.runs[name], runner.folders[name])
    end(runner.folders[second])
    flock, finish = RunFolder.locked, RunFolder.finish

    def locked(self: RunFolder) -> Any:
        if refused == "lock" and self.path.name in (first, second):
            raise self.unwritable(denied(self, ".lock"))
        return flock(self)

    def finished(self: RunFolder, *given: Any, **more: Any) -> Any:
        if self.path.name == first:
            raise denied(self, "result.json")
        return finish(self, *given, **more)

    monkeypatch.setattr(RunFolder, "locked", locked)
    monkeypatch.setattr(RunFolder, "finish", finished)
    with caplog.at_level(logging.WARNING):
        assert not runner.go()
    warned = [each.getMessage() for each in caplog.records]
    assert len(warned) == (2 if refused == "lock" else 1)
    assert all("cannot write here (Permission denied)" in each for each in warned)
    assert told[-1][:2] == (last, "diverged")


FAULTS = {"disk": "OSError: [Errno 28] No space left on device", "program": "ValueError: a bug"}


@pytest.mark.parametrize("began", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_old_result_is_no_outcome_of_a_process_that_died_early(
    fault: str, began: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while importing, before the worker or within it, or a job that ended while pending."""

    def die(*given: Any) -> None:
        raise SystemExit(137)

    def work(folder: RunFolder) -> None:
        if began:
            with pytest.raises(SystemExit):
                execute(folder.path)

    monkeypatch.setattr("optnas.study.worker.search", die)
    engine = Told(work)
    runner, told = runner_in(tmp_path, "[0]", engine, retry_failed=fault == "program")
    ((name, run),) = runner.study.runs.items()
    folder = runner.folders[name]
    prepare(run, folder)
    folder.finish("failed", reason=FAULTS[fault], fault=fault)
    assert not runner.go()
    assert len(engine.started) == ATTEMPTS
    assert [state for _, state, _ in told] == ["running", "unfinished"] * 2 + ["running", "failed"]
    assert look(folder) == ("failed", f"signal 9, {ATTEMPTS} times without a new epoch")


def test_a_new_result_counts_however_much_it_is_like_the_old_one(tmp_path: Path) -> None:
    def fail(folder: RunFolder) -> None:
        folder.finish("failed", reason="ValueError: a bug", fault="program")

    engine = Told(fail)
    runner, told = runner_in(tmp_path, "[0]", engine, retry_failed=True)
    ((name, run),) = runner.study.runs.items()
    prepare(run, runner.folders[name])
    fail(runner.folders[name])
    assert not runner.go()
    assert told == [(name, "running", "from epoch 0"), (name, "failed", "ValueError: a bug")]


def test_a_run_that_is_refused_before_it_begins_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old result makes way for the refusal; where no start can be noted it stays."""

    def refuse(*given: Any) -> None:
        raise UserError("no such data")

    def full(self: StartLog, event: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    runner, _ = runner_in(tmp_path, "[0]", Told())
    ((name, run),) = runner.study.runs.items()
    folder = runner.folders[name]
    prepare(run, folder)
    folder.finish("failed", reason="of last week", fault="program")
    with monkeypatch.context() as patch:
        patch.setattr(StartLog, "add", full)
        with pytest.raises(OSError, match="No space left"):
            execute(folder.path)
    assert look(folder) == ("failed", "of last week")
    monkeypatch.setattr("optnas.study.worker.search", refuse)
    assert execute(folder.path) == 1
    assert look(folder).reason == "command line: no such data"


@pytest.mark.parametrize(
    ("own", "copy", "chosen"),
    [
        ("2 epochs", "1 epoch", "own"),
        ("1 epoch", "1 epoch", "own"),
        ("1 epoch", "2 epochs", "copy"),
        ("held", "2 epochs", "own"),
        ("held", "finished", "copy"),
        ("finished", "2 epochs", "own"),
        ("finished", "finished", "own"),
    ],
)
def test_a_copy_beside_a_run_is_taken_only_where_it_is_further(
    own: str, copy: str, chosen: str, tmp_path: Path, done: Path
) -> None:
    """An older copy was preferred, and a second runner executed again what was under way."""
    document = RunFolder(done).read_config()
    digest = document["identity"]["hash"]
    run = types.SimpleNamespace(id=digest[:ID_LENGTH], settings=types.SimpleNamespace(hash=digest))
    folders = {"own": tmp_path / run.id, "copy": tmp_path / f"{run.id}.bak"}
    with contextlib.ExitStack() as held:
        for folder, state in zip(folders.values(), (own, copy), strict=True):
            copied(done, folder)
            if state != "finished":
                RunFolder(folder).result.unlink()
            if state in ("1 epoch", "held"):
                records = folder / "epochs.jsonl"
                records.write_text(records.read_text().partition("\n")[0] + "\n")
            if state == "held":
                held.enter_context(RunFolder(folder).locked())
        assert locate([run], tmp_path)[run.id].path == folders[chosen]


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_who_may_write_a_file_of_a_run_is_said_by_the_umask_alone(
    umask: int, mode: int, tmp_path: Path
) -> None:
    """The lock was its owner's alone, so that nobody else of a group could go on with the run."""
    runner, _ = runner_in(tmp_path, "[0]", Told())
    ((name, run),) = runner.study.runs.items()
    before = os.umask(umask)
    try:
        prepare(run, runner.folders[name])
        end(runner.folders[name])
    finally:
        os.umask(before)
    files = [path for path in runner.folders[name].path.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {".lock", "config.toml", "result.json", "starts.jsonl"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


def test_a_result_that_cannot_be_read_stops_no_study(tmp_path: Path) -> None:
    def spoil(folder: RunFolder) -> None:
        end(folder)
        if folder.path.name == first:
            folder.result.write_text("{")

    runner, told = runner_in(tmp_path, "[0, 1]", Told(spoil))
    first, second = runner.study.runs
    assert not runner.go()
    assert [(run, state) for run, state, _ in told if state != "running"] == [
        (first, "unreadable"),
        (second, "diverged"),
    ]
