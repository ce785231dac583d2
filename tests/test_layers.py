"""Imports go one way: parts never import the search, the search never a particular component."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import optnas

ROOT = Path(optnas.__file__).parent
# Each layer may import from itself and from those before it.
LAYERS = [
    {"errors", "files", "pickles", "loading", "schema"},
    {"tomlio"},
    {"jsonio"},
    {"measurements"},
    {"registry", "records", "seeds"},
    {"spaces", "datasets", "benchmarks", "protocols", "schedules"},
    {"supernet", "data"},
    {"algorithms", "bilevel", "parts", "optimizers", "metrics", "instruments", "stopping"},
    {"relaxations", "perturbations", "hypergradients", "discretizations"},
    {"config"},
    {"trackers"},
    {"consistency"},
    {"complete"},
    {"resolve"},
    {"state"},
    {"steps", "environment", "observe"},
    {"search", "standalone", "afterwards"},
    {"exam"},
    {"landscapes"},
    {"api", "display", "plotting", "reference_lines", "diagrams", "figures"},
    {"study", "engines", "analysis", "claims"},
    {"report"},
    {"cli"},
    {"__init__", "__main__"},
]
LAYER_OF = {name: position for position, names in enumerate(LAYERS) for name in names}


def imports(path: Path) -> set[str]:
    """Top-level names below optnas that a module imports when it is loaded or checked."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "optnas":
            below = (node.module or "").split(".")[1:]
            found |= {below[0]} if below else {alias.name for alias in node.names}
    return found


MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_to_lower_layers(module: Path) -> None:
    own = module.parts[0].removesuffix(".py")
    for imported in imports(ROOT / module):
        assert LAYER_OF[imported] <= LAYER_OF[own], f"{module} imports optnas.{imported}"


@pytest.mark.parametrize("module", ["search.py", "steps.py", "state.py"])
def test_the_loop_names_no_component(module: str) -> None:
    text = (ROOT / module).read_text()
    for name in ("darts", "SGD", "Adam", "digits", "cifar", "nasbench201", "isinstance(state.alg"):
        assert name not in text


@pytest.mark.parametrize(
    "statement",
    [
        "import optnas",
        "import optnas.cli",
        "from optnas.resolve import Layer, resolve; "
        "resolve([Layer('x', {'data': {'name': 'digits'}})])",
        # Optimizers are torch's own classes: docs/decisions/0002-settings-without-torch.md.
        "from optnas import registry; "
        "[registry.names(kind) for kind in registry.KINDS if kind != 'optimizer']",
    ],
)
def test_settings_are_checked_without_torch(statement: str) -> None:
    code = f"import sys; {statement}; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
