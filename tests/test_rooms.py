"""The house: rooms in one order, no import to a later room, no circle between files, few rooms.

Every import is walked: those inside functions and those of type checkers too.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

import optnas

ROOT = Path(optnas.__file__).parent
# From the ground up.
ROOMS = (
    *("base", "data", "spaces", "algorithms", "optimizers", "measures", "search"),
    *("analysis", "theory", "study", "report", "cli"),
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(path: Path) -> Iterator[str]:
    """Modules of optnas that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "optnas":
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in FILES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in FILES)


def room_of(module: str) -> int | None:
    """Its place in the order; None for the package itself, which stands above all rooms."""
    room = module.split(".")[1:2]
    return ROOMS.index(room[0]) if room and not room[0].startswith("__") else None


@functools.cache
def imports() -> dict[str, set[str]]:
    """Each file with what it imports."""
    return {name: set(imported(path)) - {name} for name, path in FILES.items()}


def test_there_are_the_rooms_and_no_other() -> None:
    entries = {path.stem for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert {entry for entry in entries if not entry.startswith("__")} == set(ROOMS)


def test_no_import_leads_to_a_later_room() -> None:
    upward = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in sorted(others)
        if (own := room_of(module)) is not None
        and ((there := room_of(other)) is None or there > own)
    ]
    assert upward == []


def test_no_circle_between_files() -> None:
    graph = networkx.DiGraph(
        (name, other) for name, others in imports().items() for other in others
    )
    assert list(networkx.simple_cycles(graph)) == []


@pytest.mark.parametrize("module", ["loop.py", "steps.py", "state.py"])
def test_the_loop_names_no_component(module: str) -> None:
    text = (ROOT / "search" / module).read_text()
    for name in ("darts", "SGD", "Adam", "digits", "cifar", "nasbench201", "isinstance(state.alg"):
        assert name not in text


def test_only_the_command_line_prints() -> None:
    """A line to stderr beside it says how long something will take."""
    printing = [
        name
        for name, path in FILES.items()
        if not name.startswith("optnas.cli.")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and "file" not in {word.arg for word in node.keywords}
    ]
    assert printing == []


def test_components_with_settings_are_built_by_the_registry() -> None:
    """Whoever calls a factory itself hands it the names of its parts instead of the parts."""
    own = [
        f"{name}, line {node.lineno}"
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Call)
        and isinstance(node.func.func, (ast.Attribute, ast.Name))
        and ast.unparse(node.func.func) in ("registry.find", "find")
        and (node.args or node.keywords)
    ]
    assert own == []


def test_text_is_read_in_the_encoding_in_which_it_is_written() -> None:
    """What ruff cannot see: files of the package are no `pathlib.Path`."""
    unsaid = [
        f"{name}, line {node.lineno}"
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "read_text"
        and "encoding" not in {word.arg for word in node.keywords}
    ]
    assert unsaid == []


@pytest.mark.parametrize(
    "statement",
    [
        "import optnas",
        "import optnas.cli",
        "from optnas.search.settings.layers import Layer, resolve; "
        "resolve([Layer('x', {'data': {'name': 'digits'}})])",
        # Every algorithm is built, so that what it refuses is refused before images are read.
        "from optnas.base import registry; "
        "from optnas.search.settings.layers import Layer, resolve; "
        "[resolve([Layer('x', {'data': {'name': 'digits'}, 'algorithm': {'name': name}})])"
        " for name in registry.names('algorithm')]",
        # Optimizers are torch's own classes: docs/decisions/0002-settings-without-torch.md.
        "from optnas.base import registry; "
        "[registry.names(kind) for kind in registry.KINDS if kind != 'optimizer']",
    ],
)
def test_settings_are_checked_without_torch(statement: str) -> None:
    code = f"import sys; {statement}; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
