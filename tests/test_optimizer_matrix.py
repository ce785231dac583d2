"""The matrix of docs/optimizers/matrix.md is what the exam said, and says it of every optimizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_algorithm_costs import loaded

from optnas.base import registry
from optnas.search.exam import Subject
from optnas.search.exam.base import FailedError
from optnas.search.exam.optimizers import SHAPES, TOYS, solves

ROOT = Path(__file__).resolve().parents[1]
MODULE = loaded("results/optimizers.py")
ROWS = MODULE.stored()


def test_the_page_has_what_is_stored() -> None:
    assert MODULE.matrix(ROWS) in (ROOT / "docs" / "optimizers" / "matrix.md").read_text()


def test_every_optimizer_was_examined_in_every_check() -> None:
    assert {row["name"] for row in ROWS} >= set(MODULE.names())
    titles = {frozenset(row["checks"]) for row in ROWS}
    assert len(titles) == 1
    assert {f"{level}: solves {toy}" for level in MODULE.LEVELS for toy in TOYS} < set(*titles)
    for row in ROWS:
        assert {"commit", "command", "torch", "processor"} <= row.keys()


def test_what_is_registered_passes_what_the_exam_demands() -> None:
    beyond = tuple(name for name, toy in TOYS.items() if not toy.demanded)
    for row in ROWS:
        if row["name"] in registry.names("optimizer"):
            failed = [t for t, why in row["checks"].items() if why and why.startswith("failed")]
            assert all(title.endswith(beyond) for title in failed), row["name"]


@pytest.mark.thorough
@pytest.mark.parametrize("section", SHAPES)
def test_an_average_loses_the_tug_of_war_and_plain_descent_does_not(section: str) -> None:
    solves(Subject("optimizer", "SGD"), section, "tug-of-war")
    with pytest.raises(FailedError, match="% of the distance are left at its best rate"):
        solves(Subject("optimizer", "Adam"), section, "tug-of-war")
