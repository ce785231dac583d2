"""A measure taken in several ways: which lines a table reads, and that none are mixed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import command, copied
from tidy import arms, study
from tiny import TINY

import optnas
from optnas.analysis import summaries
from optnas.analysis.alike import label_of, unlike
from optnas.analysis.claims import judge as claims
from optnas.analysis.claims.declare import Axis, Claim, Control, Part, Response
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.base import Measure, Quantity, Values
from optnas.measures.ways import difference, way_of
from optnas.report.pictures import plot_figure
from optnas.search import api
from optnas.search.own_way import one_way
from optnas.study.tables import table_of

MINE = '''
from optnas.measures.base import Cadence, Measure, Quantity, Values


def mine(power: float = 1.0) -> Measure:
    """A moment of A, and whose it is."""

    def measure(snapshot):
        return Values({"size": 1.0 * SIZE, "power": power}, {"A": snapshot.op_weights_EO.numpy()})

    quantities = {key: Quantity("1") for key in ("size", "power")}
    return Measure(measure, quantities, cost="nothing", cadence=Cadence(every=1))
'''


def write(size: int) -> None:
    """The file of the measure, in its version of this size."""
    Path("mine.py").write_text(MINE.replace("SIZE", str(size)))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs that keeps all checkpoints and has not measured the gap yet."""
    out = tmp_path_factory.mktemp("ways") / "run"
    quiet = {"checkpoints.keep": "all", "measures.gap.at": [], "measures.gap.batches": 7}
    api.run(TINY | quiet, out=out)
    return out


@pytest.fixture
def run(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    return RunFolder(copied(searched, Path("run")))


def line(epoch: int, value: float | None, source: str = "", **settings: Any) -> dict[str, Any]:
    """A line of a measure of one quantity; it failed where the value is None."""
    values = {} if value is None else {"gap": value}
    return {
        "epoch": epoch,
        "status": "failed" if value is None else "ok",
        "settings": settings,
        **({"source": source} if source else {}),
        "values": values,
        "units": dict.fromkeys(values, "1"),
    }


def held(run: RunFolder, label: str, *lines: dict[str, Any]) -> None:
    """Write lines as they are, as a version before 0.2 may have left them."""
    run.measures.path.mkdir(exist_ok=True)
    text = "".join(json.dumps(each) + "\n" for each in sorted(lines, key=lambda e: e["epoch"]))
    (run.measures.path / f"{label}.jsonl").write_text(text)


OWN = {"batches": 7, "batch_size": 0, "part": 0.25}


@pytest.mark.parametrize("batches", [1, 8])  # before and after 7 in the alphabet
def test_a_table_reads_the_lines_of_the_runs_own_section(run: RunFolder, batches: int) -> None:
    other = OWN | {"batches": batches}
    lines = [line(2, 5.0, **OWN), line(2, 9.0, **other), line(1, 8.0, **other)]
    for order in (lines, lines[::-1]):
        held(run, "gap", *order)
        assert [each["values"]["gap"] for each in one_way(run, "gap")] == [5.0]
    frame = table_of([run], recorded=True)
    assert frame["measure.gap.gap"].tolist()[2:] == [5.0]
    assert frame["measure.gap.gap"].isna().tolist() == [True, True, False]
    (told,) = frame["measure.gap.settings"].dropna()
    assert told == '{"batch_size": 0, "batches": 7, "part": 0.25}'


def test_values_of_one_way_never_have_the_status_of_another(run: RunFolder) -> None:
    held(run, "gap", line(2, None, **OWN), line(2, 9.0, **OWN | {"batches": 9}))
    frame = table_of([run], recorded=True)
    assert frame["measure.gap.status"].dropna().tolist() == ["failed"]
    assert "measure.gap.gap" not in frame


@pytest.mark.thorough
def test_the_documented_second_way_leaves_the_runs_own(run: RunFolder) -> None:
    assert command("measure", "run", "gap") == 0
    assert not [key for key in optnas.Run("run").measures["gap"] if "settings" in key]
    assert command("measure", "run", "gap", "batches=3", 'at=["end"]') == 0
    frame = table_of([run], recorded=True)
    ways = {json.loads(each)["batches"] for each in frame["measure.gap.settings"]}
    assert ways == {7}
    every = optnas.Run("run").measures["gap"]
    assert every["settings.batches"].tolist() == [7, 7, 3, 7]
    assert not {"settings.part", "source"} & set(every)


def test_lines_from_before_a_setting_existed_are_of_its_default(run: RunFolder) -> None:
    older = {key: value for key, value in OWN.items() if key != "part"}
    held(run, "gap", line(1, 4.0, **older), line(2, 5.0, **older), line(2, 6.0, **OWN))
    assert [each["values"]["gap"] for each in one_way(run, "gap")] == [4.0, 6.0]
    held(run, "gap", line(1, 4.0, **older), line(2, 9.0, **OWN | {"part": 0.5}))
    assert [each["values"]["gap"] for each in one_way(run, "gap")] == [4.0]


def test_of_foreign_ways_the_measures_defaults_count_else_none(run: RunFolder) -> None:
    default = registry.complete_settings(registry.find("measure", "curvature"), {}, section="x")
    train = line(2, 2.0, **default | {"loss": "train"})
    held(run, "curvature", line(2, 1.0, **default), train)
    assert [each["values"]["gap"] for each in one_way(run, "curvature")] == [1.0]
    held(run, "curvature", line(2, 3.0, **default | {"batches": 9}), train)
    told = (
        r"run: measures.curvature: was measured with batches = 9 and with batches = 4; neither is "
        r"the run's own way.*; measure it so \(optnas measure run curvature\), or take"
    )
    with pytest.raises(UserError, match=told):
        table_of([run], recorded=True)
    held(run, "theirs", line(2, 3.0, power=1), line(1, 3.0, power=2))
    with pytest.raises(UserError, match=r"theirs: was measured with power = 2 .*theirs.jsonl, and"):
        one_way(run, "theirs")


def sizes(run: RunFolder) -> list[Any]:
    """What the table has of the measure `mine`, epoch by epoch, and that its arrays are there."""
    for each in run.read_measures("mine"):
        assert run.measures.arrays(each)["A"].shape == (6, 5)
    assert len(list(run.measures.path.glob("mine*.npz"))) == len(run.read_measures("mine"))
    frame = table_of([run], recorded=True)
    assert frame["measure.mine.settings"].dropna().map(lambda text: "source" in text).all()
    return frame["measure.mine.size"].fillna(0).tolist()


@pytest.mark.thorough
def test_a_corrected_file_measured_again_replaces_what_it_found(run: RunFolder) -> None:
    """Whichever version is the first in the alphabet of SHA-256."""
    for size in (1, 2, 3, 4):
        write(size)
        assert command("measure", "run", "./mine.py:mine", "--again") == 0
        assert sizes(run) == [size] * 3
        assert command("measure", "run", "./mine.py:mine", "power=2.0") == 0
        mine = [each for each in run.read_measures("mine") if each["settings"]["power"] == 2]
        assert {each["values"]["size"] for each in mine} == {size}
        run.measures.cut(-1)


def test_versions_of_a_file_that_the_run_does_not_name_are_not_mixed(run: RunFolder) -> None:
    write(1)
    assert command("measure", "run", "./mine.py:mine") == 0
    write(2)
    assert command("measure", "run", "./mine.py:mine", "at=[1]") == 0
    told = r"run: measures.mine: was measured by two versions of its file, \w{12} and \w{12}: .*"
    with pytest.raises(UserError, match=told + "optnas measure run FILE:mine --again"):
        sizes(run)
    every = optnas.Run("run").measures["mine"]
    assert (every["size"].tolist(), every["source"].nunique()) == ([1, 2, 1], 2)
    assert command("measure", "run", "./mine.py:mine", "--again") == 0
    assert sizes(run) == [2, 2, 2]


@pytest.mark.thorough
def test_of_versions_of_a_file_that_the_run_names_the_present_one_counts(
    run: RunFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    write(1)
    named = {"measures.mine.name": "./mine.py:mine", "checkpoints.keep": [1]}
    api.run(TINY | named, out="own")
    own = RunFolder("own")
    first = own.read_measures("mine")
    write(2)
    assert command("measure", "own", "mine", "--again") == 0
    assert sizes(own) == [0, 2, 2]
    write(3)  # neither version is there any more
    with pytest.raises(UserError, match=r"neither is the file that lies there now: .*--again"):
        sizes(own)
    # As a version before 0.2 left them: both, in the order of the alphabet.
    write(2)
    both = [*first, *(each for each in own.read_measures("mine") if each["values"]["size"] == 2)]
    held(own, "mine", *(each | {"arrays": None} for each in both))
    found = [each["values"]["size"] for each in one_way(own, "mine")]
    assert found == [2, 2]
    other = [each | {"settings": {"power": 9.0}} for each in first]
    held(own, "mine", *other, *(each | {"source": "0" * 64} for each in other))
    with pytest.raises(UserError, match=r"two versions of its file, .*neither is the run's own"):
        one_way(own, "mine")


def test_ways_are_told_apart_by_value() -> None:
    assert difference([{"a": 1}, {"a": 1}]) is None
    assert difference([{"a": True}, {"a": 1}]) == ("a", "true", "1")
    assert difference([{"a": "1"}, {"a": 1}]) == ("a", "1", "1")
    assert difference([{"a": 1, "b": "x"}, {"a": 1}]) == ("b", "x", "none")
    config = {"measures": {"gap": {"name": "gap"}}}
    of_floats = [way_of(config, "gap", {"settings": OWN | {"batches": n}}) for n in (7, 7.0)]
    assert difference(of_floats) is None


def test_a_remark_on_ways_does_not_depend_on_the_order_of_rows() -> None:
    """It depended on the seed of Python's hashes."""
    texts = [json.dumps({"batches": each}) for each in (10, 50, 20)]
    told = {unlike("gap", each) for each in itertools.permutations(texts)}
    assert told == {"gap was measured with batches = 10 in some of these runs and 20 in others"}


# --- figures that show a line of a run ------------------------------------------------------------


def test_a_figure_shows_no_second_measurement_for_the_first(run: RunFolder) -> None:
    one = {"images": 16, "statistics": "batch", "k": [1]}
    held(run, "indicator", line(2, 1.0, **one), line(2, 2.0, **one | {"images": 32}))
    with pytest.raises(UserError, match=r"images = 16 and 32; choose one: images=16"):
        plot_figure("indicator", [run], "a.png")
    held(run, "indicator", line(2, 1.0, **one), line(2, 2.0, **one | {"k": [2]}))
    with pytest.raises(UserError, match=r"k = \[1\] and \[2\]; take one out of .*indicator.jsonl"):
        plot_figure("indicator", [run], "a.png")
    held(run, "indicator", line(2, 1.0, "a", **one), line(2, 2.0, "b", **one))
    with pytest.raises(UserError, match=r"different versions of its file"):
        plot_figure("indicator", [run], "a.png")


# --- claims ---------------------------------------------------------------------------------------


def measured(table: pd.DataFrame, unlike: Any, **other: Any) -> pd.DataFrame:
    """The table with a column of settings, which differ in some rows."""
    own, changed = ({"batches": 50, "part": 0.25}, {"batches": 50, "part": 0.25} | other)
    texts = np.where(unlike, json.dumps(changed, sort_keys=True), json.dumps(own, sort_keys=True))
    return table.assign(**{"measure.gap.settings": texts})


def respond(arm: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Adam on w costs a point of the gap, whatever else."""
    t = np.linspace(0, 1, arm["search.epochs"] + 1)
    gap = t + (arm["weight_optimizer.name"] == "Adam") + 0.01 * rng.normal(size=len(t))
    hessian = {"alpha_hessian_max": 1 + gap, "skips": 2.0, "train_loss": 2 - t}
    return {"measure.gap.gap": gap, "benchmark.cifar10": 90 - gap, **hessian}


@pytest.fixture(scope="module")
def world() -> pd.DataFrame:
    return study(arms("darts", "sdarts-rs"), respond)


ADAM = Axis(axis="weight_optimizer.name", plus="Adam", minus="SGD")
WHERE = {"algorithm.name": "darts", "arch_optimizer.name": "Adam"}


def part(**response: str) -> Part:
    of = Response(**response or {"column": "measure.gap.gap"})
    return Part(name="p", response=of, where=WHERE, contrast=(ADAM,), direction="greater")


def judged(table: pd.DataFrame, *parts: Part, controls: Sequence[Control] = ()) -> claims.Finding:
    claim = Claim(id="X", text="x", source="x", parts=parts, controls=tuple(controls))
    (finding,) = claims.judge(table, [claim], {})
    return finding


MIXED = r"gap was measured with batches = \d+ in some of these runs and \d+ in others"


def test_a_claim_does_not_mix_ways(world: pd.DataFrame) -> None:
    alike = judged(measured(world, False), part())
    assert (alike.verdict, alike.n) == ("supported", 6)
    assert judged(world, part()) == alike  # a table without the column, as of a version before
    adam = world["weight_optimizer.name"] == "Adam"
    mixed = judged(measured(world, adam, batches=10), part())
    assert (mixed.verdict, mixed.settle) == ("not testable", "measure all runs alike")
    assert re.search(MIXED, mixed.reason)
    (found,) = mixed.parts
    assert (re.fullmatch(MIXED, found.missing) is not None, found.n) == (True, 0)


def test_only_runs_that_a_part_uses_have_to_be_alike(world: pd.DataFrame) -> None:
    elsewhere = measured(world, world["algorithm.name"] == "sdarts-rs", batches=10)
    assert judged(elsewhere, part()).verdict == "supported"
    # A run without a number was measured in no way.
    one = (world["search.seed"] == 0) & (world["weight_optimizer.name"] == "SGD")
    failed = measured(world, one, batches=10)
    failed.loc[one, "measure.gap.gap"] = np.nan
    assert (judged(failed, part()).verdict, judged(failed, part()).n) == ("inconclusive", 5)


@pytest.mark.parametrize(
    "response",
    [
        {"column": "accuracy", "other": "measure.gap.gap", "transform": "rank-correlation"},
        {"column": "measure.gap.gap", "transform": "at-equal-train-loss"},
    ],
)
def test_whatever_a_response_reads_has_to_be_alike(
    world: pd.DataFrame, response: dict[str, str]
) -> None:
    mixed = measured(world, world["search.seed"] == 3, batches=10)
    assert re.search(MIXED, judged(mixed, part(**response)).reason)
    assert judged(measured(world, False), part(**response)).n == 6


def test_the_eigenvalues_of_the_record_are_those_of_a_measure(world: pd.DataFrame) -> None:
    texts = np.where(world["search.seed"] == 3, '{"batch_size": 16}', '{"batch_size": 64}')
    table = world.assign(**{"measure.sharpness.settings": texts})
    told = "sharpness was measured with batch_size = "
    assert told in judged(table, part(column="sharpness")).reason
    assert judged(world, part(column="sharpness")).verdict == "supported"


def test_a_control_and_a_curve_do_not_mix_ways(world: pd.DataFrame) -> None:
    mixed = measured(world, world["search.seed"] == 3, batches=10)
    of = Response(column="measure.gap.gap")
    control = Control(
        name="equal gaps", response=of, contrast=ADAM, where=WHERE, within=(0.5, 2.0), remedy="x"
    )
    told = judged(mixed, part(column="train loss"), controls=[control])
    assert re.search(f"control 'equal gaps': {MIXED}", told.reason)
    momenta = {"weight_optimizer__momentum": [0.0, 0.5, 0.9]}
    swept = study(arms("darts", **momenta), respond)
    along = "weight_optimizer.momentum"
    where = WHERE | {"weight_optimizer.name": "SGD"}
    curve = Part(name="c", response=of, where=where, along=along, direction="u")
    assert judged(measured(swept, False), curve).n == 6
    unlike = measured(swept, swept["weight_optimizer.momentum"] == 0.5, batches=10)
    assert re.search(MIXED, judged(unlike, curve).reason)


def test_summaries_do_not_mix_ways(world: pd.DataFrame) -> None:
    asked = ("measure.gap.gap", "weight_optimizer.name", "Adam", "SGD")
    assert len(summaries.differences(measured(world, False), *asked)) == 4
    with pytest.raises(UserError, match=MIXED):
        summaries.differences(measured(world, world["search.seed"] == 3, batches=10), *asked)


def test_the_measure_of_a_column_may_have_dots_in_its_label() -> None:
    known = ["measure.a.b.settings", "measure.a.b.c.d", "measure.sharpness.settings"]
    assert label_of("measure.a.b.c.d", known) == "a.b"
    assert label_of("alpha_hessian_max", known) == "sharpness"
    assert label_of("measure.gap.gap", known) is None
    assert label_of("train_loss", known) is None


def test_a_quantity_is_not_called_as_what_a_table_says_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def named() -> Measure:
        return Measure(lambda snapshot: Values({}), {"settings": Quantity("1")}, cost="nothing")

    monkeypatch.setitem(registry._FACTORIES, ("measure", "named"), named)
    with pytest.raises(UserError, match=r"measures.named = 'named': calls a quantity 'settings'"):
        api.settings_of(TINY | {"measures.named.at": []})
