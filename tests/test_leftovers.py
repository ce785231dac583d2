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

from optnas.base.files import TEMPORARY, write_atomically, write_text
from optnas.base.measurements import Measurements

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
