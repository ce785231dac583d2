"""A topic of the documents: its page, and the pages in the folder of its name."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    """A script of results/, imported with its neighbours in reach."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "results"))
        return importlib.import_module(name)


def pages_of(topic: str) -> list[Path]:
    """The page of a topic, then those of its folder in the order in which that page links to them.

    Args:
        topic: the name of its page.
    """
    page, *pages = script("documents").topic(DOCS / topic)
    text = page.read_text()
    missing = [each.name for each in pages if f"({topic}/{each.name}" not in text]
    assert missing == [], f"{page} links to every page of its folder"
    return [page, *pages]


def text_of(topic: str) -> str:
    """The text of a topic's pages."""
    return "".join(page.read_text() for page in pages_of(topic))
