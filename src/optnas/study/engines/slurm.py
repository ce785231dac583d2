"""Runs in job arrays of a Slurm cluster, through submitit; what the cluster kills is queued again.

Every node must see the study's folder, the data and this installation under the same paths. Jobs
outlive the runner that submitted them. submitit's own files lie in ``OUT/.submitit``.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import shlex
import shutil
import subprocess
import time
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError
from optnas.base.files import append_lines, present
from optnas.base.json import dump_json, parse_json
from optnas.base.records import FINISHED, RunFolder
from optnas.base.registry import register
from optnas.base.toml import read_text
from optnas.study.engines.base import Engine, Job
from optnas.study.engines.local import VISIBLE
from optnas.study.states import epochs_of, state_of
from optnas.study.worker import execute

NAME = "optnas"  # of every job, by which squeue finds them
MOST = 1000  # jobs of one array; Slurm's own default is 1001
POLL = 0.5  # seconds between looks at the last answer of squeue
# Seconds between two questions: the longer nothing has changed, the more.
SOONEST, LATEST = 1.0, 30.0
ENDLESS = 1_000_000  # how often submitit may queue a job again that reached its time limit
TIMES = 3  # executions in a row without a new epoch, and kills, after which a job is given up
LEAST = 5  # minutes of a job: it is told up to two and a half before its end
LOOK = 5.0  # seconds between looks at the runs of a job's other tasks
# Seconds without one of those runs under way, after which they are not waited for; a task that
# begins may import from a slow disk for most of a minute.
QUIET = 120.0
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")


class Submitted:
    """What was submitted for a study, and which of it the cluster still has.

    ``OUT/.submitit/submitted.jsonl`` has a line per job, with the folders of its runs. squeue is
    asked seldom; where it does not answer, what it said last holds.

    Args:
        out: the study's folder.
    """

    def __init__(self, out: Path):
        self._out = out.resolve()
        self._log = self._out / ".submitit" / "submitted.jsonl"
        self._alive: dict[str, str] | None = None
        self._asked = self._changed = -math.inf
        self._lines = 0  # of the file, when it was read last

    def __call__(self) -> dict[Path, str]:
        """Folders of runs in jobs that wait or run, each with its job and the job's state.

        Raises:
            UserError: the file is damaged, or squeue has never answered.
        """
        jobs = self._read()
        if len(jobs) != self._lines:  # squeue's last answer may be older than these
            self._lines, self._asked = len(jobs), -math.inf
        alive = self.alive() if jobs else {}
        try:
            return {
                self._out / folder: f"job {each['job']}, {alive[each['job']].lower()}"
                for each in jobs
                if each["job"] in alive
                for folder in each["folders"]
            }
        except (KeyError, TypeError) as error:
            raise UserError(
                "a line tells no job and its folders",
                where=self._log,
                remedy="delete the file, and cancel what squeue still shows",
            ) from error

    def _read(self) -> list[Any]:
        """All whole lines, as of a start log: one that is no JSON was torn."""
        found = []
        for line in read_text(self._log).splitlines() if present(self._log) else ():
            with contextlib.suppress(UserError):
                found.append(parse_json(line, self._log))
        return found

    def add(self, jobs: Mapping[str, Iterable[Path]]) -> None:
        """Note jobs that were submitted just now, and the folders of their runs."""
        lines = [
            {"job": job, "folders": [os.path.relpath(each, self._out) for each in folders]}
            for job, folders in jobs.items()
        ]
        append_lines(self._log, "".join(dump_json(line) + "\n" for line in lines))
        self._alive = {**(self._alive or {}), **dict.fromkeys(jobs, "PENDING")}
        self._changed = time.monotonic()

    def alive(self) -> Mapping[str, str]:
        """The state of each job called `NAME` that has not ended, by job."""
        now = time.monotonic()
        if now - self._asked < min(LATEST, max(SOONEST, (now - self._changed) / 10)):
            return self._alive or {}
        self._asked = now
        try:
            found = dict(_jobs())
        except UserError:
            if self._alive is None:
                raise
            return self._alive
        if found != self._alive:
            self._alive, self._changed = found, now
        return found


_of = functools.cache(Submitted)


def submitted(out: Path) -> Submitted:
    """The one of a study's folder: whoever asks shares what squeue said last."""
    return _of(out.resolve())


def _jobs() -> Iterator[tuple[str, str]]:
    for line in _told("squeue", "--noheader", "--array", f"--name={NAME}", "--format=%i %T"):
        job, state = line.split()
        yield job, state


def _told(*command: str) -> list[str]:
    """The lines that a program of Slurm prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        if isinstance(said, bytes):  # that of a timeout is, whatever was asked for
            said = said.decode(errors="replace")
        raise UserError(
            f"the cluster does not answer ({' '.join(said.split())})",
            key=command[0],
            remedy="give the same command again, on a login node of the cluster",
        ) from error
    return done.stdout.splitlines()


class _Work:
    """What a job executes: its runs, dealt out to its tasks, one after the other in each.

    submitit queues a job again from task 0 alone, so that one stays until the others are done.

    Args:
        stuck: how many executions in a row have brought no new epoch.
    """

    def __init__(self, stuck: int = 0):
        self._stuck = stuck

    def __call__(self, runs: Sequence[tuple[str, dict[str, Any]]]) -> None:
        self._before = _epochs(runs)
        task, tasks = (int(os.environ[f"SLURM_{each}"]) for each in ("PROCID", "NTASKS"))
        _take_gpus(task, tasks)
        for folder, settings in runs[task::tasks]:
            try:
                execute(Path(folder), settings)
            except Exception:  # the folder says so too; the next run goes on
                traceback.print_exc()
        if task == 0:
            _await([RunFolder(Path(each)) for i, (each, _) in enumerate(runs) if i % tasks])

    def checkpoint(self, runs: Sequence[tuple[str, dict[str, Any]]]) -> Any:
        """submitit's: called near the time limit and before a preemption, to be queued again."""
        import submitit

        stuck = self._stuck + 1 if _epochs(runs) == self._before else 0
        if stuck == TIMES:
            raise SystemExit(f"{TIMES} times without a new epoch: the job is not queued again")
        return submitit.helpers.DelayedSubmission(_Work(stuck), runs)


def _take_gpus(task: int, tasks: int) -> None:
    """Leave a task its share of the job's GPUs: Slurm names all to each, and runs use the first.

    Before anything asks CUDA, which reads the variable once. Tasks beyond the number of GPUs share.
    """
    named = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    if named:
        os.environ[VISIBLE] = ",".join(named[task::tasks] or [named[task % len(named)]])


def _await(runs: Sequence[RunFolder]) -> None:
    """Return when all are finished, or none has been under way for long: its task has died."""
    seen = time.monotonic()
    while True:
        states = {state_of(each) for each in runs}
        if states <= set(FINISHED):
            return
        if "running" in states:
            seen = time.monotonic()
        elif time.monotonic() - seen > QUIET:
            return
        time.sleep(LOOK)


def _epochs(runs: Sequence[tuple[str, dict[str, Any]]]) -> int:
    return sum(epochs_of(RunFolder(Path(folder))) for folder, _ in runs)


@dataclass(eq=False)
class Handle:
    """A run, and the job it was submitted in: empty before that."""

    run: Job
    job: str = ""


class _Slurm:
    """Runs that were begun are submitted together when they are waited for next.

    Args:
        executor: submitit's.
        submitted: where jobs are noted.
        parameters: of every job.
        runs: of a job.
        abreast: how many jobs go on at a time; None: as many as the cluster lets.
    """

    def __init__(
        self,
        executor: Any,
        submitted: Submitted,
        parameters: dict[str, Any],
        runs: int,
        abreast: int | None,
    ):
        self._executor, self._submitted = executor, submitted
        self._parameters, self._runs, self._abreast = parameters, runs, abreast
        # Of each array that was submitted, its jobs and how many of them go on at a time.
        self._arrays: list[tuple[set[str], int]] = []
        self._begun: list[Handle] = []
        self._unwanted: set[str] = set()

    def start(self, job: Job) -> Handle:
        self._begun.append(Handle(job))
        return self._begun[-1]

    def wait(self, handles: Collection[Handle], seconds: float) -> dict[Any, str]:
        self._submit()
        self._cancel()
        until = time.monotonic() + seconds
        while True:
            alive = self._submitted.alive()
            ended = {
                each: f"job {each.job} ended" if each.job else "was not submitted"
                for each in handles
                if each.job not in alive
            }
            if ended or time.monotonic() >= until:
                return ended
            time.sleep(min(POLL, seconds))

    def interrupt(self, handle: Handle) -> None:
        if handle in self._begun:
            self._begun.remove(handle)
        else:
            self._unwanted.add(handle.job)

    def close(self) -> None:
        pass

    def _submit(self) -> None:
        begun, self._begun = self._begun, []
        arrays = []
        for threads in sorted({each.run.threads for each in begun}):
            alike = [each for each in begun if each.run.threads == threads]
            batches = _parts(list(_parts(alike, self._runs)), MOST)
            arrays += [(threads, batch) for batch in batches]
        shares = self._shares([len(batch) for _, batch in arrays])
        for (threads, batch), share in zip(arrays, shares, strict=True):
            parameters = {"cpus_per_task": threads, **self._parameters, "array_parallelism": share}
            # srun does not take it over from sbatch since Slurm 22.05.
            parameters["srun_args"] = [f"--cpus-per-task={parameters['cpus_per_task']}"]
            self._executor.update_parameters(**parameters)
            self._submit_array(batch, share)

    def _shares(self, sizes: Sequence[int]) -> list[int]:
        """How many jobs of each new array go on at a time, for Slurm limits an array alone.

        The new ones share what those before them leave, by their numbers of jobs, one at least.
        """
        if self._abreast is None:
            return [MOST] * len(sizes)
        alive = self._submitted.alive() if sizes and self._arrays else {}
        room = self._abreast - sum(min(len(jobs & alive.keys()), n) for jobs, n in self._arrays)
        shares: list[int] = []
        for place, size in enumerate(sizes):
            by_size, later = room * size // sum(sizes[place:]), len(sizes) - place - 1
            shares.append(max(1, min(by_size, room - later)))
            room -= shares[-1]
        return shares

    def _submit_array(self, batch: Sequence[Sequence[Handle]], share: int) -> None:
        """An array with a job per element, of which so many go on at a time."""
        work = [
            [(str(each.run.folder), dict(each.run.settings)) for each in runs] for runs in batch
        ]
        try:
            jobs = self._executor.map_array(_Work(), work)
        except Exception as error:  # submitit has several
            raise _not_taken(str(error)) from error
        carried = {job.job_id: runs for job, runs in zip(jobs, batch, strict=True)}
        self._submitted.add({job: [each.run.folder for each in carried[job]] for job in carried})
        self._arrays.append((set(carried), share))
        for job, runs in carried.items():
            for each in runs:
                each.job = job

    def _cancel(self) -> None:
        unwanted, self._unwanted = self._unwanted & self._submitted.alive().keys(), set()
        if unwanted:
            _told("scancel", *sorted(unwanted))


def _parts(things: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (things[i : i + size] for i in range(0, len(things), size))


def _not_taken(said: str) -> UserError:
    return UserError(
        f"the cluster does not take such a job ({' '.join(said.split())})",
        key="--engine",
        value="slurm",
        remedy="change it by --engine-set; sinfo and sacctmgr tell what there is",
    )


def _import_submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            "the engine needs the package submitit",
            key="--engine",
            value="slurm",
            remedy="pip install 'optnas[slurm]'",
        ) from error
    return submitit


@register("engine", "slurm", queue=submitted)
def slurm(
    out: Path,
    jobs: int | None = None,
    time: int | str = "1-00:00:00",
    partition: str = "",
    account: str = "",
    qos: str = "",
    constraint: str = "",
    gpus: int = 0,
    cpus_per_task: int = 0,
    memory_gb: int = 4,
    runs_per_job: int = 1,
    tasks_per_job: int = 1,
    setup: tuple[str, ...] = (),
) -> Engine:
    """A Slurm cluster.

    Args:
        out: the study's folder.
        jobs: how many runs go on at a time, of what one command submits: its arrays share the
            number by their sizes, one job at least each; None: as many as the cluster lets.
        time: limit per run, as Slurm writes it: ``90`` (minutes), ``4:00:00``, ``1-12``; a job that
            reaches its limit goes on in another.
        partition: of the cluster; empty is its default, as for the next three.
        account: that pays.
        qos: quality of service.
        constraint: features of the nodes, such as ``a100``.
        gpus: GPUs of a job, dealt out to its tasks; more tasks than GPUs share them.
        cpus_per_task: cores of a run; 0: as many as the run has threads.
        memory_gb: memory of a run.
        runs_per_job: how many runs a job carries out, one for each task at least.
        tasks_per_job: how many of them beside each other; the others follow.
        setup: lines of shell before it, such as ``module load cuda``.

    Raises:
        UserError: submitit is not installed, there is no Slurm on this machine, or the cluster
            takes no such jobs.
    """
    numbers = {"runs_per_job": runs_per_job, "tasks_per_job": tasks_per_job, "memory_gb": memory_gb}
    for key, value in numbers.items():
        if value < 1:
            raise UserError("is at least 1", key=key, value=value, remedy="leave it out")
    for key, value in {"gpus": gpus, "cpus_per_task": cpus_per_task}.items():
        if value < 0:
            raise UserError("is not negative", key=key, value=value, remedy="leave it out")
    runs = max(runs_per_job, tasks_per_job)
    minutes = _minutes(str(time)) * math.ceil(runs / tasks_per_job)
    asked = {
        "time": minutes,
        "mem": f"{memory_gb * tasks_per_job}GB",
        "ntasks_per_node": tasks_per_job,
        "partition": partition,
        "account": account,
        "qos": qos,
        "constraint": constraint,
        "gpus_per_node": gpus,
        "cpus_per_task": cpus_per_task,
    }
    asked = {key: value for key, value in asked.items() if value}
    submitit = _import_submitit()
    _try_out(asked)
    folder = out.resolve() / ".submitit"
    executor = submitit.SlurmExecutor(folder, max_num_timeout=ENDLESS)
    parameters = {
        **asked,
        "job_name": NAME,
        "setup": list(setup),
        "teardown": _again(folder),
        "additional_parameters": {"requeue": True},
    }
    abreast = None if jobs is None else max(1, jobs // tasks_per_job)
    return _Slurm(executor, submitted(out), parameters, runs, abreast)


def _again(folder: Path) -> list[str]:
    """Lines of shell that queue a job again after a kill, `TIMES` times.

    A kill is mostly for the job's memory, or a signal of the cluster that came before the program
    was ready for it (SIGUSR2); Slurm takes both for the end of the job. SLURM_RESTART_COUNT also
    counts the limits that a job has reached, so the kills of each have a file.
    """
    return [
        "code=$?",
        f'kills={shlex.quote(str(folder))}/"$SLURM_JOB_ID.kills"',
        'case "$code" in 137|140) echo "$code" >> "$kills"',
        f'[ "$(wc -l < "$kills")" -le {TIMES} ] && scontrol requeue "$SLURM_JOB_ID";; esac',
        'exit "$code"',
    ]


def _try_out(asked: Mapping[str, Any]) -> None:
    """Ask the cluster for such a job without submitting one, before anything is written."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "there is no sbatch here",
            key="--engine",
            value="slurm",
            remedy="give the command on a login node of the cluster, or leave --engine out",
        )
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in asked.items()]
    tried = subprocess.run(
        ["sbatch", "--test-only", *flags, "--wrap=true"], capture_output=True, text=True
    )
    if tried.returncode:
        raise _not_taken(tried.stderr)


def _minutes(text: str) -> int:
    """Slurm's own reading: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; rounded up."""
    found = TIME.fullmatch(text)
    if found is None:
        raise UserError(
            "is no time as Slurm writes it",
            key="time",
            value=text,
            remedy="write minutes as 90, hours as 4:00:00, days as 1-12:00:00",
        )
    days, *parts = (int(part or 0) for part in found.groups())
    weights = (3600, 60, 1) if found["days"] or found["third"] else (60, 1, 0)
    seconds = 86400 * days + sum(a * b for a, b in zip(parts, weights, strict=True))
    if seconds < 60 * LEAST:
        raise UserError(
            "a job is told of its end minutes before",
            key="time",
            value=text,
            remedy=f"write {LEAST} minutes or more",
        )
    return math.ceil(seconds / 60)
