"""docs/skip-growth.md quotes what its records say."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_page_is_that_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "results"))
    made = importlib.import_module("skip_growth")
    runs = made.read()
    assert {arm: sorted(of) for arm, of in runs.items()} == {
        arm: list(range(6)) for arm in ("darts", "sdarts-rs")
    }
    assert made.page() == made.DOCUMENT.read_text()
