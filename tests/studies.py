"""Study files small enough to run in a blink, and what two executions of one must agree in."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
from tiny import TINY

from optnas import study
from optnas.base.records import RunFolder
from optnas.base.toml import dump_toml
from optnas.search.api import nest
from optnas.study.declare import load_study
from optnas.study.starts import StartLog
from optnas.study.states import state_of

PAIR = '[[grid]]\n"weight_optimizer.name" = ["SGD", "Adam"]\n'


def tiny_study(folder: Path, seeds: str = "[0]", grid: str = "", **base: Any) -> str:
    """A study file of runs of a second; ``a__b=1`` lies over the base."""
    changed = TINY | {key.replace("__", "."): value for key, value in base.items()}
    settings = dump_toml({"study": {"base": nest(changed)}})
    path = folder / "tiny.toml"
    path.write_text(f'[study]\nname = "tiny"\nseeds = {seeds}\n{settings}{grid}')
    return str(path)


def timeless_table(name: str, out: Path) -> pd.DataFrame:
    """The table of a study, sorted, without the one column that may differ."""
    frame = study.table(name, out).drop(columns=["seconds"])
    return frame.sort_values(["id", "epoch"]).reset_index(drop=True)


def assert_each_completed_once(name: str, out: Path) -> None:
    """Every run is done, and its start log has one completed execution."""
    for run in load_study(name).runs.values():
        folder = RunFolder(out / run.id)
        events = [event["event"] for event in StartLog(folder).read()]
        assert state_of(folder) == "done", (run.id, events)
        assert StartLog(folder).completed() == 1, events
        assert events[-1] == "done", events
        assert events[0] == "start", events


def workers(out: Path) -> list[int]:
    """Processes that execute a run folder below ``out``, a folder no one else works in."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"execute" in words and any(w.startswith(os.fsencode(out)) for w in words):
            found.append(int(entry.name))
    return found


def none_left(out: Path, seconds: float = 30) -> bool:
    """Whether every worker is gone; one that was orphaned may still be on its way out."""
    until = time.monotonic() + seconds
    while workers(out) and time.monotonic() < until:
        time.sleep(0.1)
    return not workers(out)


def end_workers(out: Path) -> None:
    """Leave no process of a test behind."""
    for process in workers(out):
        os.kill(process, signal.SIGKILL)
