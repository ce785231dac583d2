"""What the machine refuses is tried again, and a full disk ends a study; nothing waits for ever."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import itertools
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import FORM, command
from studies import tiny_study
from test_study import InProcess
from test_study import run_study as run_in_process
from tiny import TINY

from optnas.base import errors
from optnas.base.errors import Origins, UserError, fault_of
from optnas.base.records import RunFolder
from optnas.base.registry import supply
from optnas.base.toml import dump_toml
from optnas.cli.printing.study import print_plan
from optnas.measures.evaluation import Score
from optnas.search import api, loop, words
from optnas.search.draws import StepDraws
from optnas.search.session import Session
from optnas.search.state import SearchState
from optnas.search.steppers import STEPPERS, Step
from optnas.study import timing
from optnas.study.declare import PlannedRun, load_study
from optnas.study.folder import prepare
from optnas.study.starts import StartLog
from optnas.study.states import look
from optnas.study.timing import beside_the_record, estimate
from optnas.study.worker import execute


def run_study(name: str, out: Path) -> Any:
    """In this process; what an exception would do to a worker is its exit code."""

    def worker(folder: Path) -> int:
        try:
            return execute(folder)
        except Exception:
            return 1

    return run_in_process(name, out, InProcess(worker))


FULL = OSError(errno.ENOSPC, "No space left on device")
FAULTS: dict[str, tuple[BaseException, str]] = {
    "a full disk": (FULL, "disk"),
    "no permission": (PermissionError(errno.EACCES, "Permission denied"), "environment"),
    "no memory": (MemoryError(), "environment"),
    "no memory of torch": (torch.OutOfMemoryError("CUDA out of memory"), "environment"),
    "no memory of its allocator": (
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        "environment",
    ),
    "a wrong shape": (RuntimeError("shapes do not fit"), "program"),
    "a file that is not there": (FileNotFoundError(errno.ENOENT, "No such file"), "program"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_whose_fault_it_is(case: str) -> None:
    error, fault = FAULTS[case]
    assert fault_of(error) == fault
    told = UserError("told")
    told.__cause__ = error
    assert fault_of(told) == fault


def test_a_system_without_an_error_of_linux_loads_the_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(errno, "EREMOTEIO", raising=False)
    spec = importlib.util.spec_from_file_location("errors_elsewhere", errors.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    assert module.fault_of(OSError(errno.ESTALE, "gone")) == "environment"


@pytest.mark.parametrize("told", [Origins("a.toml").told, lambda: words.told("a.toml")])
def test_an_error_that_names_its_place_is_not_its_own_cause(told: Any) -> None:
    with pytest.raises(UserError) as caught, told(), told():
        raise UserError("wrong", where="b.toml") from ValueError("no number")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_refusal_of_a_component_is_not_its_own_cause() -> None:
    def component(size: int) -> None:
        raise UserError("too much", key="elsewhere", value=size)

    with pytest.raises(UserError) as caught:
        supply(component, {"size": 3}, {}, section="algorithm")
    assert caught.value.__cause__ is None


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, epoch: int = 1) -> None:
    """Searches fail in an epoch until the patch is undone."""
    train = Session.train_epoch

    def train_epoch(self: Session) -> Any:
        if self.state.epoch + 1 == epoch:
            raise error
        return train(self)

    monkeypatch.setattr(Session, "train_epoch", train_epoch)


@pytest.mark.parametrize(("case", "again"), [("no memory", True), ("a wrong shape", False)])
def test_what_the_machine_refused_is_tried_again(
    case: str, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, out = tiny_study(tmp_path), tmp_path / "out"
    with monkeypatch.context() as patch:
        failing(patch, FAULTS[case][0])
        first = run_study(name, out)
    assert not first.whole
    assert {look(folder).state for folder in first.folders.values()} == {"failed"}
    second = run_study(name, out)
    assert bool(second.engine.started) == second.whole == again


@pytest.mark.thorough
def test_a_full_disk_stops_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, out = tiny_study(tmp_path, "[0, 1, 2]"), tmp_path / "out"
    with monkeypatch.context() as patch:
        failing(patch, FULL)
        with pytest.raises(UserError) as stopped:
            run_study(name, out)
    assert FORM.fullmatch(f"optnas: error: {stopped.value}")
    assert "nothing can be written any more" in str(stopped.value)
    assert "No space left" in str(stopped.value)
    begun = [path for path in out.iterdir() if (path / "config.toml").exists()]
    assert 0 < len(begun) < len(load_study(name).runs)
    assert run_study(name, out).whole
    assert not list(out.glob("*.partial"))


@pytest.mark.thorough
def test_a_disk_too_full_for_a_result_stops_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, out = tiny_study(tmp_path, "[0, 1, 2]"), tmp_path / "out"

    def full(self: Any, *given: Any, **more: Any) -> Any:
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", full)
        patch.setattr(RunFolder, "finish", full)
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match="No space left"):
            run_study(name, out)
    assert run_study(name, out).whole


@pytest.mark.thorough
def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    name, out = tiny_study(tmp_path, "[0]", search__epochs=10_000), tmp_path / "out"
    text = Path(name).read_text().replace("[study]", "[study]\ntimeout = 2")
    Path(name).write_text(text)
    began = time.monotonic()
    code = command("study", "run", name, "--out", str(out), "--jobs", "1")
    assert time.monotonic() - began < 60
    assert code == 1
    (folder,) = (RunFolder(path) for path in out.iterdir() if path.is_dir())
    assert look(folder) == ("timeout", "took more than 2 s")
    assert run_study(name, out).engine.started == []


class SlowToBegin(InProcess):
    """An engine whose worker has not begun when it is first looked at."""

    looks = 0

    def wait(self, handles: Any, seconds: float) -> dict[int, str]:
        self.looks += 1
        return {} if self.looks == 1 else super().wait(handles, seconds)

    def interrupt(self, handle: int) -> None:
        raise AssertionError("interrupted")


def test_the_start_of_a_killed_execution_counts_for_no_timeout(tmp_path: Path) -> None:
    name, out = tiny_study(tmp_path, "[0]"), tmp_path / "out"
    Path(name).write_text(Path(name).read_text().replace("[study]", "[study]\ntimeout = 60"))
    ((run_id, run),) = load_study(name).runs.items()
    folder, engine = RunFolder(out / run_id), SlowToBegin()
    prepare(run, folder)
    StartLog(folder).path.write_text('{"event": "start", "time": "2026-01-01T00:00:00+00:00"}\n')
    run_in_process(name, out, engine)
    assert look(folder).state == "done"


@pytest.mark.parametrize("value", ["0", "-1", '"1 h"', "true", "inf"])
def test_a_timeout_is_a_number_of_seconds(value: str, tmp_path: Path) -> None:
    path = Path(tiny_study(tmp_path))
    path.write_text(path.read_text().replace("[study]", f"[study]\ntimeout = {value}"))
    with pytest.raises(UserError, match=r"study\.timeout = .*: must be a number of seconds"):
        load_study(str(path))


def test_a_grid_of_ever_so_many_runs_is_refused(tmp_path: Path) -> None:
    axes = {f"measures.m{axis}.every": list(range(1000)) for axis in range(4)}
    document = {"study": {"name": "a", "seeds": [0]}, "grid": [axes]}
    (tmp_path / "s.toml").write_text(dump_toml(document))
    with pytest.raises(UserError, match=r"s\.toml: grid: has 1,000,000,000,000 runs"):
        load_study(str(tmp_path / "s.toml"))


def test_a_plan_tells_each_kind_and_stops(tmp_path: Path) -> None:
    name = tiny_study(tmp_path, "[0, 1]")
    told: list[tuple[int, bool]] = []
    study = load_study(name)

    def tell(run: PlannedRun, count: int, took: float | None, left_out: str) -> None:
        told.append((count, took is None))

    assert estimate(study, tell, budget=0) == {}
    assert told == []
    assert len(estimate(study, tell)) == 2  # one kind, under two seeds
    assert told == [(2, True), (2, False)]


def test_a_plan_times_the_steps_as_the_run_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the third on: what a stepper records and makes once is not told of every step."""
    clock = [0.0]

    @contextlib.contextmanager
    def recording(step: Step, state: SearchState) -> Iterator[Step]:
        costs = itertools.chain([0.75, 0.5], itertools.repeat(0.25))

        def taken(draws: StepDraws) -> Score:
            clock[0] += next(costs)
            return step(draws)

        yield taken

    monkeypatch.setitem(STEPPERS, "eager", recording)
    told = types.SimpleNamespace(perf_counter=lambda: clock[0], monotonic=time.monotonic)
    monkeypatch.setattr(timing, "time", told)
    study = load_study(tiny_study(tmp_path))
    (run,) = study.runs.values()
    epochs, steps = run.settings.search.epochs, -(-run.settings.data.train_size // 16)
    assert run.settings.search.batch_size == 16
    assert list(estimate(study).values()) == [epochs * steps * 0.25]


def test_a_plan_names_the_measures_that_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load_study(tiny_study(tmp_path, measures__gap__every=1))
    ((name, run),) = study.runs.items()
    assert beside_the_record(run.settings) == {"gap": 3}
    print_plan(study, {name: RunFolder(tmp_path / name)}, {name: 1.0}, 1)
    assert "measures beside the record (gap) come on top" in capsys.readouterr().out


PIPES: dict[str, Callable[[Path], list[str]]] = {
    "a.toml": lambda pipe: ["search", "--out", "x", "-c", str(pipe)],
    "s.toml": lambda pipe: ["study", "plan", str(pipe)],
    "c.toml": lambda pipe: ["study", "claims", "--out", "x", "--claims", str(pipe)],
    "h.jsonl": lambda pipe: ["stopping", str(pipe)],
    "mine.py": lambda pipe: ["search", "--out", "x", f"algorithm.name={pipe}:mine"],
    "a.parquet": lambda pipe: ["search", "--out", "x", "data.name=parquet", f"data.path={pipe}"],
    "nas-bench-201/test-accuracy.csv.gz": lambda pipe: [
        *("benchmark", "query", "0", "--table", "official", "--data", str(pipe.parents[1]))
    ],
    "cifar-10-batches-py/data_batch_1": lambda pipe: [
        *("search", "--out", "x", "data.name=cifar10", "--data", str(pipe.parents[1]))
    ],
}


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_in_place_of_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pipe = tmp_path / name
    pipe.parent.mkdir(exist_ok=True)
    for other in [f"data_batch_{n}" for n in range(2, 6)] * ("cifar" in name):
        (pipe.parent / other).write_bytes(b"x")
    os.mkfifo(pipe)
    assert command(*PIPES[name](pipe)) == 2
    err = capsys.readouterr().err
    assert FORM.fullmatch(err.strip())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "name",
    ["config.toml", "epochs.jsonl", "result.json", "environment.json", "measures/gap.jsonl"],
)
def test_a_pipe_in_a_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    api.run(TINY, out="run")
    path = tmp_path / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert command("list", ".") == 0
    assert "is a pipe" in capsys.readouterr().out
    if name != "result.json":
        (tmp_path / "run/result.json").unlink()
    assert command("resume", "run") == 2
    assert "is a pipe" in capsys.readouterr().err


@pytest.mark.parametrize("name", [".lock", "checkpoints/last.pt", "starts.jsonl"])
def test_a_pipe_in_a_run_that_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        failing(patch, RuntimeError("stop"), epoch=2)
        with pytest.raises(RuntimeError, match="stop"):
            api.run(TINY, out="run")
    path = tmp_path / "run" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    code = command("resume", "run")
    assert code == (2 if name.endswith(".pt") else 0), capsys.readouterr().err
    command("list", ".")


def test_the_loop_says_whose_fault_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loop.fault_of is fault_of
    with monkeypatch.context() as patch:
        failing(patch, MemoryError(), epoch=2)
        with pytest.raises(MemoryError):
            api.run(TINY, out=tmp_path / "run")
    result = RunFolder(tmp_path / "run").read_result()
    assert result is not None
    assert (result["status"], result["fault"]) == ("failed", "environment")
