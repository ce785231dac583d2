"""A study on the GPUs of one machine, with a fake count of them and processes that only tell."""

from __future__ import annotations

import stat
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.study.engines.base import Engine, Job
from optnas.study.engines.local import LOG, VISIBLE


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv(VISIBLE, raising=False)
    worker = tmp_path / "worker"
    worker.write_text(
        f'#!/bin/sh\necho "${{{VISIBLE}-none}}"\nwhile [ ! -e "$6/end" ]; do sleep 0.02; done\n'
    )
    worker.chmod(worker.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(worker))


def begun(engine: Engine, folder: Path) -> Any:
    folder.mkdir()
    return engine.start(Job(folder, {}, 1))


def end(engine: Engine, handles: dict[Path, Any]) -> list[str]:
    """Let the processes of folders end; what they told."""
    for folder, handle in handles.items():
        (folder / "end").touch()
        until = time.monotonic() + 60
        while not engine.wait([handle], 1.0):
            assert time.monotonic() < until
    return [(folder / LOG).read_text().strip() for folder in handles]


def test_runs_are_spread_evenly_and_a_free_gpu_is_next(two_gpus: None, tmp_path: Path) -> None:
    engine = registry.find("engine", "local")(gpus=2)
    runs = {tmp_path / str(i): begun(engine, tmp_path / str(i)) for i in range(5)}
    folders = list(runs)
    assert end(engine, {folders[1]: runs.pop(folders[1])}) == ["1"]
    runs[tmp_path / "next"] = begun(engine, tmp_path / "next")
    told = end(engine, runs)
    assert told[-1] == "1"
    assert Counter(told) == {"0": 3, "1": 2}


def test_only_gpus_that_this_process_sees(
    two_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "5, GPU-ab")
    engine = registry.find("engine", "local")(gpus=2)
    told = end(engine, {tmp_path / name: begun(engine, tmp_path / name) for name in "ab"})
    assert told == ["5", "GPU-ab"]


def test_by_default_nothing_is_said_of_gpus(two_gpus: None, tmp_path: Path) -> None:
    engine = registry.find("engine", "local")()
    assert end(engine, {tmp_path / "a": begun(engine, tmp_path / "a")}) == ["none"]


@pytest.mark.parametrize("count", [-1, 3])
def test_more_than_there_are_is_refused(two_gpus: None, count: int) -> None:
    with pytest.raises(UserError, match="there are 2 GPUs here") as caught:
        registry.find("engine", "local")(gpus=count)
    assert caught.value.remedy == "set it from 1 to 2, or leave it out"
