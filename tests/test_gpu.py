"""On a GPU: the same search as on the CPU, and the same bits after a resume. Not run so far.

Docs/gpu.md says what no machine with a GPU has shown yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, every_variant, fingerprint, tiny_settings
from torch.testing import assert_close

from optnas.search.checkpoints import restore, save
from optnas.search.draws import draw_epoch
from optnas.search.environment import computing
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state

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


@pytest.mark.parametrize("name", VARIANTS)
def test_ten_steps_equal_those_of_the_cpu(name: str) -> None:
    here, there = (moved(after(VARIANTS[name], device)) for device in ("cpu", "cuda"))
    assert_same(there.pop("streams"), here.pop("streams"))
    assert_close(there, here, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_resumed_search_has_the_bits_of_an_uninterrupted_one(
    name: str, precision: str, tmp_path: Path
) -> None:
    changes = {**VARIANTS[name], **PRECISIONS[precision]}
    whole = moved(after(changes, "cuda"))
    save(after(changes, "cuda", epochs=1), tmp_path / "last.pt")
    settings = tiny_settings(**TEN_STEPS, **changes, run__device="cuda")
    with computing(settings):
        state = build_state(settings)
        restore(state, tmp_path / "last.pt")
        Session(state).train_epoch()
    assert_same(moved(state), whole)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_waits(name: str) -> None:
    """Torch itself tells of each wait that it knows; tests/test_no_waiting.py is stricter."""
    settings = tiny_settings(**TEN_STEPS, **VARIANTS[name], run__device="cuda")
    session = Session(build_state(settings))
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
