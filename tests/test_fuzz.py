"""Shares of the programs in tests/slow: of the fuzzer, and of the matrix of kills."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from optnas.base import registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
FUZZ = Path(__file__).parent / "slow" / "fuzz.py"
MATRIX = FUZZ.with_name("matrix.py")


def test_nothing_is_lost_unequal_silent_or_wrongly_told(tmp_path: Path) -> None:
    words = ["--seed", "0", "--cases", "120", "--kills", "12", "--json", tmp_path / "report.json"]
    answer = subprocess.run([sys.executable, FUZZ, *words], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kills"] == 12
    assert report["found"] == {"lost": [], "unequal": [], "silent": [], "wrong_exit": []}


def test_every_algorithm_is_killed_under_one_of_four_pairs(tmp_path: Path) -> None:
    words = ["--sample", "--json", tmp_path / "kills.json"]
    answer = subprocess.run([sys.executable, MATRIX, *words], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    rows = json.loads((tmp_path / "kills.json").read_text())["rows"]
    assert [row["algorithm"] for row in rows] == list(registry.names("algorithm"))
    assert len({(row["weight_optimizer"], row["arch_optimizer"]) for row in rows}) == 4
    assert all(row["equal"] is True for row in rows)
