"""Proxies of untrained networks against slow twins, and the measure against its parts.

Shapes: B images, C channels, H x W pixels, N cells.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from cases import command
from scipy import stats
from test_standalone import naive_logits
from tiny import TINY, trained
from topics import script
from torch import Tensor

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.base.seeds import named_generator
from optnas.measures.evaluation import Batch, clean_batch
from optnas.measures.indicator.measure import indicator
from optnas.measures.proxies.maths import proxies_of, synflow
from optnas.measures.proxies.measure import PROXIES, _compared, proxies
from optnas.report.pictures import plot_figure
from optnas.search import api
from optnas.search.observe import snapshot_of
from optnas.spaces import NAS_BENCH_201, Architecture, Space
from optnas.spaces.nas_bench_macro import NAS_BENCH_MACRO
from optnas.spaces.network import FixedNetwork, build_fixed
from optnas.spaces.toy import TOY

QUICK: dict[str, Any] = {"uniform": 12, "top": 6, "batch_size": 8, "images": 40, "resamples": 20}
CELLS = [(3, 3, 2, 3, 3, 3), (2, 1, 3, 4, 2, 3), (4, 4, 1, 4, 1, 4), (1, 3, 0, 2, 0, 3)]


def network(cell: Architecture, channels: int = 3, images: int = 1) -> FixedNetwork:
    return build_fixed(
        cell,
        channels=channels,
        cells=1,
        classes=4,
        image_channels=images,
        generator=torch.Generator().manual_seed(5),
        dtype=torch.float64,
    )


def batch(size: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(
        torch.randn(size, 1, 8, 8, generator=generator, dtype=torch.float64),
        torch.randint(4, (size,), generator=generator),
    )


# --- twins


def masked(net: FixedNetwork, cell: Architecture, seen: Batch) -> tuple[float, float]:
    """grad_norm and snip, by a factor c = 1 on each weight and the network written out."""
    factors = {
        name: torch.ones_like(weight, requires_grad=True)
        for name, weight in net.weights.items()
        if ".weight" in name and "norm" not in name
    }
    held = {name: factors.get(name, 1) * w.detach() for name, w in net.weights.items()}
    loss = F.cross_entropy(naive_logits(held, cell, seen.images_BCHW, 1), seen.labels_B)
    loss.backward()
    norms, sensitivities = [], []
    for name, factor in factors.items():
        assert factor.grad is not None
        by_factor = factor.grad.flatten().tolist()
        weights = net.weights[name].flatten().tolist()
        norms.append(math.sqrt(sum((g / w) ** 2 for g, w in zip(by_factor, weights, strict=True))))
        sensitivities.append(sum(abs(g) for g in by_factor))
    return sum(norms), sum(sensitivities)


def flow(weights: dict[str, Tensor], cell: Architecture, side: int) -> float:
    """The sum of the logits of an image of ones, without batch norms and ReLUs."""
    x = F.conv2d(torch.ones(1, 1, side, side).double(), weights["stem.conv.weight"], padding=1)
    for stage in range(3):
        if stage:
            r = f"reductions.{stage - 1}"
            y = F.conv2d(x, weights[f"{r}.conv_a.weight"], stride=2, padding=1)
            y = F.conv2d(y, weights[f"{r}.conv_b.weight"], padding=1)
            x = y + F.conv2d(F.avg_pool2d(x, 2), weights[f"{r}.shortcut.weight"])
        nodes = [x] + [torch.zeros_like(x) for _ in range(cell.space.nodes - 1)]
        for e, (source, target) in enumerate(cell.space.edges):
            name = cell.operation_names[e]
            y = nodes[source]
            if "conv" in name:
                w = weights.get(f"cells.{stage}.edges.{e}.{name}.weight")
                y = y * 0 if w is None else F.conv2d(y, w, padding=w.shape[-1] // 2)
            elif name == "avg_pool_3x3":
                y = F.avg_pool2d(y, 3, 1, 1, count_include_pad=False)
            elif name == "none":
                y = y * 0
            nodes[target] = nodes[target] + y
        x = nodes[-1]
    out = x.mean((2, 3)) @ weights["head.linear.weight"].T + weights["head.linear.bias"]
    return float(out.sum())


def lost_flow(net: FixedNetwork, cell: Architecture, side: int) -> float:
    """How much less flows without a weight, added up over the weights: no derivative is taken."""
    held = {name: weight.detach().abs().clone() for name, weight in net.weights.items()}
    whole, lost = flow(held, cell, side), 0.0
    for weight in held.values():
        if weight.ndim > 1:
            entries = weight.view(-1)
            for i, value in enumerate(entries.tolist()):
                entries[i] = 0
                lost += whole - flow(held, cell, side)
                entries[i] = value
    return lost


def alike(net: FixedNetwork, cell: Architecture, seen: Batch, monkeypatch: Any) -> float:
    """log |det K|, of codes written down ReLU by ReLU, pair by pair of images."""
    codes: list[list[bool]] = [[] for _ in seen.labels_B]

    def relu(x: Tensor) -> Tensor:
        for code, image in zip(codes, x, strict=True):
            code.extend((image > 0).flatten().tolist())
        return x * (x > 0)

    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "relu", relu)
        naive_logits({n: w.detach() for n, w in net.weights.items()}, cell, seen.images_BCHW, 1)
    K = [[sum(a == b for a, b in zip(one, other, strict=True)) for other in codes] for one in codes]
    return math.log(abs(np.linalg.det(np.array(K, dtype=np.float64))))


@pytest.mark.parametrize("operations", CELLS)
def test_proxies_are_their_slow_twins(
    operations: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each also equals the published code, on the same weights and images in double precision.

    Compared once, outside the project, on seven cells of NAS-Bench-201, three of them with dead
    edges (8 channels, 2 cells per stage, 16 images of 16x16), in `TinyNetwork` of
    github.com/BayesWatch/nas-without-training at b3a82a6:

    - ``grad_norm``, ``snip`` and ``synflow`` of github.com/SamsungLabs/zero-cost-nas at a43bfbc:
      relative differences of at most 6e-16, dead edges or not. In its own `NAS201Model` (16
      channels, 5 cells, its biases at 0) the first two agree to 3e-15. Its SynFlow there is smaller
      by a factor of 620 to 840, because the batch norms of the reductions stay.
    - NASWOT of the second: no difference without dead edges, once each ReLU is counted once. Its
      hooks are put on every module whose class has ReLU in its name, and so count the ReLU of a
      `ReLUConvBN` twice and that of the head once; counted so, ours has no difference either.
    """
    cell, seen = NAS_BENCH_201.architecture(operations), batch()
    net = network(cell)
    found = proxies_of(net, seen)
    assert tuple(found) == PROXIES
    norm, sensitivity = masked(net, cell, seen)
    assert found["grad_norm"] == pytest.approx(norm, rel=1e-9)
    assert found["snip"] == pytest.approx(sensitivity, rel=1e-9)
    assert found["naswot"] == pytest.approx(alike(net, cell, seen, monkeypatch), rel=1e-9)


@pytest.mark.parametrize("operations", CELLS[:2])
def test_synflow_is_what_is_lost_without_each_weight(operations: tuple[int, ...]) -> None:
    cell = NAS_BENCH_201.architecture(operations)
    net = network(cell, channels=1)
    found = synflow(net, torch.Size((1, 4, 4)))
    assert found == pytest.approx(lost_flow(net, cell, 4), rel=1e-6)


def test_synflow_is_finite_where_single_precision_would_overflow() -> None:
    cell = NAS_BENCH_201.architecture((3,) * 6)
    net = build_fixed(
        cell,
        channels=16,
        cells=5,
        classes=10,
        image_channels=3,
        generator=torch.Generator().manual_seed(0),
    )
    found = synflow(net, torch.Size((3, 8, 8)))
    assert torch.finfo(torch.float32).max < found < math.inf


def test_a_proxy_changes_nothing() -> None:
    net, seen = network(NAS_BENCH_201.architecture(CELLS[0])), batch()
    before = {name: weight.detach().clone() for name, weight in net.weights.items()}
    state = torch.get_rng_state()
    assert proxies_of(net, seen) == proxies_of(net, seen)
    assert all(torch.equal(before[name], weight) for name, weight in net.weights.items())
    assert all(weight.grad is None for weight in net.weights.values())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("space", "operations"), [(TOY, (1, 0, 2)), (NAS_BENCH_MACRO, (0, 1, 2, 0, 1, 2, 0, 1))]
)
def test_networks_of_other_spaces_have_proxies(space: Space, operations: tuple[int, ...]) -> None:
    found = proxies_of(network(space.architecture(operations)), batch())
    assert all(math.isfinite(value) and value > 0 for value in found.values()), found


def test_of_a_cell_without_a_path_nothing_flows_and_all_images_are_alike() -> None:
    found = proxies_of(network(NAS_BENCH_201.architecture((3, 0, 0, 0, 0, 0))), batch())
    assert found == {"grad_norm": 0, "snip": 0, "synflow": 0, "naswot": -math.inf}


def test_equal_images_have_no_determinant() -> None:
    seen = batch()
    seen.images_BCHW[3] = seen.images_BCHW[1]
    net = network(NAS_BENCH_201.architecture(CELLS[0]))
    assert proxies_of(net, seen)["naswot"] == -math.inf


# --- the measure


def measured(**settings: Any) -> tuple[Any, Any]:
    state = trained({}, 1)
    state.epoch = 1
    return proxies(**{**QUICK, **settings}).measure(snapshot_of(state, "proxies")), state


def test_the_measure_is_its_parts() -> None:
    found, state = measured()
    numbers, arrays = found.numbers, found.arrays
    seen = clean_batch(state.valid, torch.arange(8), torch.float64)
    for place in (0, len(arrays["index"]) - 1):
        cell = state.space.architecture_at(int(arrays["index"][place]))
        net = build_fixed(
            cell,
            channels=2,
            cells=1,
            classes=10,
            image_channels=1,
            generator=named_generator(0, "proxies"),  # in every epoch
            dtype=torch.float64,
        )
        for name, value in proxies_of(net, seen).items():
            assert arrays[name][place] == pytest.approx(value)
    truth = state.table.values(state.table.coverage.headline[0])
    assert (truth[arrays["index"]] == arrays["benchmark"]).all()
    ranked = {"tau": stats.kendalltau, "spearman": stats.spearmanr}
    for suffix, keep in (("", arrays["uniform"]), ("_top", arrays["top"])):
        y = arrays["benchmark"][keep]
        for statistic, rank in ranked.items():
            for name in ("one_shot", *PROXIES, "parameters", "convolutions_3x3"):
                expected = rank(arrays[name][keep], y).statistic
                assert numbers[f"{statistic}{suffix}"][name] == pytest.approx(expected)
        tau, lead = numbers[f"tau{suffix}"], numbers[f"lead{suffix}"]
        assert list(lead) == list(tau)[1:]
        for name, value in lead.items():
            assert value == pytest.approx(tau["one_shot"] - tau[name])
            low, high = (numbers[f"lead{suffix}_{end}"][name] for end in ("low", "high"))
            assert low <= value <= high
    assert numbers["not_finite"] == dict.fromkeys(PROXIES, 0)
    assert (numbers["images"], numbers["judged"]) == (8, 40)


@pytest.mark.thorough
def test_its_cells_and_its_one_shot_accuracies_are_those_of_indicator() -> None:
    (found, state), settings = measured(), {"uniform": 12, "top": 6, "images": 40}
    other = indicator(**settings, resamples=20).measure(snapshot_of(state, "indicator"))
    places = other.arrays["connected"]
    for name in ("index", "benchmark", "uniform", "top"):
        np.testing.assert_array_equal(found.arrays[name], other.arrays[name][places])
    np.testing.assert_array_equal(found.arrays["one_shot"], other.arrays["accuracy"][places])
    assert found.numbers["tau"]["one_shot"] == other.numbers["tau"]
    assert found.numbers["lead"]["convolutions_3x3"] == other.numbers["tau_minus_convolutions"]
    for key in ("disconnected", "asked"):
        assert found.numbers[key] == other.numbers[key]
    more, _ = measured(uniform=60, top=12)
    assert set(found.arrays["index"]) <= set(more.arrays["index"])


def test_cells_without_a_finite_value_are_left_out_and_counted() -> None:
    state = trained({}, 0)
    state.epoch = 0
    snapshot = snapshot_of(state, "proxies")
    images = state.valid.images_NCHW.clone()
    images[1] = images[0]
    valid = dataclasses.replace(state.valid, images_NCHW=images)
    snapshot = dataclasses.replace(snapshot, images={**snapshot.images, "valid": valid})
    numbers = proxies(**QUICK).measure(snapshot).numbers
    cells = numbers["uniform"] - numbers["disconnected"] + numbers["top"]
    assert 0 < numbers["not_finite"].pop("naswot") <= cells
    assert set(numbers["not_finite"].values()) == {0}
    for statistic in ("tau", "spearman", "lead", "lead_top_low"):
        assert numbers[statistic]["naswot"] is None
        assert numbers[statistic]["synflow"] is not None


def test_both_sides_of_a_difference_are_of_the_cells_that_have_a_value() -> None:
    truth = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    one_shot, naswot = np.array([1.0, 2.0, 4.0, 3.0, 0.0]), np.array([4.0, 3, 2, 1, -math.inf])
    ranks = {"one_shot": one_shot, "naswot": naswot}
    found = _compared(ranks, truth, np.ones(5, dtype=bool), "", 20, seed=0)
    assert found["tau"] == {
        "one_shot": pytest.approx(stats.kendalltau(one_shot, truth).statistic),
        "naswot": -1,
    }
    of_four = stats.kendalltau(one_shot[:4], truth[:4]).statistic
    assert found["lead"]["naswot"] == pytest.approx(of_four + 1)


def test_a_stand_alone_network_has_the_sizes_of_the_run() -> None:
    state = trained({"supernet__channels": 4, "supernet__cells": 2}, 0)
    cell = state.space.architecture((3,) * 6)
    net = snapshot_of(state).alone(cell, torch.Generator().manual_seed(0))
    assert net.weights["stem.conv.weight"].shape == (4, 1, 3, 3)
    assert net.weights["head.linear.weight"].shape == (10, 16)
    assert "cells.5.edges.0.nor_conv_3x3.weight" in net.weights
    assert next(iter(net.weights.values())).dtype == torch.float64


def test_without_a_table_it_says_so() -> None:
    state = trained({"benchmark__table": "none"}, 0)
    state.epoch = 0
    with pytest.raises(UserError, match="compared with a benchmark table, and the run has none"):
        proxies(**QUICK).measure(snapshot_of(state, "proxies"))


def test_a_data_set_the_table_lacks_is_refused_under_the_name_of_the_measure() -> None:
    with pytest.raises(UserError, match=r"measures\.proxies\.dataset = 'digits'.*choose one"):
        measured(dataset="digits")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("uniform=1", "is out of range; use 2 or more"),
        ("batch_size=1", "is out of range; use 2 or more"),
        ("resamples=0", "is out of range; use 1 or more"),
        ("proxies=snip", "has no setting 'proxies'"),
    ],
)
def test_bad_settings_are_one_line(
    word: str, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = [f"{key}={value}" for key, value in TINY.items()]
    words = ["search", *settings, f"measures.proxies.{word}", "--out", str(tmp_path / "a")]
    assert command(*words) == 2
    answer = capfd.readouterr().err
    assert answer.count("\n") == 1
    assert f"measures.proxies.{word.partition('=')[0]} = " in answer
    assert told in answer
    assert not (tmp_path / "a").exists()


@pytest.mark.thorough
def test_no_search_takes_it_unasked_and_it_is_drawn(tmp_path: Path) -> None:
    api.run({**TINY, "search.epochs": 1}, out=tmp_path / "a")
    run = RunFolder(tmp_path / "a")
    assert not run.read_measures("proxies")
    with pytest.raises(UserError, match="has no measurement of proxies"):
        plot_figure("proxies", [run], tmp_path / "a.png")
    api.measure(run.path, {"proxies": QUICK})
    plot_figure("proxies", [run], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    with pytest.raises(UserError, match=r"at this epoch.*choose among 0, 1"):
        plot_figure("proxies", [run], tmp_path / "a.png", {"epoch": 5})


def test_the_page_quotes_its_records() -> None:
    page = script("proxies")
    text = page.DOCUMENT.read_text()
    assert page.built(text, page.PARTS, page.RUNS) == text, "make figures"
    of_seed: dict[int, list[Any]] = {}
    for run in page.RUNS:
        config, (line,) = run.read_config(), run.read_measures("proxies")
        assert f"protocol={config['protocol']}" in text
        values = line["values"]
        assert values["not_finite"] == dict.fromkeys(PROXIES, 0)
        assert 97 <= values["uniform"] - values["disconnected"] <= values["top"] == 100
        for ranked_by in ("synflow", "naswot", "convolutions_3x3", "parameters"):
            assert values["lead_high"][ranked_by] < 0
        of_seed.setdefault(config["search"]["seed"], []).append(run.measures.arrays(line))
    assert sorted(of_seed) == [9, 10]
    for one, other in of_seed.values():  # two algorithms, the same untrained networks
        for name in ("index", *PROXIES):
            np.testing.assert_array_equal(one[name], other[name])
