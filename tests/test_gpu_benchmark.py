"""benchmarks/gpu.py: refuses without a GPU, and measures what it says, shown on the CPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from cases import environment

from optnas.base import registry

FILE = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(FILE.parent)
    spec = importlib.util.spec_from_file_location("gpu_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    # Its data set is nobody else's.
    del registry._FACTORIES["dataset", "noise"]


@pytest.mark.thorough
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, FILE],
        env=environment(CUDA_VISIBLE_DEVICES=""),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "benchmarks/gpu.py: there is no GPU here that torch can use\n"


def test_the_settings_are_those_of_a_published_search(benchmark: ModuleType) -> None:
    settings = benchmark.settings_for("sdarts-adv", "eager", "bfloat16", "cpu")
    supernet, search = settings.supernet, settings.search
    assert (supernet.channels, supernet.cells, search.batch_size) == (16, 5, 64)
    assert (settings.data.resolution, supernet.precision) == (32, "bfloat16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.thorough
def test_a_row_on_the_cpu(precision: str, benchmark: ModuleType) -> None:
    small = {
        "supernet.channels": 2,
        "supernet.cells": 1,
        "search.batch_size": 16,
        "measures.sharpness.batch_size": 8,
    }
    settings = benchmark.settings_for("darts", "eager", precision, "cpu", 32, **small)
    row = benchmark.measured(settings)
    assert (row["precision"], row["stepper"]) == (precision, "eager")
    assert row["epoch_seconds"] > 2 * row["step_ms"] / 1e3 > 0
    assert {row[each] for each in ("peak_mib", "reserved_mib", "card_mib")} == {None}


def test_memory_is_told_of_tensors_of_the_allocator_and_of_the_card(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1 << 30)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 2 << 30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 << 30, 8 << 30))
    told = benchmark.memory_of(torch.device("cuda"))
    assert told == {"peak_mib": 1024, "reserved_mib": 2048, "card_mib": 3072}
