"""`list`, `study status` and `exam` as JSON: what other programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cases import command, interrupted_run
from tiny import TINY

from optnas.base import registry
from optnas.base.toml import Shelf
from optnas.search import api, protocols
from optnas.search.standalone.settings import SHELF
from optnas.study.declare import STUDIES

# What lists say of some kinds beyond name, needs and summary, in this order.
KEYS = {
    "optimizer": ("name", "needs", "refuses", "summary"),
    "algorithm": ("name", "year", "step_cost", "needs", "summary", "paper"),
}
EXPECTED = {"oracle", "fixed"}
RECORDS = Path(__file__).parents[1] / "results" / "optdarts-cpu"


def told(capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    assert command(*words, "--json") == 0
    return json.loads(capfd.readouterr().out)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_kind_is_listed(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = told(capfd, "list", kind)
    assert {tuple(each) for each in found} == {KEYS.get(kind, ("name", "needs", "summary"))}
    assert {each["name"] for each in found} >= set(registry.names(kind))
    for each in found:
        assert each["summary"], each
        assert not each["summary"].startswith("cannot"), each
        assert isinstance(each["needs"], list)
    (plural,) = (word for word, of in registry.plurals().items() if of == kind)
    assert told(capfd, "list", plural) == found
    assert command("list", plural) == 0
    assert len(capfd.readouterr().out.splitlines()) == len(found) + 1


def test_old_kinds_answer(capfd: pytest.CaptureFixture[str]) -> None:
    assert told(capfd, "list", "metrics") == told(capfd, "list", "metric")
    assert told(capfd, "list", "metric") == told(capfd, "list", "measures")
    assert command("list", "algorithmes") == 2
    assert "did you mean algorithms?" in capfd.readouterr().err


def test_torchs_optimizers_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    names = {each["name"] for each in told(capfd, "list", "optimizers")}
    assert {"SGD", "Adam", "sam"} <= names
    assert "SparseAdam" not in names


@pytest.mark.parametrize(
    ("plural", "singular", "shelf"),
    [
        ("studies", "study", STUDIES),
        ("protocols", "protocol", protocols.SHELF),
        ("training-protocols", "training-protocol", SHELF),
    ],
)
def test_files_of_the_package_are_listed(
    plural: str, singular: str, shelf: Shelf, capfd: pytest.CaptureFixture[str]
) -> None:
    found = told(capfd, "list", plural)
    assert [each["name"] for each in found] == shelf.names()
    assert all(10 < len(each["summary"]) < 170 for each in found), found
    assert told(capfd, "list", singular) == found
    assert command("list", plural) == 0
    assert len(capfd.readouterr().out.splitlines()) == len(found) + 1


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("study list", "write optnas list studies"),
        ("protocol list", "write optnas list protocols"),
        ("data list", "write optnas list datasets"),
        ("benchmark list", "write optnas benchmark tables"),
        ("compare quickstart", "write optnas study compare"),
        ("study plot", "write optnas plot"),
        ("search --protocol cpu", "write protocol=cpu"),
        ("search --lr 0.1", "write weight_optimizer.lr=0.1 or arch_optimizer.lr=0.1"),
        ("search --search.epochs=5", "write search.epochs=5"),
        ("search --weight-optimizer Adam", "write weight_optimizer.name=Adam"),
        ("train 5 --lr 0.1", "write optimizer.lr=0.1"),
        ("resume a --epochs 5", "settings are written KEY=VALUE"),
    ],
)
def test_an_option_or_command_that_there_is_not(
    words: str, remedy: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(*words.split()) == 2
    assert f"; {remedy}; see optnas " in capfd.readouterr().err


def test_runs_are_listed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    assert command("list") == 0
    assert capfd.readouterr().out == "no run below runs\n"
    api.run(TINY, out="runs/done")
    interrupted_run(Path("runs/interrupted"), search__seed=1)
    Path("runs/other").mkdir()
    Path("runs/other/config.toml").write_text("identity = 1\n")
    Path("runs/foreign").mkdir()
    Path("runs/foreign/config.toml").write_text("a = 1\n")  # another program's
    found = {Path(each["folder"]).name: each for each in told(capfd, "list")}
    keys = ["id", "folder", "status", "epoch", "reason", "numbers_version", "failed_measures"]
    assert {tuple(each) for each in found.values()} == {tuple(keys)}
    config = json.loads(Path("runs/done/result.json").read_text())
    assert found.keys() == {"done", "interrupted", "other"}
    done, cut, other = (found[name] for name in ("done", "interrupted", "other"))
    assert (done["id"], done["status"], done["reason"]) == (config["hash"][:16], "done", None)
    assert done["epoch"] == config["epochs"]
    assert (cut["status"], cut["epoch"]) == ("interrupted", 1)
    assert (other["status"], other["numbers_version"]) == ("unreadable", None)
    assert isinstance(done["numbers_version"], int)


@pytest.mark.thorough
def test_runs_that_differ_in_a_setting_are_told_apart(capfd: pytest.CaptureFixture[str]) -> None:
    """Momentum 0, .5 and .99 stood there as three equal lines."""
    assert command("list", str(RECORDS)) == 0
    head, *rows = capfd.readouterr().out.splitlines()
    column = slice(head.index("differing settings"), head.index("folder"))
    swept = {row[column].strip() for row in rows if row.startswith("darts: SGD + Adam")}
    assert swept == {f"weight_optimizer.momentum={value}" for value in ("0", "0.5", "0.9", "0.99")}
    assert not any(row[column].strip() for row in rows if row.startswith("sdarts-rs"))


@pytest.mark.thorough
def test_settings_of_runs_in_many_differing_ways(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ways = {"lr": 0.5, "momentum": 0.25, "nesterov": True, "schedule.final_lr": 0.01}
    api.run(TINY, out=tmp_path / "one")
    api.run(
        TINY | {f"weight_optimizer.{key}": value for key, value in ways.items()},
        out=tmp_path / "other",
    )
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "config.toml").write_text("identity = 1\n")
    assert command("list", str(tmp_path)) == 0
    one, other, third = capfd.readouterr().out.splitlines()[1:]
    assert "nesterov=False and 1 more" in one
    assert "lr=0.5, weight_optimizer.momentum=0.25, " in other
    assert third.startswith("unreadable")


@pytest.mark.thorough
def test_the_status_of_a_study(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = told(capfd, "study", "status", "quickstart", "--out", str(tmp_path / "out"))
    planned = told(capfd, "study", "plan", "quickstart")
    assert [each["id"] for each in found] == [each["id"] for each in planned["runs"]]
    assert {each["status"] for each in found} == {"missing"}


def test_what_no_run_of_is_there_is_not_exported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It said that no run was measured under the label."""
    words = ("study", "export", "quickstart", "--out", str(tmp_path), "--to", str(tmp_path / "to"))
    assert command(*words, "--arrays", "landscape") == command(*words) == 2
    assert capfd.readouterr().err.count("--out: no run of the study has a record there; run") == 2
    assert not (tmp_path / "to").exists()


def test_the_exam_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    found = told(capfd, "exam", "--kind", "stopping")
    keys = ["kind", "name", "settings", "check", "passed", "reason", "expected_failure"]
    assert {tuple(each) for each in found} == {tuple(keys)}
    failed = [each for each in found if each["passed"] is False]
    assert {each["name"] for each in failed} == EXPECTED
    for each in failed:
        assert each["expected_failure"]
        assert each["reason"]
    assert command("exam", "oracle") == 0
    assert "1 expected failure" in capfd.readouterr().out
    fixed = told(capfd, "exam", "fixed", "epoch=5")
    assert all(each["passed"] for each in fixed)
    assert told(capfd, "exam", "--kind", "stopping") == found
