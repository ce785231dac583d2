"""A share of the fuzzer (tests/slow/fuzz.py), which is a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "slow" / "fuzz.py"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_is_lost_unequal_silent_or_wrongly_told(tmp_path: Path) -> None:
    words = ["--seed", "0", "--cases", "120", "--kills", "12", "--json", tmp_path / "report.json"]
    answer = subprocess.run([sys.executable, FUZZ, *words], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kills"] == 12
    assert report["found"] == {"lost": [], "unequal": [], "silent": [], "wrong_exit": []}
