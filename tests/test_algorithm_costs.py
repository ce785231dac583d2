"""What lists and pages say of algorithms: paper, year, and what a step was measured to cost."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from optnas.base import registry
from optnas.cli.lists import components

ROOT = Path(__file__).resolve().parents[1]
# Of this package's own making.
WITHOUT_PAPER = {"composed", "random", "replay"}


def loaded(path: str) -> ModuleType:
    """A script, with what lies beside it."""
    file = ROOT / path
    spec = importlib.util.spec_from_file_location(f"{file.parent.name}_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return module


def test_every_own_algorithm_says_its_paper_and_year() -> None:
    for name in registry.names("algorithm"):
        facts = registry.facts("algorithm", name)
        assert {"paper", "year"} <= facts.keys(), f"{name}: register it with paper= and year="
        paper, year = facts["paper"], facts["year"]
        if name in WITHOUT_PAPER:
            assert (paper, year) == (None, None)
        else:
            assert paper
            assert 2017 < year < 2027


def test_one_that_nobody_measured_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("from optnas import parts\n\ndef mine():\n    '''Mine.'''\n")
    monkeypatch.setattr(registry, "names", lambda kind: [f"{mine}:mine", "darts"])
    stranger, _ = components("algorithm")
    assert [stranger[key] for key in ("year", "step_cost", "paper")] == [None] * 3
    assert stranger["summary"] == "Mine."


@pytest.mark.thorough
def test_the_benchmark_steps_by_turns() -> None:
    small = {"search.batch_size": 8, "data.train_size": 16, "data.valid_size": 16}
    module = loaded("benchmarks/algorithms.py")
    found = module.relative_times(["random", module.UNROLLED, "darts"], 3, **small)
    assert found["darts"]["step_cost"] == 1
    assert found["random"]["step_cost"] < 1 < found[module.UNROLLED]["step_cost"]
    assert set(registry.names("algorithm")) - {*module.SELDOM} < set(module.labels())


@pytest.mark.checkout  # the costs that were written into src
def test_list_and_page_have_what_was_measured() -> None:
    module = loaded("results/algorithms.py")
    stored = module.stored()
    assert {"commit", "command", "processor", "torch"} <= stored.keys()
    assert module.costs(stored["rows"]) == module.COSTS.read_text()
    page = (ROOT / "docs" / "algorithms.md").read_text()
    assert module.table(stored["rows"]) in page
    assert module.kills(module.stored(module.KILLS)) in page
    (darts,) = (each for each in components("algorithm") if each["name"] == "darts")
    assert darts["step_cost"] == 1.0
