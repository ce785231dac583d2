"""What only shows never stops what computes, and no code of the current folder is run.

Each failed on 0.1.0: a search whose reader left was recorded as failed, and the workers of a study
imported a stranger's ``json.py`` that lay where the command was run.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cases import CONSOLE, console, environment, start
from studies import tiny_study
from tiny import TINY

from optnas.base.records import RunFolder
from optnas.report.inventory import counted, inventory
from optnas.study.declare import load_study
from optnas.study.engines.local import local
from optnas.study.runner import Runner
from optnas.study.states import state_of

# Real processes.
pytestmark = pytest.mark.slow  # processes of their own

SEARCH = ["search", *(f"{key}={value}" for key, value in TINY.items()), "--out", "out"]


def settings_of_tiny() -> list[str]:
    return [part for part in SEARCH if part != "measures.gap.at=[]"]


def test_a_search_goes_on_when_its_reader_leaves(tmp_path: Path) -> None:
    process = start(settings_of_tiny(), tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (0, "")
    result = RunFolder(tmp_path / "out").read_result()
    assert result is not None
    assert result["status"] == "done"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_search_goes_on_when_nothing_can_be_shown(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [CONSOLE, *settings_of_tiny()],
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=200,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "optnas: failed: cannot show all of it (No space left on device)\n"
    result = RunFolder(tmp_path / "out").read_result()
    assert result is not None
    assert result["status"] == "done"


def test_a_list_whose_reader_left_is_no_failure(tmp_path: Path) -> None:
    process = start(["list", "optimizers"], tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (0, "")


CLOSED = """
>&- | list optimizers | 0
2>&- | list optimizers | 0
2>&- | list none/at/all | 2
>&- 2>&- | list none/at/all | 2
>&- | frobnicate | 2
<&- >&- 2>&- | list . | 0
"""


@pytest.mark.parametrize("row", CLOSED.strip().splitlines())
def test_streams_that_are_closed_lead_nowhere(row: str, tmp_path: Path) -> None:
    """A raw traceback and exit code 120, or 1 where an error was to be told."""
    closed, words, code = row.split(" | ")
    done = subprocess.run(
        ["sh", "-c", f'"$0" "$@" {closed}', CONSOLE, *words.split()],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == int(code), done
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == (words == "list optimizers" and closed == "2>&-")
    assert bool(done.stderr) == (words == "frobnicate")


def test_a_search_without_streams_writes_nothing_into_its_files(tmp_path: Path) -> None:
    words = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', CONSOLE, *SEARCH]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), timeout=200, check=False)
    assert done.returncode == 0
    run = RunFolder(tmp_path / "out")
    assert state_of(run) == "done"
    assert (run.path / ".lock").read_bytes() == b""


def test_what_an_encoding_has_not_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "grün").mkdir()
    (tmp_path / "grün" / "config.toml").write_text("identity = 1\n")
    code, out, err = console(["list", "."], tmp_path, PYTHONIOENCODING="ascii")
    assert (code, err) == (0, [])
    assert out[1].startswith("unreadable")
    assert "gr\\xfcn" in out[1]


def test_workers_import_nothing_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a stranger was executed')\n")
    name = tiny_study(tmp_path)
    code, out, err = console(["study", "run", name, "--out", "out"], tmp_path)
    assert (code, err) == (0, []), out


BAD: dict[str, Callable[[RunFolder], object]] = {
    "a torn result": lambda run: run.result.write_text('{"status": "do'),
    "a status that is none": lambda run: run.result.write_text('{"status": 5}'),
    "a torn configuration": lambda run: run.config.write_text("[search\n"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_bad_folder_does_not_end_a_study(case: str, tmp_path: Path) -> None:
    """The run is a status, the others are begun: 0.1.0 left them."""
    name, out = tiny_study(tmp_path, seeds="[0, 1]"), tmp_path / "out"
    first, other = load_study(name).runs
    bad = RunFolder(out / first)
    with bad.created(load_study(name).runs[first].settings.document()):
        BAD[case](bad)
    told: list[tuple[str, str]] = []
    engine = local()
    runner = Runner(
        load_study(name),
        out,
        engine,
        1,
        on_change=lambda run, state, why: told.append((run.id, state)),
    )
    assert not runner.go()
    assert state_of(bad) == "unreadable"
    assert state_of(RunFolder(out / other)) == "done"
    assert (first, "unreadable") in told
    assert "unreadable" in counted(inventory(load_study(name), runner.folders))
    code, lines, err = console(["study", "status", name, "--out", "out"], tmp_path)
    assert (code, err) == (0, [])
    assert any(line.startswith(f"unreadable  {first}") for line in lines), lines
    words = ["study", "table", name, "--out", "out", "-o", "t.csv", "--recorded"]
    code, lines, err = console(words, tmp_path)
    assert (code, err) == (0, [])
    (left_out,) = (line for line in lines if line.startswith("left out: "))
    assert str(Path("out") / first) in left_out
