"""The records of the study optdarts-cpu: whole, of one version, and counted right on their page."""

from __future__ import annotations

from pathlib import Path

import pytest
from topics import script

from optnas.base.records import find_runs
from optnas.search.settings.model import NUMBERS_VERSION

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "results" / "optdarts-cpu"
FIGURES = ROOT / "results" / "optdarts-cpu-figures"


def test_the_pages_count_the_records() -> None:
    pages = script("optdarts_cpu").pages()
    assert {path.parent for path in pages} == {RECORDS, FIGURES}
    for path, text in pages.items():
        assert path.read_text() == text


@pytest.mark.parametrize(("folder", "last"), [(RECORDS, 31), (FIGURES, 13)])
def test_every_record_is_of_the_study(folder: Path, last: int) -> None:
    for run in find_runs(folder):
        config = run.read_config()
        assert (config["protocol"], config["data"]["name"]) == ("optdarts-cpu", "cifar10")
        assert config["identity"]["numbers_version"] == NUMBERS_VERSION
        assert config["search"]["seed"] in range(8, last + 1)
        records = run.read_epochs()
        assert [each["epoch"] for each in records] == list(range(41))
        assert {each["benchmark"]["table"] for each in records} == {"official"}
