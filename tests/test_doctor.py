"""`optnas doctor`: on a machine in order, and on three that are broken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from cases import SOURCES, command, environment

from optnas.search import doctor


def told(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    code = command("doctor", "--json", *words)
    return code, {each["subject"]: each for each in json.loads(capfd.readouterr().out)}


def wrong(checks: dict[str, dict[str, str]]) -> dict[str, str]:
    assert all(each["remedy"] for each in checks.values() if each["state"] != "ok")
    return {name: each["seen"] for name, each in checks.items() if each["state"] == "wrong"}


@pytest.mark.thorough
def test_a_machine_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPTNAS_DATA", raising=False)
    monkeypatch.setenv("OPTNAS_HOME", str(tmp_path / "caches" / "mine"))
    code, checks = told(capfd)
    assert (code, wrong(checks)) == (0, {})
    assert {checks[each]["state"] for each in ("data cifar10", "table official")} == {"absent"}
    assert checks["search"]["seen"].startswith("two steps on digits in")


@pytest.mark.thorough
def test_damaged_data_and_a_cache_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("cifar10/train-0.parquet", "nas-bench-201/test-accuracy.csv.gz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("half a download")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("OPTNAS_HOME", str(tmp_path / "file"))
    code, checks = told(capfd, "--data", str(tmp_path))
    assert code == 1
    assert set(wrong(checks)) == {"data cifar10", "table official", "cache"}
    assert str(tmp_path / "cifar10/train-0.parquet") in wrong(checks)["data cifar10"]
    assert "OPTNAS_HOME" in checks["cache"]["remedy"]
    assert checks["search"]["state"] == "ok"


def test_an_old_package_no_folder_a_full_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "numpy-1.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    disk = namedtuple("disk", "total used free")(1, 1, 1)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: disk)
    code, checks = told(capfd, "--data", str(tmp_path / "nowhere"), "--device", "cuda:99")
    assert code == 1
    assert wrong(checks)["versions"] == "numpy is 1.0, and optnas needs numpy>=1.26"
    assert checks["versions"]["remedy"] == 'pip install "numpy>=1.26"'
    assert {"device", "data", "disk", "search"} < set(wrong(checks))


@pytest.mark.parametrize(
    ("device", "visible", "told"),
    [
        ("cpu", None, []),
        ("cpu", "", []),
        ("auto", None, ["there is an NVIDIA driver, and torch, which is built without CUDA, sees"]),
        ("auto", "", ["CUDA_VISIBLE_DEVICES= hides every GPU"]),
        ("auto", "-1", ["CUDA_VISIBLE_DEVICES=-1 hides every GPU"]),
        ("auto", "0", ["there is an NVIDIA driver, and torch, which is built without CUDA, sees"]),
    ],
)
def test_a_driver_whose_gpus_torch_does_not_see(
    device: str,
    visible: str | None,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Nothing is wrong where none was asked for; a variable may be why."""
    (tmp_path / "version").touch()
    monkeypatch.setattr(doctor, "NVIDIA", tmp_path / "version")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    first, *others = doctor._device(device)
    assert first.state == "ok"
    assert [each.state for each in others] == ["wrong"] * len(told)
    assert all(each.seen.startswith(start) for each, start in zip(others, told, strict=True))


@pytest.mark.thorough
def test_a_torch_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12: no such file')")
    done = subprocess.run(
        [sys.executable, "-m", "optnas", "doctor"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=f"{tmp_path}:{SOURCES}", OPTNAS_HOME=str(tmp_path / "home")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "wrong   device: ImportError: libcudart.so.12: no such file" in done.stdout
    assert "ok      table toy" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 wrong"
