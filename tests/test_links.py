"""Folders of runs that are links are found, each run once, and loops of links end.

Failed on 0.1.0: ``optnas list`` and a study's ``--out`` said that no run was there.
"""

from __future__ import annotations

import os
from pathlib import Path

from optnas.base.records import find_runs


def a_run(folder: Path) -> Path:
    """What a folder holds at least whose run has begun."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[identity]\nhash = "0"\nnumbers_version = 2\n')
    return folder


def paths(folder: Path) -> list[Path]:
    return [run.path for run in find_runs(folder)]


def test_runs_behind_links_are_found(tmp_path: Path) -> None:
    run, deep = a_run(tmp_path / "run"), a_run(tmp_path / "study" / "deep" / "run")
    gather = tmp_path / "gather"
    gather.mkdir()
    (gather / "one").symlink_to(os.path.relpath(run, gather))
    (gather / "study").symlink_to(tmp_path / "study")
    assert paths(gather) == [
        gather / "one",
        gather / "study" / deep.relative_to(tmp_path / "study"),
    ]
    assert paths(gather / "one") == [gather / "one"]


def test_a_run_is_found_once_by_its_own_path(tmp_path: Path) -> None:
    run = a_run(tmp_path / "z")
    for name in ("a", "b"):
        (tmp_path / name).symlink_to("z")
    assert paths(tmp_path) == [run]


def test_links_that_lead_nowhere_up_or_round_end(tmp_path: Path) -> None:
    a_run(tmp_path / "beside")
    gather, other = tmp_path / "gather", tmp_path / "other"
    run = a_run(gather / "run")
    a_run(other / "run")
    links = {"up": "..", "itself": "itself", "nowhere": "missing", "other": other}
    for name, target in links.items():
        (gather / name).symlink_to(target)
    (other / "back").symlink_to(gather)
    (run / "down").symlink_to(gather / "run")
    assert paths(gather) == [gather / "other" / "run", run]
