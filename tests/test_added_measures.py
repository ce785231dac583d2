"""A measure that is added to a study: who runs, plans or looks is told of the runs without it.

Failed on 0.1.0: ``study run`` said that all were done, and nothing had been measured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import command
from studies import tiny_study
from tiny import tiny_settings

from optnas.base.records import RunFolder
from optnas.study.added import begun_without
from optnas.study.declare import Study, load_study
from optnas.study.folder import locate, prepare
from optnas.study.runner import runner_of

Make = Callable[..., Study]
ADDED = {"measures__gap__at": ["end"], "measures__gap__part": 0.5}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The study with other measures each time; its two runs have begun without any."""
    monkeypatch.chdir(tmp_path)

    def study(**base: Any) -> Study:
        return load_study(tiny_study(tmp_path, "[0, 1]", **base))

    first = study()
    for name, folder in locate(first.runs.values(), Path("out")).items():
        prepare(first.runs[name], folder)
    return study


def told(study: Study) -> list[str]:
    return begun_without(study, locate(study.runs.values(), Path("out")))


def test_runs_that_were_begun_without_a_measure_are_named(
    make: Make, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert told(make()) == []
    study = make(**ADDED)
    line = "2 runs were begun without measures.gap; "
    line += "to take it afterwards: optnas measure out gap part=0.5"
    assert told(study) == [line]
    for verb in ("plan --no-timing", "plan --no-timing --json", "status"):
        assert command("study", *f"{verb} tiny.toml --out out".split()) == 0
        assert line in capsys.readouterr().out
    with caplog.at_level(logging.WARNING):
        runner_of(study, Path("out"), "local", {}, jobs=1)
    assert line in caplog.text
    again = make(measures__again={"name": "gap", "at": ["end"]})
    [line] = told(again)
    assert "in Python: optnas.measure(RUN, MEASURES) of" in line


def test_runs_that_have_it_and_records_are_not_named(make: Make) -> None:
    study = make(**ADDED)
    one, two = locate(study.runs.values(), Path("out")).values()
    values = {"values": {"gap": 1.0}, "units": {"gap": "1"}}
    one.measures.put("gap", {"epoch": 0, "status": "ok", "settings": {}, **values}, {})
    assert told(study)[0].startswith("1 run was begun without measures.gap;")
    two.finish("diverged", epochs=2)  # and no checkpoint: a record
    assert told(study) == []
    RunFolder(two.path).config.write_text("measures = 5\n")
    assert told(study) == []


def test_the_command_that_is_named_is_one(make: Make) -> None:
    from optnas.cli.measure import _told_apart

    assert tiny_settings(**ADDED).measures["gap"].settings["part"] == 0.5
    [line] = told(make(**ADDED))
    words = line.partition("optnas measure ")[2].split()
    assert _told_apart(words) == ([Path("out")], {"gap": {"part": 0.5}})
