"""What the system refuses to a user is one line with exit code 2, and never told as absent."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import FORM, command, copied, interrupted_run, refused, snapshot, tiny_search
from studies import tiny_study
from tiny import TINY

from optnas.base.errors import UserError
from optnas.base.files import inside, present
from optnas.base.records import Record, RunFolder, find_runs
from optnas.cli.common import told_apart
from optnas.search import api
from optnas.study.states import look

OF_A_PATH = ("stat", "lstat", "open", "scandir", "listdir", "mkdir", "unlink", "rename", "access")
DENIED = errno.EACCES, "Permission denied"


class Locked:
    """Folders and files that this user may not enter or read, whoever runs the tests: also root."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._below: list[str] = []
        self._themselves: list[str] = []
        for name in OF_A_PATH:
            monkeypatch.setattr(os, name, self._guard(getattr(os, name)))
        for module in (io, builtins):
            monkeypatch.setattr(module, "open", self._guard(open))

    def enter(self, folder: Path) -> None:
        """From now on nobody enters the folder."""
        self._below.append(os.path.abspath(folder))

    def read(self, file: Path) -> None:
        """From now on nobody reads the file."""
        self._themselves.append(os.path.abspath(file))

    def _guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        tells = function.__name__ in ("stat", "lstat", "mkdir")

        def guarded(path: Any, *more: Any, **words: Any) -> Any:
            if isinstance(path, (str, os.PathLike)):
                whole = os.path.abspath(path)
                closed = any(whole.startswith(f"{folder}/") for folder in self._below)
                if closed or (not tells and whole in (*self._below, *self._themselves)):
                    raise PermissionError(*DENIED, os.fspath(path))
            return function(path, *more, **words)

        return guarded


@pytest.fixture
def locked(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Locked]:
    """``runs/open`` and ``runs/secret/run``; once called, nobody enters ``runs/secret``."""
    monkeypatch.chdir(tmp_path)
    copied(done, Path("runs/open"))
    copied(done, Path("runs/secret/run"))

    def lock() -> Locked:
        found = Locked(monkeypatch)
        found.enter(Path("runs/secret"))
        return found

    return lock


COMMANDS = """
list runs/secret
list runs/secret/run
resume runs/secret/run
plot runs/secret -o a.png
plot runs/secret/run -o a.png
measure runs/secret/run gap
stopping runs/secret
stopping runs/secret/run
watch runs/secret --once
watch runs/secret/run --once
train runs/secret/run --out trained
theory noise runs/secret/run
data check runs/secret/images
study status {name} --out runs/secret
study status {name} --out runs/secret/run
study plan {name} --out runs/secret/x --no-timing
study table --out runs/secret/run --recorded -o t.csv
study claims --out runs/open --recorded --claims runs/secret/claims
study run {name} --out runs/secret/x
study export {name} --out runs/secret --to records
"""


def test_a_folder_that_may_not_be_entered_is_told_by_every_command(
    locked: Callable[[], Locked],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1 and a class of Python's, or 'no run below'."""
    there = Path.cwd()
    name = tiny_study(Path(), search__epochs=1)
    before = snapshot(there)
    searches = [
        tiny_search(out="runs/secret/new"),
        tiny_search("--overwrite", out="runs/secret/run"),
        tiny_search("-c", "runs/secret/a.toml"),
        tiny_search("data.name=folder", "data.path=runs/secret/images"),
    ]
    rows = [row.format(name=name).split() for row in COMMANDS.strip().splitlines()]
    locked()
    for words in [*rows, *searches]:
        code = command(*words)
        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), (words, out, err)
        assert FORM.fullmatch(err.strip()), (words, err)
        assert "runs/secret" in err, words
    monkeypatch.undo()
    monkeypatch.chdir(there)
    assert snapshot(there) == before


def test_folders_below_are_named_and_the_others_listed(
    locked: Callable[[], Locked],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    locked()
    assert command("list", "runs") == 0
    out = capsys.readouterr().out
    assert "runs/open" in out
    assert "secret" not in out
    [told] = caplog.messages
    assert told == (
        "optnas: warning: runs/secret: passed over, cannot enter this folder (Permission denied)"
    )
    assert [run.path.name for run in find_runs("runs")] == ["open"]


@pytest.mark.parametrize("name", ["config.toml", "epochs.jsonl", "result.json", ".lock"])
def test_a_file_that_may_not_be_read_is_the_reason_of_one_row(
    name: str, locked: Callable[[], Locked], capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder("runs/open")
    if name == ".lock":  # of a run that is done it is not asked
        run.result.unlink()
    locked().read(run.path / name)
    state, why = look(run)
    assert (state, "Permission denied" in why, name in why) == ("unreadable", True, True), why
    assert command("list", "runs") == 0
    assert "unreadable" in capsys.readouterr().out


def test_what_cannot_be_told_is_not_absent(locked: Callable[[], Locked]) -> None:
    closed = locked()
    with pytest.raises(PermissionError):
        present(Path("runs/secret/run/config.toml"))
    with pytest.raises(PermissionError):
        inside(Path("runs/secret"), "*")
    assert present(Path("runs/secret"))
    assert not present(Path("runs/none/config.toml"))
    assert inside(Path("runs/none"), "*") == []
    assert inside(Path("runs/open"), "*.toml") == [Path("runs/open/config.toml")]
    closed.read(Path("runs/open/epochs.jsonl"))
    assert present(Path("runs/open/epochs.jsonl"))


def test_images_in_a_folder_that_may_not_be_entered_are_not_left_out(
    locked: Callable[[], Locked], capsys: pytest.CaptureFixture[str]
) -> None:
    """They were other images, under another fingerprint."""
    for name in ("a/1.png", "a/deeper/2.png", "b/1.png"):
        path = Path("images", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    locked().enter(Path("images/a/deeper"))
    assert command("data", "check", "images") == 2
    refused(capsys.readouterr().err, "command line: path = 'images/a/deeper'", "permission")


def test_a_search_that_is_refused_later_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is recorded as such, and exit code 1 says so."""

    def refuse(run: RunFolder, record: Record) -> None:
        raise PermissionError(*DENIED, str(run.epochs))

    interrupted_run(tmp_path / "out", 0)
    monkeypatch.setattr(RunFolder, "append", refuse)
    assert command("resume", str(tmp_path / "out")) == 1
    assert "failed: PermissionError" in capsys.readouterr().err
    assert (RunFolder(tmp_path / "out").read_result() or {})["status"] == "failed"


OWN_IMAGES = """
import dataclasses
from optnas import register
from optnas.data.sets.digits import digits


@register("dataset", "mine")
def mine(folder=None):
    def decode(rows):
        open("labels.csv")

    return dataclasses.replace(digits(None), name="mine", decode=decode, decoder="")
"""


def test_a_file_that_others_miss_is_not_blamed_on_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was told as a folder that cannot be written, and the run was gone."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN_IMAGES)
    assert command(*tiny_search("data.name=./mine.py:mine", "benchmark.table=none")) == 1
    told = capsys.readouterr().err
    assert "failed: FileNotFoundError" in told
    assert "labels.csv" in told
    result = RunFolder(Path("out")).read_result() or {}
    assert (result["status"], result["fault"]) == ("failed", "program")


@pytest.mark.parametrize(
    "error", [PermissionError(*DENIED, "out/epochs.jsonl"), OSError(errno.ENOSPC, "No space left")]
)
def test_a_run_folder_that_cannot_be_written_is_bad_input(
    error: OSError,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(run: RunFolder, record: Record) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RunFolder, "append", refuse)
    assert command(*tiny_search()) == 2
    refused(capsys.readouterr().err, "command line: --out = 'out'", "choose a folder")
    assert not Path("out").exists()


def test_an_interruption_on_a_full_disk_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: RunFolder, status: str, **facts: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(RunFolder, "finish", refuse)
    interrupted_run(tmp_path / "out", 0)


def test_a_system_call_refused_for_another_reason_stays_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "runs")

    monkeypatch.setattr("optnas.cli.lists._runs", broken)
    assert command("list", "runs") == 1
    assert "failed: OSError" in capsys.readouterr().err


# --- what a word of a command line is ----------------------------------------------------------

TAKE_BOTH = {
    "measure": ("measure", "WORD", "gap"),
    "plot": ("plot", "-o", "p.png", "WORD"),
    "stopping": ("stopping", "WORD"),
    "theory": ("theory", "noise", "WORD"),
}


@pytest.mark.parametrize("name", TAKE_BOTH)
def test_what_exists_is_a_path_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of them took a file for a setting."""
    monkeypatch.chdir(tmp_path)
    words = [each.replace("WORD", "batches=1") for each in TAKE_BOTH[name]]
    assert command(*words) == 2
    assert not capsys.readouterr().err.startswith("optnas: error: batches=1: ")
    Path("batches=1").touch()
    assert command(*words) == 2
    assert capsys.readouterr().err.startswith("optnas: error: batches=1: ")


def test_words_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b:c").mkdir()
    words = ["a=b:c", "lr=1", "./mine.py:own", "gap", "out", "at=" + 300 * "x"]
    told = told_apart(words, lambda others: ["gap"] if "lr=1" not in others else [])
    assert told == (["a=b:c", "out"], ["./mine.py:own", "gap"], ["lr=1", words[-1]])
    assert told_apart(["gap", "x:y"]).names == told_apart(None).paths == []


# --- the folder in which one stands -----------------------------------------------------------


def test_the_current_folder_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search that had ended well ended with exit code 1: a dot has no name."""
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    none = ("benchmark.table=none", "search.epochs=1")
    assert command(*tiny_search(*none, out=".")) == 0
    told = capsys.readouterr().out
    assert f"--out {out}-alone" in told
    assert f"run folder: {out}" in told
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert command("resume", "../out/.") == 0
    monkeypatch.chdir(out)
    assert command("resume", ".") == 0
    assert f"run folder: {out}" in capsys.readouterr().out
    assert command("list", ".") == 0
    assert str(out) in capsys.readouterr().out


def test_the_current_folder_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    api.run(TINY | {"search.epochs": 1}, out=".")
    before = (out / "epochs.jsonl").read_bytes()
    with pytest.raises(UserError):
        api.run(TINY | {"weight_optimizer.lr": -1.0}, out=".", overwrite=True)
    assert Path("epochs.jsonl").read_bytes() == before
    assert Path.cwd() == out
    assert command(*tiny_search("--overwrite", out=".", search__epochs=2)) == 0
    assert Path.cwd() == out
    assert len(RunFolder(".").read_epochs()) == 3
    assert "goes there by: cd ." in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
