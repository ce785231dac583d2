"""Arms compared: the pairs and their statistics, the labels, the files, what is refused."""

from __future__ import annotations

import csv
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cases import command, copied
from studies import tiny_study

from optnas.analysis.claims import read_claim
from optnas.analysis.claims.judge import judge as judge_table
from optnas.analysis.compare import Value, compare
from optnas.analysis.multiplicity import holm
from optnas.analysis.runs import Runs
from optnas.analysis.sequential import e_process, running_scale
from optnas.base.errors import UserError
from optnas.base.records import RunFolder, find_runs
from optnas.report.comparison import as_latex, by_file, forest, minus, remarks
from optnas.study.axes import axes_of, beside
from optnas.study.comparing import compare as compare_study
from optnas.study.comparing import compare_runs
from optnas.study.declare import load_study
from optnas.study.tables import table

LABEL = "50% & _EG_"
GRID = f"""
[[grid]]
weight_optimizer = [{{ name = "SGD" }}, {{ name = "AdamW", lr = 0.001 }}]
arch_optimizer = [{{ name = "Adam" }}, {{ name = "SGD", lr = 0.1, label = "{LABEL}" }}]
"""


# --- a plain function of records ------------------------------------------------------------------


def test_every_pair_agrees_with_a_naive_twin() -> None:
    generator = np.random.default_rng(0)
    x = {arm: generator.normal(loc, 1.0, (2, 7)) for arm, loc in {"a": 0, "b": 3, "c": 0.5}.items()}
    x["c"][1, 4] = np.nan  # of one context: the seed does not count for c
    values = [
        Value(arm, context, seed, float(each[place, seed]))
        for arm, each in x.items()
        for place, context in enumerate("uv")
        for seed in range(7)
    ]
    found = compare([*values, Value("a", "w", 0, 99.0)], "abc", "lower")  # w is a's alone
    assert [pair.arms for pair in found] == [("b", "a"), ("c", "a"), ("c", "b")]
    for pair in found:
        first, second = (x[arm].mean(axis=0) for arm in pair.arms)
        d = (first - second)[~np.isnan(first - second)]
        assert (pair.n, pair.contexts) == (len(d), 2)
        assert list(pair.seeds.values()) == pytest.approx(list(d))
        flips = [abs(np.dot(s, d)) for s in itertools.product((1, -1), repeat=len(d))]
        assert pair.p == np.mean(np.array(flips) >= abs(d.sum()) - 1e-9)
        assert pair.difference == pytest.approx(d.mean())
        assert pair.low <= pair.difference <= pair.high
        seeds = ~np.isnan(first - second)
        wins = np.mean([a < b for a in first[seeds] for b in second[seeds]])  # lower is better
        assert pair.improvement == pytest.approx(wins)
        assert pair.threshold == 60
    assert [pair.p_holm for pair in found] == holm([pair.p for pair in found]).tolist()
    assert found[0].evidence == ("p",)


def test_arms_of_one_group_are_compared_and_corrected_over_all_groups() -> None:
    """Within each value of another axis, of which the last has one arm alone."""
    groups = {"a1": "1", "b1": "1", "a2": "2", "b2": "2", "a3": "3"}
    effects = {"b1": 2.0, "b2": -1.0}
    values = [Value(a, "", s, s + effects.get(a, 0)) for a in groups for s in range(7)]
    found = compare(values, [*groups], groups=groups)
    assert [(p.arms, p.difference) for p in found] == [(("b1", "a1"), 2.0), (("b2", "a2"), -1.0)]
    assert [p.p_holm for p in found] == [2 * p.p for p in found] == [2 * 2 / 2**7] * 2
    assert {p.threshold for p in found} == {40}


def test_few_seeds_have_no_interval_and_no_seed_no_number() -> None:
    values = [Value(arm, "", seed, float(seed)) for arm in "ab" for seed in range(5)]
    near, far, _ = compare([*values, Value("c", "", 9, 1.0)], "abc")
    assert (near.low, near.p, near.difference) == (-np.inf, 1.0, 0.0)
    assert near.e == pytest.approx(1.0)
    assert (far.n, far.evidence) == (0, ())
    assert np.isnan(far.p)


def test_e_on_a_running_scale_rejects_no_more_often_than_it_says() -> None:
    """Symmetric contrasts of wild tails, of spreads that grow; then contrasts with an effect."""
    generator = np.random.default_rng(1)
    paths = generator.standard_cauchy((1500, 30)) * np.linspace(1, 9, 30)
    most = [e_process(d / running_scale(d), 1.0).both.max() for d in paths]
    assert np.mean(np.array(most) >= 20) <= 0.05
    shifted = generator.normal(1.5, 1.0, (200, 12))
    power = [e_process(d / running_scale(d), 1.0).both.max() >= 20 for d in shifted]
    assert np.mean(power) > 0.8


# --- a study --------------------------------------------------------------------------------------


def test_a_label_names_a_value_and_is_no_setting(tmp_path: Path) -> None:
    runs = load_study(tiny_study(tmp_path, "[0]", GRID)).runs
    assert [run.label for run in runs.values()][:2] == [
        "SGD, Adam, seed 0",
        f"SGD, {LABEL}, seed 0",
    ]
    bare = GRID.replace(f', label = "{LABEL}"', "")
    assert list(load_study(tiny_study(tmp_path, "[0]", bare)).runs) == list(runs)


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("label = 3", "arch_optimizer.label = 3"),
        ('label = " "', "arch_optimizer.label"),
        ('label = "Adam"', "another value of this axis is called so"),
        ('lable = "EG"', "lable"),
    ],
)
def test_a_wrong_label_is_refused(label: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        load_study(tiny_study(tmp_path, "[0]", GRID.replace(f'label = "{LABEL}"', label)))


def test_what_differs_beside_an_axis_is_told(tmp_path: Path) -> None:
    study = load_study(tiny_study(tmp_path, "[0, 1]", GRID))
    weight, arch = beside(study, axes_of(study))
    sgd, adamw = weight.settings["SGD"], weight.settings["AdamW (lr 0.001)"]
    assert sgd["weight_optimizer.schedule.name"] == "cosine"
    assert adamw["weight_optimizer.schedule.name"] == "constant"
    assert sgd["weight_optimizer.weight_decay"] == 3e-4
    assert adamw["weight_optimizer.weight_decay"] == 0.01
    assert "weight_optimizer.name" not in sgd
    assert list(arch.settings) == ["Adam", LABEL]


def test_values_of_one_name_are_told_apart(tmp_path: Path) -> None:
    grid = """
    [[grid]]
    "weight_optimizer.name" = ["SGD"]
    [[grid]]
    weight_optimizer = [{ name = "SGD", momentum = 0.5 }, { name = "Adam" }]
    """
    [axis] = axes_of(load_study(tiny_study(tmp_path, "[0]", grid)))
    assert (axis.key, axis.levels) == ("weight_optimizer", ["SGD", "SGD (momentum 0.5)", "Adam"])


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Records of four arms on six seeds, of which one run is missing."""
    folder = tmp_path_factory.mktemp("compare")
    name, out = tiny_study(folder, "[0, 1, 2, 3, 4, 5]", GRID, search__epochs=1), folder / "out"
    study = load_study(name)
    for run in list(study.runs.values())[:-1]:
        write_run(run.settings.document(), RunFolder(out / run.id), run.settings.search.seed)
    return name, out


def write_run(document: dict, folder: RunFolder, seed: int) -> None:
    """A run whose accuracies are its seed, and ten more for the labelled optimizer."""
    value = seed + 10.0 * (document["arch_optimizer"]["name"] == "SGD")
    told = {"table": "analog-nasbench", "split": "test", "epochs": 200, "regret": {}}
    matrix = [[0.2] * 5] * 6
    cell = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+" + "|".join(
        ["", "skip_connect~0", "skip_connect~1", "skip_connect~2", ""]
    )
    numbers = ("train_loss", "train_accuracy", "weight_lr", "arch_lr", "valid_loss", "seconds")
    numbers += ("alpha_entropy", "alpha_margin", "alpha_displacement", "alpha_path_length")
    with folder.created(document):
        for epoch in range(2):
            record = dict.fromkeys(numbers, 1.0) | {"epoch": epoch, "valid_accuracy": value}
            record |= {"alpha": matrix, "op_weights": matrix, "architecture": cell}
            record |= {"skips": 6, "nones": 0, "weight_norm": 1.0}
            record |= {"alpha_hessian_max": None, "alpha_hessian_min": None}
            record |= {"benchmark": told | {"accuracy": {"cifar10": value}}}
            folder.append(record)
        last = {key: record[key] for key in ("architecture", "benchmark", "valid_accuracy")}
        digest = document["identity"]["hash"]
        folder.finish("done", hash=digest, epochs=1, seconds=1.0, **last)


def test_the_axes_chosen_make_the_arms(compared: tuple[str, Path]) -> None:
    name, out = compared
    [every, supernet] = compare_study(name, out, recorded=True)
    assert [len(every.pairs), every.threshold] == [6, 120]
    elsewhere = "the benchmark trained cells on cifar10, not on digits"
    assert elsewhere in every.remarks
    assert sum("all its runs" in each for each in every.remarks) == 1  # one arm lacks a seed
    assert all(p.means[0] - p.means[1] == pytest.approx(p.difference) for p in every.pairs)
    assert elsewhere not in supernet.remarks
    assert every.unfinished == {f"AdamW (lr 0.001) + {LABEL}": {"missing": 1}}
    [own] = compare_study(name, out, ["arch_optimizer.name"], ["auc accuracy"], recorded=True)
    [pair] = own.pairs
    assert (pair.arms, pair.n, pair.difference) == ((LABEL, "Adam"), 5, 10.0)
    assert (own.over, own.better) == (("weight_optimizer",), "higher")
    assert own.remarks[0] == "5 seeds: no interval; 6 are the fewest for p < .05"


def test_the_table_names_the_arm_of_each_run(compared: tuple[str, Path]) -> None:
    found = table(*compared, recorded=True).drop_duplicates("id")
    counts = found["arm"].value_counts().to_dict()
    assert counts == {
        "SGD + Adam": 6,
        f"SGD + {LABEL}": 6,
        "AdamW (lr 0.001) + Adam": 6,
        f"AdamW (lr 0.001) + {LABEL}": 5,
    }


def test_runs_measured_by_two_versions_of_a_file_are_not_compared(
    compared: tuple[str, Path], tmp_path: Path
) -> None:
    name, before = compared
    out = copied(before, tmp_path / "out")
    runs = find_runs(out)
    line = {"epoch": 1, "status": "ok", "settings": {}, "values": {"x": 1.0}, "units": {"x": "1"}}
    for run in runs:
        run.measures.put("mine", line | {"source": "a" * 64}, {})
    [found] = compare_study(name, out, ["arch_optimizer"], ["measure.mine.x"], recorded=True)
    assert found.pairs[0].n == 5
    runs[2].measures.put("mine", line | {"source": "b" * 64}, {})
    told = r"measured with source = (a|b){12} in .*, with (a|b){12} in .*; measure all runs alike"
    with pytest.raises(UserError, match=told):
        compare_study(name, out, responses=["measure.mine.x"], recorded=True)


OWN = """
from optnas import Cadence, Measure, Quantity, Values, register

@register("measure", "flat")
def flat(draws: int = 2):
    found = {"drop": Quantity("percentage points", "lower"), "share": Quantity("percent", "higher")}
    values = lambda snapshot: Values({"drop": 1.5, "share": 50.0})
    return Measure(values, found, "nothing", Cadence(1))
"""


def test_a_measure_of_ones_own_keeps_its_unit_and_its_direction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were known of registered measures alone."""
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    name = tiny_study(tmp_path, "[0, 1]", GRID, measures__mine__name="./own.py:flat")
    for run in load_study(name).runs.values():
        folder = RunFolder(tmp_path / "out" / run.id)
        write_run(run.settings.document(), folder, run.settings.search.seed)
        line = {"epoch": 1, "status": "ok", "settings": {"draws": 2}, "source": "0" * 64}
        line |= {"values": {"drop": 1.5, "share": 50.0}}
        line |= {"units": {"drop": "percentage points", "share": "percent"}}
        folder.measures.put("mine", line, {})
    asked = ["measure.mine.drop", "measure.mine.share"]
    drop, share = compare_study(name, "out", responses=asked, recorded=True)
    assert (drop.unit, drop.better) == ("pp", "lower")
    assert (share.unit, share.of_difference, share.better) == ("%", "pp", "higher")
    claim = {"name": "p", "response": {"column": asked[1]}, "direction": "greater"}
    found = read_claim({"id": "i", "text": "t", "source": "s", "parts": [claim]}, "i.toml")
    frame = table(name, "out", recorded=True)
    [finding] = judge_table(frame, [found])
    assert finding.unit == "%"
    # Where the file is not there the lines say the unit.
    frame["measures.mine.name"] = "./gone.py:flat"
    assert Runs(frame).column(asked[0])[1::2] == ("pp", "neither")
    [finding] = judge_table(frame, [found])
    assert finding.unit == "%"
    with pytest.raises(UserError) as refused:
        compare_study(name, "out", responses=["measure.mine.dropp"], recorded=True)
    told = "did you mean measure.mine.drop, or 'mine' found measure.mine.drop, measure.mine.share"
    assert str(refused.value).endswith(told)


@pytest.mark.parametrize("response", ["accuracy", "auc accuracy", "benchmark.cifar10"])
@pytest.mark.thorough
def test_the_accuracy_of_another_benchmark_is_named(
    response: str, compared: tuple[str, Path]
) -> None:
    """It asked back: did you mean accuracy?"""
    study, out = load_study(compared[0]), compared[1]
    folders = {run.id: RunFolder(out / run.id) for run in study.runs.values()}
    frame = table(compared[0], out, recorded=True)
    frame = frame.rename(columns={"benchmark.cifar10": "benchmark.digits"})
    frame = frame[[each for each in frame if "cifar100" not in each and "Image" not in each]]
    with pytest.raises(UserError) as refused:
        compare_runs(study, folders, frame, responses=[response])
    told = str(refused.value)
    assert "name benchmark.digits, which these runs have, or ask a table that has it" in told
    assert "did you mean accuracy" not in told
    claim = {"name": "p", "response": {"column": "accuracy"}, "direction": "greater"}
    found = read_claim({"id": "i", "text": "t", "source": "s", "parts": [claim]}, "i.toml")
    [finding] = judge_table(frame, [found])
    assert finding.settle.startswith("name benchmark.digits, which these runs have, or ask")


@pytest.mark.parametrize(
    ("by", "response", "told"),
    [
        (
            ["arch_optimiser"],
            [],
            "--by = 'arch_optimiser': the study does not vary it; did you mean",
        ),
        ([], ["acuracy"], "--response = 'acuracy': no finished run has this column; did you mean"),
        ([], ["collapse accuracy"], "is no number of one run alone; use one of: final"),
        ([], ["architecture"], "'architecture': holds words, not numbers; name a column of"),
    ],
)
def test_an_unknown_axis_or_response_is_refused(
    by: list[str], response: list[str], told: str, compared: tuple[str, Path]
) -> None:
    name, out = compared
    with pytest.raises(UserError, match=re.escape(told)):
        compare_study(name, out, by, response, recorded=True)


@pytest.mark.thorough
def test_arms_are_compared_within_each_value_of_an_axis(
    compared: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = compared
    within = ["weight_optimizer"]
    for by in (["arch_optimizer"], []):
        [own] = compare_study(name, out, by, ["accuracy"], within=within, recorded=True)
        assert (own.by, own.within, own.over) == (("arch_optimizer",), ("weight_optimizer",), ())
        assert [(minus(p), p.n, p.difference) for p in own.pairs] == [
            (f"{LABEL} - Adam at SGD", 6, 10.0),
            (f"{LABEL} - Adam at AdamW (lr 0.001)", 5, 10.0),
        ]
        assert [p.p_holm for p in own.pairs] == [2 * own.pairs[0].p, own.pairs[1].p]
        assert own.threshold == 40
        assert len({p.arms for p in own.pairs}) == 2  # with the axis in them, in csv and json
    assert "arms by arch_optimizer; each pair at one value of weight_optimizer" in remarks(own)
    assert r"50\% \& \_EG\_ $-$ Adam at SGD & 6" in as_latex([own])
    words = ("study", "compare", name, "--out", str(out), "--to", str(tmp_path), "--recorded")
    assert command(*words, "--within", "weight_optimizer", "--json") == 0
    first = json.loads(capsys.readouterr().out)["comparisons"][0]
    assert (first["within"], len(first["rows"])) == (within, 2)
    assert (tmp_path / "compare-within-weight_optimizer.csv").exists()


@pytest.mark.parametrize(
    ("by", "within", "told"),
    [
        ([], ["arch_optimiser"], "--within = 'arch_optimiser': the study does not vary it; did"),
        (
            ["arch_optimizer"],
            ["arch_optimizer"],
            "--within = 'arch_optimizer': arms are to differ along it and to be compared within it;"
            " leave it out of --by or of --within",
        ),
        (
            [],
            ["weight_optimizer", "arch_optimizer"],
            "no axis is left along which arms differ; leave one of them out",
        ),
    ],
)
def test_an_axis_to_compare_within_that_cannot_be_is_refused(
    by: list[str], within: list[str], told: str, compared: tuple[str, Path]
) -> None:
    name, out = compared
    with pytest.raises(UserError, match=re.escape(told)):
        compare_study(name, out, by, within=within, recorded=True)


def test_runs_without_a_study_are_compared_by_what_they_differ_in(
    compared: tuple[str, Path],
) -> None:
    name, out = compared
    [declared] = compare_study(name, out, responses=["accuracy"], recorded=True)
    [found] = compare_study(None, out, responses=["accuracy"], recorded=True)
    assert set(found.by) == {"weight_optimizer", "arch_optimizer"}
    plain = [
        each.arm.replace("AdamW (lr 0.001)", "AdamW").replace(LABEL, "SGD")
        for each in declared.arms
    ]
    assert [each.arm for each in found.arms] == sorted(plain)
    assert sorted(abs(each.difference) for each in found.pairs) == pytest.approx(
        sorted(abs(each.difference) for each in declared.pairs)
    )
    by = ["arch_optimizer"]
    [own] = compare_study(None, out, by, ["accuracy"], recorded=True)
    assert (own.pairs[0].arms, own.pairs[0].difference) == (("SGD", "Adam"), 10.0)


def test_runs_that_differ_in_their_seed_alone_are_no_arms(tmp_path: Path) -> None:
    name = tiny_study(tmp_path, "[0, 1]", search__epochs=1)
    for run in load_study(name).runs.values():
        write_run(run.settings.document(), RunFolder(tmp_path / "out" / run.id), 0)
    with pytest.raises(UserError, match="differ in nothing but the seed; name a folder"):
        compare_study(None, tmp_path / "out", recorded=True)
    with pytest.raises(UserError, match="--out"):
        compare_study(None, tmp_path / "none", recorded=True)


def test_settings_of_one_component_are_axes_of_their_own(tmp_path: Path) -> None:
    axes = {"weight_optimizer.momentum": [0.9, 0.0], "weight_optimizer.lr": [0.1, 0.05]}
    grid = "[[grid]]\n" + "".join(f'"{key}" = {values}\n' for key, values in axes.items())
    name = tiny_study(tmp_path, "[0]", grid, search__epochs=1)
    for run in load_study(name).runs.values():
        write_run(run.settings.document(), RunFolder(tmp_path / "out" / run.id), 0)
    [found] = compare_study(None, tmp_path / "out", responses=["accuracy"], recorded=True)
    assert {*found.by} == {*axes}
    assert found.arms[0].arm == "weight_optimizer.lr 0.05, weight_optimizer.momentum 0"


def test_each_question_has_files_of_its_own(compared: tuple[str, Path]) -> None:
    """A report, and a comparison by something else, overwrote each other's compare.tex."""
    found = compare_study(*compared, responses=["train_loss"], recorded=True)
    for by, responses, benchmark, name in (
        ([], [], None, "compare"),
        ([], ["train_loss"], None, "compare-train_loss"),
        (["arch_optimizer.name"], [], None, "compare-by-arch_optimizer.name"),
        ([], [], "tables/own.csv", "compare-table-own.csv"),
    ):
        assert list(by_file(found, by, responses, benchmark)) == [name]
    assert list(by_file(found, within=["weight_optimizer"])) == ["compare-within-weight_optimizer"]


@pytest.mark.thorough
def test_the_command_prints_rows_and_writes_files(
    compared: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = compared
    words = ("study", "compare", name, "--out", str(out), "--to", str(tmp_path), "--recorded")
    assert command(*words, "--json") == 0
    first = json.loads(capsys.readouterr().out)["comparisons"][0]
    row = first["rows"][0]
    assert {"arms", "n", "difference", "low", "high", "p", "E"} <= row.keys()
    assert (row["arms"], row["n"], row["low"]) == ([f"SGD + {LABEL}", "SGD + Adam"], 6, 10.0)
    with (tmp_path / "compare.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 12
    assert (lines[0]["arm"], float(lines[0]["p"])) == (f"SGD + {LABEL}", row["p"])
    for ending in ("png", "pdf", "svg"):
        assert (tmp_path / f"compare.{ending}").stat().st_size > 1000
    assert command(*words) == 0
    told = capsys.readouterr().out
    assert f"(SGD + {LABEL}) - (SGD + Adam)" in told
    assert "Holm over the 6 pairs" in told
    assert f"left out of AdamW (lr 0.001) + {LABEL}, not done: 1 missing" in told


def test_arms_without_a_common_seed_are_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, out = tiny_study(tmp_path, "[0]", GRID, search__epochs=1), tmp_path / "out"
    run = next(iter(load_study(name).runs.values()))
    write_run(run.settings.document(), RunFolder(out / run.id), 0)
    figures = out / "figures"
    figures.mkdir()
    (figures / "compare.png").write_bytes(b"of an earlier time")
    assert command("study", "compare", name, "--out", str(out), "--recorded") == 0
    told = capsys.readouterr().out
    assert told.count("no pair has a common seed yet") == 2  # a line of each response
    assert told.count("left out of") == 3
    assert "no picture is drawn" in told
    assert "nan" not in told
    assert "no seed has both" not in told
    assert {path.name for path in figures.iterdir()} == {"compare.csv", "compare.tex"}
    # What else is asked for is in files of its own.
    more = ["--response", "auc accuracy", "--response", "train_loss", "--by", "arch_optimizer"]
    assert command("study", "compare", name, "--out", str(out), "--recorded", *more) == 0
    stems = {path.stem for path in figures.iterdir()} - {"compare"}
    assert stems == {
        "compare-auc-accuracy-by-arch_optimizer",
        "compare-train_loss-by-arch_optimizer",
    }


def test_means_beside_a_difference_are_of_the_same_runs(tmp_path: Path) -> None:
    """The mean of an arm, of which the other lacks runs, contradicted the difference below it."""
    grids = """
[[grid]]
"weight_optimizer.name" = ["SGD", "AdamW"]
[[grid]]
"arch_optimizer.name" = ["Adam", "SGD"]
"""
    name, out = tiny_study(tmp_path, "[0, 1]", grids, search__epochs=1), tmp_path / "out"
    for run in load_study(name).runs.values():
        document = run.settings.document()
        apart = 100 * (document["weight_optimizer"]["name"] == "AdamW")
        write_run(document, RunFolder(out / run.id), run.settings.search.seed + apart)
    [found] = compare_study(name, out, ["arch_optimizer.name"], ["accuracy"], recorded=True)
    first, second = found.arms
    [pair] = found.pairs
    assert (pair.difference, pair.means) == (10.0, (second.mean, 0.5))
    assert (first.n, first.mean, second.n) == (4, 50.5, 2)
    assert any("an arm's mean is of all its runs" in each for each in found.remarks)


def test_rows_of_a_picture_are_as_high_as_their_names(compared: tuple[str, Path]) -> None:
    """Names of several lines lay on one another."""
    [found, _] = compare_study(*compared, recorded=True)
    letter = 7 / 72  # inches
    for label, lines in (("arm", 1), ("a setting of a long name 0.5 " * 4, 5)):
        arms = [(f"{label}{a}", f"{label}{b}") for a, b in (pair.arms for pair in found.pairs)]
        named = [replace(pair, arms=arm) for pair, arm in zip(found.pairs, arms, strict=True)]
        drawing = forest([replace(found, pairs=tuple(named))])
        [ax] = drawing.axes
        high = drawing.get_figheight() * ax.get_position().height / len(named)
        assert max(each.get_text().count("\n") + 1 for each in ax.get_yticklabels()) >= lines
        assert high > lines * letter


def test_the_latex_table_is_a_table(compared: tuple[str, Path]) -> None:
    """Every row has as many cells as the head, and nothing in it is special by accident."""
    name, out = compared
    text = as_latex(compare_study(name, out, recorded=True))
    [(columns, body)] = re.findall(r"(?s)\\begin\{tabular\}\{(\w+)\}\n(.*)\\end\{tabular\}", text)
    lines = [line for line in body.splitlines() if not re.fullmatch(r"\\\w+rule", line)]
    assert all(line.endswith(r" \\") for line in lines)
    rows = [line for line in lines if not line.startswith(r"\multicolumn")]
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns)}
    assert r"50\% \& \_EG\_" in text
    bare = re.sub(r"\\[%&_#]|\$[^$]*\$", "", text)
    assert not re.search(r"[%_#$^~]", bare)
    assert bare.count("{") == bare.count("}")


def test_labels_of_several_grids_hold_together(tmp_path: Path) -> None:
    """Of another axis, and of a point that an earlier grid has without a label."""
    grids = """
[[grid]]
"arch_optimizer.name" = ["Adam", "SGD"]
[[grid]]
arch_optimizer = [{ name = "Adam", label = "base" }]
[[grid]]
weight_optimizer = [{ name = "SGD", lr = 0.5, label = "mySGD" }, { name = "Adam", label = "my" }]
"""
    axes = {axis.key: axis for axis in axes_of(load_study(tiny_study(tmp_path, "[0]", grids)))}
    assert set(axes["weight_optimizer"].values.values()) == {"SGD", "mySGD", "my"}
    assert set(axes["arch_optimizer"].values.values()) == {"base", "SGD"}


def test_a_run_that_two_grids_label_has_both_labels(tmp_path: Path) -> None:
    grids = """
[[grid]]
arch_optimizer = [{ name = "Adam", label = "base" }]
[[grid]]
weight_optimizer = [{ name = "SGD", label = "plain" }, { name = "Adam" }]
"""
    runs = load_study(tiny_study(tmp_path, "[0]", grids)).runs.values()
    assert [run.label for run in runs] == ["base, plain, seed 0", "Adam, seed 0"]
    twice = grids + '[[grid]]\narch_optimizer = [{ name = "Adam", label = "mine" }]\n'
    told = "arch_optimizer.label = 'mine': another grid calls the same value 'base'"
    with pytest.raises(UserError, match=re.escape(told)):
        load_study(tiny_study(tmp_path, "[0]", twice))
