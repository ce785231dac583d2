"""Random search in closed form against enumeration and draws; published rows; lines in pictures."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import command, copied, interrupted_run
from hypothesis import given, settings
from hypothesis import strategies as st

from optnas.analysis.references import references as of_a_study
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.cli.printing.text import aligned
from optnas.report.reference_lines import find_references
from optnas.spaces import tables
from optnas.spaces.tables import Measurements, Question, Table, load_table
from optnas.spaces.tables.published import Published, published
from optnas.spaces.tables.random_search import choice_probabilities, random_search, random_searches
from optnas.spaces.tables.references import BUDGETS, DEFAULT, NAMES, references

TEST, VALID = Question("digits", "test", 3), Question("digits", "valid", 3)
CSV = Path(os.environ.get("OPTNAS_DATA", "")) / "nas-bench-201/test-accuracy.csv.gz"
needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(
        not CSV.is_file(), reason="OPTNAS_DATA has no nas-bench-201/test-accuracy.csv.gz"
    ),
]


def table_of(test: list[float], valid: list[float] | None = None, name: str = "made-up") -> Table:
    held = {TEST: Measurements(np.array(test))}
    if valid is not None:
        held[VALID] = Measurements(np.array(valid))
    return Table(name, "made-up", "Made up.", held)


def outcomes(test: list[float], scores: list[float], k: int) -> list[tuple[float, float]]:
    """Every result of random search with its probability, one by one over all sets of cells."""
    sets = list(itertools.combinations(range(len(test)), k))
    found = []
    for drawn in sets:
        best = [cell for cell in drawn if scores[cell] == max(scores[cell] for cell in drawn)]
        found += [(test[cell], 1 / len(sets) / len(best)) for cell in best]
    return found


cells = st.lists(st.sampled_from([10.0, 20.5, 20.75, 90.0]), min_size=6, max_size=6)


@settings(deadline=None)
@given(cells, cells, st.integers(1, 6), st.booleans())
def test_random_search_equals_enumeration(
    test: list[float], valid: list[float], k: int, has_valid: bool
) -> None:
    found = random_search(table_of(test, valid if has_valid else None), TEST, k)
    every = outcomes(test, valid if has_valid else test, k)
    mean = sum(value * weight for value, weight in every)
    variance = sum((value - mean) ** 2 * weight for value, weight in every)
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(math.sqrt(variance), abs=1e-6)
    for share, quantile in ((0.05, found.low), (0.95, found.high)):
        assert sum(w for value, w in every if value <= quantile) >= share - 1e-9
        assert sum(w for value, w in every if value < quantile) <= share + 1e-9
    assert found.scored_by == (VALID if has_valid else TEST)
    assert found.is_oracle == (k > 1 and not has_valid)


def test_random_search_equals_draws() -> None:
    draw = random.Random(0)
    test = [draw.uniform(50, 95) for _ in range(300)]
    valid = [value + draw.gauss(0, 2) for value in test]
    table = table_of(test, valid)
    for k in (1, 10, 100):
        reported = []
        for _ in range(4000):
            drawn = draw.sample(range(300), k)
            reported.append(test[max(drawn, key=lambda cell: valid[cell])])
        found = random_search(table, TEST, k)
        error = found.std / math.sqrt(len(reported))
        assert found.mean == pytest.approx(np.mean(reported), abs=4 * error)
        assert found.std == pytest.approx(np.std(reported), rel=0.1)
        for outside in (np.array(reported) < found.low, np.array(reported) > found.high):
            assert outside.mean() <= 0.05 + 0.02


def test_the_ends_are_exact() -> None:
    size = 15_625
    scores = np.random.default_rng(0).permutation(size).astype(np.float64)
    assert choice_probabilities(scores, 1) == pytest.approx(np.full(size, 1 / size))
    weights = choice_probabilities(scores, size)
    assert (weights.argmax(), weights.max(), weights.sum()) == (scores.argmax(), 1, 1)
    # C(N-1, k-1) / C(N, k) = k / N: the best of all is drawn as often as any cell.
    for k in (10, 100, 5000):
        assert choice_probabilities(scores, k).max() == pytest.approx(k / size, rel=1e-12)
    assert choice_probabilities(np.zeros(7), 3) == pytest.approx(np.full(7, 1 / 7))
    table = table_of([50.0, 90.0, 70.0])
    assert random_search(table, TEST, 3).mean == 90
    assert random_search(table, TEST, 1).mean == 70
    for k in (0, 4, -1):
        with pytest.raises(UserError, match=f"K = {k}: made-up has 3 cells.*use 1 to 3"):
            random_search(table, TEST, k)


def test_the_label_says_how_the_cell_was_chosen() -> None:
    oracle, honest = table_of([1.0, 2.0, 3.0]), table_of([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    assert random_search(oracle, TEST, 1).label == "random cell, mean"
    assert random_search(oracle, TEST, 2).label == "best of 2 random cells (oracle: by test)"
    assert random_search(honest, TEST, 2).label == "best of 2 random cells (by valid)"
    assert random_search(honest, VALID, 2).label == "best of 2 random cells (oracle: by valid)"


# ---- names


def test_references_by_name() -> None:
    table = table_of([50.0, 90.0, 70.0, 80.0])
    (cell,) = references(["random-cell"], table, TEST)
    assert (cell.label, cell.accuracy, cell.band) == ("random cell, mean", 72.5, None)
    (two,) = references(["best-of-2"], table, TEST)
    assert two.accuracy == random_search(table, TEST, 2).mean
    assert two.band == (70, 90)
    (best,) = references(["optimum"], table, TEST)
    assert best.accuracy == 90
    assert references(["random-search"], table, TEST) == [cell]  # no ten cells to draw
    assert references(["optimum", "random-cell", "optimum"], table, TEST) == [best, cell]
    assert BUDGETS == (1, 10, 100)
    assert set(DEFAULT) <= set(NAMES)
    for name, told in (("best-of-0", "best-of-10"), ("randomcell", "random-cell"), ("", "use one")):
        with pytest.raises(UserError, match=f"--reference = '{name}': .*{told}"):
            references([name], table, TEST)


# ---- published rows


def test_published_rows_are_whole() -> None:
    known = published()
    assert known.space in registry.names("space")
    assert set(known.tables) <= set(tables.table_names())
    methods = [each.method for each in known.results(unverified=True)]
    assert len(methods) == len(set(methods)) >= 20
    for each in known.results(unverified=True):
        assert len(each.mean) == len(each.datasets)
        assert len(each.std) in (0, len(each.mean))
        assert all(0 < value < 100 for value in each.mean)
        assert each.source.strip() == each.source != ""
    assert {each.method for each in known.results()} < set(methods)
    assert all(each.verified for each in known.results())


def test_no_published_mean_is_above_the_best_cell() -> None:
    best = {"cifar10": 94.37, "cifar100": 73.51, "imagenet16-120": 47.31}
    for each in published().results(unverified=True):
        for dataset, limit in best.items():
            found = each.accuracy(dataset)
            assert found is None or found[0] <= limit
    assert published().results()[-1].accuracy("digits") is None


@pytest.mark.parametrize(
    "change", [{"methd": "x"}, {"mean": ["much"]}, {"method": None}, {"runs": "three"}]
)
def test_a_row_of_another_form_is_refused(change: dict[str, Any]) -> None:
    document = published().model_dump()
    document["result"] = [document["result"][0] | change]
    with pytest.raises(ValueError, match="result"):
        Published.model_validate(document, strict=False)


def test_published_rows_stand_beside_their_own_measurements_only() -> None:
    analog = load_table("analog-nasbench", folder=None)
    (question,) = analog.coverage.questions
    with pytest.raises(UserError) as caught:
        references(["published"], analog, question)
    assert str(caught.value).startswith("command line: --reference = 'published': published")
    assert str(caught.value).endswith("leave it out, or ask that table for all: --table official")


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_data)])
def test_a_search_need_not_be_an_oracle(mark: str) -> None:
    folder = CSV.parents[1]
    table = load_table("official", folder=folder)
    question, hundred, _ = table.coverage.questions
    found = {
        (each.cells, each.words): round(each.mean, 2)
        for cells in (1, 10, 100, 500)
        for each in random_searches(table, question, cells)
    }
    twelve, half = "12-epoch validation", "half-trained test"
    assert found == {
        (1, ""): 87.06,
        **{(10, ""): 93.10, (10, twelve): 92.58, (10, half): 93.04},
        **{(100, ""): 93.85, (100, twelve): 93.73, (100, half): 93.78},
        **{(500, ""): 94.12, (500, twelve): 94.00, (500, half): 94.01},
    }
    assert [each.words for each in random_searches(table, hundred, 10)] == ["", twelve]
    # Pictures: all of them, the range that of searches somebody could do, and the noise below.
    lines, remark = find_references(None, "official", question, folder)
    assert [(line.label, line.band is not None) for line in lines] == [
        ("best cell of the table", False),
        ("best of 10 random cells (oracle: by test)", False),
        (f"best of 10 random cells (by {half})", True),
        (f"best of 10 random cells (by {twelve})", True),
        ("random cell, mean", False),
    ]
    assert remark.endswith("in points: 0.25 at 93 % and more, 0.40 at 80 % and more")
    # Tables and claims.
    assert len(of_a_study(table)) == 4


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_data)])
def test_the_official_table_agrees_with_published_rows(mark: str) -> None:
    table = load_table("official", folder=CSV.parents[1])
    for question, optimum in zip(table.coverage.questions, (94.37, 73.51, 47.31), strict=True):
        rows = {row.label: row for row in references(NAMES, table, question)}
        assert rows["best cell of the table"].accuracy == pytest.approx(optimum, abs=5e-3)
        values = table.ask(question).accuracy
        assert rows["random cell, mean"].accuracy == pytest.approx(values.mean())
        skips = tables.find_source("official").load(CSV.parents[1])
        space = registry.find("space", table.space_name)()
        cell = space.architecture([space.skip] * space.edge_count)
        collapsed = skips.accuracy(cell, question)
        assert rows["DARTS, 1st order"].accuracy == pytest.approx(collapsed, abs=6e-3)
        assert rows["DARTS, 1st order"].is_published


# ---- pictures and lines on the screen


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch, answered by the table analog-nasbench."""
    return interrupted_run(tmp_path_factory.mktemp("runs") / "run")


def svg_text(run: Path, *options: str) -> str:
    path = run.parent / "x.svg"
    assert command("plot", str(run), "-o", str(path), *options) == 0
    return path.read_text()


def test_reference_lines_of_a_plot(run: Path) -> None:
    usual = svg_text(run)
    for words in (
        "best cell of the table 94.07",
        "random cell, mean 86",
        "best of 10 random cells",
    ):
        assert f"<!-- {words}" in usual
    assert "(oracle: by test) 92" in usual
    bare = svg_text(run, "--reference", "none")
    assert "random cell" not in bare
    some = svg_text(run, "--reference", "best-of-25,optimum")
    assert "best of 25 random cells" in some
    assert "mean" not in some


def test_a_table_that_is_gone_is_said_in_the_picture(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPTNAS_DATA", raising=False)
    gone = copied(run, tmp_path / "gone")
    for name in ("epochs.jsonl", "config.toml"):
        text = (gone / name).read_text()
        (gone / name).write_text(text.replace("analog-nasbench", "official"))
    assert "no reference lines: the official table needs a" in svg_text(gone)
    told = ("plot", str(gone), "-o", str(tmp_path / "y.svg"), "--reference")
    assert command(*told, "optimum") == 2
    assert "set OPTNAS_DATA to the folder" in capsys.readouterr().err
    assert not (tmp_path / "y.svg").exists()


def test_plot_refuses_references_it_cannot_have(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(tmp_path / "x.png")
    cases = {
        ("--reference", "published"): "published results are test accuracies of the table official",
        ("--reference", "randm-cell"): "did you mean random-cell?",
        ("--reference", "best-of-99999"): "K = 99999: nas-bench-201 has 15625 cells to draw from",
        ("--reference", "none,optimum"): "--reference = 'none': there is no reference",
    }
    for options, words in cases.items():
        assert command("plot", str(run), "-o", picture, *options) == 2
        assert words in capsys.readouterr().err
    assert command("plot", "--figure", "alternation", "-o", picture, "--reference", "optimum") == 2
    assert "the figure alternation asks no benchmark table" in capsys.readouterr().err
    assert not Path(picture).exists()


def test_no_reference_is_asked_for_none(tmp_path: Path) -> None:
    assert find_references(["none"], "not even a table", TEST, None) == ([], "")


def test_runs_without_a_table_have_no_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert find_references(None, "none", None, None) == ([], "")
    for name, words in (
        ("optimum", "the runs asked no benchmark table"),
        ("randm-cell", "did you mean random-cell"),
    ):
        with pytest.raises(UserError, match=words):
            find_references([name], "none", None, None)
    for cells in ((), ("5",)):
        assert command("benchmark", "random-search", *cells, "--table", "none") == 2
        assert "'none': there is no table of this name" in capsys.readouterr().err


def test_published_and_random_search_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("benchmark", "published") == 0
    out = capsys.readouterr().out
    assert "DARTS, 1st order" in out
    assert "54.30 +- 0.00" in out
    assert "total collapse" in out
    assert "OLES" not in out
    assert command("benchmark", "published", "--all") == 0
    assert "OLES: paper of OLES (NeurIPS 2023); NOT VERIFIED" in capsys.readouterr().out
    assert command("benchmark", "random-search", "1", "7", "--table", "analog-nasbench") == 0
    lines = capsys.readouterr().out.splitlines()
    numbered = [line for line in lines[2:] if " random cell" in line]
    assert list(dict.fromkeys(line.split()[4] for line in numbered)) == ["1", "7"]
    assert lines[-1].endswith("in points: 0.25 at 93 % and more, 0.40 at 80 % and more")
    assert command("benchmark", "random-search", "0", "--table", "analog-nasbench") == 2


def test_the_last_column_is_folded_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    heads, rows = ["name", "it"], [["a", "one two three four five six seven eight"]]
    assert len(aligned(heads, rows)) == 2
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert aligned(heads, rows) == [
        "name  it",
        "a     one two three four five six seven",
        "      eight",
    ]


def test_columns_are_as_wide_as_they_must(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert aligned(["name", "<n"], [["a", "1"], ["much longer", "100"]]) == [
        "name           n",
        "a              1",
        "much longer  100",
    ]
    copied(run, tmp_path / "a")
    long = copied(run, tmp_path / "b")
    text = (long / "config.toml").read_text()
    (long / "config.toml").write_text(
        text.replace('name = "darts"', 'name = "./a/rather/long/path/to/my_algorithm.py:cooling"')
    )
    (tmp_path / "c").mkdir()
    (tmp_path / "c/config.toml").write_text("identity = 1")
    assert command("list", str(tmp_path)) == 0
    heads, *lines = capsys.readouterr().out.splitlines()
    for line, name in zip(lines, "abc", strict=True):
        assert line.index(str(tmp_path / name)) == heads.index("folder")
    assert "my_algorithm.py:cooling: SGD + Adam" in lines[1]
    assert lines[2].startswith("unreadable")


def test_random_search_needs_no_torch() -> None:
    import subprocess
    import sys

    program = (
        "import sys, json; from optnas.spaces.tables import load_table;"
        "from optnas.spaces.tables.references import references, DEFAULT;"
        "t = load_table('analog-nasbench', folder=None);"
        "r = references(DEFAULT, t, t.coverage.questions[0]);"
        "print(json.dumps([len(r), 'torch' in sys.modules, 'matplotlib' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert json.loads(done.stdout) == [3, False, False]
