"""Live tracking: what is written, what a resume makes of it, and that it cannot hurt a run."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import interrupted_run, timeless, unsaved_run
from tensorboard.backend.event_processing.event_accumulator import (
    SCALARS,
    TENSORS,
    EventAccumulator,
)
from tiny import TINY, tiny_settings

from optnas import UserError
from optnas.base.records import Record, RunFolder
from optnas.search import api
from optnas.search.settings.model import Settings
from optnas.search.trackers import guard
from optnas.search.trackers.shown import MATRICES, Curves
from optnas.search.trackers.wandb import WeightsAndBiases

ERRORS = "WANDB_ERROR_REPORTING"
BOARD = {"tracking.name": "tensorboard"}
NOTES = '''
"""Writes down every call; fails where it is told to."""
import json
import time
from pathlib import Path

class Notes:
    def __init__(self, fails: str = "never", hangs: str = "never", log: str = "calls.jsonl"):
        self.fails, self.hangs, self.log = fails, hangs, log
    def _note(self, call, what):
        with Path(self.log).open("a") as file:
            file.write(json.dumps([call, what]) + "\\n")
        if self.fails == call:
            raise OSError("the server\\nis gone")
        if self.hangs == call:
            time.sleep(2)
    def start(self, settings, folder):
        self._note("start", len(folder.read_epochs()))
    def record(self, record):
        self._note("record", record["epoch"])
    def finish(self, status):
        self._note("finish", status)
'''


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """The tracker ``./notes.py:Notes`` and a function that reads what it was called with."""
    monkeypatch.chdir(tmp_path)
    Path("notes.py").write_text(NOTES)
    return lambda: [json.loads(line) for line in Path("calls.jsonl").read_text().splitlines()]


def events_of(run: Path) -> EventAccumulator:
    return EventAccumulator(
        str(run / "tensorboard"), size_guidance={SCALARS: 0, TENSORS: 0}
    ).Reload()


def scalars(run: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events_of(run).Scalars(tag)]


def test_the_curves_of_two_kinds_of_cell_are_apart(tmp_path: Path) -> None:
    settings = tiny_settings(space__name="darts-s2", benchmark__table="none")
    curves = Curves(settings, RunFolder(tmp_path), alpha=True)
    matrix = [[float(edge), 0.5] for edge in range(28)]
    record = dict.fromkeys(MATRICES, matrix) | {"epoch": 0}
    ((_, numbers),) = curves.of([record])
    assert len(numbers) == len(MATRICES) * 28 * 2
    assert numbers["alpha/normal/0-2/skip_connect"] == 0.0
    assert numbers["alpha/reduce/4-5/skip_connect"] == 27.0


def assert_board_is(run: Path) -> None:
    """Each epoch of each number once, and equal to the record (events are float32)."""
    records = timeless(run)
    for tag, value in (
        ("valid_accuracy", lambda r: r["valid_accuracy"]),
        ("train_loss", lambda r: r["train_loss"]),
        ("benchmark/accuracy/cifar10", lambda r: r["benchmark"]["accuracy"]["cifar10"]),
        ("alpha/0-1/skip_connect", lambda r: r["alpha"][0][1]),
        ("op_weights/2-3/none", lambda r: r["op_weights"][5][0]),
    ):
        told = [(r["epoch"], value(r)) for r in records if value(r) is not None]
        shown = scalars(run, tag)
        assert [step for step, _ in shown] == [step for step, _ in told], tag
        assert [v for _, v in shown] == pytest.approx([v for _, v in told], rel=1e-6), tag


@pytest.mark.thorough
def test_the_board_holds_the_records_and_moves_no_number(tmp_path: Path) -> None:
    api.run(TINY, out=tmp_path / "plain")
    api.run(TINY | BOARD, out=tmp_path / "board")
    assert timeless(tmp_path / "board") == timeless(tmp_path / "plain")
    plain, board = ((tmp_path / name / "config.toml").read_text() for name in ("plain", "board"))
    assert plain.split("[identity]")[1] == board.split("[identity]")[1]
    assert_board_is(tmp_path / "board")
    events = events_of(tmp_path / "board")
    texts = {
        tag: [(e.step, e.tensor_proto.string_val[0].decode()) for e in events.Tensors(tag)]
        for tag in ("config/text_summary", "architecture/text_summary", "status/text_summary")
    }
    assert texts["config/text_summary"] == [(0, f"```toml\n{board}```")]
    assert [step for step, _ in texts["architecture/text_summary"]] == [0, 1, 2]
    assert texts["status/text_summary"] == [(2, "done")]
    assert not (tmp_path / "board/warnings.txt").exists()


def test_alpha_may_be_left_out(tmp_path: Path) -> None:
    api.run(TINY | BOARD | {"tracking.alpha": False, "search.epochs": 1}, out=tmp_path / "a")
    tags = events_of(tmp_path / "a").Tags()[SCALARS]
    assert "alpha_margin" in tags
    assert not [tag for tag in tags if tag.startswith(("alpha/", "op_weights/"))]


@pytest.mark.thorough
def test_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    """The process dies after the record of epoch 2 and before its checkpoint."""
    run = unsaved_run(tmp_path / "run", TINY | BOARD | {"search.epochs": 3})
    api.resume(run)
    assert_board_is(run)
    assert [step for step, _ in scalars(run, "seconds")] == [0, 1, 2, 3]


@pytest.mark.parametrize("lost", ["all", "the last"])
@pytest.mark.thorough
def test_epochs_that_are_not_there_yet_are_written(lost: str, tmp_path: Path) -> None:
    """Tracking begins with a resume, or the process died between a checkpoint and its event."""
    run = interrupted_run(tmp_path / "run", epochs=0, **({} if lost == "all" else BOARD_))
    kept = tmp_path / "kept"
    if lost == "the last":
        shutil.copytree(run / "tensorboard", kept)
        with pytest.raises(KeyboardInterrupt):
            api.resume(run, on_epoch=_interrupt)
        shutil.rmtree(run / "tensorboard")
        shutil.copytree(kept, run / "tensorboard")
    api.resume(run, BOARD)
    assert_board_is(run)


BOARD_ = {"tracking__name": "tensorboard"}


def _interrupt(record: Record) -> None:
    del record
    raise KeyboardInterrupt


def test_a_tracker_hears_of_every_end(notes: Callable[[], list[Any]]) -> None:
    own = TINY | {"tracking.name": "./notes.py:Notes", "search.epochs": 1}
    with pytest.raises(KeyboardInterrupt):
        api.run(own, out="run", on_epoch=_interrupt)
    api.resume("run")
    api.resume("run")  # it is finished: nothing starts

    def fail(record: Record) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        api.run(own, out="failed", on_epoch=fail)
    api.run(own | {"arch_optimizer.lr": 1e300, "arch_optimizer.weight_decay": 1e300}, out="inf")
    assert notes() == [
        ["start", 0],
        ["record", 0],
        ["finish", "interrupted"],
        ["start", 1],
        ["record", 1],
        ["finish", "done"],
        ["start", 0],
        ["record", 0],
        ["finish", "failed"],
        ["start", 0],
        ["record", 0],
        ["finish", "diverged"],
    ]


@pytest.mark.parametrize(
    ("fails", "calls", "when"),
    [
        ("start", 1, "at the start"),
        ("record", 2, "at epoch 0"),
        ("finish", 4, "at the end"),
    ],
)
def test_a_failing_tracker_is_told_once_and_the_run_goes_on(
    fails: str,
    calls: int,
    when: str,
    notes: Callable[[], list[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = {"tracking.name": "./notes.py:Notes", "tracking.fails": fails, "search.epochs": 1}
    assert api.run(TINY | own, out="run")["status"] == "done"
    assert len(timeless(Path("run"))) == 2
    assert len(notes()) == calls
    (line,) = Path("run/warnings.txt").read_text().splitlines()
    assert line == (
        f"tracking by ./notes.py:Notes stopped {when} (OSError: the server is gone); "
        "the run goes on, run/epochs.jsonl has every epoch"
    )
    assert [(r.levelno, r.getMessage()) for r in caplog.records if r.name == "optnas"] == [
        (logging.WARNING, f"optnas: warning: {line}")
    ]


def test_a_tracker_that_does_not_answer_is_let_go(
    notes: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "LIMIT_S", 0.1)
    own = {"tracking.name": "./notes.py:Notes", "tracking.hangs": "record", "search.epochs": 2}
    assert api.run(TINY | own, out="run")["status"] == "done"
    assert notes() == [["start", 0], ["record", 0]]
    (line,) = Path("run/warnings.txt").read_text().splitlines()
    assert "stopped at epoch 0 (TimeoutError: no answer within 0.1 seconds); the run goes" in line


def test_an_interruption_before_a_call_begins_is_no_failure(
    notes: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between a thread and its start: the tracker was let go for a thread not begun."""
    begin, calls = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        calls.extend([thread] * (thread.name == "tracking"))
        if len(calls) == 2 and thread is calls[1]:
            raise KeyboardInterrupt
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        api.run(TINY | {"tracking.name": "./notes.py:Notes"}, out="run")
    assert not Path("run/warnings.txt").exists()
    assert notes() == [["start", 0], ["finish", "interrupted"]]


@pytest.mark.thorough
def test_what_was_taken_back_is_told_anew(tmp_path: Path, notes: Callable[[], list[Any]]) -> None:
    """A watched search goes back to an earlier epoch, and on from there another way."""
    api.run(TINY | BOARD, out=tmp_path / "board")
    folder = RunFolder(tmp_path / "board")
    settings = Settings.recorded(folder.read_config())
    noted = tiny_settings(tracking__name="./notes.py:Notes")
    told = [guard.tracker_of(each, folder) for each in (settings, noted)]
    for tracker in told:
        tracker.start(settings)
    kept, *others = folder.read_epochs()
    others = [each | {"valid_loss": each["valid_loss"] + 1} for each in others]
    for count in (1, 2):
        lines = [json.dumps(each) + "\n" for each in [kept, *others[:count]]]
        folder.result.unlink(missing_ok=True)
        folder.epochs.write_text("".join(lines))
        for tracker in told:
            tracker.record(others[count - 1])
    for tracker in told:
        tracker.finish("done")
    assert [value for _, value in scalars(folder.path, "valid_loss")] == pytest.approx(
        [kept["valid_loss"], *(each["valid_loss"] for each in others)]
    )
    assert_board_is(folder.path)
    again = [["finish", "interrupted"], ["start", 2], ["record", 2], ["finish", "done"]]
    assert notes() == [["start", 3], *again]
    # The way back may be the end of the search.
    for tracker in told:
        tracker.start(settings)
    folder.epochs.write_text("".join(lines[:2]))
    for tracker in told:
        tracker.finish("done")
    assert_board_is(folder.path)
    ended = [["start", 3], ["finish", "interrupted"], ["start", 2], ["finish", "done"]]
    assert notes() == [["start", 3], *again, *ended]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio", "mlflow"])
def test_a_missing_extra_is_told_before_the_run_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == name else find_spec(n, *a)
    )
    with pytest.raises(UserError, match=rf'not installed; run: pip install "optnas\[{name}\]"'):
        api.run(TINY | {"tracking.name": name}, out=tmp_path / "new/run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_the_section_is_a_run_without_a_tracker() -> None:
    assert tiny_settings().tracking.name == "none"
    tracked = tiny_settings(tracking__name="tensorboard")
    assert tracked.document()["tracking"] == {"name": "tensorboard", "alpha": True}
    assert tracked.hash == tiny_settings().hash


def test_a_tracker_that_cannot_be_made_is_told_before_the_run_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gone.py").write_text(
        "class Gone:\n    def __init__(self):\n        raise OSError('no server')\n"
    )
    told = r"tracking.name = './gone.py:Gone': it cannot be made \(OSError: no server\)"
    with pytest.raises(UserError, match=told):
        api.run(TINY | {"tracking.name": "./gone.py:Gone"}, out="run")
    assert not Path("run").exists()


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_variables_for_a_library_do_not_stay_in_the_process(
    ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WANDB_CACHE_DIR of the first run was that of all that the program did after it."""
    seen: dict[str, str | None] = {}
    wandb = types.ModuleType("wandb")

    def init(**given: Any) -> Any:
        seen.update({name: os.environ.get(name) for name in ("WANDB_CACHE_DIR", ERRORS)})
        if ends == "badly":
            raise OSError("no process")
        return types.SimpleNamespace(log=lambda *row, **step: None)

    wandb.init, wandb.Settings = init, dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setenv(ERRORS, "true")
    monkeypatch.delenv("WANDB_CACHE_DIR", raising=False)
    folder, before = RunFolder(tmp_path), dict(os.environ)
    with contextlib.nullcontext() if ends == "well" else pytest.raises(OSError, match="process"):
        WeightsAndBiases("optnas", "", alpha=True).start(tiny_settings(), folder)
    assert seen == {"WANDB_CACHE_DIR": str(tmp_path / "wandb" / "cache"), ERRORS: "true"}
    assert dict(os.environ) == before
