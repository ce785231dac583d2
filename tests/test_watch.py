"""`optnas watch`: runs under way, finished and failed; how it ends."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from cases import command, interrupted_run
from rich.console import Console
from tiny import TINY

import optnas
from optnas.base.records import RunFolder
from optnas.cli.printing.runs import EpochTable, benchmark_note
from optnas.cli.printing.watch import braille, spark
from optnas.cli.watch import follow
from optnas.study.following import following

STUDY = """
[study]
name = "both"
seeds = [0]
[[grid]]
arch_optimizer = [{ name = "Adam", label = "mine" }, { name = "SGD" }]
[study.base]
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watch")
    optnas.run(TINY | {"search.epochs": 1}, out=folder / "done")
    interrupted_run(folder / "broken", arch_optimizer__name="SGD")
    RunFolder(folder / "broken").finish("failed", reason="it broke [/red] here")
    interrupted_run(folder / "under-way", search__seed=1)
    return folder


def shown(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    assert command("watch", *words, "--once") == 0
    return capfd.readouterr().out


def test_runs_in_every_state(out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = shown(capfd, str(out / "done"))
    assert "SGD + Adam, seed 0: done, epoch 1 of 1" in one
    assert "nothing yet" in one  # of the alpha-Hessian, which TINY does not take
    with RunFolder(out / "under-way").locked():
        many = shown(capfd, str(out))
    assert "1 done, 1 failed, 1 running; 3/4 epochs; about " in many
    assert "left with 1 at a time" in many
    assert "failed: it broke [/red] here" in many
    assert "darts: SGD + SGD" in many


def test_a_study_says_what_is_missing(
    out: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = (f"{key} = {value!r}" for key, value in (TINY | {"search.epochs": 1}).items())
    (tmp_path / "both.toml").write_text(STUDY + "\n".join(lines))
    told = shown(capfd, str(tmp_path / "both.toml"), "--out", str(out))
    assert "1 done, 1 missing; 1/2 epochs" in told
    assert [line.split()[:3] for line in told.splitlines()[2:]] == [
        ["mine", "1/1", "10.00"],
        ["SGD", "0/1", "-"],
    ]


def test_it_ends_when_all_is_over_and_with_an_interruption(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    follow(following(str(out / "done"), None), console, once=False)
    looks: list[float] = []

    def wait(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", wait)
    follow(following(str(out / "under-way"), None), console, once=False)
    assert len(looks) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere",), "there is no study of this name"),
        (("quickstart",), "a study needs the folder of its runs; add --out DIR"),
        ((".",), "there is no run in this folder; name a run's folder"),
    ],
)
def test_what_cannot_be_watched(
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("watch", *words) == 2
    assert told in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_epochs_cuts_nothing_on_a_narrow_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    optnas.run(TINY, out=folder)
    records = RunFolder(folder).read_epochs()
    searched = RunFolder(folder).read_config()["data"]["name"]
    note = benchmark_note(records[0]["benchmark"], searched)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    for width, last in ((60, "skips"), (80, "alpha path"), (200, "architecture")):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("rich._console", None)
        with EpochTable(folder) as shown:
            for record in records:
                shown.add(record)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
        lines = text[text.rindex("benchmark: ") :].splitlines()
        rows = len(records)
        assert " ".join(lines[: -rows - 1]).split() == note.split()
        assert lines[-rows - 1].endswith(last)
        cells = [row.split() for row in lines[-rows:]]
        assert [each[3] for each in cells] == [f"{r['valid_accuracy']:.2f}" for r in records]
        assert max(map(len, lines)) <= width


def test_curves_as_signs() -> None:
    assert braille([0, 3], 1, 1, 1) == [chr(0x2800 + 0x40 + 0x08)]
    assert braille([None, 1.0, None], 2, 1, 3) == [chr(0x2800 + 0x08) + chr(0x2800)]
    assert spark([0, 7], 0, 7, 4, 3) == "▁█"
    assert spark([0, 7], 0, 7, 4, 1) == "▁▁▁█"
    assert spark([], 0, 1, 4, 1) == ""


@pytest.mark.thorough
def test_unlike_runs_of_a_folder_are_no_arm(tmp_path: Path) -> None:
    for rate in (0.1, 0.2):
        optnas.run({**TINY, "weight_optimizer.lr": rate}, out=tmp_path / f"{rate}")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.toml").write_text("spoiled")
    (tmp_path / "broken" / "epochs.jsonl").write_text("")
    arms = {
        seen.run.folder.path.name: seen.run.arm for seen in following(str(tmp_path), None).look()
    }
    assert arms == {
        "0.1": "darts, weight_optimizer.lr=0.1: SGD + Adam",
        "0.2": "darts, weight_optimizer.lr=0.2: SGD + Adam",
        "broken": "broken",
    }
    # What tells them apart was cut off, and with it the numbers.
    file = io.StringIO()
    seen = following(str(tmp_path), None)
    follow(seen, Console(file=file, force_terminal=False, width=70), once=True)
    text = "".join(file.getvalue().split())
    for rate in (0.1, 0.2):
        assert f"weight_optimizer.lr={rate}:" in text
    assert file.getvalue().count("1/1") == 2
