"""Installed from wheels, beside a package of one's own: nothing of the checkout is needed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cases import Answer, environment
from test_docs import ROOT, my_package
from test_release import script
from tiny import TINY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
release = script()
MINE = """
from optnas import register

@register("relaxation", "cubed")
def cubed(): return lambda alpha_EO, progress: (alpha_EO + alpha_EO**3).softmax(-1)
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a fresh environment with both wheels, which sees the dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    package, wheels = folder / "package", folder / "wheels"
    package.mkdir()
    my_package(package)
    subprocess.run(
        [*release.PIP, "wheel", *release.OFFLINE, "-w", wheels, ROOT, package], check=True
    )
    built = sorted(wheels.glob("*.whl"))
    assert len(built) == 2
    return release.environment(folder / "venv", built)


def installed(scripts: Path, name: str, *arguments: str, cwd: Path) -> Answer:
    done = subprocess.run(
        [scripts / name, *arguments],
        cwd=cwd,
        env=environment(PYTHONPATH=""),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_it_is_the_wheel_that_runs(scripts: Path, tmp_path: Path) -> None:
    code, out, err = installed(
        scripts, "python", "-c", "import optnas; print(optnas.__file__)", cwd=tmp_path
    )
    assert (code, err) == (0, [])
    assert Path(out[0]).is_relative_to(scripts.parent)


def test_names_by_entry_point_and_by_path(scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    tiny = [f"{key}={value}" for key, value in TINY.items()]
    chosen = {
        "a": [
            "algorithm.name=cooling",
            "weight_optimizer.name=sign-sgd",
            "arch_optimizer.name=Adam",
        ],
        "b": [
            "algorithm.name=composed",
            "algorithm.relaxation=./mine.py:cubed",
            "algorithm.perturbation=dirichlet",
            "measures.flatness.at=[1]",
        ],
        "c": ["space.name=triangle", "benchmark.table=none"],
    }
    for name, settings in chosen.items():
        words = ["search", *tiny, *settings, "--out", f"runs/{name}"]
        code, _, err = installed(scripts, "optnas", *words, cwd=tmp_path)
        assert code == 0, err
    assert (tmp_path / "runs/b/measures/flatness.jsonl").is_file()
    code, out, err = installed(scripts, "optnas", "list", "runs", cwd=tmp_path)
    assert (code, err) == (0, [])
    assert "cooling" in "".join(out)
    code, out, _ = installed(scripts, "optnas", "measure", "--list", cwd=tmp_path)
    assert code == 0
    assert any(line.startswith("flatness: ") for line in out)


@pytest.mark.parametrize("target", ["sparsemax", "flatness", "cosine", "./mine.py"])
def test_the_exam(target: str, scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    code, out, err = installed(scripts, "optnas", "exam", target, cwd=tmp_path)
    assert (code, err) == (0, []), out
    assert out[-1].endswith(" ok")
