"""docs/first-light.md quotes the committed records and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from optnas.base.records import find_runs

# Of frozen records and a page: not before every commit.
pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "first-light.md"
RUNS = find_runs(ROOT / "results" / "first-light")


def test_every_row_of_the_table_is_rebuilt_from_records() -> None:
    spec = importlib.util.spec_from_file_location("first_light", ROOT / "results/first_light.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    quoted = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    for line in module.table(RUNS).splitlines():
        assert line in quoted or line.startswith("|---")


def test_each_run_is_complete_and_learned() -> None:
    assert len(RUNS) == 12
    for run in RUNS:
        records = run.read_epochs()
        assert [record["epoch"] for record in records] == list(range(41)), run.path
        assert records[-1]["valid_accuracy"] > 30, run.path
        assert {record["benchmark"]["table"] for record in records} == {"official"}, run.path
        assert run.read_result()["hash"] == run.read_config()["identity"]["hash"], run.path


def test_alpha_travels_about_as_far_under_sgd_as_under_adam() -> None:
    """Within a factor of two, for the same weight optimizer and seed."""
    paths: dict[tuple[str, int], dict[str, float]] = {}
    for run in RUNS:
        config = run.read_config()
        algorithm = config["algorithm"]
        if (algorithm["name"], algorithm.get("hypergradient")) == ("darts", "first-order"):
            key = (config["weight_optimizer"]["name"], config["search"]["seed"])
            length = run.read_epochs()[-1]["alpha_path_length"]
            paths.setdefault(key, {})[config["arch_optimizer"]["name"]] = length
    assert paths.keys() == {(name, seed) for name in ("SGD", "Adam") for seed in (0, 1)}
    for lengths in paths.values():
        assert lengths.keys() == {"SGD", "Adam"}
        assert 0.5 < lengths["SGD"] / lengths["Adam"] < 2
