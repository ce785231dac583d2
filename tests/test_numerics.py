"""The pages on numerics, hypergradients and GPUs quote what the benchmarks stored."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]


PAGES = {
    **dict.fromkeys(("batch_norms", "alphas", "second_orders"), "numerics"),
    **dict.fromkeys(("hypergradients", "gains"), "hypergradients/compared"),
    "gpu": "gpu/measured",
    "lambda_differences": "algorithms/lambda-darts",
}


@pytest.mark.parametrize("name", PAGES)
def test_every_row_is_rebuilt(name: str) -> None:
    page = ROOT / "docs" / f"{PAGES[name]}.md"
    spec = importlib.util.spec_from_file_location("numerics", ROOT / "results" / "numerics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert getattr(module, name)() in page.read_text()
