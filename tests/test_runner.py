"""The runner of a study where a folder, an old result or a name is in its way; no real runs."""

from __future__ import annotations

import sys
import time
import tomllib
from pathlib import Path

import pytest

from optnas.base.errors import in_toml
from optnas.base.toml import parse_override
from optnas.study.engines.base import Job
from optnas.study.engines.local import LOG, local

NAMES = ("daten é", "daten 😀", "𠮷", "a\x7fb", "a\nb'\"\\", "5", "true")


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_reads_whatever_name_a_folder_of_data_has(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON writes a character beyond U+FFFF as two escapes, which TOML does not take."""
    worker = tmp_path / "worker"
    worker.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    engine = local()
    handle, until = engine.start(Job(tmp_path, {"data.folder": name}, 1)), time.monotonic() + 60
    while not engine.wait([handle], 1.0):
        assert time.monotonic() < until
    *_, told = (tmp_path / LOG).read_bytes().decode().rstrip("\0").split("\0")
    assert parse_override(told) == (["data", "folder"], name)


def test_a_remedy_in_a_file_of_settings_is_toml() -> None:
    told = in_toml("write data.folder=/a/😀").removeprefix("write ").removesuffix(" in data")
    assert tomllib.loads(told) == {"folder": "/a/😀"}
