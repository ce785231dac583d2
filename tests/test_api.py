"""One import for strangers: docs/api.md and the package name the same things."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import optnas

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"(?m)^\| `(\w+)` \| (.+) \|$", (ROOT / "docs" / "api.md").read_text())
DOCUMENTS = [ROOT / "docs" / "extending.md", ROOT / "docs" / "benchmarks.md"]


def test_the_page_lists_every_name_once_and_no_other() -> None:
    assert sorted(name for name, _ in ROWS) == sorted(optnas.__all__)


@pytest.mark.parametrize("name", optnas.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(optnas, name) is not None
    assert name in dir(optnas)


def test_type_checkers_see_the_same_names() -> None:
    (checked,) = (
        node.body
        for node in ast.parse(Path(optnas.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    seen = {
        (alias.asname, f"{node.module}.{alias.name}")
        for node in checked
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    loaded = {(name, f"optnas.{home}.{name}") for name, home in optnas._HOME.items()}
    loaded |= {(name, f"optnas.{path}") for name, path in optnas._MODULES.items()}
    assert seen == loaded


def test_templates_and_examples_import_from_one_place() -> None:
    texts = [path.read_text() for path in (*DOCUMENTS, *(ROOT / "examples").glob("*.py"))]
    deeper = re.findall(r"(?m)^ *(?:from|import) (optnas\.[\w.]+)", "\n".join(texts))
    # What a figure of the deck is made of, and what a table is compared with, is no interface.
    allowed = {
        *("optnas.measures.landscape.read", "optnas.spaces.tables.random_search"),
        "optnas.spaces.tables.references",
    }
    assert set(deeper) <= allowed
