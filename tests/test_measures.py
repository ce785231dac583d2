"""The frame around measures: cadence, files, failures. What a measure may do is in the exam."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import command, copied, interrupted_run, timeless
from tiny import TINY, tiny_settings

from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, UserError
from optnas.base.measurements import Measurements
from optnas.base.records import RunFolder
from optnas.base.toml import parse_override
from optnas.measures.base import Cadence, Measure, Values
from optnas.search import api, protocols
from optnas.search.exam import Subject
from optnas.search.observe import check_types

NAMES = registry.names("measure")
DOCUMENTS = Path(__file__).parent.parent / "docs"


def built(name: str) -> Measure:
    measure: Measure = Subject("measure", name).build()
    return measure


@pytest.mark.parametrize("name", NAMES)
def test_the_page_defines_every_quantity(name: str) -> None:
    page = (DOCUMENTS / "measures" / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert f"(measures/{name}.md)" in (DOCUMENTS / "measures.md").read_text()
    for key in built(name).quantities:
        assert f"`{key}`" in page, key


def costless(run: Path, label: str) -> list[dict[str, Any]]:
    """A measure's lines without what they cost, their arrays read."""
    folder = RunFolder(run)
    lines = []
    for line in folder.read_measures(label):
        arrays = folder.measures.arrays(line)
        lines.append({**line, "cost": None, "arrays": {k: v.tolist() for k, v in arrays.items()}})
    return lines


MINE = '''
from optnas.measures.base import Cadence, Measure, Quantity, Values


def mine(power: float = 1.0, fail: int = -1) -> Measure:
    """A moment of A."""

    def measure(snapshot):
        if snapshot.progress.epoch == fail:
            raise RuntimeError("not today")
        A = snapshot.op_weights_EO
        draw = int(snapshot.generator().initial_seed() % 1000)
        rest = {"nan": [1.0, float("nan")]} if fail == -2 else {"nan": [1.0]}
        if fail == -3:
            rest["undeclared"] = 1
        return Values({"moment": float(A.pow(power).sum()), "draw": draw, **rest}, {"A": A.numpy()})

    quantities = {key: Quantity("1") for key in ("moment", "draw", "nan")}
    return Measure(measure, quantities, cost="nothing", cadence=Cadence(at=(1, "end")))
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    return tmp_path


def mine(**settings: Any) -> dict[str, Any]:
    return {f"measures.mine.{k}": v for k, v in {"name": "./mine.py:mine", **settings}.items()}


def run(out: str, *more: dict[str, Any]) -> RunFolder:
    chosen = dict(TINY)
    for each in more:
        chosen |= each
    api.run(chosen, out=out)
    return RunFolder(Path(out))


@pytest.mark.parametrize(
    ("cadence", "epochs"),
    [
        (Cadence(), []),
        (Cadence(at=("end",)), [7]),
        (Cadence(at=(0, 9, "end")), [0, 7]),
        (Cadence(every=3), [0, 3, 6, 7]),
        (Cadence(every=7, at=(2,)), [0, 2, 7]),
    ],
)
def test_cadence(cadence: Cadence, epochs: list[int]) -> None:
    assert [epoch for epoch in range(8) if cadence.due(epoch, 7)] == epochs


def test_a_measure_in_a_file_of_its_own(here: Path) -> None:
    folder = run("a", mine(), {"search.epochs": 3})
    lines = folder.read_measures("mine")
    assert [line["epoch"] for line in lines] == [1, 3]
    assert lines[0]["settings"] == {"power": 1.0, "fail": -1}
    assert lines[0]["units"] == dict.fromkeys(("moment", "draw", "nan"), "1")
    assert lines[0]["values"]["moment"] == pytest.approx(6)
    assert lines[0]["values"]["draw"] != lines[1]["values"]["draw"]
    assert lines[0]["cost"].keys() == {"seconds", "cpu_seconds"}
    assert len(lines[0]["source"]) == 64
    record = folder.read_epochs()[1]
    assert folder.measures.arrays(lines[0])["A"].tolist() == record["op_weights"]
    assert folder.kept_epochs() == [0, 1]  # the first, and what `at` names; the last is last.pt
    assert folder.measures.labels() == ["mine"]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [("named", [0]), ("all", [0, 1]), ([1, "end"], [1]), ([], [])],
)
def test_kept_checkpoints(keep: Any, kept: list[int], tmp_path: Path) -> None:
    folder = run(str(tmp_path / "a"), {"checkpoints.keep": keep})
    assert folder.kept_epochs() == kept


def test_measures_move_no_number_and_are_no_identity(here: Path) -> None:
    plain = tiny_settings()
    observed = api.settings_of(TINY | mine(every=1) | {"checkpoints.keep": "all"})
    assert observed.hash == plain.hash
    with_measure = run("a", mine(every=1))
    assert timeless(with_measure.path) == timeless(run("b").path)


@pytest.mark.parametrize(
    ("fail", "status", "reason"),
    [
        (1, "failed", "RuntimeError: not today (./mine.py, line 10)"),
        (-2, "not-finite", "not a finite number: nan[1]"),
        (-3, "failed", "ValueError: declares [], gave ['undeclared']"),
    ],
)
def test_a_failing_measure_is_a_status(here: Path, fail: int, status: str, reason: str) -> None:
    folder = run("a", mine(fail=fail))
    line = folder.read_measures("mine")[0]
    assert (line["status"], line["reason"]) == (status, reason)
    assert line["values"] == ({} if status == "failed" else {**line["values"], "nan": [1.0, None]})
    assert folder.read_result()["status"] == "done"
    last = folder.read_measures("mine")[1]
    assert last["status"] == ("ok" if fail == 1 else status)


@pytest.mark.thorough
def test_measured_twice_only_when_asked(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = run("a", {"checkpoints.keep": "all"})

    def count(*words: str) -> int:
        assert command("measure", "a", "./mine.py:mine", *words) == 0
        told = capfd.readouterr().out.splitlines()
        return sum(", epoch " in line and "there already" not in line for line in told)

    assert count() == 3
    assert count() == 0
    assert count("at=[1]", "--again") == 1
    assert count("power=2.0") == 3
    assert len(folder.read_measures("mine")) == 6
    assert [line["epoch"] for line in folder.read_measures("mine", power=2.0)] == [0, 1, 2]
    assert len(list(folder.measures.path.glob("*.npz"))) == 6
    Path("mine.py").write_text(MINE.replace("A moment", "Another moment"))
    assert count("every=2", "power=2.0") == 2
    assert command("measure", "a", "./mine.py:mine", "fail=1") == 1
    assert "failed: RuntimeError: not today" in capfd.readouterr().out


def test_the_runs_own_settings_are_the_default(here: Path) -> None:
    folder = run("a", mine(power=3.0))
    assert command("measure", "a", "mine") == 0
    assert [line["epoch"] for line in folder.read_measures("mine", power=3.0)] == [0, 1, 2]
    assert len(folder.read_measures("mine")) == 3


@pytest.mark.thorough
def test_resume_cuts_off_what_is_later(here: Path) -> None:
    chosen = mine(every=1) | {"checkpoints.keep": "all", "search.epochs": 3}
    whole = run("whole", chosen)
    stopped = RunFolder(
        interrupted_run(here / "stopped", **{k.replace(".", "__"): v for k, v in chosen.items()})
    )
    later = Measurements(stopped.measures.path)
    line = whole.read_measures("mine")[2]
    later.put("mine", {**line, "values": line["values"] | {"moment": 0}}, {"A": np.zeros(1)})
    later.put("other", line, {})
    stopped.kept(2).write_bytes(b"half")
    api.resume(stopped.path)
    assert costless(stopped.path, "mine") == costless(whole.path, "mine")
    assert stopped.measures.labels() == ["mine"]
    for path in sorted(whole.measures.path.glob("*.npz")):
        assert path.read_bytes() == (stopped.measures.path / path.name).read_bytes()
    assert stopped.kept_epochs() == whole.kept_epochs() == [0, 1, 2]


def test_a_run_from_before_measures_is_measured(here: Path) -> None:
    folder = run("a")
    text = folder.config.read_text()
    start, end = text.index("[measures.gap]"), text.index("[run]")
    folder.config.write_text(text[:start] + text[end:])
    folder.kept(0).unlink()
    api.measure("a", {"mine": {"name": "./mine.py:mine"}})
    assert [line["epoch"] for line in folder.read_measures("mine")] == [2]


@pytest.mark.parametrize("protocol", protocols.names())
@pytest.mark.parametrize("label", ["sharpness", "gap", "curvature"])
def test_the_advice_for_never_holds_under_every_protocol(label: str, protocol: str) -> None:
    """``at=[]`` alone left the ``every = 5`` of the protocol."""
    over = {key: value for key, value in TINY.items() if not key.endswith((".every", ".at"))}
    over |= {"protocol": protocol, "benchmark.table": "none", "supernet.dtype": "float32"}
    over |= {"data.train_size": 400, "data.valid_size": 400}
    others = {key: value for key, value in over.items() if not key.startswith(f"measures.{label}")}
    with pytest.raises(UserError) as refused:
        api.settings_of(others | {f"measures.{label}": 5}, where=COMMAND_LINE)
    words = str(refused.value.remedy).partition("for never ")[2].split(" and ")
    advised = {".".join(key): value for key, value in map(parse_override, words)}
    assert len(advised) == 2
    section = api.settings_of(over | advised).measures[label]
    assert not any(section.cadence.due(epoch, 7) for epoch in range(8))


# settings of a search, or words after `measure` | a part of the line
ERRORS = {
    "measures.gap.evry=1": "gap has no setting 'evry'; did you mean every?",
    "measures.gap.every=-1": "measures.gap.every = -1: a number of epochs, 0 for never",
    "measures.gap.at=3": 'measures.gap.at = 3: is no list of epochs; write it as [0, 10, "end"]',
    'measures.gap.at=["ende"]': "is no list of epochs",
    "measures.gap.batches=0": "measures.gap.batches = 0: is out of range; use 1 or more",
    "measures.gap.batches=x": "write one such as 50",
    "measures.gapp.every=1": "measures.gapp = 'gapp': there is no measure of this name; "
    "did you mean gap?",
    "measures.other=1": "measures.other = 1: is a section, not a value",
    "checkpoints.keep=al": "or use one of: named, all",
    "checkpoints.kept=all": "did you mean keep?",
    "a gapp": "'gapp': there is no such path, nor a measure of this name; did you mean gap?",
    "no/pe gap": "'no/pe': there is no such path, nor a measure of this name; check the path",
    "a": "names no measure; add one of: ",
    "gap": "names no run folder; add a run's folder",
    "a gap at=[1]": "a: gap.at = [1]: the run keeps no checkpoint of epoch 1; choose among 0, 2",
    "a gap batch=1": "gap.batch = 1: gap has no setting 'batch'; did you mean batches?",
    "a gap ./mine.py:mine power=1": "power = 1: is a setting of no measure that is named; "
    "write it as gap.KEY=VALUE",
    "empty gap": "there is no run in this folder",
    "young gap": "young: the run has no checkpoint; leave it out, or put its checkpoint back",
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_input_is_one_line(
    case: str, here: Path, shared_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copied(shared_run, here / "a")
    copied(shared_run, here / "young").joinpath("checkpoints/last.pt").unlink()
    (here / "empty").mkdir()
    if "=" in case.split()[0]:
        settings = [f"{key}={value}" for key, value in TINY.items()]
        code = command("search", *settings, case, "--out", "new")
    else:
        code = command("measure", *case.split())
    told = capfd.readouterr().err
    assert (code, told.count("\n")) == (2, 1), told
    assert ERRORS[case] in told
    assert not (here / "new").exists()
    assert not list(here.glob("*/measures/gap*"))


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "a"
    api.run(TINY, out=out)
    return out


def test_damaged_arrays_are_told(here: Path) -> None:
    folder = run("a", mine())
    line = folder.read_measures("mine")[0]
    (folder.measures.path / line["arrays"]).write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"cannot read the arrays .*measure again"):
        folder.measures.arrays(line)


def test_the_list_of_measures(capfd: pytest.CaptureFixture[str]) -> None:
    assert command("measure", "--list") == 0
    out = capfd.readouterr().out
    for name in NAMES:
        assert f"{name}: " in out
        for key, quantity in built(name).quantities.items():
            assert f"{key} [{quantity.unit}" in out
    assert command("measure", "--help") == 0
    assert ", ".join(NAMES) in " ".join(capfd.readouterr().out.split())


def test_lines_are_strict_json_in_order_of_epochs(tmp_path: Path) -> None:
    kept = Measurements(tmp_path / "measures")
    for epoch in (10, 2, 2):
        line = {"epoch": epoch, "settings": {"k": [1]}, "status": "ok"}
        kept.put("x", {**line, "values": {"v": epoch}, "units": {"v": "1"}}, {})
    text = (tmp_path / "measures/x.jsonl").read_text()
    assert [json.loads(line)["epoch"] for line in text.splitlines()] == [2, 10]
    assert kept.read("x", k=[1]) == kept.read("x")
    assert kept.read("x", k=[2]) == kept.read("y") == []


def test_a_line_that_replaces_is_the_only_one(tmp_path: Path) -> None:
    """Whatever the settings of the lines before: of a label that a run has once."""
    held = Measurements(tmp_path / "measures")
    line = {"epoch": 3, "status": "ok", "values": {"test": 90.0}, "units": {"test": "percent"}}
    for epochs in (20, 100):
        held.replace("alone", {**line, "settings": {"epochs": epochs}})
    assert [line["settings"] for line in held.read("alone")] == [{"epochs": 100}]


def test_a_measure_that_is_never_taken_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at = {"measures.gap.at": [7, 9], "measures.sharpness.at": [1, 7]}
    api.run(TINY | {"search.epochs": 1, "measures.sharpness.every": 0} | at, out=tmp_path / "run")
    (line,) = [line for line in caplog.messages if "measures." in line]
    assert line.startswith("optnas: warning: measures.gap.at=[7, 9]: none of these epochs")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"v": 1.0}, "gave a dict, not optnas.Values"),
        (None, "gave a NoneType, not optnas.Values"),
        (Values({"v": 1.0}, {"a": [1, 2]}), "the array a is a list; give numpy.asarray"),  # type: ignore[dict-item]
        (Values({"v": 1.0}, [1]), "arrays is a list; give a table"),  # type: ignore[arg-type]
    ],
)
def test_what_a_measure_hands_back_is_told(given: Any, told: str) -> None:
    with pytest.raises(TypeError, match=f"^{told}"):
        check_types(given)
