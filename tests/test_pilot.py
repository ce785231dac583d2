"""docs/pilot*.md quote what is rebuilt from the committed records, and nothing else."""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from topics import script

from optnas.base.records import find_runs
from optnas.report import report
from optnas.study.folder import opened

# Of frozen records and pages: not before every commit.
pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]
RUNS = find_runs(ROOT / "results" / "pairs-cpu")


@pytest.fixture(scope="module")
def module() -> ModuleType:
    return script("pilot")


@pytest.fixture(scope="module")
def pilot(module: ModuleType) -> Any:
    if not (Path(os.environ.get("OPTNAS_DATA", "")) / "nas-bench-201").is_dir():
        pytest.skip("OPTNAS_DATA has no official table")
    return module.Pilot()


def test_documents_quote_the_rebuilt_numbers(module: ModuleType, pilot: Any) -> None:
    for document in module.DOCUMENTS:
        text = document.read_text()
        assert "<!-- built:" in text
        assert module.built(text, module.PARTS, pilot) == text, f"{document.name}: make figures"


def test_the_page_of_two_searches_quotes_their_records() -> None:
    inside = script("inside")
    text = inside.DOCUMENT.read_text()
    assert "| `gap` |" in text
    assert inside.built(text, inside.PARTS, inside.RUNS) == text, "make figures"
    for name in (*inside.FIGURES, "F4"):
        assert f"(images/inside-{name}.png)" in text
        assert (inside.IMAGES / f"inside-{name}.png").exists()


def test_every_figure_that_can_be_drawn_is_shown(module: ModuleType, pilot: Any) -> None:
    pages = "".join(document.read_text() for document in module.DOCUMENTS)
    for name in pilot.figures():
        assert f"(images/pilot-{name}.png)" in pages
        assert (module.IMAGES / f"pilot-{name}.png").exists()


def test_the_landscape_is_shown_of_all_its_seeds(module: ModuleType) -> None:
    measured = [run for run in RUNS if run.read_measures("landscape")]
    assert {run.read_config()["search"]["seed"] for run in measured} == set(range(2, 8))
    assert len(measured) == 12
    for run in measured:
        assert run.measures.arrays(run.read_measures("landscape")[-1])
    assert "(images/pilot-F4.png)" in module.DOCUMENTS[1].read_text()
    assert (module.IMAGES / "pilot-F4.png").exists()


def test_the_algorithms_by_hand(module: ModuleType, pilot: Any) -> None:
    """Accuracy of the derived cell, SDARTS-RS minus DARTS within seeds; collapses of both."""
    found: dict[tuple[int, str], list[float]] = {}
    collapsed = {"darts": 0, "sdarts-rs": 0}
    for run in RUNS:
        config, last = run.read_config(), run.read_epochs()[-1]
        name, accuracy = config["algorithm"]["name"], last["benchmark"]["accuracy"]["cifar10"]
        found.setdefault((config["search"]["seed"], name), []).append(accuracy)
        collapsed[name] += last["skips"] >= 4 or accuracy < pilot.random_cell
    assert {len(values) for values in found.values()} == {4}
    gaps = [sum(found[s, "sdarts-rs"]) / 4 - sum(found[s, "darts"]) / 4 for s in range(2, 8)]
    told = module.algorithms(pilot)
    assert f": {sum(gaps) / 6:+.3g} pp [" in told
    assert all(gap > 0 for gap in gaps) == ("p = 0.031" in told)
    assert f"in {collapsed['darts']} of 24 runs of DARTS" in told
    assert f"in {collapsed['sdarts-rs']} of 24 of SDARTS-RS" in told


def test_the_headline_by_hand(module: ModuleType, pilot: Any) -> None:
    """H1: mean over seeds of the difference in final supernet accuracy, SGD minus Adam on w."""
    final: dict[tuple[int, str], list[float]] = {}
    for run in RUNS:
        config = run.read_config()
        if config["algorithm"]["name"] == "darts":
            key = config["search"]["seed"], config["weight_optimizer"]["name"]
            final.setdefault(key, []).append(run.read_epochs()[-1]["valid_accuracy"])
    seeds = sorted({seed for seed, _ in final})
    gaps = [sum(final[s, "SGD"]) / 2 - sum(final[s, "Adam"]) / 2 for s in seeds]
    finding = pilot.finding("H1")
    assert finding.n == len(gaps)
    assert math.isclose(finding.effect, sum(gaps) / len(gaps), rel_tol=1e-9)
    told = module.headline(pilot)
    assert f"gave {sum(gaps) / len(gaps):.1f} points more supernet accuracy than Adam" in told
    drops = []
    for run in RUNS:
        if run.read_config()["algorithm"]["name"] == "darts":
            path = [r["benchmark"]["accuracy"]["cifar10"] for r in run.read_epochs()]
            drops.append(max(path) - path[-1])
    assert f"{sum(drops) / len(drops):.1f} points worse than the best cell" in told
    assert f"(mean of {len(drops)} runs" in told
    for unexplained in ("H1", "Holm", "pp", "ledger"):
        assert unexplained not in told


def test_each_run_is_whole_and_its_own() -> None:
    assert len(RUNS) == 48
    for run in RUNS:
        records = run.read_epochs()
        assert [record["epoch"] for record in records] == list(range(41)), run.path
        assert run.read_result()["status"] == "done", run.path
        assert run.read_config()["identity"]["hash"].startswith(run.path.name)
        assert {record["benchmark"]["table"] for record in records} == {"official"}, run.path


@pytest.mark.slow
def test_the_pages_of_the_pilot_rebuild(tmp_path: Path) -> None:
    """Its records are of numbers version 1, in the spelling of 0.1.0: all are found and drawn."""
    if not (Path(os.environ.get("OPTNAS_DATA", "")) / "cifar10").is_dir():
        pytest.skip("OPTNAS_DATA has no cifar10/train-*.parquet")
    _, folders = opened("pairs-cpu", ROOT / "results" / "pairs-cpu", None, 1)
    assert all(folder.config.exists() for folder in folders.values())
    page = report("pairs-cpu", ROOT / "results" / "pairs-cpu", to=tmp_path, numbers_version=1)
    assert "Not in this study: F8 (no finished run of DARTS-)" in page.read_text()
    assert {"F7.png", "F9.png", "F13.png", "F4.png"} <= {
        path.name for path in (tmp_path / "figures").iterdir()
    }
