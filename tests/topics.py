"""A topic of the documents: its page, and the pages in the folder of its name."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def pages_of(topic: str) -> list[Path]:
    """The page of a topic, then those of its folder in the order in which that page links to them.

    Args:
        topic: the name of its page.
    """
    page = DOCS / f"{topic}.md"
    links = re.findall(rf"\]\(({topic}/[\w-]+\.md)", page.read_text())
    pages = [DOCS / link for link in dict.fromkeys(links)]
    assert set(pages) == set((DOCS / topic).glob("*.md")), (
        f"{page} links to every page of its folder"
    )
    return [page, *pages]


def text_of(topic: str) -> str:
    """The text of a topic's pages."""
    return "".join(page.read_text() for page in pages_of(topic))
