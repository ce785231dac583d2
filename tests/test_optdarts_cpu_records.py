"""The records of the study optdarts-cpu: whole, of one version, and counted right on their page."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from optnas.base.records import find_runs
from optnas.search.settings.model import NUMBERS_VERSION

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "results" / "optdarts-cpu"


def test_the_page_counts_the_records() -> None:
    spec = importlib.util.spec_from_file_location("optdarts_cpu", ROOT / "results/optdarts_cpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (RECORDS / "README.md").read_text() == module.page(find_runs(RECORDS))


def test_every_record_is_of_the_study() -> None:
    for run in find_runs(RECORDS):
        config = run.read_config()
        assert (config["protocol"], config["data"]["name"]) == ("optdarts-cpu", "cifar10")
        assert config["identity"]["numbers_version"] == NUMBERS_VERSION
        assert config["search"]["seed"] in range(8, 32)
        records = run.read_epochs()
        assert [each["epoch"] for each in records] == list(range(41))
        assert {each["benchmark"]["table"] for each in records} == {"official"}
