"""Half-written files of killed processes go when the same file is written again.

Failed on 0.1.0: they stayed for ever after a kill -9 in ``measure``, ``export`` and ``report``.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from cases import command
from tiny import TINY

from optnas import UserError
from optnas.base.files import TEMPORARY, write_atomically, write_text
from optnas.base.measurements import Measurements
from optnas.base.records import RunFolder, find_runs
from optnas.search import api

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from optnas.base.files import write_atomically

def die(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

write_atomically(Path(sys.argv[1]), die)
"""


def killed_while_writing(path: Path) -> Path:
    """What a process that was killed inside a write leaves."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_DIE, str(path)], env=dict(os.environ)
    )
    assert process.wait(timeout=60) == -signal.SIGKILL
    left = path.with_name(f"{path.name}.{process.pid}{TEMPORARY}")
    assert left.read_bytes() == b"half"
    return left


def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(timeout=60)
    return process.pid


def test_a_file_with_two_names_leaves_no_third(tmp_path: Path) -> None:
    """A kill between keeping last.pt and writing it anew; found by tests/slow/fuzz.py."""
    path, other = tmp_path / "last.pt", tmp_path / "previous.pt"
    path.write_bytes(b"one")
    os.link(path, other)
    write_atomically(path, lambda file: file.write(b"two"), keep=other)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {
        "last.pt": b"two",
        "previous.pt": b"one",
    }


@pytest.mark.parametrize("name", ["T1.csv", "a[0]*.txt", "gap.jsonl"])
def test_what_a_killed_process_left_goes_with_the_next_write(name: str, tmp_path: Path) -> None:
    left = killed_while_writing(tmp_path / name)
    write_text(tmp_path / name, "whole")
    assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_another_process_writes_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "cache.npz"
    alive = path.with_name(f"{path.name}.{os.getppid()}{TEMPORARY}")
    alive.write_text("half")
    elsewhere = path.with_name(f"{path.name}.{gone()}{TEMPORARY}")  # of another machine: held
    with elsewhere.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_text(path, "whole")
        assert sorted(tmp_path.iterdir()) == sorted([path, alive, elsewhere])
    write_text(path, "whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, alive])


def test_a_file_is_held_while_it_is_written(tmp_path: Path) -> None:
    def write(file: IO[bytes]) -> None:
        with open(file.name, "rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        file.write(b"whole")

    write_atomically(tmp_path / "a", write)
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_files_of_other_names_stay(tmp_path: Path) -> None:
    pid = gone()
    others = [f"b.{pid}{TEMPORARY}", f"a.x{TEMPORARY}", f"a.{pid}.part", f"xa.{pid}{TEMPORARY}"]
    for name in others:
        (tmp_path / name).write_text("of someone else")
    write_text(tmp_path / "a", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a", *others}


def test_measures_leave_nothing_half_written_under_any_label(tmp_path: Path) -> None:
    held = Measurements(tmp_path / "measures")
    held.path.mkdir()
    left = killed_while_writing(held.path / "landscape-3-0123abcd.npz")
    held.put("gap", {"epoch": 3, "settings": {}, "status": "ok", "values": {}}, {})
    assert not left.exists()
    assert [path.name for path in held.path.iterdir()] == ["gap.jsonl"]


# --- a run that was to be replaced ------------------------------------------------------------

REPLACE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from optnas.base import folder
from optnas.base.records import RunFolder

stage = sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if stage == "aside":
    RunFolder._refuse_occupied = die
if stage == "config":
    folder.write_text = die
with RunFolder(Path(sys.argv[1])).created({"format": 1}, overwrite=True):
    die()
"""


def replaced_and_killed(out: Path, stage: str) -> Path:
    """A run of two epochs of which the replacement was killed; where the former run lies."""
    api.run(TINY | {"search.epochs": 1}, out=out)
    call = [sys.executable, "-c", REPLACE_AND_DIE, str(out), stage]
    process = subprocess.Popen(call, env=dict(os.environ))
    assert process.wait(timeout=60) == -signal.SIGKILL
    former = out.with_name(f".{out.name}.{process.pid}{TEMPORARY}")
    assert (former / "config.toml").exists()
    return former


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("stage", "then"),
    [("aside", "list"), ("aside", "search"), ("config", "resume"), ("config", "overwrite")],
)
def test_a_run_comes_back_whose_replacement_never_began(
    stage: str, then: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stayed under its hidden name, and nothing said so."""
    out = tmp_path / "a[0]"
    former = replaced_and_killed(out, stage)
    before = (former / "epochs.jsonl").read_bytes()
    if then == "list":
        assert command("list", str(tmp_path)) == 0
    elif then == "resume":
        assert api.resume(out)["status"] == "done"
    elif then == "search":
        with pytest.raises(UserError, match="holds something already"):
            api.run(TINY, out=out)
    else:
        with pytest.raises(UserError):
            api.run(TINY | {"data.split": "file"}, out=out, overwrite=True)
        assert api.run(TINY, out=out, overwrite=True)["status"] == "done"
    assert [path.name for path in tmp_path.iterdir()] == ["a[0]"]
    if then != "overwrite":
        assert (out / "epochs.jsonl").read_bytes() == before
        assert "this run is back" in RunFolder(out).warnings.read_text()
    assert "this run is back" in caplog.text


@pytest.mark.thorough
def test_a_run_goes_once_its_replacement_has_a_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "a"
    former = replaced_and_killed(out, "begun")
    (out / "config.toml").unlink()
    RunFolder(out)._take_back()
    out.rmdir()
    api.run(TINY | {"search.epochs": 1}, out=tmp_path / "b")
    (tmp_path / "b" / "result.json").unlink()
    (tmp_path / "b").rename(out)
    assert command("list", str(tmp_path)) == 0
    assert former.exists()
    assert api.resume(out)["status"] == "done"
    assert not former.exists()


def test_a_run_that_was_replaced_is_no_run_any_more(tmp_path: Path) -> None:
    """It was listed beside the one that replaced it: a seed counted twice."""
    former = replaced_and_killed(tmp_path / "a", "begun")
    (tmp_path / "a" / "config.toml").write_text('[identity]\nhash = "a"\n')
    assert [run.path.name for run in find_runs(tmp_path)] == ["a"]
    assert former.exists()


def test_a_run_stays_aside_while_the_other_is_at_work(tmp_path: Path) -> None:
    out = tmp_path / "a"
    api.run(TINY | {"search.epochs": 1}, out=out)
    with RunFolder(out).created({"format": 1}, overwrite=True):
        (out / "config.toml").unlink()
        RunFolder(out).put_back()
        [former] = tmp_path.glob(".a.*")
        assert (former / "result.json").exists()
