"""What tests/test_gpu.py compares and calls on a GPU does what it says, shown on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_gpu import RESUMED, VARIANTS, measured, observed
from tiny import assert_alike
from torch import Tensor

from optnas.measures.indicator import oneshot


@pytest.mark.thorough
def test_what_measures_find_equals_itself() -> None:
    """Among it are texts, tables, and quantities that there are none of."""
    found = measured(VARIANTS["darts"], "cpu", ["gap", "agreement"])
    assert_alike(found, measured(VARIANTS["darts"], "cpu", ["gap", "agreement"]), rel=0, abs=0)
    assert {status for status, _, _ in found.values()} == {"ok"}


LINE = {"a": 1.0, "b": None, "c": "text", "d": {"e": [1.0, float("nan")], "f": True}}


def test_rounding_is_no_difference() -> None:
    near = {"a": 1 + 1e-9, "b": None, "c": "text", "d": {"e": [1 - 1e-9, float("nan")], "f": True}}
    assert_alike(near, LINE, rel=1e-6, abs=0)


@pytest.mark.parametrize(
    "other",
    [
        {"a": 1.1},
        {"a": None},
        {"b": 0.0},
        {"c": "other"},
        {"d": {"e": [1.0], "f": True}},
        {"d": {"e": [1.0, 2.0], "f": True}},
        {"d": {"e": [1.0, float("nan")], "f": False}},
        {"g": 1.0},
    ],
)
def test_another_value_is_a_difference(other: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        assert_alike({**LINE, **other}, LINE, rel=1e-6, abs=0)


def test_each_cell_gets_statistics_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the test of many channels would not meet the batch norms it is there for."""
    entered: list[bool] = []

    class Moments(oneshot._Moments):
        def collect(self, *given: Any) -> Tensor:
            entered.append(True)
            return super().collect(*given)

    monkeypatch.setattr(oneshot, "_Moments", Moments)
    observed(3, "cpu", tmp_path)
    assert entered


def test_optimizers_whose_numbers_torch_casts_are_resumed() -> None:
    names = [name for name in RESUMED if "NAdam" in name or "ASGD" in name]
    assert len(names) == len(set(names)) == 8
    assert {RESUMED[name]["supernet__dtype"] for name in names} == {"float32", "float64"}
