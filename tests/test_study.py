"""Studies: declared, planned, run, tabulated and exported, at a size of seconds."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cases import command, copied, interrupted_run, refused, snapshot, write_files
from made import idx, parquet_bytes, pixels, png
from studies import PAIR, assert_each_completed_once, timeless_table, tiny_study

from optnas import study
from optnas.base.errors import UserError
from optnas.base.records import RunFolder, find_runs
from optnas.base.toml import dump_toml
from optnas.search.api import settings_of
from optnas.study import runner as runner_module
from optnas.study.declare import STUDIES, PlannedRun, load_study
from optnas.study.engines.base import Job
from optnas.study.folder import locate
from optnas.study.progress import Watch, duration
from optnas.study.runner import Runner, _job, runner_of
from optnas.study.starts import StartLog
from optnas.study.states import state_of
from optnas.study.worker import EXIT_BUSY, execute


class InProcess:
    """An engine without processes, for tests of the runner."""

    def __init__(self, hook: Any = execute) -> None:
        self.hook, self.started = hook, []

    def start(self, job: Job) -> int:
        self.started.append(job.folder.name)
        return len(self.started)

    def wait(self, handles: Any, seconds: float) -> dict[int, str]:
        return {h: f"exit code {self.hook(Path(self.folder(h)))}" for h in handles}

    def folder(self, handle: int) -> Path:
        return self.root / self.started[handle - 1]

    def interrupt(self, handle: int) -> None: ...

    def close(self) -> None: ...


def run_study(name: str, out: Path, engine: InProcess | None = None, **more: Any) -> Runner:
    """Run a study in this process."""
    engine = engine or InProcess()
    engine.root = out
    runner = Runner(load_study(name), out, engine, jobs=2, **more)
    runner.whole = runner.go()
    return runner


@pytest.mark.thorough
def test_what_is_in_a_queue_is_not_begun_and_what_is_handed_over_not_waited_for(
    tmp_path: Path,
) -> None:
    name, out = tiny_study(tmp_path, "[0, 1]"), tmp_path / "out"
    one, *others = load_study(name).runs
    engine = InProcess(hook=lambda folder: 0)  # that never begins
    engine.root = out
    queue = {(out / one).resolve(): "job 4_1, pending"}
    told: list[tuple[str, str, str]] = []
    runner = Runner(load_study(name), out, engine, jobs=9, queue=lambda: queue)
    runner.on_change = lambda run, state, why: told.append((run.id, state, why))
    runner.hand_over()
    assert engine.started == others
    assert told == [
        (one, "queued", "job 4_1, pending"),
        *((each, "queued", "from epoch 0") for each in others),
    ]
    # Its job is gone without a trace: whoever stays begins it.
    engine = InProcess()
    engine.root = out
    runner = Runner(load_study(name), out, engine, jobs=9, queue=lambda: queue)
    runner.on_tick = queue.clear
    assert runner.go()
    assert engine.started == [*others, one]
    assert_each_completed_once(name, out)


class Queued(InProcess):
    """Jobs that never end; the cluster does not answer for them, or Ctrl-C comes meanwhile."""

    def __init__(self, event: Callable[[], object]) -> None:
        super().__init__()
        self.event, self.told = event, []

    def wait(self, handles: Any, seconds: float) -> dict[int, str]:
        if self.told:
            return dict.fromkeys(handles, "job ended")
        self.event()
        return {}

    def interrupt(self, handle: int) -> None:
        self.told.append(handle)


@pytest.mark.parametrize("queue", [None, dict])
def test_jobs_in_a_queue_outlive_an_error_but_not_ctrl_c(queue: Any, tmp_path: Path) -> None:
    def refuse() -> None:
        raise UserError("the cluster does not take such a job")

    loaded = load_study(tiny_study(tmp_path, "[0, 1]"))
    engine = Queued(refuse)
    with pytest.raises(UserError, match="does not take"):
        Runner(loaded, tmp_path / "out", engine, jobs=2, queue=queue).go()
    assert engine.told == ([] if queue else [1, 2])

    def killed() -> None:  # Ctrl-C reaches a program of the cluster, too
        signal.raise_signal(signal.SIGINT)
        refuse()

    for event in (lambda: signal.raise_signal(signal.SIGINT), killed):
        engine = Queued(event)
        with pytest.raises((KeyboardInterrupt, UserError)):
            Runner(loaded, tmp_path / "out", engine, jobs=2, queue=queue).go()
        assert engine.told == [1, 2]


class Batched(InProcess):
    """A cluster's jobs of all that was begun since the last: the first run of each hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[list[int]] = []
        self.cancelled = False

    def wait(self, handles: Any, seconds: float) -> dict[int, str]:
        handed_in = sum(map(len, self.jobs))
        if len(self.started) > handed_in:
            self.jobs.append([*range(handed_in + 1, len(self.started) + 1)])
            StartLog(RunFolder(self.folder(self.jobs[-1][0]))).add("start")
        time.sleep(seconds)
        if not self.cancelled:
            return {}
        self.cancelled = False
        return dict.fromkeys(self.jobs[-1], "job ended")

    def interrupt(self, handle: int) -> None:
        self.cancelled = True  # the whole job


def test_runs_that_never_began_do_not_fail_with_the_job_of_one_that_was_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fourth of four was told to have failed three times, and had never begun."""
    monkeypatch.setattr("optnas.study.runner.TICK", 0.02)
    monkeypatch.setattr("optnas.study.runner.REMIND", 0.0)
    name = tiny_study(tmp_path, "[0, 1, 2, 3, 4]")
    Path(name).write_text(Path(name).read_text().replace("seeds", "timeout = 0.01\nseeds", 1))
    engine, out = Batched(), tmp_path / "out"
    engine.root = out
    runner = Runner(load_study(name), out, engine, jobs=9)
    assert not runner.go()
    assert [len(job) for job in engine.jobs] == [5, 4, 3, 2, 1]
    assert {state_of(folder) for folder in runner.folders.values()} == {"timeout"}
    assert {len(StartLog(folder).read()) for folder in runner.folders.values()} == {1}


# --- declared -------------------------------------------------------------------------------------


def test_product_union_and_merging(tmp_path: Path) -> None:
    grid = PAIR + '"arch_optimizer.name" = ["SGD", "Adam"]\n'
    grid += '[[grid]]\nweight_optimizer = [{ name = "SGD" }, { name = "SGD", momentum = 0.5 }]\n'
    found = load_study(tiny_study(tmp_path, "[3, 1]", grid))
    assert found.declared == 2 * (4 + 2)
    assert len(found.runs) == 2 * (4 + 1)  # SGD under the default Adam stands in both grids
    seeds = [run.settings.search.seed for run in found.runs.values()]
    assert seeds == [3] * 5 + [1] * 5
    assert all(run.settings.hash.startswith(name) for name, run in found.runs.items())
    momenta = {
        run.settings.weight_optimizer.settings.get("momentum") for run in found.runs.values()
    }
    assert momenta == {None, 0.5, 0.9}
    labels = [run.label for run in found.runs.values()]
    assert labels[0] == "SGD, SGD, seed 3"
    assert labels[4] == "SGD (momentum 0.5), seed 3"


def test_axes_may_be_written_as_tables(tmp_path: Path) -> None:
    dotted = load_study(tiny_study(tmp_path, grid=PAIR))
    nested = load_study(
        tiny_study(tmp_path, grid='[[grid]]\nweight_optimizer.name = ["SGD", "Adam"]\n')
    )
    assert list(dotted.runs) == list(nested.runs)


def test_no_torch_while_planning(tmp_path: Path) -> None:
    name = tiny_study(tmp_path, grid=PAIR)
    code = (
        "import sys; from optnas.study.declare import load_study;"
        f"load_study({name!r}); print([m for m in ('torch', 'pandas') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 and Fashion-MNIST of one black image, as often as published, and no table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    image = pa.array([{"bytes": b"", "path": ""}] * 50_000, pa.struct({"bytes": pa.binary()}))
    pq.write_table(pa.table({"img": image, "label": [0] * 50_000}), folder / "train-0.parquet")
    own = tmp_path / "data" / "fashion-mnist"
    own.mkdir()
    for name, shape in (("images-idx3", (60_000, 28, 28)), ("labels-idx1", (60_000,))):
        (own / f"train-{name}-ubyte").write_bytes(idx(np.zeros(shape, np.uint8)))
    monkeypatch.setenv("OPTNAS_DATA", str(tmp_path / "data"))


@pytest.mark.thorough
def test_shipped_studies(images: None, tmp_path: Path) -> None:
    """Each resolves; under its first seed, since seeds only repeat it."""
    found, seeds = {}, {}
    for name in STUDIES.names():
        document = STUDIES.load(name)[1]
        seeds[name] = document["study"]["seeds"]
        document["study"]["seeds"] = seeds[name][:1]
        document["grid"] = [grid for grid in document["grid"] if "seeds" not in grid]
        (tmp_path / f"{name}.toml").write_text(dump_toml(document))
        found[name] = load_study(str(tmp_path / f"{name}.toml"))
    assert all(each.name == name and each.question for name, each in found.items())
    assert {name: (len(seeds[name]), len(each.runs)) for name, each in found.items()} == {
        # 16 pairs, the control, and momenta that are no pair: 8 of w, 8 of alpha
        "deck": (10, 16 + 1 + 4 * (8 + 8)),
        "deck-cpu": (6, 16 + 1 + 4 * (8 + 8)),
        "fair-lr": (2, 6 * (9 + 4 - 1)),
        "frozen": (6, 2),
        "noise": (6, 2),
        "indicator": (12, 2 * (12 + 1 + 1 + 1 + 1)),
        # as deck without the control; second order under four pairs; momenta at one effective rate
        "optdarts": (10, 16 + 4 * (8 + 8) + 2 * 4 + 4 * 4),
        "optdarts-cpu": (24, 12),
        "optdarts-cpu-arms": (6, 2 * 4),
        "optdarts-cpu-further": (16, 4),
        "optdarts-cpu-figures": (6, 12 + 9 + 3 + 3 + 3 + 4),
        "optdarts-cpu-rates": (2, 5 + 5),
        "optdarts-cpu-rates-alpha": (2, 4 + 4),
        "pairs-cpu": (6, 8),
        "quickstart": (1, 4),
        "size": (3, 2 * 2 * (1 + 2 + 2 + 3)),
        "skip-growth": (6, 2),
        "swap": (6, 2 + 2 * 2),
        "twins": (6, 2 + 2 * 2),
        "worlds-fashion-mnist": (8, 8),
        "worlds-macro": (8, 8),
    }
    assert set(found["pairs-cpu"].runs) <= set(found["deck-cpu"].runs)
    assert set(found["noise"].runs) <= set(found["swap"].runs)
    tunings = ("fair-lr", "optdarts-cpu-rates", "optdarts-cpu-rates-alpha")
    tuning = {seed for name in tunings for seed in seeds.pop(name)}
    assert not tuning & {seed for each in seeds.values() for seed in each}


@pytest.mark.thorough
def test_the_confirming_study_is_run_in_whole_blocks(images: None) -> None:
    """All twelve runs of a seed, then those of the next; some blocks are looked into."""
    runs = list(load_study("optdarts-cpu").runs.values())
    blocks = [runs[first : first + 12] for first in range(0, len(runs), 12)]
    assert [{run.settings.search.seed for run in block} for block in blocks] == [
        {seed} for seed in range(8, 32)
    ]

    def arm(run: PlannedRun) -> tuple[Any, ...]:
        w = run.settings.weight_optimizer
        names = run.settings.algorithm.name, w.name, run.settings.arch_optimizer.name
        return (*names, w.settings.get("momentum"))

    pairs = list(itertools.product(("SGD", "Adam"), repeat=2))
    whole = {(a, *pair) for a in ("darts", "sdarts-rs") for pair in pairs}
    arms = {(*each, 0.9 if each[1] == "SGD" else None) for each in whole}
    arms |= {("darts", "SGD", "Adam", momentum) for momentum in (0.0, 0.5, 0.99)}
    arms |= {("darts-minus", "SGD", "Adam", 0.9)}
    assert all({arm(run) for run in block} == arms for block in blocks)
    looked = [
        {run.settings.search.seed for run in runs if name in run.settings.measures}
        for name in ("indicator", "landscape")
    ]
    assert looked == [{8, 9, 10}, {8, 9, 10, 11, 12, 13}]
    first = runs[0].settings.measures
    averaged, whole_record = first["curvature-mean"].settings, first["sharpness"].settings
    assert averaged["batches"] * averaged["batch_size"] > 2 * whole_record["batch_size"]
    assert (first["indicator"].at, first["landscape"].at) == ([5, 10, 20, "end"], ["end"])
    for name, every in {
        "operations": 1,
        "curvature": 4,
        "curvature-optdarts": 5,
        "gap": 10,
    }.items():
        assert {run.settings.measures[name].every for run in runs} == {every}


@pytest.mark.thorough
def test_studies_at_shins_settings_share_their_runs(images: None) -> None:
    names = ("optdarts-cpu", "optdarts-cpu-figures", "optdarts-cpu-arms", "size")
    confirm, figures, arms, size = (set(load_study(name).runs) for name in names)
    assert len(confirm & figures) == 6 * 12
    assert len(confirm & arms) == 6 * 4
    assert len(confirm & size) == 3 * 4
    seconds = list(load_study("optdarts-cpu-figures").runs.values())[6 * 34 :]
    assert [run.settings.algorithm.name for run in seconds[:8]] == ["sdarts-adv"] * 8
    # A run has the measures of the grid that names it first, and two grids name these.
    landscape = ["landscape" in run.settings.measures for run in seconds[:8]]
    pairs = [
        (run.settings.weight_optimizer.name, run.settings.arch_optimizer.name)
        for run in seconds[:8]
    ]
    assert landscape == [pair == ("SGD", "Adam") for pair in pairs]
    assert sum(landscape) == 2
    unrolled = [run.settings.algorithm.settings["hypergradient"] for run in seconds[8:]]
    exact = {"name": "unrolled", "derivative": "exact"}
    assert unrolled == ([{"name": "unrolled-optdarts"}] * 4 + [exact] * 4) * 4


@pytest.mark.parametrize("number", ["-3", "0"])
def test_no_run_at_all_is_not_asked_for(
    number: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was begun, and the study was whole: exit code 0."""
    name, out = tiny_study(tmp_path), tmp_path / "out"
    assert command("study", "run", name, "--out", str(out), "--max-runs", number) == 2
    refused(capsys.readouterr().err, f"command line: --max-runs = {number}", "write --max-runs 1")
    assert not out.exists()


@pytest.mark.parametrize("verb", ["plan --no-timing", "run --out out", "status --out out"])
def test_a_study_without_runs_is_refused(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *rest = verb.split()
    Path("none.toml").write_text('grid = []\n[study]\nname = "none"\nseeds = [0]\n')
    assert command("study", first, "none.toml", *rest) == 2
    refused(capsys.readouterr().err, "none.toml: grid = []", "or leave it out for one run a seed")


def test_a_queue_that_cannot_be_asked_is_told_beside_json_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs in the queue stood there as missing, and nothing said why."""

    def queue(out: Path) -> Any:
        raise UserError("the cluster does not answer", key="squeue")

    def queue_of(engine: str) -> Any:
        return queue if engine == "slurm" else None

    monkeypatch.setattr("optnas.study.runner._queue_of", queue_of)
    words = ("study", "status", tiny_study(tmp_path), "--out", str(tmp_path / "out"))
    why = "what slurm has in its queue is not known: command line: squeue: the cluster does not"
    assert command(*words) == 0
    out, err = capsys.readouterr()
    assert (why in out, err) == (True, "")
    assert command(*words, "--json") == 0
    out, err = capsys.readouterr()
    assert [each["status"] for each in json.loads(out)] == ["missing"]
    assert err.startswith(f"optnas: warning: {why}")


def test_a_grid_may_have_seeds_of_its_own(tmp_path: Path) -> None:
    """Neighbours with the same seeds are run together, and of equal points the first one counts."""
    grid = '[[grid]]\nseeds = [2, 1]\n"weight_optimizer.name" = ["Adam"]\n'
    grid += '"measures.gap.at" = [[1]]\n'
    grid += '[[grid]]\nseeds = [2, 1]\n"arch_optimizer.name" = ["SGD"]\n'
    grid += PAIR
    found = load_study(tiny_study(tmp_path, "[1, 3]", grid))
    runs = list(found.runs.values())
    told = [
        (
            run.settings.search.seed,
            run.settings.weight_optimizer.name,
            run.settings.arch_optimizer.name,
        )
        for run in runs
    ]
    first = [(seed, *pair) for seed in (2, 1) for pair in (("Adam", "Adam"), ("SGD", "SGD"))]
    assert told == [*first, (1, "SGD", "Adam"), (3, "SGD", "Adam"), (3, "Adam", "Adam")]
    assert (len(runs), found.declared) == (7, 8)
    assert [run.settings.measures["gap"].at for run in runs[:2]] == [[1], []]
    assert runs[0].label == "Adam, seed 2"
    # A label that a later grid gives to such a point takes nothing of it.
    grid += '[[grid]]\nseeds = [2]\nweight_optimizer = [{ name = "Adam", label = "mine" }]\n'
    run = next(iter(load_study(tiny_study(tmp_path, "[1, 3]", grid)).runs.values()))
    assert (run.label, run.settings.measures["gap"].at) == ("mine, seed 2", [1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deck", "deck-cpu"])
def test_the_studies_at_other_rates_name_those_at_shins(
    name: str, images: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("study", "plan", name, "--no-timing") == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("note: ")]
    assert "optdarts" in line


@pytest.mark.thorough
def test_a_search_with_the_same_settings_is_the_same_run(images: None) -> None:
    ids = list(load_study("pairs-cpu").runs)
    pairs = itertools.product(range(2, 8), ("darts", "sdarts-rs"), *[("SGD", "Adam")] * 2)
    for name, (seed, algorithm, w, alpha) in zip(ids, pairs, strict=True):
        alone = settings_of(
            {
                "protocol": "cpu",
                "data.name": "cifar10",
                "algorithm.name": algorithm,
                "weight_optimizer.name": w,
                "arch_optimizer.name": alpha,
                "search.seed": seed,
            }
        )
        assert alone.hash.startswith(name)


def test_quickstart_is_what_the_demo_always_was() -> None:
    runs = load_study("quickstart").runs.values()
    for run, (w, alpha) in zip(runs, itertools.product(*[("SGD", "Adam")] * 2), strict=True):
        demo = settings_of(
            {
                "data.name": "digits",
                "benchmark.table": "analog-nasbench",
                "measures.sharpness.every": 1,
                "search.epochs": 12,
                "weight_optimizer.name": w,
                "arch_optimizer.name": alpha,
            }
        )
        assert run.settings.hash == demo.hash


# what is wrong | the study file | key and value that are told | a part of the remedy
WRONG = r"""
no table | x = 1 | x = 1 | use one of: engine, grid, study
not below study | name = "x"\n[study]\nseeds = [0] | name = 'x' | write it below [study]
below study | [study]\nname = "x"\ngrid = 3 | study.grid = 3 | write it outside of [study]
engine is no table | engine = 3\n[study]\nname = "a"\nseeds = [0] | engine = 3 | write [engine.NAME]
engine misspelt | GRID"search.epochs" = [1]\n[engine.slrum] | engine.slrum = 'slrum' | did you mean slurm?
no study | [[grid]]\n | study | begin with [study]
unknown key | [study]\nname = "a"\nseeds = [0]\nsedes = 1 | study.sedes = 1 | did you mean seeds?
no name | [study]\nseeds = [0] | study.name | write name =
empty question | [study]\nname = "a"\nquestion = ""\nseeds = [0] | study.question = '' | write question
no seeds | [study]\nname = "a" | study.seeds | write it as seeds = [0, 1, 2]
seeds are words | [study]\nname = "a"\nseeds = ["one"] | study.seeds = ['one'] | write it as seeds = [0, 1, 2]
a seed twice | [study]\nname = "a"\nseeds = [1, 1] | study.seeds = [1, 1] | name each seed once
negative seed | [study]\nname = "a"\nbase.data.name = "digits"\nseeds = [-1] | search.seed = -1 | use 0 or more
base is a list | [study]\nname = "a"\nseeds = [0]\nbase = [1] | study.base = [1] | write it as base = {
base seed | [study]\nname = "a"\nseeds = [0]\nbase.search.seed = 1 | study.base: search.seed = 1 | seeds =
base misspelt | [study]\nname = "a"\nseeds = [0]\nbase.serach.epochs = 1 | serach.epochs = 1 | did you mean search?
base twice | [study]\nname = "a"\nseeds = [0]\nbase = { "data.name" = "digits", "data" = {} } | data.name = 'digits' | one way
grid is no array | [study]\nname = "a"\nseeds = [0]\n[grid] | grid | write [[grid]]
axis is no list | GRID"search.epochs" = 3 | search.epochs = 3 | write [VALUE] for a single one
axis is empty | GRID"search.epochs" = [] | search.epochs = [] | name its values
axis in parts | GRIDweight_optimizer = [{ name = "SGD" }]\n"weight_optimizer.lr" = [1.0] | weight_optimizer.lr = [1.0] | one way
axis of seeds | GRID"search.seed" = [1] | search.seed = 1 | move it to seeds
grid of no seeds | GRIDseeds = []\n"search.epochs" = [1] | seeds = [] | write it as seeds = [0, 1, 2]
empty note | [study]\nname = "a"\nnote = ""\nseeds = [0] | study.note = '' | write note
bad value | GRID"algorithm.name" = ["darts", "dartz"] | algorithm.name = 'dartz' | did you mean darts?
bad key | GRID"weight_optimizer.momentun" = [0.9] | weight_optimizer.momentun = 0.9 | mean momentum?
section is text | GRIDweight_optimizer = ["SGD"] | weight_optimizer = 'SGD' | write name = "SGD" in weight_optimizer
betas are no axis | GRID"arch_optimizer.betas" = [0.5, 0.9] | arch_optimizer.betas = 0.5 | write one such as [0.9, 0.999]
too large | GRID"search.batch_size" = [16, 5000] | search.batch_size = 5000 | lower it
"""  # noqa: E501
HEAD = '[study]\\nname = "a"\\nseeds = [0]\\nbase.data.name = "digits"\\n[[grid]]\\n'


@pytest.mark.parametrize("row", WRONG.strip().splitlines(), ids=lambda row: row.split(" | ")[0])
def test_errors_of_the_file_are_told_by_plan(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, text, told, remedy = row.split(" | ")
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(text.replace("GRID", HEAD).replace("\\n", "\n"))
    assert command("study", "plan", "s.toml", "--no-timing") == 2
    out, err = capsys.readouterr()
    assert out == ""
    refused(err, f"s.toml: {told}", remedy)
    assert err.count("\n") == 1


def test_an_error_names_the_grid(tmp_path: Path) -> None:
    grid = f'{PAIR}[[grid]]\n"search.epochs" = [0]\n'
    with pytest.raises(UserError, match=r"tiny.toml: grid 2: search.epochs = 0"):
        load_study(tiny_study(tmp_path, grid=grid))
    grid = f'{PAIR}[[grid]]\n"search.batch_size" = [41]\n'
    with pytest.raises(UserError, match=r"tiny.toml: grid 2: search.batch_size = 41: larger"):
        load_study(tiny_study(tmp_path, grid=grid))


def test_settings_of_an_engine_stand_in_the_file_too(tmp_path: Path) -> None:
    loaded = load_study(tiny_study(tmp_path, grid="[engine.local]\ngpus = 700\n"))
    with pytest.raises(UserError, match=r"tiny.toml: engine.gpus = 700: there are"):
        runner_of(loaded, tmp_path / "out", "local", {})
    assert (
        runner_of(loaded, tmp_path / "out", "local", {"gpus": 0}).folders.keys()
        == loaded.runs.keys()
    )


# command | place, key and value that are told | a part of the remedy
COMMANDS = """
plan quickstrat | command line: study = 'quickstrat' | did you mean quickstart?
plan none.toml | none.toml | check the path
plan quickstart --jobs 0 | command line: --jobs = 0 | write --jobs 1
plan quickstart --out s.toml | command line: --out = 's.toml' | name the study's folder
run quickstart | command line | see optnas study run --help
run quickstart --out r --engine locl | command line: --engine = 'locl' | did you mean local?
run quickstart --out r --engine-set gpus=1 | command line: engine.gpus = 1 | leave it out
run quickstart -o r --engine slurm --engine-set tim=4 | command line: engine.tim = 4 | time?
run quickstart -o r --engine slurm --engine-set time=4h | command line: engine.time = '4h' | as 90
run quickstart --out r --detach | command line: --detach | name one with a queue: --engine slurm
table quickstart --out r -o t.xls | command line: -o = 't.xls' | end it in .csv or .parquet
table quickstart --out r -o t.csv | command line: --out | run it first
table --out r -o t.csv | command line: --out | run it first
execute r | r | check the path
"""


@pytest.mark.parametrize("row", COMMANDS.strip().splitlines(), ids=lambda row: row.split(" | ")[0])
def test_wrong_commands(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, told, remedy = row.split(" | ")
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text("")
    assert command("study", *words.split()) == 2
    out, err = capsys.readouterr()
    refused(err, told, remedy)
    assert (out, sorted(p.name for p in tmp_path.iterdir())) == ("", ["s.toml"])


# --- run ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A study of two runs, run in this process."""
    folder = tmp_path_factory.mktemp("study")
    name = tiny_study(folder, grid=PAIR)
    assert run_study(name, folder / "out").whole
    return name, folder / "out"


def test_every_run_is_executed_once(finished: tuple[str, Path]) -> None:
    name, out = finished
    assert_each_completed_once(name, out)
    again = run_study(name, out)
    assert again.whole
    assert again.engine.started == []


def test_more_seeds_and_values_reuse_everything(finished: tuple[str, Path], tmp_path: Path) -> None:
    _, before = finished
    out = shutil.copytree(before, tmp_path / "out")
    grid = '[[grid]]\n"weight_optimizer.name" = ["RMSprop", "SGD", "Adam"]\n'
    wider = load_study(tiny_study(tmp_path, "[0, 1]", grid))
    missing = {run.id for run in wider.runs.values() if not (out / run.id).exists()}
    assert len(missing) == 4
    assert {
        name for name, run in locate(wider.runs.values(), out).items() if not run.config.exists()
    } == missing


def test_runs_under_other_names_are_found(finished: tuple[str, Path], tmp_path: Path) -> None:
    name, before = finished
    for number, run in enumerate(sorted(before.iterdir())):
        shutil.copytree(run, tmp_path / "out" / f"by-hand-{number}")
    write_files(tmp_path / "out", {"other/config.toml": "a = 1", "more/config.toml": "["})
    runner = run_study(name, tmp_path / "out")
    assert runner.whole
    assert runner.engine.started == []


@pytest.mark.thorough
def test_an_interrupted_run_goes_on(finished: tuple[str, Path], tmp_path: Path) -> None:
    name, before = finished
    (first, _) = load_study(name).runs
    interrupted_run(tmp_path / first, weight_optimizer__name="SGD")
    assert state_of(RunFolder(tmp_path / first)) == "interrupted"
    assert run_study(name, tmp_path).whole
    pd.testing.assert_frame_equal(timeless_table(name, tmp_path), timeless_table(name, before))


def test_a_failed_run_is_a_status_and_retried_on_request(tmp_path: Path) -> None:
    name = tiny_study(tmp_path, grid='[[grid]]\n"weight_optimizer.lr" = [-1.0, 0.1]\n')
    out = tmp_path / "out"
    runner = run_study(name, out)
    assert not runner.whole
    bad, good = (RunFolder(out / each) for each in runner.study.runs)
    assert (state_of(bad), state_of(good)) == ("failed", "done")
    reason = bad.read_result()["reason"]
    assert reason.startswith(f"{bad.config}: weight_optimizer.lr = -1.0: ")
    assert "Invalid learning rate: -1.0" in reason
    assert run_study(name, out).engine.started == []
    assert run_study(name, out, retry_failed=True).engine.started == [bad.path.name]
    events = [event["event"] for event in StartLog(bad).read()]
    assert events == ["start", "failed"] * 2


def test_a_run_that_never_gets_on_is_given_up(tmp_path: Path) -> None:
    name = tiny_study(tmp_path)
    engine = InProcess(hook=lambda folder: -9)
    runner = run_study(name, tmp_path / "out", engine)
    assert not runner.whole
    assert len(engine.started) == 3
    (folder,) = runner.folders.values()
    assert folder.read_result()["reason"] == "exit code -9, 3 times without a new epoch"


@pytest.mark.thorough
def test_images_may_move_between_two_executions(tmp_path: Path) -> None:
    images = parquet_bytes([png(image) for image in pixels(120)], [row % 3 for row in range(120)])
    write_files(tmp_path, {"a/x.parquet": images, "b/x.parquet": images})
    runs = []
    for place in "ab":
        path = str(tmp_path / place / "x.parquet")
        name = tiny_study(tmp_path, data__name="parquet", data__path=path)
        runs.append((name, *load_study(name).runs.values()))
    (_, before), (name, after) = runs
    assert before.id == after.id
    folder = RunFolder(tmp_path / "out" / after.id)
    assert _job(after, folder).settings["data.path"] == str(tmp_path / "b/x.parquet")
    with folder.created(before.settings.document()):
        pass
    shutil.rmtree(tmp_path / "a")
    assert execute(folder.path, _job(after, folder).settings) == 0
    study.export(name, tmp_path / "out", tmp_path / "records")
    for text in (
        (tmp_path / "records" / after.id / "config.toml").read_text(),
        study.table(name, tmp_path / "out", recorded=True).to_csv(),
    ):
        assert "x.parquet" not in text


@pytest.mark.thorough
def test_no_more_runs_than_asked(tmp_path: Path) -> None:
    name = tiny_study(tmp_path, "[0, 1, 2]")
    runner = run_study(name, tmp_path / "out", max_runs=2)
    assert runner.whole
    assert len(runner.engine.started) == 2


def test_a_locked_run_is_left_alone(tmp_path: Path) -> None:
    folder = RunFolder(interrupted_run(tmp_path / "run"))
    with folder.locked():
        assert state_of(folder) == "running"
        assert execute(folder.path) == EXIT_BUSY
    assert state_of(folder) == "interrupted"
    assert StartLog(folder).read() == []


def test_a_completion_that_was_not_noted_is(tmp_path: Path) -> None:
    name = tiny_study(tmp_path)
    runner = run_study(name, tmp_path / "out")
    (folder,) = runner.folders.values()
    log = StartLog(folder)
    start, done = log.path.read_text().splitlines(keepends=True)
    log.path.write_text(start + done[:20])  # killed while writing it
    run_study(name, tmp_path / "out")
    assert [event["event"] for event in log.read()] == ["start", "done"]


def test_progress(finished: tuple[str, Path], tmp_path: Path) -> None:
    _, out = finished
    wider = load_study(tiny_study(tmp_path, "[0, 1]", PAIR))
    seen = Watch(wider.runs, locate(wider.runs.values(), out)).look()
    assert (seen.states, seen.epochs, seen.total) == ({"done": 2, "missing": 2}, 4, 8)
    took = sum(json.loads((run / "result.json").read_text())["seconds"] for run in out.iterdir())
    assert seen.seconds == pytest.approx(took)  # as much again
    assert seen.line(2).startswith("2 done, 2 missing; 4/8 epochs; about ")
    # A measure beside the record takes time too.
    runs = load_study(tiny_study(tmp_path, "[0, 1]", PAIR, measures__gap__every=1)).runs
    costly = {name: RunFolder(tmp_path / name) for name in runs}
    done = iter(sorted(out.iterdir()))
    for folder in list(costly.values())[:2]:
        shutil.copytree(next(done), folder.path)
        (folder.path / "measures").mkdir(exist_ok=True)
        line: dict[str, Any] = {"epoch": 1, "status": "ok", "settings": {}, "values": {}}
        line |= {"units": {}, "arrays": None}
        line["cost"] = {"seconds": 50.0, "cpu_seconds": 50.0}
        (folder.path / "measures" / "gap.jsonl").write_text(json.dumps(line) + "\n")
    assert Watch(runs, costly).look().seconds == pytest.approx(took + 100.0)
    for folder in costly.values():  # a line may lack what it took
        for lines in (folder.path / "measures").glob("gap.jsonl"):
            lines.write_text(json.dumps({k: line[k] for k in line if k != "cost"}) + "\n")
    assert Watch(runs, costly).look().seconds == pytest.approx(took)
    assert [duration(s) for s in (3.2, 600, 11_100, 260_000)] == [
        "3 s",
        "10 min",
        "3 h 5 min",
        "3.0 days",
    ]


# --- store ----------------------------------------------------------------------------------------


def plain(column: pd.Series) -> list[Any]:
    """A column's values; what is missing is None."""
    return [None if pd.isna(value) else value for value in column]


def test_table(finished: tuple[str, Path]) -> None:
    name, out = finished
    frame = study.table(name, out)
    assert len(frame) == 2 * 3
    assert list(frame["epoch"]) == [0, 1, 2] * 2
    assert list(frame.groupby("id", sort=False).size().index) == list(load_study(name).runs)
    assert frame["completed"].all()
    assert set(frame["state"]) == {"done"}
    assert frame["arch_optimizer.betas"].iloc[0] == "[0.5, 0.999]"
    assert frame["search.seed"].dtype == "int64"
    assert not {"alpha", "op_weights", "data.folder", "identity.hash"} & set(frame)
    for run in frame.groupby("id"):
        records = RunFolder(out / run[0]).read_epochs()
        for key in ("train_loss", "valid_loss", "skips", "architecture", "alpha_path_length"):
            assert plain(run[1][key]) == [r[key] for r in records]
        answers = [r["benchmark"]["accuracy"]["cifar10"] for r in records]
        assert list(run[1]["benchmark.cifar10"]) == answers


def test_the_benchmark_is_asked_again(finished: tuple[str, Path], tmp_path: Path) -> None:
    name, before = finished
    out = shutil.copytree(before, tmp_path / "out")
    for run in out.iterdir():
        lines = [json.loads(line) for line in (run / "epochs.jsonl").read_text().splitlines()]
        for line in lines:
            line["benchmark"]["accuracy"] = {"cifar10": 1.0}
        (run / "epochs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert (study.table(name, out)["benchmark.cifar10"] > 1).all()
    assert (study.table(name, out, recorded=True)["benchmark.cifar10"] == 1).all()


def test_measures_are_columns(finished: tuple[str, Path], tmp_path: Path) -> None:
    name, before = finished
    out = shutil.copytree(before, tmp_path / "out")
    first = next(iter(load_study(name).runs))
    found = [{"top": 1.0}, {"top": 2.0, "more": {"a": 3}, "all": [1, 2]}, {"top": 9.0}]
    kept = RunFolder(out / first).measures
    for epoch, values in zip((0, 2, 0), found, strict=True):
        line = {"epoch": epoch, "status": "ok", "settings": {"n": 1.0, "a": "="}, "values": values}
        kept.put("sharp", {**line, "units": dict.fromkeys(values, "1")}, {})
    frame = study.table(name, out)
    assert list(frame["measure.sharp.top"].dropna()) == [9.0, 2.0]
    assert list(frame["measure.sharp.settings"].dropna()) == ['{"a": "=", "n": 1}'] * 2
    assert list(frame["measure.sharp.more.a"].dropna()) == [3]
    assert "measure.sharp.all" not in frame
    arrays = study.table(name, out, arrays=True)
    assert list(arrays["measure.sharp.all"].dropna()) == ["[1, 2]"]
    assert len(json.loads(arrays["alpha"].iloc[0])) == 6


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_written_and_read_back(finished: tuple[str, Path], tmp_path: Path, ending: str) -> None:
    name, out = finished
    path = tmp_path / f"t.{ending}"
    assert command("study", "table", name, "--out", str(out), "-o", str(path)) == 0
    # By itself pandas before 3 reads some numbers of text one bit away from what was written.
    exact = {} if pd.__version__ >= "3" else {"float_precision": "round_trip"}
    read = pd.read_csv(path, **exact) if ending == "csv" else pd.read_parquet(path)
    frame = study.table(name, out)
    assert list(read) == list(frame)
    assert all(plain(read[key]) == plain(frame[key]) for key in frame)


def test_columns_of_several_kinds_are_text(tmp_path: Path) -> None:
    """Settings of different components under one name: numbers here, lists there."""
    from optnas.study.tables import columns_of

    frame = columns_of([{"a": 1, "b": 1.5, "c": True}, {"a": [1], "b": 2}, {"a": "x", "c": None}])
    assert list(frame["a"]) == ["1", "[1]", "x"]
    assert list(frame["b"])[:2] == [1.5, 2.0]
    frame.to_parquet(tmp_path / "t.parquet")


def test_records_without_checkpoints(finished: tuple[str, Path], tmp_path: Path) -> None:
    name, out = finished
    records = tmp_path / "records"
    changed, whole = study.export(name, out, records)
    assert (len(changed), whole) == (2, 2)
    files = {path.name for path in records.rglob("*") if path.is_file()}
    assert files == {"config.toml", "environment.json", "epochs.jsonl", "result.json"}
    assert str(out) not in "".join(p.read_text() for p in records.rglob("*") if p.is_file())
    pd.testing.assert_frame_equal(study.table(name, records), study.table(name, out))
    assert study.export(name, out, records) == ([], 2)
    assert len(study.table(None, records)) == 6
    assert run_study(name, records).engine.started == []


COMMAND = """search -c /home/me/c.toml tracking.uri=http://me:secret@host:5000 tracking.name=mlflow
tracking.folder=../secret data.folder=~/secret data.path=secret data.split_file='secret'
data.name=digits tracking={uri="secret"} data={folder="secret"} --data ../secret --data=secret
--out=~/secret --out=/secret /home/secret/a search.seed=3"""


def test_no_place_and_no_password_is_in_a_record(
    finished: tuple[str, Path], tmp_path: Path
) -> None:
    """The URI of a tracker's server was, with the password in it, and folders below ``~``."""
    name, first = finished
    out, records = copied(first, tmp_path / "out"), tmp_path / "records"
    run = find_runs(out)[0]
    own = {"protocol": "../secret/cpu", "tracking": {"name": "mlflow", "uri": "http://me:secret@b"}}
    run.config.write_text(dump_toml(run.read_config() | own))
    starts = run.read_starts()
    starts[0]["command"] = ["/home/secret/bin/optnas", *COMMAND.split()]
    run.environment.write_text(json.dumps(starts))
    (run.path / "turns.jsonl").write_text('{"epoch": 2}\n')
    study.export(name, out, records)
    record = RunFolder(records / run.path.name)
    assert "secret" not in "".join(each.read_text() for each in record.path.iterdir())
    assert record.read_config()["tracking"] == {"name": "none"}
    words = ["optnas", "search", "-c", "c.toml", "data.name=digits", "a", "search.seed=3"]
    assert record.read_starts()[0]["command"] == words
    assert state_of(record) == "done"
    assert record.turns.read_bytes() == run.turns.read_bytes()
    before = [each.read_bytes() for each in sorted(record.path.iterdir())]
    assert study.export(name, out, records) == ([], 2)
    # One that was written before loses what it should not have.
    record.config.write_text(dump_toml(record.read_config() | own))
    record.turns.unlink()
    assert study.export(name, out, records) == ([run.path.name], 2)
    assert [each.read_bytes() for each in sorted(record.path.iterdir())] == before


def test_a_study_runs_in_any_thread(finished: tuple[str, Path]) -> None:
    """It ended in a ValueError: signals are the main thread's to handle."""
    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run_study, *finished).result().whole
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("to", ["out", ".", "out/", "out/../out", "link"])
def test_runs_are_not_written_over_by_their_records(
    to: str,
    finished: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The records were the runs: each lost where its data lie, and nothing was copied."""
    name, out = finished
    copied(out, tmp_path / "out")
    (tmp_path / "link").symlink_to("out")
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    assert command("study", "export", name, "--out", "out", "--to", to) == 2
    line = capsys.readouterr().err
    refused(line, f"command line: --to = '{Path(to)}'", "choose a folder that does not hold")
    [some] = {run.path.parent for run in find_runs(Path("out"))}  # their own folder from above
    assert command("study", "export", name, "--out", ".", "--to", str(some)) == 2
    assert snapshot(tmp_path) == before


def test_arrays_of_measures_are_copied_on_request(
    finished: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = finished
    out = copied(out, tmp_path / "out")
    run = find_runs(out)[0]
    line = {"epoch": 2, "status": "ok", "settings": {}}
    line |= {"values": {"height": 1.5}, "units": {"height": "1"}}
    run.measures.put("relief", line, {"grid": np.eye(3)})
    records = tmp_path / "records"
    study.export(name, out, records)
    assert not list(records.rglob("*.npz"))
    assert command(*_export(name, out, records, "relief")) == 0
    [record] = [each for each in find_runs(records) if each.read_measures("relief")]
    [line] = record.read_measures("relief")
    np.testing.assert_equal(record.measures.arrays(line)["grid"], np.eye(3))
    assert study.export(name, out, records, arrays=["relief"]) == ([], 2)
    capsys.readouterr()
    refusal = "--arrays = 'releif': no finished run .* did you mean relief?"
    assert command(*_export(name, out, records, "releif")) == 2
    assert re.search(refusal, capsys.readouterr().err)
    (run.path / "measures" / line["arrays"]).write_bytes(b"torn")
    assert command(*_export(name, out, records, "relief")) == 2
    assert "cannot read the arrays" in capsys.readouterr().err
    assert study.export(name, out, records) == ([], 2)  # the earlier copy is untouched


def _line(epoch: int, found: float, status: str = "ok", **settings: Any) -> dict[str, Any]:
    line = {"epoch": epoch, "status": status, "settings": settings, "cost": {"wall": found}}
    line |= {} if status == "ok" else {"reason": "no memory"}
    return line | {"values": {"height": found}, "units": {"height": "1"}}


def _heights(run: RunFolder) -> list[tuple[int, Any, float]]:
    lines = run.read_measures("relief")
    return [(line["epoch"], line["settings"], line["values"]["height"]) for line in lines]


def test_what_was_measured_elsewhere_stays_in_a_record(
    finished: tuple[str, Path], tmp_path: Path
) -> None:
    """A second export replaced the lines of a measure, and those of another machine were gone."""
    name, first = finished
    machines = [copied(first, tmp_path / each) for each in ("a", "b")]
    one, two = (find_runs(out)[0] for out in machines)
    records = tmp_path / "records"
    one.measures.put("relief", _line(1, 1.0), {"grid": np.eye(3)})
    one.measures.put("relief", _line(2, 2.0, part=0.5), {})
    two.measures.put("relief", _line(1, 1.0), {"grid": np.eye(3)})
    two.measures.put("relief", _line(2, 0.0, "failed", part=0.5), {})
    two.measures.put("relief", _line(2, 3.0, part=0.25), {})
    # The second machine was slower, and took another measure while it searched.
    text = two.epochs.read_text()
    two.epochs.write_text(re.sub(r'"seconds": [\d.e-]+', '"seconds": 1e3', text))
    two.config.write_text(
        two.config.read_text() + '\n[measures.more]\nname = "gap"\nevery = 1\nat = []\n'
    )
    assert len(study.export(name, machines[0], records, arrays=["relief"])[0]) == 2
    [record] = [each for each in find_runs(records) if each.read_measures("relief")]
    whole = (record.epochs.read_bytes(), record.environment.read_bytes())
    assert study.export(name, machines[1], records)[0] == [one.path.name]
    assert (record.epochs.read_bytes(), record.environment.read_bytes()) == whole
    both = [(1, {}, 1.0), (2, {"part": 0.25}, 3.0), (2, {"part": 0.5}, 2.0)]
    assert _heights(record) == both
    assert {"sharpness", "more"} <= record.read_config()["measures"].keys()
    for out in machines:
        assert study.export(name, out, records) == ([], 2)
    # What the run measures again takes the place of what it found, with its arrays.
    one.measures.put("relief", _line(1, 9.0), {"grid": np.ones((2, 2))})
    assert study.export(name, machines[0], records)[0] == [one.path.name]
    assert _heights(record) == [(1, {}, 9.0), *both[1:]]
    grid = record.measures.arrays(record.read_measures("relief")[0])["grid"]
    np.testing.assert_equal(grid, np.ones((2, 2)))


def test_two_machines_numbers_are_not_mixed_in_a_record(
    finished: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Epochs and result were replaced, and measures of the first machine stayed beside them."""
    name, first = finished
    out, records = copied(first, tmp_path / "out"), tmp_path / "records"
    study.export(name, first, records)
    run = find_runs(out)[0]
    text = run.epochs.read_text()
    loss = re.findall(r'"valid_loss": ([\d.]+)', text)[1]
    run.epochs.write_text(text.replace(loss, "9.5"))
    before = snapshot(records)
    assert command("study", "export", name, "--out", str(out), "--to", str(records)) == 2
    told = capsys.readouterr().err
    assert f"the record {records / run.path.name} has other numbers than {run.path}" in told
    assert "from epoch 1 on (valid_loss)" in told
    refused(told, "command line: --to", "export to another folder, or remove the record")
    assert snapshot(records) == before
    # Nor is any other record written before, whichever of the runs is refused.
    run.epochs.write_text(text)
    for other, each in itertools.permutations(find_runs(out), 2):
        shutil.move(records / other.path.name, tmp_path / "aside")
        before, whole = snapshot(records), each.epochs.read_text()
        each.epochs.write_text(re.sub(r'"valid_loss": [\d.]+', '"valid_loss": 9.5', whole))
        assert command("study", "export", name, "--out", str(out), "--to", str(records)) == 2
        assert "has other numbers than" in capsys.readouterr().err
        assert snapshot(records) == before
        each.epochs.write_text(whole)
        shutil.move(tmp_path / "aside", records / other.path.name)
    # A record that was not written whole is completed.
    record = RunFolder(records / run.path.name)
    record.result.unlink()
    assert study.export(name, out, records) == ([run.path.name], 2)
    assert record.read_result() == run.read_result()


def _export(name: str, out: Path, records: Path, label: str) -> list[str]:
    return ["study", "export", name, "--out", str(out), "--to", str(records), "--arrays", label]


def test_plan_as_json(
    finished: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = finished
    name = tiny_study(tmp_path, "[0, 1]", PAIR)
    assert command("study", "plan", name, "--out", str(out), "--json", "--no-timing") == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {
        *("runs", "present", "other_version", "core_hours", "beside", "warnings")
    }
    numbers = [told[key] for key in ("present", "other_version", "core_hours", "warnings")]
    seeds = "2 seeds: no interval; 6 are the fewest for p < .05"
    assert numbers == [2, 0, None, [seeds]]
    assert told["beside"]["weight_optimizer.name"]["SGD"]["weight_optimizer.lr"] == 0.025
    entries = told["runs"]
    assert [entry["state"] for entry in entries] == ["done", "done", "missing", "missing"]
    assert {"id", "settings", "state", "folder"} == set(entries[0])
    assert entries[2]["settings"]["search.seed"] == 1
    assert entries[0]["folder"] == str(out / entries[0]["id"])
    assert command("study", "plan", name, "--out", str(out), "--json") == 0
    hours = json.loads(capsys.readouterr().out)["core_hours"]
    assert 0 < hours < 1


def test_records_of_an_earlier_version_are_named_and_not_counted(
    finished: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, before = finished
    out = shutil.copytree(before, tmp_path / "out")
    for run in find_runs(out):
        text = run.config.read_text().replace("numbers_version = 2", "numbers_version = 1")
        run.config.write_text(re.sub('hash = "[0-9a-f]{8}', 'hash = "00000000', text))
        run.path.rename(out / f"00000000{run.path.name[8:]}")
    told = "2 records of version 1, not counted"
    assert command("study", "plan", name, "--out", str(out), "--no-timing") == 0
    assert f"\n{told}" in capsys.readouterr().out
    assert command("study", "plan", name, "--out", str(out), "--no-timing", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["present"], document["other_version"]) == (0, 2)
    assert any(told in each for each in document["warnings"])
    assert command("study", "status", name, "--out", str(out)) == 0
    assert told in capsys.readouterr().out
    with pytest.raises(UserError, match=told) as refused:
        study.table(name, out)
    assert refused.value.remedy == "to read them add numbers_version=1"
    asked = ["--out", str(out), "--numbers-version", "1", "-o", str(tmp_path / "a.csv")]
    assert command("study", "table", name, *asked) == 0
    whole = study.table(name, before).drop(columns="id")
    pd.testing.assert_frame_equal(
        study.table(name, out, numbers_version=1).drop(columns="id"), whole
    )
    assert len(study.table(None, out)) == len(whole)  # a folder has no version of its own
    shutil.copytree(find_runs(before)[0].path, out / "new")
    with pytest.raises(UserError, match="runs of numbers versions 1, 2"):
        study.table(None, out)
    assert len(study.table(name, out)) == len(whole) / 2


@pytest.mark.thorough
def test_plan_tells_what_differs_and_what_the_seeds_cannot_decide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = '[[grid]]\n"weight_optimizer.name" = ["SGD", "AdamW"]\n'
    assert command("study", "plan", tiny_study(tmp_path, "[0, 1, 2]", grid), "--no-timing") == 0
    out = capsys.readouterr().out
    assert "values of weight_optimizer.name differ beside what the study says of them:" in out
    assert re.search(r"\n  SGD: schedule cosine, .*lr 0\.025, .*weight_decay 0\.0003\n", out)
    assert re.search(r"\n  AdamW: schedule constant, lr 0\.001, weight_decay 0\.01, ", out)
    assert "3 seeds: no interval; 6 are the fewest for p < .05" in out
    six = tiny_study(tmp_path, "[0, 1, 2, 3, 4, 5]", grid)
    assert command("study", "plan", six, "--no-timing") == 0
    assert "are the fewest" not in capsys.readouterr().out
    assert command("study", "plan", "optdarts-cpu", "--no-timing") == 0
    out = capsys.readouterr().out
    assert "measures.landscape" not in out  # no setting of an optimizer
    assert "differ by arch_optimizer.name too: Adam: landscape\n" in out


def test_plan_measures_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = tiny_study(tmp_path, "[0, 1]", PAIR, measures__sharpness__every=1)
    assert command("study", "plan", name) == 0
    out = capsys.readouterr().out
    assert "4 runs: 4 missing" in out
    assert "time on this machine, measured on a few steps" in out


def test_plan_measures_any_optimizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = tiny_study(tmp_path, weight_optimizer__name="schedule-free-sgd")
    assert command("study", "plan", name) == 0
    assert "measured on a few steps" in capsys.readouterr().out


def test_status_of_a_study_that_does_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tiny_study(tmp_path, "[0, 1]")
    run_study(name, tmp_path / "out", max_runs=1)
    assert command("study", "status", name, "--out", str(tmp_path / "out")) == 0
    assert "with 0 at a time" not in capsys.readouterr().out


def test_status(finished: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    name, out = finished
    assert command("study", "status", name, "--out", str(out)) == 0
    assert capsys.readouterr().out == "study tiny: 2 done; 4/4 epochs\n"


FAILING = """
from optnas.measures.base import Measure, Quantity, Values


def own(snapshot):
    return Values({"half": 1 / (snapshot.progress.epoch - 1)})


def broken() -> Measure:
    return Measure(own, {"half": Quantity("1")}, cost="nothing")
"""


@pytest.mark.thorough
def test_failing_measures_of_runs_that_are_done_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(FAILING)
    broken = {"measures__broken__name": "./own.py:broken", "measures__broken__at": [1, "end"]}
    name = Path(tiny_study(tmp_path, "[0, 1]", PAIR, **broken)).name
    run_study(name, Path("out"))
    count = "measures that failed in runs that are done: broken in 4 of 4"
    assert command("study", "run", name, "--out", "out", "--jobs", "1") == 0
    told = capsys.readouterr().out
    assert told.endswith(f"{count}; why: optnas study status {name} --out out\n")
    assert command("study", "status", name, "--out", "out") == 0
    first, *_ = load_study(name).runs
    reason = "ZeroDivisionError: division by zero (./own.py, line 6)"
    why = f"broken: first in {first}, epoch 1: {reason}; mend it, then: optnas measure out broken"
    assert capsys.readouterr().out.splitlines()[1:] == [count, why]
    assert command("study", "status", name, "--out", "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {each["status"] for each in told} == {"done"}
    assert [each["failed_measures"] for each in told] == [
        {"broken": {"epochs": [1], "reason": reason}}
    ] * 4
    Path("own.py").write_text(FAILING.replace("- 1", "+ 1"))
    assert command("measure", "out", "broken") == 0
    capsys.readouterr()
    assert command("study", "status", name, "--out", "out") == 0
    assert capsys.readouterr().out == "study tiny: 4 done; 8/8 epochs\n"


def test_a_device_that_is_not_here_is_refused_before_any_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = tiny_study(tmp_path, "[0]"), tmp_path / "out"
    words = ("study", "run", name, "--out", str(out), "--device", "cuda:77")
    assert command(*words) == 2
    assert "run.device = 'cuda:77': no such device here" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("device", "gpus", "fits"),
    [
        ("cuda:1", "gpus=2", False),
        ("cuda:0", "gpus=2", True),
        ("cuda", "gpus=2", True),
        ("auto", "gpus=2", True),
        ("cpu", "gpus=2", True),
        ("cuda:1", "gpus=0", True),
    ],
)
def test_a_gpu_that_no_run_will_see_is_refused_before_any_run(
    device: str, gpus: str, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run sees one of `gpus`, which is cuda:0 to it."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    study = load_study(tiny_study(tmp_path, run__device=device))
    given = {"gpus": int(gpus[-1])}
    if fits:
        runner_of(study, tmp_path / "out", "local", given, jobs=2)
        return
    with pytest.raises(UserError, match=r"each run sees 1 GPU under gpus = 2.*cuda:0") as caught:
        runner_of(study, tmp_path / "out", "local", given, jobs=2)
    assert (caught.value.key, caught.value.value) == ("run.device", "cuda:1")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("device", "jobs", "given", "there", "told"),
    [
        ("auto", None, {}, 2, True),
        ("cuda", None, {}, 1, True),
        ("auto", None, {}, 0, False),
        ("cpu", None, {}, 2, False),
        ("auto", 3, {}, 2, False),
        ("auto", None, {"gpus": 2}, 2, False),
    ],
)
def test_runs_that_would_crowd_on_one_gpu_are_told(
    device: str,
    jobs: int | None,
    given: dict[str, Any],
    there: int,
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.setattr(runner_module, "at_a_time", lambda jobs, threads: 4)
    (tmp_path / "version").touch()
    monkeypatch.setattr(runner_module, "NVIDIA", tmp_path / "version")
    study = load_study(tiny_study(tmp_path, "[0, 1, 2]", run__device=device))
    runner_of(study, tmp_path / "out", "local", given, jobs=jobs)
    assert [record.getMessage() for record in caplog.records] == told * [
        f"optnas: warning: up to 3 runs at a time share GPU 0 of {there}: say how many with "
        f"--jobs N, and spread them with --engine-set gpus={there}"
    ]


def test_failed_runs_are_told_with_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name, out = tiny_study(tmp_path, "[0]"), tmp_path / "out"
    ((run_id, _),) = load_study(name).runs.items()
    (out / run_id).mkdir(parents=True)
    run_study(name, out, InProcess(lambda folder: RunFolder(folder).finish("failed", reason="x")))
    assert command("study", "run", name, "--out", str(out), "--jobs", "1") == 1
    told = "".join(capfd.readouterr())
    assert f"why: optnas study status {name} --out {out}; then run it with --retry-failed" in told
