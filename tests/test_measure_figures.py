"""The figures `operations`, `agreement` and `stopping`: what is drawn is what was measured."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import TINY

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.agreement.figure import agreement
from optnas.measures.figures import Panel
from optnas.measures.operations.figure import operations
from optnas.measures.stopping.figure import stopping
from optnas.report.data import drawn
from optnas.search import api

SEARCH = TINY | {
    "search.epochs": 2,
    "measures.sharpness.every": 1,
    "measures.operations.every": 1,
    "measures.agreement.every": 1,
    "measures.agreement.batches": 2,
    "measures.agreement.batch_size": 8,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    folder = tmp_path_factory.mktemp("figures")
    for seed in (0, 1):
        api.run(SEARCH | {"search.seed": seed}, out=folder / str(seed))
    api.run(TINY | {"search.epochs": 1, "benchmark.table": "none"}, out=folder / "bare")
    return [RunFolder(folder / name) for name in ("0", "1", "bare")]


def values_of(panel: Panel, label: str, run: int = 0) -> dict[float, float | None]:
    (found,) = [each for each in panel.curves if each.label == label]
    return dict(zip(found.x, found.seeds[run].values, strict=True))


def test_operations_are_told_by_run_and_drawn_as_means(runs: list[RunFolder]) -> None:
    figure = operations(runs[:2])
    [row] = figure.rows
    mass, share, phi = row.panels
    lines = [run.read_measures("operations") for run in runs[:2]]
    of = [[line["values"]["mass"]["nor_conv_3x3"] for line in each] for each in lines]
    for run in (0, 1):
        assert [*values_of(mass, "nor_conv_3x3", run).values()] == of[run]
    shares = [value for each in share.curves for value in each.seeds[0].values]
    assert sum(v for v in shares if v is not None) == pytest.approx(3)  # 1 per epoch
    assert len(phi.curves) == 3 * 2  # readings, with and without
    assert row.title == "darts: SGD + Adam, seeds 0, 1"
    assert "digits, epochs 0 to 2" in figure.title
    means = drawn("operations", figure).rows[0].panels[0].curves
    (mean,) = [each.mean for each in means if each.label == "nor_conv_3x3"]
    assert mean == pytest.approx([(a + b) / 2 for a, b in zip(*of, strict=True)], rel=1e-5)


def test_agreement_has_the_intervals_of_a_single_run(runs: list[RunFolder]) -> None:
    figure = agreement(runs[:1])
    [row] = figure.rows
    cosines, valid, _ = row.panels
    lines = runs[0].read_measures("agreement")
    expected = {line["epoch"]: line["values"]["cosine"] for line in lines}
    assert values_of(cosines, "all operations") == expected
    assert set(values_of(cosines, "none").values()) == {None}
    [curve] = [e for e in drawn("a", figure).rows[0].panels[1].curves if e.label == "nor_conv_3x3"]
    told = [lines[0]["values"][f"alpha_gradient_valid_{end}"] for end in ("low", "high")]
    assert curve.bars
    assert [curve.low[0], curve.high[0]] == pytest.approx([e["nor_conv_3x3"] for e in told], 1e-5)
    assert not drawn("a", agreement(runs[:2])).rows[0].panels[1].curves[0].bars
    assert valid.unit == "nats"
    assert "n = 2 batches of 8 images" in figure.caption
    with pytest.raises(UserError, match="no measurement of agreement with batches=3"):
        agreement(runs[:2], batches=3)


def test_stopping_marks_each_rule(runs: list[RunFolder]) -> None:
    figure = stopping(runs[:1], window=1, ratio=1e-9, start=0, delta=1)
    above, between, below = figure.axes
    records = runs[0].read_epochs()
    assert list(above.lines[0].get_ydata()) == [r["alpha_hessian_max"] for r in records]
    assert [tick.get_text() for tick in between.get_yticklabels()] == registry.names("stopping")
    # Any growth stops it at the first question: evaluation 1 against evaluation 0.
    assert list(between.lines[0].get_xdata()) == [0, 1]
    accuracies = [r["benchmark"]["accuracy"]["cifar10"] for r in records]
    assert list(below.lines[0].get_ydata()) == accuracies
    bare = stopping(runs[2:])
    assert "no benchmark" in bare.axes[2].get_ylabel()


@pytest.mark.parametrize("figure", [operations, agreement, stopping])
def test_figures_need_runs_and_their_measure(figure: Any, runs: list[RunFolder]) -> None:
    with pytest.raises(UserError, match="is drawn from runs"):
        figure([])
    if figure is not stopping:
        with pytest.raises(UserError, match="the run has no measurement of"):
            figure(runs[2:])
