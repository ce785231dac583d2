"""Pages pasted one after the other in one folder: no two of them make one run differently."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "docs" / "tutorial.py"]
SHELL = re.compile(r"\boptnas (search|train|study run) ([^;|&\n]*?)--out (\S+)([^;|&\n]*)")
PYTHON = re.compile(r"optnas\.(?:run|train|study)\((?:(?!optnas\.)[^`])*?out=\"([^\"]+)\"")


def made(page: Path) -> Iterator[tuple[str, str]]:
    """Each run folder, or folder of a study, that a page makes, and how."""
    text = page.read_text()
    for block in re.findall(r"(?ms)^\s*```(?:sh|console)\n(.*?)^\s*```", text):
        lines = re.sub(r"(?m)\s+#.*$", "", block.replace("\\\n", " "))
        for command, before, out, after in SHELL.findall(lines):
            # How many runs go on at a time, and where, are no settings of theirs.
            words = re.sub(
                r"--(jobs|threads|device|engine|engine-set) \S+|--detach", "", before + after
            )
            study = command == "study run"
            told = words.split()[0] if study else " ".join(words.split())
            yield out, f"{command} {told}"
    blocks = (
        text if page.suffix == ".py" else "".join(re.findall(r"(?ms)^```python\n(.*?)^```", text))
    )
    for call in PYTHON.finditer(blocks):
        yield call[1], f"in Python: {' '.join(call[0].split())}"


def test_runs_are_found() -> None:
    found = dict(made(ROOT / "README.md"))
    assert found["runs/first"].startswith("in Python: optnas.run({")
    assert found["runs/second"] == (
        "search data.name=digits search.epochs=2 weight_optimizer.name=Adam"
    )
    assert set(dict(made(ROOT / "docs" / "tutorial.py"))) == {"runs/one", "runs/eg"}


def test_no_two_pages_make_one_run_folder_with_different_settings() -> None:
    makers: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for page in PAGES:
        for out, how in made(page):
            makers[out][how].add(str(page.relative_to(ROOT)))
    clashes = {}
    for out, by_way in makers.items():
        # Studies share a folder: each of their runs has one of its own.
        alike = all(how.startswith("study run") for how in by_way)
        pages = set().union(*by_way.values())
        if len(by_way) > 1 and len(pages) > 1 and not alike:
            clashes[out] = {how: sorted(pages) for how, pages in by_way.items()}
    assert clashes == {}
