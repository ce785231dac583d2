"""After a failed run of one's own file the next line a user types works."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from cases import command, console, snapshot, tiny_search
from studies import tiny_study
from tiny import TINY

from optnas import UserError
from optnas.base.records import Record, RunFolder
from optnas.search import api
from optnas.study.declare import load_study

MINE = """
from optnas import register, parts

@register("relaxation", "mine")
def mine():
    def relax(alpha_EO, progress):
        {body}
    return relax
"""
WORKS = "return alpha_EO.softmax(-1)"
FAILS = "return alpha_EO.softmax(-1) / [][progress.epoch]"


def settings(*more: str) -> list[str]:
    own = ["algorithm.name=composed", "algorithm.relaxation.name=./mine.py:mine"]
    tiny = [f"{key}={value}" for key, value in TINY.items() if key != "algorithm.name"]
    return [*tiny, *own, *more]


@pytest.mark.slow
def test_a_failing_file_is_shown_mended_and_run_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(body=FAILS))
    code, _, err = console(["search", *settings(), "--out", "my run"], tmp_path)
    assert (code, err[0]) == (1, "optnas: failed: IndexError: list index out of range")
    assert err[1:] == [f"  {file}, line 7, in relax: {FAILS}"]
    file.write_text(MINE.format(body=WORKS))
    code, _, err = console(["resume", "my run"], tmp_path)
    assert code == 2
    advised = shlex.split(err[0].rpartition("start anew: optnas ")[2])
    code, _, err = console(advised, tmp_path)
    assert (code, err) == (0, [])
    result = RunFolder(tmp_path / "my run").read_result()
    assert result is not None
    assert result["status"] == "done"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "my run"]


@pytest.mark.thorough
def test_what_cannot_begin_leaves_the_old_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    api.run(TINY | {"search.epochs": 1}, out=out)
    before = (out / "epochs.jsonl").read_bytes()
    with pytest.raises(UserError, match="holds something already") as refused:
        api.run(TINY, out=out)
    assert "overwrite=True" in str(refused.value.remedy)
    with pytest.raises(UserError, match="is a file, and a run is a folder"):
        api.run(TINY, out=out / "config.toml")
    with pytest.raises(UserError):
        api.run(TINY | {"data.split": "file"}, out=out, overwrite=True)
    with pytest.raises(UserError):
        api.run(TINY | {"weight_optimizer.lr": -1.0}, out=out, overwrite=True)
    assert (out / "epochs.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with RunFolder(out).locked(), pytest.raises(UserError, match="another process"):
        api.run(TINY, out=out, overwrite=True)
    assert api.run(TINY, out=out, overwrite=True)["epochs"] == TINY["search.epochs"]


@pytest.mark.parametrize("error", [RuntimeError("no\nmemory"), MemoryError(), KeyboardInterrupt()])
@pytest.mark.thorough
def test_a_run_stays_where_the_new_one_ends_before_its_first_checkpoint(
    error: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever was no bad input destroyed a finished run, and nothing had begun in its place."""

    def fails(settings: Any) -> Any:
        raise error

    out = tmp_path / "out"
    api.run(TINY | {"search.epochs": 1}, out=out)
    before = snapshot(out)
    monkeypatch.setattr("optnas.search.loop.build_state", fails)
    code = command(*tiny_search("--overwrite", out=str(out)))
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert "the former run is back" in caplog.text
    assert (code == 130) == ("run the same command again" in capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert snapshot(out) == before
    assert not RunFolder(out).running()


@pytest.mark.thorough
def test_a_failure_in_a_file_of_ones_own_leaves_the_old_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    api.run(TINY | {"search.epochs": 1}, out=out)
    before = (out / "epochs.jsonl").read_bytes()
    (tmp_path / "mine.py").write_text(MINE.format(body="raise RuntimeError('not today')"))
    code, _, err = console(["search", *settings(), "--out", "out", "--overwrite"], tmp_path)
    assert code == 1
    assert any("the former run is back" in line for line in err)
    assert (out / "epochs.jsonl").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "out"]


@pytest.mark.thorough
def test_a_run_is_replaced_where_the_new_one_has_a_checkpoint(tmp_path: Path) -> None:
    """What was interrupted later is the new run's, and goes on."""
    out = tmp_path / "out"
    api.run(TINY | {"search.epochs": 1}, out=out)

    def stop(record: Record) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.run(TINY, out=out, overwrite=True, on_epoch=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert api.resume(out)["epochs"] == TINY["search.epochs"]


def test_only_a_run_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.toml").write_text("[theme]\n")
    arguments = [f"{key}={value}" for key, value in TINY.items()]
    assert command("search", *arguments, "--out", str(out), "--overwrite") == 2
    assert "only a run is overwritten" in capsys.readouterr().err
    assert (out / "config.toml").read_text() == "[theme]\n"


@pytest.mark.thorough
def test_runs_of_an_edited_file_are_named_and_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0.1.0 said that the runs are missing, and to run them first."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(body=WORKS))
    own = {"algorithm.name": "composed", "algorithm.relaxation": {"name": "./mine.py:mine"}}
    name = tiny_study(tmp_path, "[0, 1]", **own)
    for planned in load_study(name).runs.values():
        api.run(planned.settings.document(), out=tmp_path / "out" / planned.id)
    file.write_text(MINE.format(body=f"{WORKS}  # edited"))
    told = "2 runs of an earlier ./mine.py, not counted: what was edited makes another run"
    assert command("study", "status", name, "--out", "out") == 0
    assert told in capsys.readouterr().out
    assert command("study", "plan", name, "--out", "out", "--no-timing") == 0
    assert told in capsys.readouterr().out
    assert command("study", "table", name, "--out", "out", "-o", "a.csv") == 2
    assert "2 runs of an earlier ./mine.py" in capsys.readouterr().err
