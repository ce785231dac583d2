"""The records that docs/theory/designs.md is made of are those of its designs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SEEDS = list(range(2, 8))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "results"))
    return importlib.import_module("designs")


def test_every_design_has_its_seeds(made: Any) -> None:
    runs = made.read()
    assert {arm.design for arm in runs} <= set(made.DESIGNS)
    for design in made.DESIGNS:
        seeds = [sorted(runs.get((design, optimizer), {})) for optimizer in ("SGD", "Adam")]
        exchanged = design.startswith("after")  # the study swap goes on
        assert seeds == [SEEDS[: len(seeds[0])] if exchanged else SEEDS] * 2, design


def test_twins_have_the_operation_weights_of_their_driver(made: Any) -> None:
    runs = made.read()
    for driver in ("SGD", "Adam"):
        for optimizer in ("SGD", "Adam"):
            for seed, twin in runs[f"twins of {driver}", optimizer].items():
                told = runs["search", driver][seed].read_some_epochs()
                for mine, other in zip(twin.read_some_epochs(), told, strict=True):
                    for row, of_driver in zip(mine["op_weights"], other["op_weights"], strict=True):
                        assert row == pytest.approx(of_driver, abs=1e-6)


def test_an_exchange_leaves_what_was_before(made: Any) -> None:
    runs = made.read()
    for first in ("SGD", "Adam"):
        for then in ("SGD", "Adam"):
            for seed, run in runs.get((f"after {first}", then), {}).items():
                before = runs["search", first][seed].read_some_epochs()[:11]
                for mine, other in zip(run.read_some_epochs()[:11], before, strict=True):
                    for key in ("train_loss", "valid_loss", "alpha", "architecture"):
                        assert mine[key] == other[key], (first, then, seed, mine["epoch"])
