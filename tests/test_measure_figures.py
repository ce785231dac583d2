"""The figures `operations`, `agreement` and `stopping`: what is drawn is what was measured."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import TINY

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.agreement.figure import agreement
from optnas.measures.operations.figure import operations
from optnas.measures.stopping import RULES
from optnas.measures.stopping.figure import stopping
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


def curve(ax: Any, label: str) -> dict[float, float]:
    (line,) = [each for each in ax.lines if each.get_label() == label]
    return dict(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_operations_are_means_over_seeds(runs: list[RunFolder]) -> None:
    figure = operations(runs[:2])
    mass, share, phi = figure.axes
    lines = [run.read_measures("operations") for run in runs[:2]]
    of = [[line["values"]["mass"]["nor_conv_3x3"] for line in each] for each in lines]
    expected = {epoch: (of[0][epoch] + of[1][epoch]) / 2 for epoch in range(3)}
    assert curve(mass, "nor_conv_3x3") == pytest.approx(expected)
    assert sum(bar.get_height() for bar in share.patches) == pytest.approx(3)  # 1 an epoch
    assert len(phi.lines) == 3 * 2 * (2 + 1)  # readings, with and without, seeds and mean
    assert "n = 2, seeds 0, 1" in mass.get_title()
    assert "digits, epochs 0 to 2" in figure.get_suptitle()


def test_agreement_is_a_column_a_run(runs: list[RunFolder]) -> None:
    figure = agreement(runs[:2])
    assert len(figure.axes) == 6
    for run, cosines, valid in zip(runs, figure.axes[:2], figure.axes[2:4], strict=False):
        lines = run.read_measures("agreement")
        expected = {line["epoch"]: line["values"]["cosine"] for line in lines}
        assert curve(cosines, "all operations") == pytest.approx(expected)
        assert curve(cosines, "none") == {}
        (ends, *_) = valid.collections[3].get_segments()
        told = [lines[0]["values"][f"alpha_gradient_valid_{end}"] for end in ("low", "high")]
        assert list(ends[:, 1]) == pytest.approx([each["nor_conv_3x3"] for each in told])
    assert "n = 2 batches of 8 images" in figure.get_suptitle()
    with pytest.raises(UserError, match="no measurement of agreement with batches=3"):
        agreement(runs[:2], batches=3)


def test_stopping_marks_each_rule(runs: list[RunFolder]) -> None:
    figure = stopping(runs[:1], window=1, ratio=1e-9, start=0, delta=1)
    above, between, below = figure.axes
    records = runs[0].read_epochs()
    assert list(above.lines[0].get_ydata()) == [r["alpha_hessian_max"] for r in records]
    assert [tick.get_text() for tick in between.get_yticklabels()] == list(RULES)
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
