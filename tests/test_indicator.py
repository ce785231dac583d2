"""One-shot scores and ranks of many cells against slow twins.

Shapes: N cells, I images, R resamples, E edges, O operations.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from cases import command
from scipy import stats
from tiny import TINY, trained
from torch import Tensor

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.evaluation import Batch, recalibrated
from optnas.measures.indicator import ranking
from optnas.measures.indicator.costs import BASELINES, flops, parameters
from optnas.measures.indicator.measure import indicator
from optnas.measures.indicator.oneshot import distinct, score_cells
from optnas.report.pictures import plot_figure
from optnas.search import api
from optnas.search.observe import snapshot_of
from optnas.spaces import NAS_BENCH_201, Architecture, Space, supernet_string
from optnas.spaces.network import Network, Supernet
from optnas.spaces.toy import TOY

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
QUICK: dict[str, Any] = {"uniform": 30, "top": 12, "images": 40, "batch_size": 20, "resamples": 50}


def network(space: Space, dtype: torch.dtype, cells: int = 1) -> Supernet:
    generator = torch.Generator().manual_seed(3)
    return Supernet(
        space,
        channels=3,
        cells=cells,
        classes=4,
        image_channels=2,
        generator=generator,
        dtype=dtype,
    )


def images(count: int, size: int, dtype: torch.dtype, seed: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Batch(
            torch.randn(size, 2, 8, 8, generator=generator, dtype=dtype),
            torch.randint(4, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def one_hot(cell: Architecture, dtype: torch.dtype) -> Tensor:
    weights_EO = torch.zeros(cell.space.edge_count, cell.space.operation_count, dtype=dtype)
    for edge, column in enumerate(cell.operations):
        weights_EO[edge, column] = 1
    return weights_EO


def some_cells(space: Space) -> list[Architecture]:
    """Half of a small space; of a large one some, dead edges, equal and empty cells among them."""
    if space.size < 100:
        return list(space.all())[::2]
    drawn = [space.architecture_at(index) for index in range(0, space.size, 600)]
    special = [
        (0, 0, 0, 0, 0, 0),
        (3, 0, 0, 0, 3, 0),  # a chain over node 1
        (3, 3, 3, 2, 0, 0),  # only the edge from input to output is live
        (0, 3, 2, 1, 3, 0),  # a convolution that nothing reaches
        (4, 0, 0, 0, 1, 0),  # one pool, here
        (1, 0, 0, 0, 4, 0),  # and there
        (3, 3, 3, 3, 3, 3),
    ]
    return drawn + [space.architecture(operations) for operations in special]


@pytest.mark.parametrize(
    ("space", "dtype", "cells", "calibrated"),
    [
        (NAS_BENCH_201, torch.float64, 1, False),
        (NAS_BENCH_201, torch.float64, 1, True),
        (NAS_BENCH_201, torch.float32, 1, False),
        (NAS_BENCH_201, torch.float32, 1, True),
        (TOY, torch.float64, 2, False),
        (TOY, torch.float64, 2, True),
    ],
)
@pytest.mark.thorough
def test_scores_are_those_of_the_mixture_at_one_hot_weights(
    space: Space, dtype: torch.dtype, cells: int, calibrated: bool
) -> None:
    net, judged = network(space, dtype, cells), [*images(2, 12, dtype, 1), *images(1, 7, dtype, 2)]
    calibration = images(3, 10, dtype, 5) if calibrated else []
    some = some_cells(space)
    found = score_cells(net, some, judged, calibration=calibration)
    assert not found.loss_N.requires_grad
    for cell, loss, correct_I in zip(some, found.loss_N, found.correct_NI, strict=True):
        weights_EO = one_hot(cell, dtype)
        own = recalibrated(net, weights_EO, calibration) if calibrated else None
        logits = torch.cat(
            [net(b.images_BCHW, weights_EO, statistics=own).logits_BK.detach() for b in judged]
        )
        labels = torch.cat([b.labels_B for b in judged])
        expected = float(F.cross_entropy(logits, labels))
        assert float(loss) == pytest.approx(expected, abs=TOLERANCE[dtype]), cell
        if dtype == torch.float64:
            assert torch.equal(correct_I, logits.argmax(1) == labels)


def test_equal_functions_are_scored_once_and_few_values_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from optnas.measures.indicator import oneshot

    net, judged = network(NAS_BENCH_201, torch.float64), images(1, 6, torch.float64, 1)
    some = some_cells(NAS_BENCH_201)
    calls = []
    through = oneshot._through
    monkeypatch.setattr(
        oneshot, "_through", lambda *args: calls.append(args[1].name) or through(*args)
    )
    expected = score_cells(net, some, judged)
    assert len(calls) == 3 * len({supernet_string(cell) for cell in some}) < 3 * len(some)
    monkeypatch.setattr(oneshot._Latest, "__init__", lambda self, size: setup(self, 1))
    monkeypatch.setattr(oneshot, "CHUNK", 3)
    found = score_cells(net, some, judged)
    assert torch.allclose(found.loss_N, expected.loss_N, rtol=1e-12)
    with_statistics = images(2, 6, torch.float64, 4)
    assert torch.isfinite(score_cells(net, some, judged, calibration=with_statistics).loss_N).all()


def setup(latest: Any, size: int) -> None:
    from collections import OrderedDict

    latest._size, latest._values = size, OrderedDict()


def test_a_supernet_has_7810_functions() -> None:
    kept = distinct(list(NAS_BENCH_201.all()))
    assert len(kept) == 7_810
    order = [cell.operations for cell in kept.values()]
    assert order == sorted(order)


# --- ranks


def sample(n: int = 40, seed: int = 0) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n).round(1)  # ties
    return x, (x + generator.normal(size=n)).round(1)


def test_correlations_of_resamples_are_scipys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "BLOCK", 7)
    x, y = sample()
    counts = np.vstack([np.ones((1, 40), dtype=int), ranking.resample_counts(40, 5, 1)])
    assert (counts.sum(axis=1) == 40).all()
    taus, rhos = ranking.kendall(x, y, counts), ranking.spearman(x, y, counts)
    for row, tau, rho in zip(counts, taus, rhos, strict=True):
        a, b = x.repeat(row), y.repeat(row)
        assert tau == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)
        assert rho == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_kendall_is_the_count_of_pairs() -> None:
    x, y = sample(15)
    agree = disagree = untied_x = untied_y = 0
    for i, j in itertools.combinations(range(15), 2):
        product = (x[i] - x[j]) * (y[i] - y[j])
        agree, disagree = agree + (product > 0), disagree + (product < 0)
        untied_x, untied_y = untied_x + (x[i] != x[j]), untied_y + (y[i] != y[j])
    expected = (agree - disagree) / math.sqrt(untied_x * untied_y)
    assert ranking.kendall(x, y, np.ones((1, 15), dtype=int))[0] == pytest.approx(expected)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    # Bivariate normal with correlation r: tau = 2 / pi arcsin(r).
    generator, held, truth = np.random.default_rng(2), 0, 2 / math.pi * math.asin(0.6)
    for trial in range(100):
        x = generator.normal(size=80)
        y = 0.6 * x + 0.8 * generator.normal(size=80)
        counts = ranking.resample_counts(80, 200, trial)
        value, low, high = ranking.interval(lambda c, x=x, y=y: ranking.kendall(x, y, c), counts)
        assert low is not None
        assert high is not None
        assert low < value < high  # type: ignore[operator]
        held += low < truth < high
    assert 88 <= held <= 100


def test_constant_numbers_have_no_rank_correlation() -> None:
    counts = ranking.resample_counts(5, 4, 0)
    flat, y = np.ones(5), np.arange(5.0)
    assert ranking.interval(lambda c: ranking.kendall(flat, y, c), counts) == (None, None, None)
    assert math.isnan(ranking.spearman(flat, y, counts)[0])


def test_reliability_is_the_mean_over_all_halves_of_the_images() -> None:
    correct = np.random.default_rng(0).random((9, 6)) < np.linspace(0.2, 0.9, 9)[:, None]
    halves = []
    for half in itertools.combinations(range(6), 3):
        a = correct[:, list(half)].sum(axis=1)
        b = correct.sum(axis=1) - a
        halves.append(2 * (1 - (a.var() + b.var()) / (a + b).var()))
    assert ranking.reliability(correct) == pytest.approx(np.mean(halves))
    assert ranking.reliability(np.ones((4, 5), dtype=bool)) is None
    assert ranking.reliability(correct[:, :1]) is None


def test_attenuation_is_undone() -> None:
    # Accuracies p of many cells on few images, ranked against a truth they follow: what few images
    # cost is estimated from those images, and must lead back to the tau of p itself.
    generator = np.random.default_rng(0)
    z, cells = generator.normal(size=(2, 1500)), 1500
    p = stats.norm.cdf(z[0] * 0.3)
    truth = 0.7 * z[0] + math.sqrt(1 - 0.49) * z[1]
    correct = generator.random((cells, 40)) < p[:, None]
    one = np.ones((1, cells), dtype=int)
    clean = ranking.kendall(p, truth, one)[0]
    noisy = ranking.kendall(correct.mean(axis=1), truth, one)[0]
    share = ranking.reliability(correct)
    assert noisy < clean - 0.05
    assert ranking.without_attenuation(noisy, share) == pytest.approx(clean, abs=0.04)
    assert ranking.without_attenuation(0.9, 0.1) == 1.0
    assert ranking.without_attenuation(0.3, -0.1) is None
    assert ranking.without_attenuation(None, 0.5) is None


def test_top_k_is_the_sorted_lists() -> None:
    predicted = np.array([5.0, 5.0, 3.0, 1.0, 4.0])
    loss = np.array([2.0, 1.0, 0.0, 0.0, 0.0])
    truth = np.array([90.0, 70.0, 95.0, 60.0, 90.0])  # ranks 2, 4, 1, 5, 2
    found = ranking.top_k(predicted, loss, truth, [1, 2, 3, 6])
    assert list(found) == ["1", "2", "3"]
    assert (found["1"]["precision"], found["1"]["best_rank"]) == (0.0, 4)
    assert (found["2"]["precision"], found["2"]["best_rank"]) == (0.5, 2)
    assert (found["3"]["precision"], found["3"]["best_rank"]) == (pytest.approx(2 / 3), 2)
    assert found["2"]["precision_blind"] == 0.4
    drawn = [min(pair) for pair in itertools.combinations(range(1, 6), 2)]
    assert found["2"]["best_rank_blind"] == pytest.approx(np.mean(drawn))


# --- costs


@pytest.mark.parametrize(
    ("index", "millions_of_parameters", "millions_of_flops"),
    [(0, 0.129306, 15.64737), (11, 0.802426, 113.95137), (284, 0.101306, 11.71521)],
)
def test_costs_are_those_of_the_benchmarks_archive(
    index: int, millions_of_parameters: float, millions_of_flops: float
) -> None:
    # params and flop of NATS-tss-v1_0-3ffb9-simple, data set cifar10.
    cell = NAS_BENCH_201.architecture_at(index)
    assert parameters(cell) == round(millions_of_parameters * 1e6)
    assert flops(cell) == round(millions_of_flops * 1e6)


@pytest.mark.parametrize("operations", [(3, 3, 3, 3, 3, 3), (2, 1, 3, 4, 2, 3)])
def test_parameters_are_those_of_the_network(operations: tuple[int, ...]) -> None:
    cell = NAS_BENCH_201.architecture(operations)
    net = Network(
        cell, channels=16, cells=5, classes=10, image_channels=3, generator=torch.Generator()
    )
    assert parameters(cell) == sum(weight.numel() for weight in net.weights.values())


def test_baselines() -> None:
    cell = NAS_BENCH_201.architecture((3, 1, 3, 1, 1, 2))
    assert BASELINES["convolutions_3x3"](cell) == 2
    assert BASELINES["fewer_skips"](cell) == -3
    assert BASELINES["convolutions_3x3"](TOY.architecture((1, 1, 0))) == 2


# --- the measure


def measured(**settings: Any) -> Any:
    state = trained({}, 1)
    state.epoch = 1
    return indicator(**{**QUICK, **settings}).measure(snapshot_of(state, "indicator")), state


@pytest.mark.parametrize("statistics", ["batch", "recalibrated"])
def test_the_measure_is_its_parts(statistics: Any) -> None:
    found, state = measured(statistics=statistics, batches=3, k=[1, 3])
    numbers, arrays = dict(found.numbers), dict(found.arrays)
    snapshot = snapshot_of(state, "indicator")
    truth = state.table.values(state.table.coverage.headline[0])
    assert (truth[arrays["index"]] == arrays["benchmark"]).all()
    best = set(np.argsort(-truth, kind="stable")[: math.ceil(len(truth) / 10)])
    assert set(arrays["index"][arrays["top"]]) <= best
    assert arrays["uniform"].sum() == 30 == numbers["uniform"]
    assert arrays["top"].sum() == 12
    calibration = list(snapshot.batches("train", 3))
    for place in (0, 20):
        cell = state.space.architecture_at(int(arrays["index"][place]))
        weights_EO = snapshot.one_hot(cell.operations)
        own = recalibrated(snapshot.supernet, weights_EO, calibration)
        halves = list(snapshot.batches("valid", 2, 20))
        with torch.no_grad():
            logits = torch.cat(
                [
                    snapshot.supernet(
                        b.images_BCHW,
                        weights_EO,
                        statistics=own if statistics == "recalibrated" else None,
                    ).logits_BK
                    for b in halves
                ]
            )
        labels = torch.cat([b.labels_B for b in halves])
        assert arrays["loss"][place] == pytest.approx(float(F.cross_entropy(logits, labels)))
        right = 100 * float((logits.argmax(1) == labels).double().mean())
        assert arrays["accuracy"][place] == pytest.approx(right)
    keep = arrays["uniform"] & arrays["connected"]
    x, y = arrays["accuracy"][keep], arrays["benchmark"][keep]
    assert numbers["tau"] == pytest.approx(stats.kendalltau(x, y).statistic)
    assert numbers["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic)
    assert numbers["tau_low"] <= numbers["tau"] <= numbers["tau_high"]
    of_all = arrays["uniform"]
    together = stats.kendalltau(arrays["accuracy"][of_all], arrays["benchmark"][of_all]).statistic
    assert numbers["tau_all"] == pytest.approx(together)
    of_top = arrays["top"] & arrays["connected"]
    inside = stats.kendalltau(arrays["accuracy"][of_top], arrays["benchmark"][of_top]).statistic
    assert numbers["tau_top"] == pytest.approx(inside)
    rounded = stats.kendalltau(x, y.round(1)).statistic
    assert numbers["sparse_tau"] == pytest.approx(rounded)
    cells = [state.space.architecture_at(int(place)) for place in arrays["index"][keep]]
    convolutions = [cell.count("nor_conv_3x3") for cell in cells]
    simple = stats.kendalltau(convolutions, y).statistic
    assert numbers["baselines"]["convolutions_3x3"]["tau"][0] == pytest.approx(simple)
    assert numbers["tau_minus_convolutions"] == pytest.approx(numbers["tau"] - simple)
    assert list(numbers["top_k"]) == ["1", "3"]


def test_every_cell_of_a_small_space(capfd: pytest.CaptureFixture[str]) -> None:
    state = trained({"space__name": "toy", "benchmark__table": "toy"}, 1)
    state.epoch = 1
    found = indicator(everything=True, images=20, resamples=20).measure(
        snapshot_of(state, "indicator")
    )
    assert found.arrays["index"].tolist() == list(range(64))
    assert found.numbers["uniform"] == 64
    assert found.numbers["top"] == 7
    assert found.numbers["disconnected"] == int((~found.arrays["connected"]).sum()) > 0
    functions = found.numbers["functions"]
    told = capfd.readouterr().err
    assert f"indicator: 64 cells, {functions} distinct functions, at most about 0 minutes" in told


def test_without_a_table_it_says_so() -> None:
    state = trained({"benchmark__table": "none"}, 0)
    state.epoch = 0
    with pytest.raises(UserError, match="compared with a benchmark table, and the run has none"):
        indicator(**QUICK).measure(snapshot_of(state, "indicator"))


def test_a_data_set_the_table_lacks_is_refused_when_asked_for() -> None:
    assert measured()[0].numbers["asked"]["dataset"] == "cifar10"  # the search is on digits
    with pytest.raises(UserError, match=r"dataset = 'digits'.*choose one of these"):
        measured(dataset="digits")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("uniform=1", "is out of range; use 2 or more"),
        ("k=[0]", "is out of range; use 1 or more"),
        ("top=x", "whole number"),
    ],
)
def test_bad_settings_are_one_line(
    word: str, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    settings = [f"{key}={value}" for key, value in TINY.items()]
    assert command("search", *settings, f"measures.indicator.{word}", "--out", str(out)) == 2
    answer = capfd.readouterr().err
    assert answer.count("\n") == 1
    assert f"measures.indicator.{word.partition('=')[0]} = " in answer
    assert told in answer
    assert not out.exists()


@pytest.mark.thorough
def test_no_search_takes_it_unasked_and_it_is_drawn(tmp_path: Path) -> None:
    api.run({**TINY, "search.epochs": 1}, out=tmp_path / "a")
    run = RunFolder(tmp_path / "a")
    assert not run.read_measures("indicator")
    with pytest.raises(UserError, match="has no measurement of indicator"):
        plot_figure("indicator", [run], tmp_path / "a.png")
    api.measure(run.path, {"indicator": QUICK})
    plot_figure("indicator", [run, run], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    with pytest.raises(UserError, match="drawn from runs"):
        plot_figure("indicator", [], tmp_path / "b.png")
