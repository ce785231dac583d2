"""How far a study is, and how long it will take from here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from optnas.base.measurements import Line
from optnas.base.records import FINISHED, RunFolder
from optnas.search.settings.model import Settings
from optnas.search.showing import duration
from optnas.study.declare import PlannedRun
from optnas.study.states import STATES, State, failed_measures, look_and_read, with_queue


def cost_key(settings: Settings, *, optimizers: bool = True) -> str:
    """What the time of an epoch depends on; runs of equal keys cost about the same.

    Args:
        settings: of a run.
        optimizers: whether it tells optimizers apart.

    Returns:
        All settings but the seed and the optimizers' numbers.
    """
    content = settings.model_dump(
        exclude={"protocol", "fingerprint", "sources", "weight_optimizer", "arch_optimizer"}
    )
    content["search"].pop("seed")
    if optimizers:
        content["optimizers"] = [settings.weight_optimizer.name, settings.arch_optimizer.name]
    return json.dumps(content, sort_keys=True)


def counts(states: Mapping[State, int]) -> str:
    """Such as ``12 done, 34 missing``."""
    return ", ".join(f"{states[each]} {each}" for each in STATES if states.get(each))


class Failed(NamedTuple):
    """A measure that failed in runs that are done: in how many, and first in which run and line."""

    runs: int
    id: str
    line: Line

    @property
    def words(self) -> str:
        """Such as ``first in 0a1b, epoch 5: ValueError: not today (./mine.py, line 8)``."""
        return f"first in {self.id}, epoch {self.line['epoch']}: {self.line.get('reason', '')}"


@dataclass(frozen=True)
class Progress:
    """A study at one moment.

    Args:
        states: number of runs in each state.
        epochs: finished epochs of all runs that are to be finished.
        total: their epochs altogether.
        seconds: estimated seconds of one core for the rest; None while nothing is known.
        running: of each running run its id, finished epochs and all epochs.
        failed: measures that failed in runs that are done, by label.
    """

    states: Mapping[State, int]
    epochs: int
    total: int
    seconds: float | None
    running: tuple[tuple[str, int, int], ...]
    failed: Mapping[str, Failed]

    def line(self, jobs: int | None = None) -> str:
        """One line for people.

        Args:
            jobs: how many runs go on at a time; None: those that do now.

        Returns:
            Such as ``12 done, 2 running, 34 missing; 490/1920 epochs; about 4 h 10 min left``.
        """
        left = ""
        jobs = max(1, len(self.running)) if jobs is None else jobs
        if self.seconds is not None and self.epochs < self.total:
            left = f"; about {duration(self.seconds / max(1, jobs))} left with {jobs} at a time"
        return f"{counts(self.states)}; {self.epochs}/{self.total} epochs{left}"


class Watch:
    """Looks at a study's folders again and again; finished runs are read once.

    Args:
        runs: the study's runs by id.
        folders: their folders by id.
        queue: folders that are in a cluster's queue.
    """

    def __init__(
        self,
        runs: Mapping[str, PlannedRun],
        folders: Mapping[str, RunFolder],
        queue: Callable[[], Mapping[Path, str]] | None = None,
    ):
        self.runs, self.folders, self._queue = runs, folders, queue
        self._keys = {name: cost_key(run.settings) for name, run in runs.items()}
        self._finished: dict[str, tuple[State, int, float]] = {}
        self._failed: dict[str, dict[str, list[Line]]] = {}

    def look(self) -> Progress:
        """The study now.

        Returns:
            Counts and an estimate: a missing epoch takes the mean time of an epoch of runs like
            it, or of all runs where none like it has begun.
        """
        queued: Mapping[Path, str] = {} if self._queue is None else self._queue()
        seen = {name: self._look_at(name, queued) for name in self.runs}
        rates = self._rates(seen)
        overall = rates.get("")
        todo, total, done, running = 0.0, 0, 0, []
        for name, (state, epochs, _) in seen.items():
            asked = self.runs[name].settings.search.epochs
            if state in FINISHED:  # some end before their last epoch
                asked = epochs
            if state == "unreadable":  # nothing is run in its place
                continue
            total, done = total + asked, done + min(epochs, asked)
            todo += max(0, asked - epochs) * rates.get(self._keys[name], overall or 0.0)
            if state == "running":
                running.append((name, epochs, asked))
        states = Counter(state for state, _, _ in seen.values())
        seconds = None if overall is None else todo
        return Progress(states, done, total, seconds, tuple(running), self._failures())

    def _failures(self) -> dict[str, Failed]:
        found: dict[str, Failed] = {}
        for name in self.runs:
            for label, lines in self._failed.get(name, {}).items():
                before = found.get(label, Failed(0, name, lines[0]))
                found[label] = before._replace(runs=before.runs + 1)
        return found

    def _look_at(self, name: str, queued: Mapping[Path, str]) -> tuple[State, int, float]:
        if name in self._finished:
            return self._finished[name]
        folder = self.folders[name]
        (state, _), records = look_and_read(folder)
        state = with_queue(state, folder, queued)
        epochs = max(0, len(records) - 1)
        if state == "done":
            result: dict[str, Any] = folder.read_result() or {}
            seconds = float(result.get("seconds", 0.0)) + self._measuring(name)
            self._failed[name] = failed_measures(folder)
        else:
            seconds = sum(record.get("seconds", 0.0) for record in records)
        if state in FINISHED:
            self._finished[name] = state, epochs, seconds
        return state, epochs, seconds

    def _measuring(self, name: str) -> float:
        """Seconds of the measures that a run took beside its epochs."""
        lines = self.folders[name].measures
        return sum(
            line.get("cost", {}).get("seconds", 0.0)
            for label in self.runs[name].settings.measures
            for line in lines.read(label)
        )

    def _rates(self, seen: Mapping[str, tuple[State, int, float]]) -> dict[str, float]:
        """Seconds per epoch by cost key; under the empty key those of all runs."""
        seconds: Counter[str] = Counter()
        epochs: Counter[str] = Counter()
        for name, (_, count, took) in seen.items():
            if count and took:
                for key in (self._keys[name], ""):
                    epochs[key] += count
                    seconds[key] += took  # type: ignore[assignment]
        return {key: seconds[key] / epochs[key] for key in epochs}
