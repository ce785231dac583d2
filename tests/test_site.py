"""The documentation site: one build, complete, whole in itself, and its search in a browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from browser import CHROMIUM, DRIVER, browser

import optnas
from optnas.base import registry
from optnas.cli.lists import components
from optnas.cli.main import app
from optnas.search.settings.model import MeasureSection, Settings
from optnas.search.standalone.settings import TrainingSettings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# About two screens. What is generated, or compared with the code line by line, is not counted.
WORDS, LINES = 900, 150
TABLES = {"api.md", "receives"}
MADE = re.compile(r"(?s)<!-- (?:built: [\w-]+|ledger) -->.*?<!-- end of \w+ -->")
# No machine is to be asked but this one.
NO_NETWORK = dict.fromkeys(
    ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "127.0.0.1:9"
)


@pytest.mark.parametrize(
    "page", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS))
)
def test_no_page_is_over_two_screens(page: Path) -> None:
    if {page.name, page.parent.name} & TABLES:
        return
    text = MADE.sub("", page.read_text())
    words = sum(any(map(str.isalnum, word)) for word in text.split())
    lines = len(text.splitlines())
    assert words <= WORDS, "split it, or leave out what is told elsewhere"
    assert lines <= LINES, "split it, or leave out what is told elsewhere"


def keys(model: Any) -> Iterator[str]:
    """Dotted keys of a model's fixed settings."""
    for name, field in model.model_fields.items():
        section = MeasureSection if name == "measures" else field.annotation
        label = "measures.NAME" if name == "measures" else name
        for key in getattr(section, "model_fields", {}):
            yield f"{label}.{key}"


def commands(command: Any, name: str) -> Iterator[tuple[str, list[str]]]:
    """Every command that is not hidden, and its options."""
    if not command.hidden:
        yield name, [text for each in command.params for text in each.opts if text[0] == "-"]
        for below, each in getattr(command, "commands", {}).items():
            yield from commands(each, f"{name} {below}")


def texts(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("*.html"))


@pytest.mark.thorough
def test_the_site_is_complete_and_asks_for_nothing(tmp_path: Path) -> None:
    """One build for all of it: `strict` also refuses a broken link, anchor or navigation."""
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=ROOT,
        env=os.environ | NO_NETWORK | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"a page that is not found belongs into mkdocs.yml:\n{done.stderr}"

    names = texts(site / "reference" / "names")
    homes = {n: f"{m}.{n}" for n, m in optnas._HOME.items()} | optnas._MODULES
    assert [n for n in optnas.__all__ if f'id="optnas.{homes[n]}"' not in names] == []

    settings = (site / "reference" / "settings.html").read_text()
    wanted = [*keys(Settings), *keys(TrainingSettings)]
    assert [each for each in wanted if f"<code>{each}</code>" not in settings] == []
    undescribed = re.findall(r"<td><code>([\w.]+)</code></td>\n.*\n.*\n<td></td>", settings)
    assert undescribed == [], "Field(..., description=...) says what a setting means"

    told = re.sub(r"<[^>]+>", "", texts(site / "reference" / "commands"))
    for name, options in commands(typer.main.get_command(app), "optnas"):
        assert name in told, name
        assert [option for option in options if option not in told] == [], name

    for plural, kind in registry.plurals().items():
        page = (site / "reference" / "components" / f"{plural}.html").read_text()
        listed = {each["name"] for each in components(kind)}
        assert {name for name in listed if f">{name}<a class=" not in page} == set(), plural

    for path in site.rglob("*.html"):
        asked = re.findall(r"<(?!a )[^>]*(?:src|href)=\"?(?:https?:)?//[^>]+", path.read_text())
        assert asked == [], path
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs Chromium and chromedriver")
    search_from_disk(site, tmp_path / "profile")


def search_from_disk(site: Path, profile: Path) -> None:
    with browser(profile, width=390) as page:
        page.open((site / "index.html").as_uri())
        page.evaluate(
            "const box = document.querySelector('[data-md-component=search-query]');"
            "box.focus(); box.value = 'Neumann';"
            "box.dispatchEvent(new Event('input', {bubbles: true}));"
            "box.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}))"
        )
        found = "[...document.querySelectorAll('.md-search-result__link')].map(a => a.href)"
        page.wait(f"{found}.some(a => a.includes('hypergradients.html'))", 30)
        assert page.console() == []
        assert [url for url in page.requests() if not url.startswith("file:")] == []
