"""The documents are true: their blocks run, their links resolve, their tables are the settings."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cases import TESTED
from tiny import tiny_settings
from topics import pages_of, text_of

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.report.pictures import plot_figure
from optnas.search import protocols
from optnas.search.loop import run
from optnas.search.settings.model import Settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BY_HAND = ROOT / "examples" / "00_by_hand.py"  # without a framework, so longer: one page
RUNNABLE = ("python", "sh", "console")
SECONDS = 600  # for one block, on a busy machine
# An example takes 20 seconds at most; a busy machine stretches even processor time, by up to this.
EXAMPLE_SECONDS = 3 * 20
NOT_RUN = re.compile(r"<!-- not run: \S.* -->")


def of(path: Path) -> str:
    return str(path.relative_to(ROOT))


class Block(NamedTuple):
    """A fenced block: its language, its text, the line its fence stands in."""

    language: str
    text: str
    line: int


def blocks_of(text: str) -> list[Block]:
    """The blocks to run, in order."""
    found: list[Block] = []
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        fence = re.fullmatch(r"(\s*)(`{3,})(\w*).*", lines[number])
        if fence is None:
            number += 1
            continue
        indent, ticks, language = fence.groups()
        start = number
        number += 1
        while number < len(lines) and lines[number].strip() != ticks:
            number += 1
        before = [line for line in lines[:start] if line.strip()][-1:]
        excused = bool(before and NOT_RUN.fullmatch(before[0].strip()))
        if language in RUNNABLE and not excused:
            body = [line.removeprefix(indent) for line in lines[start + 1 : number]]
            found.append(Block(language, "\n".join(body) + "\n", start + 1))
        number += 1
    return found


PAGES = sorted((ROOT / "docs" / "algorithms").glob("*.md"))
MEASURES = sorted((ROOT / "docs" / "measures").glob("*.md"))
# The pages of any other topic run one after the other in one folder.
TOPICS = [
    pages_of(page.stem) if page.stem not in ("algorithms", "measures") else [page]
    for page in sorted((ROOT / "docs").glob("*.md"))
]
EXECUTED = [
    pytest.param([ROOT / "README.md"], marks=pytest.mark.thorough),
    *(
        pytest.param(pages, marks=pytest.mark.slow)
        for pages in (*TOPICS, *([page] for page in (*PAGES, *MEASURES)))
        if any(blocks_of(page.read_text()) for page in pages)
    ),
]


def command_of(block: Block, folder: Path) -> list[str]:
    """How to run a block; a python block that names its file is saved under that name."""
    if block.language == "python":
        named = re.match(r"# (\w+\.py)\n", block.text)
        path = folder / (named[1] if named else f"block_{block.line}.py")
        path.write_text(block.text)
        return [sys.executable, path.name]
    script = block.text
    if block.language == "console":
        lines = block.text.split("\n")
        script = "\n".join(line.removeprefix("$ ") for line in lines if line.startswith("$ "))
    return ["bash", "-euo", "pipefail", "-c", script]


def make_targets(block: Block) -> list[str]:
    """The targets of a block that only calls make: the suite does not run itself."""
    if block.language == "python":
        return []
    lines = [line.removeprefix("$ ").split("#")[0].split() for line in block.text.split("\n")]
    commands = [words for words in lines if words]
    only_make = bool(commands) and all(words[0] == "make" for words in commands)
    return [words[1] for words in commands] if only_make else []


def execute(
    command: list[str], folder: Path, *more_paths: Path, warnings: str = "error"
) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "OPTNAS_DATA"} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": warnings,
        "PYTHONPATH": os.pathsep.join(filter(None, [TESTED, *map(str, more_paths)])),
    }
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("pages", EXECUTED, ids=lambda pages: of(pages[0]))
def test_the_blocks_of_a_document_run(pages: list[Path], tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path, block in [(page, each) for page in pages for each in blocks_of(page.read_text())]:
        if targets := make_targets(block):
            for target in targets:
                assert re.search(rf"(?m)^{target}:", makefile), f"make {target}"
            continue
        done = execute(command_of(block, tmp_path), tmp_path)
        assert done.returncode == 0, f"{of(path)}, line {block.line}:\n{done.stderr}"


def test_blocks_are_found_and_excused() -> None:
    text = (
        "```python\n# one.py\nx = 1\n```\n\n<!-- not run: needs a GPU -->\n```sh\nfalse\n```\n"
        "```toml\na = 1\n```\n<!-- not run: -->\n```sh\ntrue\n```\n1. a\n\n   ```console\n"
        "   $ echo 1\n   1\n   ```\n"
    )
    found = blocks_of(text)
    assert [(block.language, block.line) for block in found] == [
        ("python", 1),
        ("sh", 14),
        ("console", 19),
    ]
    assert command_of(found[2], ROOT)[-1] == "echo 1"
    assert make_targets(Block("sh", "make demo  # two\nmake test\n", 1)) == ["demo", "test"]
    assert make_targets(Block("sh", "make demo\nls\n", 1)) == []


def test_the_templates_are_what_the_document_says(tmp_path: Path, monkeypatch: Any) -> None:
    """Addressed by path: settings with defaults, a misspelt one answered, bad values told."""
    for block in blocks_of(text_of("extending")):
        if block.language == "python":
            command_of(block, tmp_path)
    monkeypatch.chdir(tmp_path)
    algorithm = {"algorithm__name": "./my_algorithm.py:cooling"}
    assert tiny_settings(**algorithm).algorithm.settings == {
        "start": 5.0,
        "end": 0.5,
        "hypergradient": {"name": "first-order"},
    }
    with pytest.raises(UserError, match="did you mean end"):
        tiny_settings(**algorithm, algorithm__ende=0.1)
    optimizer = {"weight_optimizer__name": "./my_optimizer.py:SignSGD"}
    settings = tiny_settings(**optimizer).weight_optimizer
    assert settings.settings == {"lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0}
    assert settings.schedule.name == "constant"


def my_package(folder: Path) -> dict[str, dict[str, str]]:
    """The distribution of the document, its templates in it; what it declares by group."""
    text = text_of("extending")
    (declared,) = re.findall(r"```toml\n(\[build.*?)```", text, flags=re.DOTALL)
    (folder / "pyproject.toml").write_text(declared)
    package = folder / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    for block in blocks_of(text):
        if block.language == "python":
            command_of(block, package)
    groups: dict[str, dict[str, str]] = tomllib.loads(declared)["project"]["entry-points"]
    return groups


def test_every_template_is_an_entry_point_of_the_document(tmp_path: Path) -> None:
    groups = my_package(tmp_path)
    declared = [target.split(":")[0] for group in groups.values() for target in group.values()]
    files = (tmp_path / "my_package").glob("my_*.py")
    assert sorted(set(declared)) == sorted(f"my_package.{path.stem}" for path in files)
    assert set(groups) <= {kind.groups[0] for kind in registry.KINDS.values()}


@pytest.mark.parametrize("path", EXAMPLES, ids=of)
def test_examples_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= (200 if path == BY_HAND else 59)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=of)
def test_examples_run(path: Path, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = execute([sys.executable, str(path)], tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < EXAMPLE_SECONDS


# --- links ------------------------------------------------------------------------------------


def without_code(text: str) -> str:
    text = re.sub(r"(?ms)^\s*```.*?^\s*```\s*$", "", text)
    return re.sub(r"`[^`\n]*`(?!\])", "", text)


def anchor(heading: str) -> str:
    """The fragment that a heading gets: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.checkout  # documents link to the source
@pytest.mark.parametrize("path", DOCUMENTS, ids=of)
def test_relative_links_and_images_resolve(path: Path) -> None:
    text = without_code(path.read_text())
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    targets += re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{of(path)} links to {target}"
        assert file.is_relative_to(ROOT), f"{of(path)} links to {target}"
        if fragment and file.suffix == ".md":
            headings = re.findall(r"(?m)^#+ (.*)$", file.read_text())
            assert fragment in map(anchor, headings), f"{of(path)} links to {target}"


@pytest.mark.checkout
def test_the_package_points_to_pages_and_headings_that_are_there() -> None:
    pointer = re.compile(r"(docs/[\w/-]+\.md)(?:, \"([^\"]+)\")?")
    for file in [*(ROOT / "src").rglob("*.toml"), *(ROOT / "src").rglob("*.py")]:
        for page, heading in pointer.findall(file.read_text()):
            assert (ROOT / page).is_file(), f"{of(file)} points to {page}"
            headings = re.findall(r"(?m)^#+ (.*)$", (ROOT / page).read_text())
            assert not heading or heading in headings, f"{of(file)} points to {heading!r}"


NUMBERED = re.compile(r"(?m)^(\d+)\. \*\*")


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "protocols").glob("*.md")), ids=of)
def test_deviations_are_numbered_one_by_one(path: Path) -> None:
    """They are referred to by number, and two were 9."""
    for section in path.read_text().split("\n#"):
        numbers = [int(each) for each in NUMBERED.findall(section)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_every_algorithm_has_a_page_that_names_its_settings() -> None:
    pages = [path.read_text() for path in PAGES]
    for name in registry.names("algorithm"):
        titled = [page for page in pages if name in page.split("\n", 1)[0].split()]
        assert len(titled) == 1, f"{name} needs one page with its name in the title"
        settings = registry.complete_settings(
            registry.find("algorithm", name), {}, section="algorithm", skip=("space",)
        )
        for setting, default in settings.items():
            assert f"| `algorithm.{setting}` | `{default}` |" in titled[0], (name, setting)


# --- what the documents state -----------------------------------------------------------------


def flat(document: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(document, dict):
        return {prefix: document}
    joined = {}
    for key, value in document.items():
        joined |= flat(value, f"{prefix}.{key}" if prefix else key)
    return joined


# What a row of settings names, all of it, besides what stands in parentheses.
NAMED = {
    "algorithm.name": registry.names("algorithm"),
    "space.name": registry.names("space"),
    "tracking.name": registry.names("tracker"),
    "protocol": protocols.names(),
    "data.name": registry.names("dataset"),
}


@pytest.mark.parametrize("key", NAMED)
def test_the_row_of_a_setting_has_every_name(key: str) -> None:
    page = (ROOT / "docs" / "command-line" / "settings.md").read_text()
    (row,) = re.findall(rf"(?m)^\| `{re.escape(key)}` \| (.*) \|$", page)
    assert sorted(re.findall(r"`([^`]+)`", re.sub(r"\([^()]*\)", "", row))) == sorted(NAMED[key])


ON_DARTS_SPACES = ("darts", "darts-sdarts", "darts-robust", "darts-cpu")


def test_the_table_of_protocols_is_that_of_the_files() -> None:
    rows = re.findall(r"(?m)^\| `([\w.-]+)`[^|]*\| (.*) \|$", text_of("protocols"))
    rows = [(key, cells.split(" | ")) for key, cells in rows if cells.count(" | ") == 6]
    assert len(rows) > 30
    names = ("cpu", "sdarts", "nas-bench-201", "nats-bench", "optdarts", "optdarts-cpu", "ex-darts")
    assert sorted(names + ON_DARTS_SPACES) == protocols.names()
    told: dict[str, set[str]] = {name: set() for name in names}
    absent = {"all", "native", "false", "true", "0", "[0.9, 0.999]", "none"}
    for key, cells in rows:
        for name, cell in zip(names, cells, strict=True):
            settings = flat(protocols.load(name)[1])
            if key in settings:
                value = settings[key]
                shown = cell if isinstance(value, str) else tomllib.loads(f"x = {cell}")["x"]
                assert shown == value, (key, name)
                told[name].add(key)
            else:
                assert cell in absent, (key, name)
    chosen = {"algorithm.name", "space.name", "data.name", "weight_optimizer.name"}
    chosen |= {"arch_optimizer.name", "datasets.digits.split"}
    for name in names:
        assert set(flat(protocols.load(name)[1])) - told[name] == chosen


def test_the_table_of_protocols_on_the_spaces_of_darts_has_all_that_differs() -> None:
    page = (ROOT / "docs" / "protocols" / "darts.md").read_text()
    files = [flat(protocols.load(name)[1]) for name in ON_DARTS_SPACES]
    shown = set()
    for key, cells in re.findall(r"(?m)^\| `([\w.-]+)` \| (.*) \|$", page):
        shown.add(key)
        for file, cell in zip(files, cells.split(" | "), strict=True):
            assert str(file.get(key, cell)).lower() == cell, key
            assert key in file or cell in ("none", "all", "native"), key
    every = {key for file in files for key in file}
    others = {key for key in every if len({str(file.get(key)) for file in files}) > 1} - shown
    sizes = ("train_size", "valid_size", "resolution")
    assert all(key.startswith("datasets.") and key.endswith(sizes) for key in others), others


def test_every_recorded_key_is_defined(tmp_path: Path) -> None:
    text = text_of("concepts")
    for algorithm in ("darts", "darts-minus"):
        settings = tiny_settings(algorithm__name=algorithm, search__epochs=1)
        folder = RunFolder(tmp_path / algorithm)
        with folder.created(settings.document()):
            run(settings, folder)
        for record in folder.read_epochs():
            for key in [*record, *record["benchmark"]]:
                assert f"`{key}`" in text, key


def test_every_section_of_settings_is_in_some_document() -> None:
    text = "".join(path.read_text() for path in DOCUMENTS)
    for section in set(Settings.model_fields) - {
        "protocol",
        "fingerprint",
        "sources",
        "space",
        "run",
    }:
        assert f"{section}." in text, section


def test_the_mixed_cell_is_the_one_the_command_draws(tmp_path: Path) -> None:
    """Compared without glyph outlines, which depend on the version of the font."""
    plot_figure("mixed-cell", [], tmp_path / "mixed-cell.svg")
    kept = ROOT / "docs" / "images" / "mixed-cell.svg"
    assert kept.stat().st_size < 150_000
    words = [re.findall(r"<!-- .*? -->", p.read_text()) for p in (kept, tmp_path / kept.name)]
    assert words[0] == words[1], f"draw it again: optnas plot --figure mixed-cell -o {kept}"


@pytest.mark.slow
def test_the_templates_of_0_1_0_run_unchanged(tmp_path: Path) -> None:
    """The document as it stood in 0.1.0: old import paths, kinds and names of options answer."""
    for block in blocks_of((ROOT / "tests" / "templates" / "extending-0.1.0.md").read_text()):
        done = execute(
            command_of(block, tmp_path), tmp_path, warnings="error,ignore::DeprecationWarning"
        )
        assert done.returncode == 0, f"line {block.line}:\n{done.stderr}"


def test_one_command_rebuilds_every_page_of_records() -> None:
    """`make figures`; the tutorial has a command of its own."""
    named = set(re.findall(r"results/\w+\.py", (ROOT / "Makefile").read_text()))
    scripts = [each for each in (ROOT / "results").glob("*.py") if "__main__" in each.read_text()]
    assert {f"results/{each.name}" for each in scripts} == named
