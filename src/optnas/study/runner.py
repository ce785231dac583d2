"""Run what is missing of a study, some runs at a time, beside other runners if there are any."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from optnas.base import registry
from optnas.base.contents import Status
from optnas.base.errors import COMMAND_LINE, Origins, UserError, fault_of
from optnas.base.escapes import for_terminal
from optnas.base.files import TEMPORARY
from optnas.base.folder import BusyError
from optnas.base.records import FINISHED, RunFolder
from optnas.study.added import begun_without
from optnas.study.declare import PlannedRun, Study
from optnas.study.engines.base import Engine, Job
from optnas.study.folder import locate, prepare
from optnas.study.starts import StartLog
from optnas.study.states import Look, State, epochs_of, look, state_of

log = logging.getLogger(__name__)

NVIDIA = Path("/proc/driver/nvidia/version")  # of a driver that is loaded
FIRST = ("auto", "cuda", "cuda:0")  # the first GPU, where there is one
TICK = 1.0  # seconds between looks at the folders
TRIAL = 1 << 20  # bytes, more than a run writes before its first epoch
ATTEMPTS = 3  # executions in a row that end without a new epoch
REMIND = 6.0  # seconds after which an interruption is sent again

# Told of every change: the run, its new state, and in a few words why.
OnChange = Callable[[PlannedRun, State, str], None]
# Folders of runs that are in a cluster's queue, whoever submitted them, and where in it.
Queue = Callable[[], Mapping[Path, str]]


@dataclass
class Runner:
    """What is to do, what is under way, and what is in other hands.

    Args:
        study: the study.
        out: its folder.
        engine: carries the runs out.
        jobs: how many at a time.
        max_runs: begin no more than so many; None for all.
        retry_failed: also go on with runs that failed or took too long, once each. What the
            environment refused (memory, disk, a signal) is tried again in any case.
        on_change: told of every change.
        on_tick: called about once a second.
        queue: the engine's, if its jobs go on without a runner; what is in it is not begun again.
    """

    study: Study
    out: Path
    engine: Engine
    jobs: int
    max_runs: int | None = None
    retry_failed: bool = False
    on_change: OnChange = lambda run, state, why: None
    on_tick: Callable[[], None] = lambda: None
    queue: Queue | None = None

    def __post_init__(self) -> None:
        self.folders: dict[str, RunFolder] = locate(self.study.runs.values(), self.out)
        self.abreast: int | None = self.jobs  # that compute at a time; None: a cluster decides
        self.waiting = deque(self.study.runs)
        self.under_way: dict[Any, str] = {}
        self.elsewhere: set[str] = set()
        self.begun: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._starts: dict[str, int] = {}  # lines of the start log before this execution
        self._attempts: dict[str, int] = {}
        self._late: dict[str, float] = {}  # when each was last told to end
        self._handed_in: dict[str, float] = {}  # when each was last begun
        self._former: dict[str, object] = {}  # the result.json that lay there then

    def go(self) -> bool:
        """Run until nothing is left to do, to wait for, or allowed.

        Returns:
            Whether every run of the study is done or diverged, or ``max_runs`` stopped it and no
            run that was begun failed.

        Raises:
            UserError: nothing can be written any more, or the cluster refuses; the rest is left as
                it is, and so are jobs in a cluster's queue.
            KeyboardInterrupt: on SIGINT or SIGTERM, after every run under way was told to stop and
                ended.
        """
        with _signals() as received:
            try:
                while not received and self._some_left():
                    self._fill()
                    self._collect(TICK)
                    self._end_late()
                    self._look_elsewhere()
                    self.on_tick()
            except BaseException:
                if self.queue is not None and not received:
                    self.under_way.clear()  # the cluster has them; the same command finds them
                raise
            finally:
                self._stop()
                self.engine.close()
        if received:
            # The handler of the command line decides what becomes of it.
            signal.raise_signal(received[0])
            raise KeyboardInterrupt
        limited = self.max_runs is not None
        judged = self.begun if limited else set(self.study.runs)
        return all(state_of(self.folders[name]) in FINISHED for name in judged)

    def hand_over(self) -> None:
        """Begin all that is missing and leave it to the cluster.

        Raises:
            UserError: nothing can be written, or the cluster refuses.
        """
        self._fill()
        self.engine.wait(list(self.under_way), 0)  # sees to it that they are submitted
        self.engine.close()

    def _allowed(self, name: str) -> bool:
        return self.max_runs is None or name in self.begun or len(self.begun) < self.max_runs

    def _some_left(self) -> bool:
        if self.under_way or (self.elsewhere and self.max_runs is None):
            return True
        return any(self._allowed(name) for name in self.waiting)

    def _fill(self) -> None:
        queued = self._queued() if self.waiting else {}
        for name in list(self.waiting):
            if len(self.under_way) >= self.jobs:
                break
            if self._allowed(name) and self._driven(name):
                self.waiting.remove(name)
                self._begin(name, queued)

    def _driven(self, name: str) -> bool:
        """Whether a run is done, or the one that it follows; left out where that never will be."""
        run = self.study.runs[name]
        if not run.follows or state_of(self.folders[name]) in FINISHED:
            return True
        if state_of(self.folders[run.follows]) == "done":
            return True
        if run.follows not in {*self.waiting, *self.under_way.values(), *self.elsewhere}:
            self.waiting.remove(name)
            self.on_change(run, "missing", f"the run it follows, {run.follows}, is not done")
        return False

    def _queued(self) -> Mapping[Path, str]:
        return {} if self.queue is None else self.queue()

    def _begin(self, name: str, queued: Mapping[Path, str]) -> None:
        run, folder = self.study.runs[name], self.folders[name]
        state, reason = look(folder)
        if state in FINISHED:
            self._settle(folder, state)
        elif state == "running":
            self.elsewhere.add(name)
        elif folder.path.resolve() in queued:
            self.elsewhere.add(name)
            self.on_change(run, "queued", queued[folder.path.resolve()])
        elif state == "unreadable":
            self.on_change(run, state, f"{reason}; or delete {folder.path}: it is run again")
        elif state in ("failed", "timeout") and not self._again(name, folder):
            return
        else:
            self.begun.add(name)
            try:
                prepare(run, folder)
            except UserError as error:  # whatever is in its place, the others go on
                if fault_of(error) == "disk":
                    raise self._full(error) from error
                self.on_change(run, "failed", str(error))
                return
            self._epochs[name] = epochs_of(folder)
            self._starts[name] = len(StartLog(folder).read())
            self._handed_in[name], self._former[name] = time.time(), _result_in(folder)
            try:
                handle = self.engine.start(_job(run, folder))
            except OSError as error:
                if fault_of(error) == "disk":
                    raise self._full(error) from error
                if not folder.refused(error):  # but the machine, which would refuse all
                    raise
                self.on_change(run, "failed", str(folder.unwritable(error)))
                return
            self.under_way[handle] = name
            begun: State = "running" if self.queue is None else "queued"
            self.on_change(run, begun, f"from epoch {self._epochs[name]}")

    def _again(self, name: str, folder: RunFolder) -> bool:
        """Whether a run that failed is begun once more."""
        if name in self.begun:  # an execution that died before it began says nothing
            return self._as_before(name)
        result = folder.read_result() or {}
        return self.retry_failed or result.get("fault", "program") != "program"

    def _as_before(self, name: str) -> bool:
        """Whether a run's result is the one of before it was handed in."""
        former = self._former.get(name)
        return former is not None and _result_in(self.folders[name]) == former

    def _look(self, name: str) -> Look:
        """What an execution made of a run; how an earlier one ended is not its outcome."""
        seen = look(self.folders[name])
        # After the look, which has opened the file: a network's file system then knows it anew.
        earlier = seen.state in ("failed", "timeout", "interrupted") and self._as_before(name)
        return Look("unfinished") if earlier else seen

    def _full(self, error: BaseException | str) -> UserError:
        return UserError(
            f"the study stops: nothing can be written any more ({error})",
            key="--out",
            value=str(self.out),
            remedy="free space there, or make it writable, then give the same command again: it "
            "goes on with the rest",
        )

    def _check_disk(self, folder: RunFolder, state: State) -> None:
        """Stop where a full disk ended a run: it would end all that follow."""
        result = (folder.read_result() if state == "failed" else None) or {}
        if result.get("fault") == "disk":
            raise self._full(result["reason"])
        trial = self.out / f"trial.{os.getpid()}{TEMPORARY}"
        try:
            with contextlib.suppress(FileNotFoundError):
                trial.write_bytes(bytes(TRIAL))
        except OSError as error:
            if fault_of(error) == "disk":
                raise self._full(error.strerror or str(error)) from error
        finally:
            with contextlib.suppress(OSError):
                trial.unlink()

    def _end_late(self) -> None:
        """Interrupt what takes longer than the study allows; `_ended` gives it its status."""
        for handle, name in self.under_way.items():
            now = time.time()
            if self.study.timeout is None or now - self._late.get(name, 0.0) < REMIND:
                continue
            begun = StartLog(self.folders[name]).begun(after=self._starts[name])
            if begun is not None and now - begun > self.study.timeout:
                self._late[name] = now
                self.engine.interrupt(handle)

    def _collect(self, seconds: float) -> None:
        if not self.under_way:
            time.sleep(seconds if self.elsewhere else 0)
            return
        for handle, how in self.engine.wait(list(self.under_way), seconds).items():
            self._ended(self.under_way.pop(handle), how)

    def _ended(self, name: str, how: str) -> None:
        """The folder says what became of a run; how its process ended is only told."""
        run, folder = self.study.runs[name], self.folders[name]
        state, reason = self._look(name)
        if name in self._late and state in ("interrupted", "unfinished"):
            reason = f"took more than {self.study.timeout:g} s"
            self._finish(folder, "timeout", reason=reason)
            self.on_change(run, "timeout", reason)
            return
        if state not in FINISHED:
            self._check_disk(folder, state)
        if state in FINISHED:
            self._settle(folder, state)
            self.on_change(run, state, "" if state == "done" else how)
        elif state == "running":
            self.elsewhere.add(name)
            self.on_change(run, state, "another process has it")
        elif state in ("failed", "unreadable"):
            self.on_change(run, state, reason or how)
        else:
            epochs = epochs_of(folder)
            stuck = epochs <= self._epochs[name]
            # A cluster's job ends with all its runs where one of them took too long: of the others
            # that is no attempt, and most have not begun. Each run is late once, so this ends.
            spared = any(told > self._handed_in[name] for told in self._late.values())
            attempts = self._attempts.get(name, 0) + (not spared)
            self._attempts[name] = attempts if stuck else 0
            if self._attempts[name] >= ATTEMPTS:
                # A worker that a program's fault ends says so itself.
                reason = f"{how}, {ATTEMPTS} times without a new epoch"
                self._finish(folder, "failed", reason=reason, fault="environment")
                self.on_change(run, "failed", f"{how}, {ATTEMPTS} times; see {folder.path}")
            else:
                self.waiting.appendleft(name)
                self.on_change(run, state, how)

    def _finish(self, folder: RunFolder, status: Status, **facts: Any) -> None:
        with self._noted(folder), folder.locked():
            folder.finish(status, **facts)

    def _settle(self, folder: RunFolder, state: State) -> None:
        start_log = StartLog(folder)
        with self._noted(folder):
            if start_log.read() and not start_log.completed():
                with folder.locked():
                    start_log.settle(state)

    @contextlib.contextmanager
    def _noted(self, folder: RunFolder) -> Iterator[None]:
        """Tell of a folder in which nothing can be noted: the other runs go on."""
        try:
            yield
        except BusyError:
            pass  # whoever holds it notes what becomes of it
        except (OSError, UserError) as error:
            if fault_of(error) == "disk":
                raise self._full(error) from error
            told = folder.unwritable(error) if isinstance(error, OSError) else error
            log.warning("optnas: warning: %s", for_terminal(str(told)))

    def _look_elsewhere(self) -> None:
        queued = self._queued() if self.elsewhere else {}
        for name in list(self.elsewhere):
            state = state_of(self.folders[name])
            if state != "running" and self.folders[name].path.resolve() not in queued:
                self.elsewhere.remove(name)
                self.waiting.append(name)
                if state in FINISHED:
                    self.on_change(self.study.runs[name], state, "by another process")

    def _stop(self) -> None:
        reminded = -REMIND
        while self.under_way:
            if time.monotonic() - reminded > REMIND:
                reminded = time.monotonic()
                for handle in self.under_way:
                    self.engine.interrupt(handle)
            for handle, how in self.engine.wait(list(self.under_way), TICK).items():
                name = self.under_way.pop(handle)
                self.on_change(self.study.runs[name], self._look(name).state, how)


def _result_in(folder: RunFolder) -> object:
    """What tells one result.json from the next, however alike they are; None without one."""
    try:
        found = folder.result.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _job(run: PlannedRun, folder: RunFolder) -> Job:
    """A run that was begun elsewhere goes on with what is asked for here."""
    asked = run.settings
    settings: dict[str, Any] = {f"run.{k}": v for k, v in asked.run.model_dump().items()}
    for key, place in asked.data.places.items():
        settings[f"data.{key}"] = str(Path(place).resolve())
    return Job(folder.path.resolve(), settings, asked.run.threads)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of being torn out of the middle of something.

    Python lets only the main thread of a program do so: a runner in another hears of none, and
    whoever started it looks after them.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def at_a_time(jobs: int | None, threads: int | None) -> int:
    """How many runs go on at a time.

    Args:
        jobs: what was asked for; None: as many as the cores carry that this process may use.
        threads: of each run, one by default.

    Raises:
        UserError: less than one was asked for.
    """
    if jobs is None:
        import joblib

        return max(1, joblib.cpu_count() // max(1, threads or 1))
    if jobs < 1:
        raise UserError(
            "at least one run at a time", key="--jobs", value=jobs, remedy="write --jobs 1"
        )
    return jobs


def runner_of(
    study: Study,
    out: Path,
    engine: str,
    given: Mapping[str, Any],
    *,
    jobs: int | None = None,
    threads: int | None = None,
    max_runs: int | None = None,
    retry_failed: bool = False,
    detached: bool = False,
) -> Runner:
    """The runner of a study with the engine of a name.

    Args:
        study: the study.
        out: its folder.
        engine: a registered one, or ``module:Object``.
        given: its settings; they lie over those of the study's file.
        jobs: as of `at_a_time`; a cluster with a queue decides by itself.
        threads: likewise.
        max_runs: as of `Runner`, and the next.
        retry_failed: see there.
        detached: whether the runs shall go on without the runner.

    Raises:
        UserError: a name, a number or a setting is wrong.
    """
    abreast = at_a_time(jobs, threads)
    if max_runs is not None and max_runs < 1:
        raise UserError(
            "at least one run",
            key="--max-runs",
            value=max_runs,
            remedy="write --max-runs 1, or leave it out for all",
        )
    factory = registry.find("engine", engine, key="--engine")
    queue = _queue_of(engine)
    if detached and queue is None:
        raise UserError(
            "runs of this engine end with the command",
            key="--detach",
            remedy=f"name one with a queue: --engine {' or '.join(_with_queue())}",
        )
    if detached and any(run.follows for run in study.runs.values()):
        raise UserError(
            "runs that follow others of the study begin when these are done",
            where=study.label,
            key="--detach",
            remedy="leave it out",
        )
    if registry.facts("engine", engine).get("here"):
        _check_devices(study, out)
    declared, supplied = study.engines.get(engine, {}), {"out": out, "jobs": jobs}
    origins = Origins()
    origins.note("engine", declared, study.label)
    origins.note("engine", given, COMMAND_LINE)
    with origins.told():
        settings = registry.complete_settings(
            factory, {**declared, **given}, section="engine", skip=tuple(supplied)
        )
        here = bool(registry.facts("engine", engine).get("here"))
        _check_own_devices(study, out, settings, alone=here)
        carrier: Engine = registry.supply(factory, settings, supplied, section="engine")
    if here and jobs is None and not settings.get("gpus"):
        _warn_of_crowd(study, out, abreast)
    runner = Runner(study, out, carrier, abreast, max_runs, retry_failed)
    for told in begun_without(study, runner.folders):
        log.warning("optnas: warning: %s", for_terminal(told))
    if queue is not None:
        runner.queue, runner.jobs = queue(out), len(study.runs)
        runner.abreast = jobs
    return runner


def _devices(study: Study, out: Path) -> list[str]:
    """What each run asks for that is not finished."""
    folders = locate(study.runs.values(), out)
    return [
        run.settings.run.device
        for run in study.runs.values()
        if state_of(folders[run.id]) not in FINISHED
    ]


def _check_own_devices(
    study: Study, out: Path, settings: Mapping[str, Any], *, alone: bool
) -> None:
    """Refuse a GPU that no run will see, where an engine gives each its own: they count from 0.

    Args:
        study: the study.
        out: its folder.
        settings: of the engine.
        alone: whether a run sees one GPU, however many there are for all.

    Raises:
        UserError: a run asks for another than those it will see.
    """
    gpus, tasks = settings.get("gpus"), settings.get("tasks_per_job", 1)
    if not isinstance(gpus, (int, float)) or gpus <= 0:
        return
    seen = 1 if alone else max(1, int(gpus) // max(1, tasks))
    for device in sorted(set(_devices(study, out))):
        if int(device.partition(":")[2] or 0) >= seen:
            raise UserError(
                f"each run sees {seen} GPU{'s' if seen > 1 else ''} under gpus = {gpus}, "
                "counted from cuda:0",
                key="run.device",
                value=device,
                remedy="use cuda or auto, or leave gpus out",
            )


def _warn_of_crowd(study: Study, out: Path, abreast: int) -> None:
    """Say that as many runs as there are cores will share the first GPU of this machine."""
    if not (shutil.which("nvidia-smi") or NVIDIA.exists()):
        return  # torch, which counts them, takes a second and much memory
    abreast = min(abreast, sum(each in FIRST for each in _devices(study, out)))
    if abreast < 2:
        return
    import torch

    there = torch.cuda.device_count()
    if there:
        log.warning(
            "optnas: warning: up to %d runs at a time share GPU 0 of %d: say how many with "
            "--jobs N, and spread them with --engine-set gpus=%d",
            abreast,
            there,
            there,
        )


def _check_devices(study: Study, out: Path) -> None:
    """Refuse a device that is not here once, and not run by run."""
    asked = {*_devices(study, out)} - {"auto", "cpu"}
    if not asked:
        return
    import torch

    there = torch.cuda.device_count()  # opens no context, as an empty tensor there would
    for device in sorted(asked):
        if int(device.partition(":")[2] or 0) >= there:
            raise UserError(
                f"no such device here (there are {there} GPUs)",
                key="run.device",
                value=device,
                remedy="use auto or cpu",
            )


def queued_in(out: Path) -> tuple[dict[Path, str], list[str]]:
    """What clusters still have of a study.

    Args:
        out: the study's folder.

    Returns:
        Folders of runs that are in a queue, and where in it; why a queue cannot be asked.
    """
    found: dict[Path, str] = {}
    unknown = []
    for name in registry.names("engine"):
        try:
            queue = _queue_of(name)
            found |= queue(out)() if queue is not None else {}
        except UserError as error:
            unknown.append(f"what {name} has in its queue is not known: {error}")
    return found, unknown


def _queue_of(engine: str) -> Callable[[Path], Queue] | None:
    queue: Callable[[Path], Queue] | None = registry.facts("engine", engine).get("queue")
    return queue


def _with_queue() -> Iterator[str]:
    for name in registry.names("engine"):
        with contextlib.suppress(UserError):  # another's, which cannot be loaded
            if _queue_of(name) is not None:
                yield name
