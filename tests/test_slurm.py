"""The engine for Slurm: a real cluster of this machine, whose jobs are killed and queued again."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from cases import command, console, finish, start
from studies import PAIR, assert_each_completed_once, timeless_table, tiny_study

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.study.declare import load_study
from optnas.study.engines import slurm as engine
from optnas.study.engines.base import Engine, Job
from optnas.study.engines.local import VISIBLE
from optnas.study.folder import locate, prepare
from optnas.study.runner import runner_of
from optnas.study.starts import StartLog
from optnas.study.states import STATES, State, epochs_of, state_of, with_queue

DAEMONS = ("slurmctld", "slurmd", "munged")
HERE = all(shutil.which(each) for each in (*DAEMONS, "sbatch")) and os.getuid() == 0
EPOCHS = 60  # so many that a job on a busy machine has begun before the first run of another ends
# The daemons of one machine, without systemd, cgroups and accounts.
CONFIG = """
ClusterName=optnas
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobRequeue=1
KillWait=2
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=3000
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def slurm(*words: str, check: bool = True) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=check).stdout


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, slurm("scontrol", "show", "job", check=False)
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """munged, slurmctld and slurmd of one's own, ended with the tests."""
    folder = tmp_path_factory.mktemp("slurm")
    for each in ("munge", "state", "spool"):
        (folder / each).mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    free = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in free]
    for each in free:
        each.close()
    config = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    config.write_text(CONFIG.format(folder=folder, ports=ports, host=host))
    files = [f"--{w}={folder}/munge/{w.removesuffix('-file')}" for w in ("socket", "pid-file")]
    files += [f"--{w}={folder}/munge/{w.removesuffix('-file')}" for w in ("log-file", "seed-file")]
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *files],
        ["slurmctld", "-D", "-f", str(config)],
        ["slurmd", "-D", "-N", "node", "-f", str(config)],
    ]
    patch, daemons = pytest.MonkeyPatch(), []
    patch.setenv("SLURM_CONF", str(config))
    with (folder / "log").open("wb") as log:
        try:
            for each in commands:
                daemons.append(subprocess.Popen(each, stdout=log, stderr=log))
                time.sleep(0.5)
            until(lambda: "idle" in slurm("sinfo", "--noheader", check=False))
            yield
        finally:
            slurm("scancel", "--user=root", check=False)
            for each in folder.glob("*.log"):
                print(each.read_text())
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(30)
            patch.undo()


def words(name: str, out: Path, *more: str) -> list[str]:
    settings = ["time=30", "memory_gb=1", *more]
    sets = [word for each in settings for word in ("--engine-set", each)]
    return ["study", "run", name, "--out", str(out), "--engine", "slurm", *sets]


def steps(out: Path) -> dict[str, int]:
    """The processes that carry jobs out, by job."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"submitit.core._submit" in words and os.fsencode(out) in words:
            told = dict(each.decode().split("=", 1) for each in variables if b"=" in each)
            if "SLURM_PROCID" in told and not words.startswith(b"srun"):
                job = f"{told['SLURM_ARRAY_JOB_ID']}_{told['SLURM_ARRAY_TASK_ID']}"
                found[job] = int(entry.name)
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not HERE, reason="needs slurmctld, slurmd and munge")
def test_killed_jobs_are_queued_again_and_end_as_if_nothing_had_been(
    cluster: None, tmp_path: Path
) -> None:
    name = tiny_study(tmp_path, "[0, 1]", PAIR, search__epochs=EPOCHS)
    out = tmp_path / "out"
    runs = [RunFolder(out / each) for each in load_study(name).runs]
    began = time.monotonic()

    def tell(what: str, *lines: str) -> None:
        print("\n".join([f"{time.monotonic() - began:5.1f} s  {what}", *lines]))

    def status() -> list[str]:
        told = io.StringIO()
        with contextlib.redirect_stdout(told):  # in this process: the jobs go on meanwhile
            assert command("study", "status", name, "--out", str(out)) == 0
        return told.getvalue().splitlines()

    # The runner leaves at once.
    pairs = words(name, out, "runs_per_job=2")
    code, told, err = console([*pairs, "--detach"], tmp_path)
    tell("study run --detach", *told)
    assert (code, err) == (0, [])
    submitted = (out / ".submitit" / "submitted.jsonl").read_text()
    jobs = [json.loads(line)["job"] for line in submitted.splitlines()]
    assert len(jobs) == 2
    # Nobody submits what is in the queue already.
    assert console([*pairs, "--detach"], tmp_path)[0] == 0
    assert (out / ".submitit" / "submitted.jsonl").read_text() == submitted

    first = [runs[0], runs[2]]
    until(lambda: all(epochs_of(each) >= 2 for each in first))
    told = status()
    tell("study status", *told)
    assert sum(line.startswith("running") for line in told) == 2
    assert sum(line.startswith("queued") for line in told) == 2
    assert {job for job in jobs for line in told if f"job {job}, running" in line} == set(jobs)

    # One is killed as for its memory, the other told that its time is nearly over.
    os.kill(steps(out)[jobs[0]], signal.SIGKILL)
    slurm("scancel", "--signal=USR2", jobs[1])
    for job in jobs:
        until(lambda job=job: "Restarts=1" in slurm("scontrol", "show", "job", job))
        until(lambda job=job: "PENDING" in slurm("scontrol", "show", "job", job))
    told = status()
    tell("kill -9 of one, signal before the time limit of the other", *told)
    assert sum(line.startswith("queued") for line in told) == 4
    reached = [epochs_of(each) for each in first]
    assert max(reached) < EPOCHS
    # A cluster waits two minutes by itself: a job that begins while its last step ends may be lost.
    time.sleep(3)
    for job in jobs:
        slurm("scontrol", "update", f"JobId={job}", "StartTime=now")

    # A runner that stays waits for them.
    code, told, err = console(pairs, tmp_path)
    tell("study run", *told)
    assert (code, err) == (0, [])
    # A job that the cluster lost while it queued it again is submitted once more, and says so here.
    assert (out / ".submitit" / "submitted.jsonl").read_text().startswith(submitted)
    assert_each_completed_once(name, out)
    starts = [[e["event"] for e in StartLog(each).read()].count("start") for each in runs]
    assert starts == [2, 1, 2, 1], reached
    killed = {each.name: each.read_text() for each in (out / ".submitit").glob("*.kills")}
    assert list(killed.values()) == ["137\n"], killed  # the signal before the limit is no kill
    tell("whole", *status())
    whole = tmp_path / "whole"
    assert console(["study", "run", name, "--out", str(whole)], tmp_path)[0] == 0
    pd.testing.assert_frame_equal(timeless_table(name, out), timeless_table(name, whole))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not HERE, reason="needs slurmctld, slurmd and munge")
def test_a_job_that_is_gone_is_submitted_again_and_ctrl_c_cancels(
    cluster: None, tmp_path: Path
) -> None:
    name = tiny_study(tmp_path, "[0, 1]", search__epochs=4000)
    out = tmp_path / "out"
    runs = [RunFolder(out / each) for each in load_study(name).runs]
    runner = start(words(name, out, "tasks_per_job=2"), tmp_path)  # both beside each other
    until(lambda: all(epochs_of(each) >= 2 for each in runs))
    slurm("scancel", "--name=optnas")
    until(lambda: all(len(StartLog(each).read()) == 2 for each in runs))
    runner.send_signal(signal.SIGINT)
    code, told, err = finish(runner)
    print("\n".join(told))
    assert (code, err) == (130, ["optnas: interrupted; run the same command again"])
    assert slurm("squeue", "--noheader") == ""
    assert {state_of(each) for each in runs} == {"unfinished"}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not HERE, reason="needs slurmctld, slurmd and munge")
def test_a_job_whose_first_task_is_done_is_queued_again(cluster: None, tmp_path: Path) -> None:
    name = tiny_study(tmp_path, grid='[[grid]]\n"search.epochs" = [1, 4000]\n')
    out = tmp_path / "out"
    short, long = (RunFolder(out / each) for each in load_study(name).runs)
    assert console([*words(name, out, "tasks_per_job=2"), "--detach"], tmp_path)[0] == 0
    until(lambda: state_of(short) == "done" and epochs_of(long) >= 2)
    time.sleep(2)  # for the first task to end, if it did
    (job,) = engine.submitted(out).alive()
    slurm("scancel", "--signal=USR2", job)  # as near its limit
    until(lambda: "Restarts=1" in slurm("scontrol", "show", "job", job))
    slurm("scancel", job)
    until(lambda: state_of(long) == "unfinished")


def test_a_damaged_list_of_jobs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_jobs", lambda: iter([("4_0", "PENDING")]))
    log = tmp_path / ".submitit" / "submitted.jsonl"
    log.parent.mkdir()
    log.write_text('{"job": "3", "folders": ["a"]}\n{"job": "4_0", "folders": ["b"]}\n{"torn')
    assert engine.Submitted(tmp_path)() == {tmp_path.resolve() / "b": "job 4_0, pending"}
    for line in ("1", '{"job": "4_0"}', '{"job": "4_0", "folders": 1}', '{"folders": []}'):
        log.write_text(f"{line}\n")
        with pytest.raises(UserError, match=r"submitted\.jsonl"):
            engine.Submitted(tmp_path)()


def test_a_torn_line_of_a_job_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next line was written on to it, and the study refused from then on."""
    alive = {"1": "RUNNING", "3": "PENDING", "5": "PENDING"}
    monkeypatch.setattr(engine, "_jobs", alive.items)
    log = tmp_path / ".submitit" / "submitted.jsonl"
    log.parent.mkdir()
    log.write_text('{"job": "1", "folders": ["a"]}\n{"job": "2", "fold')
    engine.Submitted(tmp_path).add({"3": [tmp_path / "b"]})
    here = tmp_path.resolve()
    found = {here / "a": "job 1, running", here / "b": "job 3, pending"}
    assert engine.Submitted(tmp_path)() == found
    with log.open("a") as file:  # as an earlier version went on
        file.write('{"job": "4", "fold{"job": "4", "folders": ["c"]}\n')
    engine.Submitted(tmp_path).add({"5": [tmp_path / "d"]})
    assert engine.Submitted(tmp_path)() == {**found, here / "d": "job 5, pending"}


def test_a_run_that_is_handed_in_once_more_is_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a job that has begun it may have failed just now, while others of the job go on."""
    run, other = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    queue = engine.Submitted(tmp_path)
    (tmp_path / ".submitit").mkdir()
    queue.add({"4_0": [run.path]})
    found: dict[str, list[State]] = {}
    for at in ("PENDING", "RUNNING"):
        monkeypatch.setattr(engine, "_jobs", lambda at=at: iter([("4_0", at)]))
        queued = engine.Submitted(tmp_path)()
        found[at] = [each for each in STATES if with_queue(each, run, queued) == "queued"]
        assert [with_queue(each, other, queued) for each in STATES] == list(STATES)
    waiting = ["interrupted", "unfinished", "queued", "missing"]
    assert found == {"PENDING": ["failed", "timeout", *waiting], "RUNNING": waiting}


def arrays_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int | None, **settings: object
) -> tuple[Engine, list[tuple[int, int]], set[str]]:
    """An engine, the jobs and the limit of each array that it submits, and the jobs alive."""
    arrays: list[tuple[int, int]] = []
    alive: set[str] = set()

    class Executor:
        limit = 0

        def update_parameters(self, array_parallelism: int, **others: object) -> None:
            self.limit = array_parallelism

        def map_array(self, work: object, runs: list[object]) -> list[types.SimpleNamespace]:
            arrays.append((len(runs), self.limit))
            names = [f"{len(arrays)}_{each}" for each in range(len(runs))]
            alive.update(names)
            return [types.SimpleNamespace(job_id=name) for name in names]

    submitit = types.SimpleNamespace(SlurmExecutor=lambda *given, **more: Executor())
    monkeypatch.setattr(engine, "_import_submitit", lambda: submitit)
    monkeypatch.setattr(engine, "_try_out", lambda asked: None)
    monkeypatch.setattr(engine, "_jobs", lambda: ((each, "PENDING") for each in alive))
    monkeypatch.setattr(engine, "SOONEST", 0.0)
    (tmp_path / ".submitit").mkdir()
    return engine.slurm(tmp_path, jobs, **settings), arrays, alive


def begin(carrier: Engine, folder: Path, threads: Sequence[int]) -> None:
    handles = [carrier.start(Job(folder / str(at), {}, each)) for at, each in enumerate(threads)]
    carrier.wait(handles, 0)


@pytest.mark.parametrize(
    ("jobs", "settings", "threads", "arrays"),
    [
        (20, {}, [1] * 1500, [(1000, 13), (500, 7)]),
        (20, {}, [1] * 30 + [2] * 10, [(30, 15), (10, 5)]),
        (20, {"tasks_per_job": 2}, [1] * 40, [(20, 10)]),
        (3, {}, [1] * 1000 + [2] + [3], [(1000, 1), (1, 1), (1, 1)]),
        (1, {}, [1] * 9 + [2] * 9, [(9, 1), (9, 1)]),  # one at least
        (None, {}, [1] * 1500, [(1000, 1000), (500, 1000)]),
    ],
)
def test_the_arrays_of_a_submission_share_the_runs_at_a_time(
    jobs: int | None,
    settings: dict[str, int],
    threads: list[int],
    arrays: list[tuple[int, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slurm's limit is of an array: two of them had twice as many at a time as were asked for."""
    carrier, found, _ = arrays_of(tmp_path, monkeypatch, jobs, **settings)
    begin(carrier, tmp_path, threads)
    assert found == arrays


def test_what_is_submitted_again_takes_what_earlier_arrays_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier, found, alive = arrays_of(tmp_path, monkeypatch, 20)
    begin(carrier, tmp_path, [1] * 30)
    alive.difference_update({f"1_{each}" for each in range(18)})
    begin(carrier, tmp_path, [1] * 10)
    begin(carrier, tmp_path, [1])
    assert found == [(30, 20), (10, 8), (1, 1)]


def test_one_list_of_jobs_for_whoever_asks_and_later_jobs_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitit = types.SimpleNamespace(SlurmExecutor=lambda *a, **k: None)
    monkeypatch.setattr(engine, "_import_submitit", lambda: submitit)
    monkeypatch.setattr(engine, "_try_out", lambda asked: None)
    monkeypatch.chdir(tmp_path)
    runner = runner_of(load_study(tiny_study(tmp_path)), Path("out"), "slurm", {})
    shared = runner.queue
    assert runner.engine._submitted is shared
    assert engine.submitted(tmp_path / "out") is shared

    alive = {"1": "RUNNING"}
    monkeypatch.setattr(engine, "_jobs", alive.items)
    log = tmp_path / "out" / ".submitit" / "submitted.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"job": "1", "folders": ["a"]}\n')
    assert shared() == {tmp_path / "out/a": "job 1, running"}
    alive["2"] = "PENDING"  # of another runner, before the next question is due
    with log.open("a") as file:
        file.write('{"job": "2", "folders": ["b"]}\n')
    assert shared()[tmp_path / "out/b"] == "job 2, pending"


def test_a_cluster_that_does_not_answer_in_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(command: object, timeout: float, **more: object) -> None:
        raise subprocess.TimeoutExpired("squeue", timeout, stderr=b"squeue: error: no\ncontact")

    monkeypatch.setattr(subprocess, "run", late)
    with pytest.raises(UserError, match=r"does not answer \(squeue: error: no contact\)"):
        list(engine._jobs())


def test_a_killed_job_is_queued_again_three_times_whatever_its_limits(tmp_path: Path) -> None:
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/asked"\n')
    program.chmod(0o755)
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = f"{tmp_path}:{os.environ['PATH']}"
    told = {"PATH": path, "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "9"}
    for code in (137, 1, 140, 0, 137, 137):
        script = "\n".join([f"(exit {code})", *engine._again(folder)])
        assert subprocess.run(["bash", "-c", script], env=told).returncode == code
    assert (tmp_path / "asked").read_text() == "requeue 7\n" * 3


@pytest.mark.parametrize("dies", [False, True])
def test_the_first_task_of_a_job_stays_until_the_others_are_done(
    dies: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_study(tiny_study(tmp_path, "[0, 1, 2, 3]"))
    runs = locate(loaded.runs.values(), tmp_path / "out")
    for name, folder in runs.items():
        prepare(loaded.runs[name], folder)
    folders = list(runs.values())
    pauses = []

    def others(seconds: float) -> None:
        """The second task: late to begin, with a pause between its runs."""
        pauses.append(seconds)
        step = len(pauses)
        if step == 2:
            held.enter_context(folders[1].locked())
        elif step == 4:
            if not dies:
                folders[1].finish("diverged", epoch=0, reason="")
            held.close()
        elif step == 6 and not dies:
            folders[3].finish("diverged", epoch=0, reason="")

    def carried_out(path: Path, settings: object) -> None:
        RunFolder(path).finish("diverged", epoch=0, reason="")

    monkeypatch.setattr(engine, "execute", carried_out)
    clock = types.SimpleNamespace(sleep=others, monotonic=lambda: engine.LOOK * len(pauses))
    monkeypatch.setattr(engine, "time", clock)
    monkeypatch.setenv("SLURM_NTASKS", "2")
    work = [(str(each.path), {}) for each in folders]
    with contextlib.ExitStack() as held:
        monkeypatch.setenv("SLURM_PROCID", "0")
        engine._Work()(work)
    assert [state_of(each) for each in folders[::2]] == ["diverged"] * 2
    assert len(pauses) == (3 + engine.QUIET // engine.LOOK + 1 if dies else 6)


@pytest.mark.parametrize(
    ("named", "tasks", "told"),
    [
        ("0,1", 2, ["0", "1"]),
        ("0,1", 3, ["0", "1", "0"]),
        ("GPU-a,GPU-b,GPU-c,GPU-d", 2, ["GPU-a,GPU-c", "GPU-b,GPU-d"]),
        ("0,1", 1, ["0,1"]),
        ("0", 2, ["0", "0"]),
        (None, 2, [None, None]),
    ],
)
def test_tasks_share_out_the_gpus_of_a_job(
    named: str | None, tasks: int, told: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm names all of a job to each of its tasks, and a run takes the first it sees."""
    seen: list[str | None] = []
    monkeypatch.setattr(engine, "execute", lambda path, given: seen.append(os.environ.get(VISIBLE)))
    monkeypatch.setattr(engine, "_await", lambda runs: None)
    monkeypatch.setenv("SLURM_NTASKS", str(tasks))
    for task in range(tasks):
        monkeypatch.setenv("SLURM_PROCID", str(task))
        if named is None:
            monkeypatch.delenv(VISIBLE, raising=False)
        else:
            monkeypatch.setenv(VISIBLE, named)
        engine._Work()([(str(number), {}) for number in range(tasks)])
    assert seen == told


def test_time_as_slurm_reads_it() -> None:
    read = {"90": 90, "10:30": 11, "4:00:00": 240, "1-12": 2160, "1-0:30": 1470, "0-0:5:1": 6}
    assert {text: engine._minutes(text) for text in read} == read
    for text in ("", "4h", "1:2:3:4", "-5"):
        with pytest.raises(UserError, match="is no time as Slurm writes it"):
            engine._minutes(text)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "--engine = 'slurm': there is no sbatch here; give the command on a login node"),
        ({"time": "4h"}, "time = '4h': is no time as Slurm writes it; write minutes as 90"),
        ({"time": "0:04:59"}, "a job is told of its end minutes before; write 5 minutes or more"),
        ({"gpus": -1}, "gpus = -1: is not negative"),
        ({"runs_per_job": 0}, "runs_per_job = 0: is at least 1"),
    ],
)
def test_what_is_refused(
    settings: dict[str, object], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as caught:
        registry.find("engine", "slurm")(out=tmp_path / "out", **settings)
    assert told in str(caught.value)
    assert list(tmp_path.iterdir()) == []
