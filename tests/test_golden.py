"""Committed records of tiny searches in double precision: do numbers move?

A change that moves them raises `optnas.search.settings.model.NUMBERS_VERSION`, says so in
CHANGELOG.md under Numbers, and rewrites the files: ``python tests/test_golden.py``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tiny import every_variant, tiny_settings

from optnas.base.records import RunFolder
from optnas.search.loop import run

GOLDEN = Path(__file__).parent / "golden"
LEFT_OUT = ("seconds",)
PAIRS = {
    f"{w}-{a}": {"weight_optimizer__name": w, "arch_optimizer__name": a}
    for w in ("SGD", "Adam")
    for a in ("SGD", "Adam")
}
PROTOCOLS = {
    name: {"protocol": name, "supernet__cells": 1, "supernet__channels": 2}
    for name in ("sdarts", "nas-bench-201", "nats-bench")
}
CURVATURE = {"curvature": {"measures__sharpness__every": 2}}
TOY = {"toy": {"space__name": "toy", "benchmark__table": "toy", "measures__sharpness__every": 2}}
CASES: dict[str, dict[str, Any]] = {
    **dict(every_variant()),
    **PAIRS,
    **PROTOCOLS,
    **CURVATURE,
    **TOY,
}


def records(changes: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    settings = tiny_settings(**changes)
    run_folder = RunFolder(folder)
    with run_folder.created(settings.document()):
        assert run(settings, run_folder)["status"] == "done"
    return [
        {key: value for key, value in record.items() if key not in LEFT_OUT}
        for record in run_folder.read_epochs()
    ]


def assert_close(got: Any, expected: Any, where: str) -> None:
    if isinstance(expected, dict):
        assert got.keys() == expected.keys(), where
        for key in expected:
            assert_close(got[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(got) == len(expected), where
        for position, value in enumerate(expected):
            assert_close(got[position], value, f"{where}[{position}]")
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-9), where
    else:
        assert got == expected, where


@pytest.mark.parametrize("name", sorted(CASES))
def test_records_are_those_committed(name: str, tmp_path: Path) -> None:
    stored = [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines()]
    assert_close(records(CASES[name], tmp_path / "run"), stored, name)


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.jsonl")} == set(CASES)


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, changes in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            lines = [json.dumps(r, allow_nan=False) for r in records(changes, Path(folder) / "run")]
        (GOLDEN / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        print(name, file=sys.stderr)


if __name__ == "__main__":
    main()
