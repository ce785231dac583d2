"""benchmarks/kernels.py: the kernels compute what torch computes, compiled without optimization."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(FOLDER)
    before = set(sys.modules)
    network = importlib.import_module("kernels_network")
    monkeypatch.setattr(
        network, "FLAGS", ["-O0", "-march=native", "-Wno-psabi", "-shared", "-fPIC"]
    )
    yield importlib.import_module("kernels")
    network.library.cache_clear()
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_kernels_agree_with_torch(kernels: ModuleType, tmp_path: Path) -> None:
    case = kernels.Case(4, 4)
    case.check("C", case.c_side(tmp_path))
    small = kernels.step.Setting(4, 2, 12, 0, 0, 0)  # 144, 36 and 9 pixels: no whole vectors
    assert kernels.disagreement(small, 3, tmp_path) < 1e-12


def test_without_a_compiler_it_says_so_in_one_line(
    kernels: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["kernels.py"])
    monkeypatch.setenv("PATH", "")
    assert kernels.main() == 2
    assert capsys.readouterr() == ("", "kernels.py: needs gcc, which is not there\n")


def test_the_pages_tell_what_was_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    results = FOLDER.with_name("results")
    monkeypatch.syspath_prepend(results)
    spec = importlib.util.spec_from_file_location("kernel_pages", results / "kernels.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for page in module.PAGES:
        assert module.built(page.read_text(), module.PARTS, None) == page.read_text()
