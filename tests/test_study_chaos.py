"""Real processes of a study: killed at random moments, two runners on one folder, signals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from cases import console, finish, start
from studies import (
    PAIR,
    assert_each_completed_once,
    end_workers,
    none_left,
    timeless_table,
    tiny_study,
    workers,
)

from optnas.base.records import RunFolder
from optnas.study.declare import load_study
from optnas.study.states import epochs_of, state_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EPOCHS = 30  # longer than importing torch


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "out"
    yield folder
    end_workers(folder)


def begin(name: str, out: Path, *more: str) -> subprocess.Popen[str]:
    words = ["study", "run", name, "--out", str(out), "--jobs", "2", *more]
    return start(words, out.parent)


def records(out: Path) -> dict[str, int]:
    return {run.name: epochs_of(RunFolder(run)) for run in out.iterdir()} if out.exists() else {}


def test_killed_again_and_again_under_two_runners(tmp_path: Path, out: Path) -> None:
    name = tiny_study(tmp_path, "[0, 1, 2]", PAIR, search__epochs=EPOCHS)
    draw = random.Random("chaos")
    runners = [begin(name, out), begin(name, out)]
    seen: dict[str, int] = {}
    for _ in range(16):
        time.sleep(draw.uniform(0.2, 5))
        now = records(out)
        # A record is taken back at most if its checkpoint had not been written.
        assert all(now[run] >= count - 1 for run, count in seen.items()), (seen, now)
        seen = now
        victims = [("runner", each.pid) for each in runners]
        victims += [("worker", each) for each in workers(out)]
        kind, victim = draw.choice(victims)
        print(f"kill {kind} {victim}: {now}")
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue
        if kind == "runner":
            position = [each.pid for each in runners].index(victim)
            runners[position].communicate()
            runners[position] = begin(name, out)
    for code, told, err in map(finish, runners, [600, 600]):
        print("\n".join(told))
        assert (code in (0, 1), err) == (True, [])
    # On a busy machine a run may be killed three times before its first epoch. It is given up then,
    # as it should be, and done by whoever is asked to try again.
    again = ["study", "run", name, "--out", str(out), "--jobs", "2", "--retry-failed"]
    code, _, err = finish(start(again, tmp_path), 600)
    assert (code, err) == (0, [])
    assert none_left(out)
    assert_each_completed_once(name, out)
    assert console(["study", "run", name, "--out", str(tmp_path / "whole")], tmp_path)[0] == 0
    pd.testing.assert_frame_equal(
        timeless_table(name, out), timeless_table(name, tmp_path / "whole")
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_runner_and_workers(number: int, tmp_path: Path, out: Path) -> None:
    name = tiny_study(tmp_path, grid=PAIR, search__epochs=4000)
    runner = begin(name, out)
    while sum(records(out).values()) < 2 * len(load_study(name).runs):
        assert runner.poll() is None
        time.sleep(0.2)
    code, told, err = console(["study", "status", name, "--out", str(out)], tmp_path)
    assert (code, err) == (0, [])
    assert sum(line.startswith("running") for line in told) == 2
    assert "2 running" in told[-1]
    assert " left with 2 at a time" in told[-1]
    runner.send_signal(number)
    code, told, err = finish(runner)
    assert (code, err) == (128 + number, ["optnas: interrupted; run the same command again"])
    assert workers(out) == []
    assert sum(line.startswith("interrupted") for line in told) == 2
    assert {state_of(RunFolder(run)) for run in out.iterdir()} == {"interrupted"}


def test_workers_outlive_a_killed_runner(tmp_path: Path, out: Path) -> None:
    name = tiny_study(tmp_path, grid=PAIR, search__epochs=200)
    runner = begin(name, out)
    while len(workers(out)) < 2 or not sum(records(out).values()):
        time.sleep(0.2)
    runner.kill()
    runner.communicate()
    code, told, err = finish(begin(name, out), 600)
    print("\n".join(told))
    assert (code, err) == (0, [])
    assert sum("by another process" in line for line in told) == 2
    assert_each_completed_once(name, out)
