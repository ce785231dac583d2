"""Runs that are killed again and again, at drawn moments, and must end as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import assert_same_run
from forked import Ended, answered, ended, started

from optnas.base.json import read_lines
from optnas.base.records import RunFolder
from optnas.search.exam.searches import TINY

Report = Callable[[str, str], None]

TOY = TINY | {"space.name": "toy", "benchmark.table": "toy", "search.epochs": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "darts": {"weight_optimizer.name": "Adam", "search.valid_order": "passes"},
    "unrolled": {"algorithm.hypergradient": "unrolled", "arch_optimizer.name": "SGD"},
    "attacked": {"algorithm.name": "sdarts-adv", "augmentation.cutout": 3},
    "drawn": {"algorithm.name": "gdas", "checkpoints.keep": "all"},
    "selected": {"algorithm.name": "darts-pt", "search.epochs": 8},
    "measured": {"measures.gap.every": 1, "checkpoints.keep": "all", "run.threads": 1},
}
# Calls of os that stand around every write, and how often a run of some epochs makes them.
WRITES = {"fsync": 24, "replace": 12, "rename": 4, "link": 4}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LIMIT = 6  # kills of one run


def go_on(out: Path, settings: dict[str, Any]) -> list[str]:
    """The command that goes on with whatever a killed process left."""
    if (out / "config.toml").exists():
        return ["resume", out.name]
    return ["search", "--out", out.name, *(f"{key}={value}" for key, value in settings.items())]


def seen(run: Path) -> dict[tuple[str, int], Any]:
    """All complete lines of a run by file and place, without seconds."""
    found: dict[tuple[str, int], Any] = {}
    for path in (run / "epochs.jsonl", *sorted((run / "measures").glob("*.jsonl"))):
        for line in read_lines(path):
            kept = {k: v for k, v in line.items() if k not in ("seconds", "cost")}
            found[str(path.relative_to(run)), line["epoch"]] = kept
    return found


class Killer:
    """Kills runs until so many kills have come; reports what was lost, unequal or wrongly told.

    Args:
        folder: where the runs lie.
        draw: of variants, moments and signals.
        report: told a kind of fault and its description.
    """

    def __init__(self, folder: Path, draw: random.Random, report: Report):
        self.folder, self.draw, self.report = folder, draw, report
        self.kills = self.inside = 0
        self._references: dict[str, tuple[Path, float]] = {}

    def run(self, kills: int) -> None:
        """Kill so many times."""
        number = 0
        while self.kills < kills:
            variant = self.draw.choice(list(VARIANTS))
            self._one(variant, self.folder / f"{variant}-{number}", kills)
            number += 1

    def _reference(self, variant: str) -> tuple[Path, float]:
        if variant not in self._references:
            out, began = self.folder / variant, time.monotonic()
            answer = answered(go_on(out, TOY | VARIANTS[variant]), self.folder, self.folder)
            assert answer.code == 0, answer
            self._references[variant] = out, time.monotonic() - began
        return self._references[variant]

    def _one(self, variant: str, out: Path, kills: int) -> None:
        reference, duration = self._reference(variant)
        settings, past, told = TOY | VARIANTS[variant], {}, []  # type: ignore[var-annotated]
        for _ in range(self.draw.randint(1, LIMIT)):
            number = self.draw.choice(SIGNALS)
            inside, share = self.kills % 2 == 0, self.draw.random()
            call = self.draw.choice(list(WRITES))
            # Drawn in any case: the moments of later kills do not hang on this machine's pace.
            count, size = self.draw.randint(1, WRITES[call]), self.draw.randrange(100, 60_000)
            words = go_on(out, settings)
            if inside:
                what = number.name if self.draw.random() < 0.75 else str(size)
                answer = answered(words, self.folder, self.folder, moment=f"{call} {count} {what}")
                told.append(f"{words[0]}: {call} {count} {what}")
            else:
                process = started(words, self.folder, self.folder)
                time.sleep(share * duration)
                os.kill(process, number)
                answer = ended(process, self.folder, 120)
                told.append(f"{words[0]}: {number.name} after {share * duration:.2f} s")
            came = answer.code != 0  # it may have been done before
            self.kills += came
            self.inside += came and inside
            self._told(answer, number, f"{out.name}: {told}")
            self._keep(past, out, f"{out.name}: {told}")
            if self.kills == kills:
                break
        if (RunFolder(out).read_result() or {}).get("status") != "done":
            answer = answered(go_on(out, settings), self.folder, self.folder)
            if answer.code != 0 or answer.err:
                self.report("wrong_exit", f"{out.name}: {told}: resumed: {answer}")
        self._keep(past, out, f"{out.name}: {told}, at the end")
        try:
            assert_same_run(out, reference)
            assert seen(out) == seen(reference), "measures"
            assert not list(out.rglob("*.partial")), "leftovers"
        except Exception as error:
            self.report("unequal", f"{out.name}: {told}: {str(error)[:300]}")

    def _told(self, answer: Ended, number: signal.Signals, what: str) -> None:
        limited = (-signal.SIGXFSZ, -number)
        if answer.code not in (0, 128 + number, *limited) or "Traceback" in answer.err:
            self.report("wrong_exit", f"{what}: {answer}")

    def _keep(self, past: dict[tuple[str, int], Any], out: Path, what: str) -> None:
        """What had been there is there, or will be computed again; it never becomes another."""
        now = seen(out)
        # A record is taken back at most if its checkpoint had not been written: the last one.
        last = max((epoch for file, epoch in past if file == "epochs.jsonl"), default=-1)
        for (file, epoch), line in past.items():
            if (file, epoch) not in now and ("at the end" in what or epoch < last):
                self.report("lost", f"{what}: epoch {epoch} of {file}")
            elif now.get((file, epoch), line) != line:
                self.report("unequal", f"{what}: epoch {epoch} of {file}")
        past.update(now)
