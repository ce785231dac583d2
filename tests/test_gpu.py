"""On a GPU: the search of the CPU, by recorded steps too, and the same bits after a resume.

Docs/gpu.md says what has passed, and where. What double precision shows comes first: float32 with
two channels is what a GPU was once lost by.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import (
    assert_alike,
    assert_same,
    every_space,
    every_variant,
    fingerprint,
    recordable,
    tiny_settings,
)
from torch.testing import assert_close

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.measurements import Line
from optnas.search.checkpoints import restore, save
from optnas.search.draws import draw_epoch
from optnas.search.environment import computing
from optnas.search.observe import snapshot_of, take
from optnas.search.session import Session
from optnas.search.settings.complete import complete_measure
from optnas.search.settings.model import MeasureSection
from optnas.search.state import SearchState, build_state
from optnas.search.steps import SearchTrial

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
VARIANTS = dict(every_variant())
# Five steps an epoch, the last on a short batch.
TEN_STEPS = {"data__train_size": 72, "data__valid_size": 72}
PRECISIONS: dict[str, dict[str, Any]] = {
    "float64": {"supernet__dtype": "float64"},
    "float32": {"supernet__dtype": "float32"},
    "tf32": {"supernet__dtype": "float32", "supernet__precision": "tf32"},
    "bfloat16": {"supernet__dtype": "float32", "supernet__precision": "bfloat16"},
}


@pytest.fixture(autouse=True)
def _a_lost_gpu_ends_its_worker() -> Iterator[None]:
    """So that one fault fails one test: pytest-xdist starts another process."""
    yield
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        if "PYTEST_XDIST_WORKER" not in os.environ:
            raise
        os._exit(70)


def after(changes: dict[str, Any], device: str, epochs: int = 2) -> SearchState:
    settings = tiny_settings(**TEN_STEPS, **changes, run__device=device)
    with computing(settings):
        session = Session(build_state(settings))
        for _ in range(1 + epochs):
            session.train_epoch()
    return session.state


def moved(state: SearchState) -> dict[str, Any]:
    """What the steps have moved, on the CPU."""
    held = fingerprint(state)
    kept = ("weights", "alpha", "mean", "variance", "streams")
    return {
        key: {name: each.cpu() for name, each in value.items()}
        if isinstance(value, dict)
        else value.cpu()
        for key, value in held.items()
        if key in kept and value is not None
    }


GRAPH = {"run__stepper": "graph"}
ADAM = {"weight_optimizer__name": "Adam"}
# By name: of each way to take a step, changes to tiny settings.
ALIKE: dict[str, dict[str, Any]] = {
    **{f"{name}, Adam": {**changes, **ADAM} for name, changes in recordable(VARIANTS).items()},
    "darts, SGD": {"weight_optimizer__name": "SGD", "weight_optimizer__momentum": 0.9},
    "darts, SGD, unrolled": {"algorithm__hypergradient": "unrolled"},
    "sdarts-adv, sam": {
        "algorithm__name": "sdarts-adv",
        "weight_optimizer": {"name": "sam", "lr": 0.1, "base": {"name": "Adam"}},
        "arch_optimizer": {"name": "sam", "lr": 0.1, "base": {"name": "SGD", "momentum": 0.5}},
    },
    "gdas, muon": {
        "algorithm__name": "gdas",
        "weight_optimizer": {"name": "muon", "lr": 0.1, "rest": {"name": "AdamW", "lr": 0.1}},
    },
    **{
        f"darts, {name}": {"weight_optimizer__name": name, "arch_optimizer__name": name}
        for name in ("RMSprop", "NAdam", "RAdam", "Adamax", "Adadelta", "ASGD", "Rprop")
    },
}
# Torch's own arithmetic differs: ASGD has its rate in single precision.
ROUGHER = {"darts, ASGD": 1e-6, "darts, RAdam": 1e-8}
RESUMED: dict[str, dict[str, Any]] = {
    **{f"{name}, float32": changes for name, changes in VARIANTS.items()},
    **{
        f"{name}, float32, graph": {**changes, **GRAPH}
        for name, changes in recordable(VARIANTS).items()
    },
    **{f"darts, {name}": changes for name, changes in PRECISIONS.items()},
    **{f"darts, {name}, graph": {**changes, **GRAPH} for name, changes in PRECISIONS.items()},
    # Of their state torch hands some numbers back elsewhere, and in the type of the weights.
    **{
        f"darts, {name}, {dtype}{', graph' if stepper else ''}": {
            "weight_optimizer__name": name,
            "arch_optimizer__name": name,
            "supernet__dtype": dtype,
            **stepper,
        }
        for name in ("NAdam", "ASGD")
        for dtype in ("float32", "float64")
        for stepper in ({}, GRAPH)
    },
}


# DARTS on the other spaces, which the tiny settings do not name.
SPACES: dict[str, dict[str, Any]] = {
    **{f"darts, {name}": space for name, space in every_space() if name != "nas-bench-201"},
    "darts, darts": {"space__name": "darts", "benchmark__table": "none", "supernet__cells": 1},
}
STEPS: dict[str, dict[str, Any]] = {**VARIANTS, **SPACES}


@pytest.mark.parametrize("name", STEPS)
def test_ten_steps_equal_those_of_the_cpu(name: str) -> None:
    here, there = (moved(after(STEPS[name], device)) for device in ("cpu", "cuda"))
    assert_same(there.pop("streams"), here.pop("streams"))
    assert_close(there, here, rtol=1e-10, atol=1e-10)


def measured(
    changes: dict[str, Any], device: str, measures: Sequence[str] | None = None
) -> dict[str, Any]:
    """What measures find after two epochs, by default all, and alpha's Hessian as algorithms ask.

    `tests/test_gpu_twins.py` calls this, and the next, on a CPU.
    """
    state = after(changes, device)
    found = {}
    with computing(state.settings):
        for name in registry.names("measure") if measures is None else measures:
            quick = registry.find("measure", name)().quick
            section = MeasureSection(**complete_measure(name, {**quick, "every": 1}))
            line = take(snapshot_of(state), section).line
            found[name] = line["status"], line.get("reason"), line["values"]
        hessian = SearchTrial(state, state.progress(2)).alpha_hessian(1, 8)
    return found | {"alpha_hessian": ("ok", None, {"largest": float(hessian.abs().max())})}


@pytest.mark.parametrize("name", ["darts", "darts-pt", "rsps", "pc-darts", "robust-darts"])
def test_what_is_measured_equals_the_cpu(name: str) -> None:
    here, there = (measured(VARIANTS[name], device) for device in ("cpu", "cuda"))
    assert_alike(there, here, rel=1e-6, abs=1e-8)


# Few cells, each with statistics of its own: what reads them wrongly loses the GPU.
INDICATOR = {
    "every": 1,
    "statistics": "recalibrated",
    "batches": 2,
    "uniform": 4,
    "top": 2,
    "images": 16,
    "batch_size": 8,
    "resamples": 2,
}


def observed(channels: int, device: str, folder: Path) -> dict[str, Line]:
    """What measures find in a search of so many channels, after its first epoch."""
    settings = tiny_settings(
        supernet__channels=channels,
        supernet__dtype="float32",
        run__device=device,
        **{f"measures__indicator__{key}": value for key, value in INDICATOR.items()},
    )
    session = Session(build_state(settings))
    for _ in range(2):
        session.train_epoch()
        session.measure()
    lines = session.observe(folder)
    assert lines["indicator"]["status"] == "ok", lines["indicator"]
    return lines


CHANNELS = """
from pathlib import Path
from test_gpu import observed
observed({channels}, "cuda", Path({folder!r}))
"""


@pytest.mark.parametrize("channels", [2, 3, 6, 10, 16])
def test_any_number_of_channels_is_searched_in_single_precision(
    channels: int, tmp_path: Path
) -> None:
    """Each in a process of its own, which may lose the GPU."""
    done = subprocess.run(
        [sys.executable, "-c", CHANNELS.format(channels=channels, folder=str(tmp_path))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", ALIKE)
def test_recorded_steps_equal_those_that_python_takes(name: str) -> None:
    """Each epoch: one step by Python, three from the graph, a short batch by Python."""
    taken, recorded = (moved(after({**ALIKE[name], **each}, "cuda")) for each in ({}, GRAPH))
    assert_same(recorded.pop("streams"), taken.pop("streams"))
    tolerance = ROUGHER.get(name, 1e-10)
    assert_close(recorded, taken, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_search_has_the_bits_of_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    changes = {**PRECISIONS["float32"], **RESUMED[name]}
    whole = moved(after(changes, "cuda"))
    save(after(changes, "cuda", epochs=1), tmp_path / "last.pt")
    settings = tiny_settings(**TEN_STEPS, **changes, run__device="cuda")
    with computing(settings):
        state = build_state(settings)
        restore(state, tmp_path / "last.pt")
        Session(state).train_epoch()
    assert_same(moved(state), whole)


def test_a_step_that_cannot_be_recorded_is_told() -> None:
    for section, name in (("weight_optimizer", "Adagrad"), ("arch_optimizer", "LBFGS")):
        with pytest.raises(UserError, match=f"the step of {section} = {name} counts or decides"):
            after({f"{section}__name": name, **GRAPH}, "cuda")


def reading(op_weights_EO: Any, loss: Any, progress: Any, generator: Any) -> Any:
    """A perturbation that waits for the GPU."""
    return op_weights_EO * float(op_weights_EO.sum() > 0)


def test_a_step_that_waits_is_not_recorded() -> None:
    settings = tiny_settings(**TEN_STEPS, **GRAPH, run__device="cuda")
    state = build_state(settings)
    state.algorithm = dataclasses.replace(state.algorithm, perturb=reading)
    session = Session(state)
    session.train_epoch()
    with pytest.raises(UserError, match="a CUDA graph cannot record the step"):
        session.train_epoch()
    torch.cuda.synchronize()  # the device goes on


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_waits(name: str) -> None:
    """Torch itself tells of each wait that it knows; tests/test_no_waiting.py is stricter."""
    settings = tiny_settings(**TEN_STEPS, **VARIANTS[name], run__device="cuda")
    session = Session(build_state(settings))
    # In epoch 2: some algorithms begin, or select, after the first.
    session.train_epoch()
    session.train_epoch()
    session.begin_epoch()
    first, *others = draw_epoch(session.state)
    session.step(first)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in others:
            session.step(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
