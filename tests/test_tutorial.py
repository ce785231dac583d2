"""The tutorial: its notebook is its script, executed, and it runs."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from cases import environment

import optnas
from optnas.analysis.compare import too_few
from optnas.study.comparing import judged_elsewhere

ROOT = Path(__file__).parents[1]
BUILDER = ROOT / "results" / "tutorial.py"


def shown(notebook: Path) -> str:
    """All outputs of an executed notebook as text."""
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [each for cell in cells for each in cell.get("outputs", ())]
    texts = [each.get("text") or each["data"]["text/plain"] for each in outputs]
    return "\n".join("".join(text) for text in texts)


def remarks(notebook: Path) -> list[str]:
    """The remarks of the last comparison, a list that the notebook shows."""
    (found,) = re.findall(r"(?m)^\['rates of error.*\]$", shown(notebook))
    told: list[str] = ast.literal_eval(found)
    return told


def said_of_three_arms() -> list[str]:
    """What the code says of the last comparison whatever its numbers are."""
    searched = SimpleNamespace(settings=pd.DataFrame({"data.name": ["digits"]}))
    return [*judged_elsewhere("benchmark.cifar10", searched), *too_few(6, 3)]


def test_the_notebook_is_that_of_the_script() -> None:
    spec = importlib.util.spec_from_file_location("tutorial", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    builder: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    cells = json.loads(builder.NOTEBOOK.read_text())["cells"]
    told = [(cell["cell_type"], cell["source"]) for cell in cells]
    script = builder.cells_of(builder.TUTORIAL.read_text())
    assert told == [(cell["cell_type"], cell["source"]) for cell in script]
    for remark in said_of_three_arms():
        assert remark in shown(builder.NOTEBOOK), "make tutorial"
    assert f"optnas {optnas.__version__}\n" in builder.NOTEBOOK.read_text().replace("\\n", "\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_runs(tmp_path: Path) -> None:
    notebook = tmp_path / "tutorial.ipynb"
    done = subprocess.run(
        [sys.executable, BUILDER, tmp_path / "work", notebook],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "EG" in shown(notebook)
    kept = ROOT / "docs" / "tutorial.ipynb"
    assert remarks(notebook) == remarks(kept), "make tutorial"
    assert (tmp_path / "work" / "figures" / "compare.pdf").is_file()
    assert len(list((tmp_path / "work" / "runs" / "eg").glob("*/result.json"))) == 18
