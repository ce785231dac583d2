"""Import paths and entry-point groups that 0.1.0 documented answer for one release."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import optnas
from optnas.base import moved, registry
from optnas.base.errors import UserError

OLD = Path(__file__).parent / "templates" / "extending-0.1.0.md"


@pytest.mark.parametrize("name", moved.MOVED)
def test_an_old_path_leads_to_what_took_its_place(name: str) -> None:
    sys.modules.pop(f"optnas.{name}", None)
    with warnings.catch_warnings(action="ignore"):  # of an old room that nothing imported before
        importlib.import_module(f"optnas.{name}".rpartition(".")[0])
    with pytest.warns(DeprecationWarning, match=re.escape(f"optnas.{name} is now optnas.")):
        old = importlib.import_module(f"optnas.{name}")
    for place in moved.MOVED[name]:
        home = importlib.import_module(f"optnas.{place}")
        offered = getattr(home, "__all__", [n for n in vars(home) if not n.startswith("_")])
        for each in offered:
            assert getattr(old, each) is not None
    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        old.nowhere  # noqa: B018


def test_an_old_module_in_the_place_of_a_function_is_called_as_that(tmp_path: Path) -> None:
    sys.modules.pop("optnas.supernet", None)
    with pytest.warns(DeprecationWarning, match="is now"):
        importlib.import_module("optnas.supernet")
    with pytest.raises(UserError, match="no run in this folder"):
        optnas.supernet(tmp_path / "nowhere")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("algorithms.base", "Algorithm HypergradientName DerivativeName Perturb Progress Relax"),
        ("benchmarks", "Coverage Measurements Table TableSource data_folder load_table"),
        ("benchmarks.random_search", "random_search"),
        ("benchmarks.references", "references"),
        ("benchmarks.trained", "trained"),
        ("figures", "plot_figure"),
        ("instruments.snapshot", "Snapshot"),
        ("landscapes", "F4 f4_data"),
        ("metrics.base", "Cadence Measure Quantity Values"),
        ("parts", "softmax unperturbed first_order unrolled argmax_per_edge"),
        ("plotting", "plot_runs COLOURS"),
        ("records", "RunFolder find_runs"),
        ("registry", "register find names"),
        ("spaces", "Space build_space"),
    ],
)
def test_the_names_that_documents_used_are_there(module: str, names: str) -> None:
    code = "; ".join(f"from optnas.{module} import {name}" for name in names.split())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{code}; import optnas; optnas.{module}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_path_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("optnas.nowhere")
    with pytest.raises(AttributeError):
        optnas.nowhere  # noqa: B018


def test_the_entry_point_groups_of_0_1_0_are_read() -> None:
    groups = set(re.findall(r'entry-points\."([\w.]+)"', OLD.read_text()))
    assert groups
    assert groups <= {group for kind in registry.KINDS.values() for group in kind.groups}
