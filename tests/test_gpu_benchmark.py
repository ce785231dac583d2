"""benchmarks/gpu.py: refuses without a GPU, and measures what it says, shown on the CPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cases import environment

FILE = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
SOURCE = Path(__file__).parents[1] / "src"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, FILE],
        env={**environment(), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "benchmarks/gpu.py: there is no GPU here that torch can use\n"


def test_the_settings_are_those_of_a_published_search() -> None:
    settings = loaded().settings_for("sdarts-adv", "bfloat16", "cpu")
    supernet, search = settings.supernet, settings.search
    assert (supernet.channels, supernet.cells, search.batch_size) == (16, 5, 64)
    assert (settings.data.resolution, supernet.precision) == (32, "bfloat16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_row_on_the_cpu(precision: str) -> None:
    small = {
        "supernet.channels": 2,
        "supernet.cells": 1,
        "search.batch_size": 16,
        "data.resolution": 8,
        "data.train_size": 32,
        "data.valid_size": 32,
        "measures.sharpness.batch_size": 8,
    }
    module = loaded()
    row = module.measured(module.settings_for("darts", precision, "cpu", **small), steps=2)
    assert row["precision"] == precision
    assert row["step_ms"] > 0
    assert row["epoch_seconds"] > 1563 * row["step_ms"] / 1e3
    assert row["peak_mib"] is None
