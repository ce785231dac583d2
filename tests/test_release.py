"""What a version says of itself, where it does not run, and the script that a release passes."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cases import CONSOLE, environment, refused

import optnas
from optnas.base import system

ROOT = Path(__file__).resolve().parents[1]


def script() -> ModuleType:
    """scripts/release.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        return importlib.import_module("release")


@pytest.mark.parametrize("words", [[CONSOLE], [CONSOLE, "list", "runs"], ["-m", "optnas"]])
def test_windows_is_refused_in_one_line(words: list[Any], tmp_path: Path) -> None:
    """By the command, before a module is imported that Windows lacks (fcntl)."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.platform = 'win32'")
    searched = f"{tmp_path}:{Path(optnas.__file__).parents[1]}"
    answer = subprocess.run(
        [sys.executable, *words],
        env=environment(PYTHONPATH=searched),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    refused(answer.stderr, "win32", "WSL")


def test_a_program_may_catch_the_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of which optnas is an optional part goes on without it."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "argv", ["C:/programs/report.py"])
    with pytest.raises(ImportError, match=r"^win32: Windows lacks .*; .* WSL"):
        system.refuse_windows()


def copied_texts(folder: Path) -> Path:
    """The files that say the version."""
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_the_version_is_the_same_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script()
    others = [name for name in module.NAMES if name not in ("versions", "changelog")]
    release = module.Release(copied_texts(tmp_path), tmp_path, tmp_path)
    assert module.checked(release, others)
    for name, old, new in (
        ("CITATION.cff", "(?m)^version: ", "version: 9."),
        ("CHANGELOG.md", r"\(\d{4}-\d\d-\d\d\)", "(unreleased)"),
        ("CHANGELOG.md", "### Numbers", "### Figures"),
    ):
        text = (copied_texts(tmp_path) / name).read_text()
        (tmp_path / name).write_text(re.sub(old, new, text, count=1))
        assert not module.checked(release, others), name
        assert re.search(rf"(?m)^fail .*{name}|no section Numbers", capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_release_without_its_tests_and_its_commit(tmp_path: Path) -> None:
    """Build, metadata, contents, an environment of its own, doctor and a search in it."""
    words = ["scripts/release.py", "--without", "clean", "tests", "--dist", tmp_path]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["pass", name] for name in script().NAMES if name not in ("clean", "tests")
    ]
    assert {path.suffix for path in tmp_path.iterdir()} == {".whl", ".gz"}
