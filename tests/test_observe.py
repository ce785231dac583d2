"""One system of observation: one snapshot per epoch, columns declared once, old spellings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import timeless
from tiny import TINY, tiny_settings
from topics import text_of

import optnas
from optnas.algorithms.base import Progress
from optnas.analysis.claims.columns import column_of
from optnas.analysis.claims.read import choose_claims
from optnas.base import columns as record
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.cli.printing.runs import print_outcome
from optnas.measures.base import Cadence, Measure, Quantity, Values
from optnas.measures.sharpness.measure import QUANTITIES, sharpness
from optnas.search import api, protocols
from optnas.search.session import Session
from optnas.search.settings.layers import Layer, resolve
from optnas.search.state import build_state
from optnas.study.declare import load_study
from optnas.study.states import failed_measures

ROOT = Path(__file__).parents[1]
EVERY = {"measures.sharpness.every": 1, "measures.gap.every": 1}


def session(**changes: Any) -> Session:
    return Session(build_state(tiny_settings(**changes)))


# --- the record -----------------------------------------------------------------------------------


def test_the_page_has_the_table_of_columns() -> None:
    page = text_of("concepts").partition("## What an epoch records")[2]
    lines = [line for line in page.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    told = {key.strip("`"): rest for key, *rest in (line[2:].split(" | ") for line in lines)}
    assert list(told) == list(record.RECORD)
    for key, quantity in record.RECORD.items():
        assert told[key][:3] == [quantity.words, quantity.unit, quantity.better], key


def test_a_record_has_the_columns_of_the_table(tmp_path: Path) -> None:
    api.run(TINY | {"search.epochs": 1}, out=tmp_path / "run")
    for each in RunFolder(tmp_path / "run").read_epochs():
        assert set(each) == set(record.RECORD)


def test_the_eigenvalues_column_is_spelled_once() -> None:
    files = Path(optnas.__file__).parent.rglob("*.py")
    assert [f.name for f in files if record.TOP_EIGENVALUE in f.read_text()] == ["columns.py"]


def test_every_column_a_claim_reads_has_its_unit_from_what_supplies_it() -> None:
    read = {
        column
        for claim in choose_claims(["all"])
        for part in claim.parts
        for column in (part.response.column, part.response.other)
        if column
    }
    for name in read:
        column = column_of(name)
        # Of the benchmark table; a mean of what a record holds; of a training of the cell alone.
        if column.name.startswith(("percentile.", "op_weight.", "measure.alone.")):
            continue
        if column.name.startswith("measure."):
            label, quantity = column.name.split(".")[1:3]
            # Labels of studies that take a measure once more: NAME-MORE.
            own = label if label in registry.names("measure") else label.rpartition("-")[0]
            declared = registry.find("measure", own)().quantities[quantity]
        else:
            found = record.quantity_of(column.name)
            assert found is not None, name
            declared = found
        assert column.unit == record.symbol(declared.unit), name


def test_units_beside_numbers() -> None:
    units = {name: column_of(name).unit for name in ("accuracy", "sharpness", "alpha path")}
    assert units == {"accuracy": "%", "sharpness": "nats", "alpha path": ""}
    assert column_of("measure.gap.gap").unit == "pp"
    assert column_of("measure.operations.skip_elasticity.deck").unit == ""
    assert column_of("valid_accuracy_without_skip").unit == "%"
    assert column_of("nothing.of.the.kind").unit == ""


# --- one snapshot per epoch -----------------------------------------------------------------------


@pytest.mark.thorough
def test_relax_is_called_once_for_all_who_look(tmp_path: Path) -> None:
    state = build_state(tiny_settings(measures__gap__every=1, measures__operations__every=1))
    relax, looked = state.algorithm.relax, []

    def counted(alpha_EO: torch.Tensor, progress: Progress) -> torch.Tensor:
        # A step relaxes an alpha that requires gradients; whoever looks, one that does not.
        if not alpha_EO.requires_grad:
            looked.append(progress.epoch)
        return relax(alpha_EO, progress)

    state.algorithm = replace(state.algorithm, relax=counted)
    seen = Session(state)
    (tmp_path / "run").mkdir()
    for _ in range(3):
        seen.train_epoch()
        seen.measure()
        assert set(seen.observe(RunFolder(tmp_path / "run"))) == {"gap", "operations"}
    assert looked == [0, 1, 2]


def test_everybody_sees_the_same_snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Any] = []

    def looking() -> Measure:
        def measure(snapshot: Any) -> Values:
            seen.append(snapshot)
            return Values({"nothing": 0})

        return Measure(measure, {"nothing": Quantity("1")}, cost="nothing")

    monkeypatch.setitem(registry._FACTORIES, ("measure", "looking"), looking)
    one = session(measures__looking__every=1, measures__again={"name": "looking", "every": 1})
    one.train_epoch()
    one.measure()
    (tmp_path / "run").mkdir()
    one.observe(RunFolder(tmp_path / "run"))
    first, second = seen
    assert first.name == second.name == "looking"
    for shared in ("op_weights_EO", "supernet", "alpha_EO", "images"):
        assert getattr(first, shared) is getattr(second, shared) is getattr(one.snapshot, shared)


# --- columns that measures supply -----------------------------------------------------------------


def made(monkeypatch: pytest.MonkeyPatch, value: Any = 1.5, column: str = "flatness") -> None:
    """A recorded measure, which fails where its value is an error."""

    def mine() -> Measure:
        def measure(snapshot: Any) -> Values:
            if isinstance(value, Exception):
                raise value
            return Values({column: value})

        return Measure(measure, {column: Quantity("1")}, cost="nothing", recorded=True)

    monkeypatch.setitem(registry._FACTORIES, ("measure", "mine"), mine)


def test_a_recorded_measure_is_a_column_and_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(monkeypatch)
    api.run(TINY | {"measures.mine.at": [1]}, out=tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert [each["flatness"] for each in folder.read_epochs()] == [None, 1.5, None]
    (line,) = folder.read_measures("mine")
    assert (line["epoch"], line["values"], line["status"]) == (1, {"flatness": 1.5}, "ok")


@pytest.mark.parametrize(("value", "status"), [(float("nan"), "not-finite"), (OSError(), "failed")])
@pytest.mark.thorough
def test_one_that_fails_leaves_null_and_the_search_goes_on(
    value: Any,
    status: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made(monkeypatch, value)
    api.run(TINY, out=tmp_path / "plain")
    api.run(TINY | {"measures.mine.every": 1}, out=tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert [line["status"] for line in folder.read_measures("mine")] == [status] * 3
    records = timeless(tmp_path / "run")
    assert [each.pop("flatness") for each in records] == [None] * 3
    assert records == timeless(tmp_path / "plain")
    print_outcome(folder.read_result() or {}, folder.path)
    told = "measure mine: failed in epoch 0 and in 2 more epochs" in capsys.readouterr().out
    assert told == ("mine" in failed_measures(folder)) == (status == "failed")


def test_under_another_label_it_is_a_line_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(monkeypatch)
    api.run(TINY | {"measures.other": {"name": "mine", "every": 1}}, out=tmp_path / "run")
    assert "flatness" not in timeless(tmp_path / "run")[0]
    assert len(RunFolder(tmp_path / "run").read_measures("other")) == 3


@pytest.mark.parametrize("column", ["skips", record.TOP_EIGENVALUE])
def test_a_column_that_is_taken_is_refused(column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made(monkeypatch, column=column)
    with pytest.raises(UserError, match=f"would write {column} into the record, as does"):
        tiny_settings(measures__mine__every=1)


@pytest.mark.thorough
def test_the_eigenvalues_are_lines_too_and_afterwards(tmp_path: Path) -> None:
    api.run(TINY | EVERY | {"checkpoints.keep": "all"}, out=tmp_path / "live")
    live = RunFolder(tmp_path / "live")
    values = [line["values"] for line in live.read_measures("sharpness")]
    assert values == [{key: each[key] for key in QUANTITIES} for each in live.read_epochs()]
    api.run(TINY | {"checkpoints.keep": "all"}, out=tmp_path / "later")
    api.measure(tmp_path / "later", {"sharpness": {}})
    later = RunFolder(tmp_path / "later")
    assert [line["values"] for line in later.read_measures("sharpness")] == values


def test_batch_statistics_need_two_images() -> None:
    with pytest.raises(UserError, match="two images"):
        sharpness(1)


def test_a_cadence_counts_its_epochs() -> None:
    assert Cadence(every=5).count(12) == 4  # 0, 5, 10, 12
    assert Cadence(at=(3, 40, "end")).count(12) == 2
    assert Cadence().count(12) == 0


# --- the old spelling -----------------------------------------------------------------------------


OLD = {"every": 3, "batch_size": 16}


def assert_old(settings: Any) -> None:
    section = settings.measures["sharpness"]
    assert (section.every, section.at, section.settings) == (3, [], {"batch_size": 16})


def test_the_old_spelling_is_accepted_everywhere(tmp_path: Path) -> None:
    rest = {k: v for k, v in TINY.items() if "sharpness" not in k}
    dotted = {f"curvature.{key}": value for key, value in OLD.items()}
    assert_old(api.settings_of(rest | dotted))
    text = "[curvature]\nevery = 3\nbatch_size = 16\n"
    (tmp_path / "c.toml").write_text(text)
    assert_old(api.settings_of(rest, config=tmp_path / "c.toml"))
    cpu = protocols.text_of("cpu").replace("[measures.sharpness]\nevery = 5\n", text)
    (tmp_path / "p.toml").write_text(cpu)
    assert_old(api.settings_of(rest | {"protocol": str(tmp_path / "p.toml")}))
    base = ", ".join(f"{key} = {str(value)!r}" for key, value in rest.items() if value == "digits")
    (tmp_path / "s.toml").write_text(
        f'[study]\nname = "s"\nseeds = [0]\nbase = {{ {base}, benchmark.table = "none" }}\n'
        '[[grid]]\n"curvature.every" = [3]\n"curvature.batch_size" = [16]\n'
    )
    (run,) = load_study(str(tmp_path / "s.toml")).runs.values()
    assert_old(run.settings)


def test_both_spellings_lie_over_each_other_layer_by_layer() -> None:
    old, new = {"curvature": {"every": 3}}, {"measures": {"sharpness": {"every": 7}}}
    tiny = Layer("test", api.nest({k: v for k, v in TINY.items() if not k.endswith("every")}))
    assert resolve([tiny, Layer("a", old), Layer("b", new)]).measures["sharpness"].every == 7
    assert resolve([tiny, Layer("a", new), Layer("b", old)]).measures["sharpness"].every == 3
    with pytest.raises(UserError, match=r"curvature.every = 3: is given as measures.sharpness"):
        resolve([tiny, Layer("a", old | new)])
