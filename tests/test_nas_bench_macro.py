"""NAS-Bench-Macro: its networks against plain modules, searches on it, its table."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from cases import interrupted_run, timeless
from tiny import TINY, every_variant, normal, tiny_settings
from torch import Tensor, nn
from torch.testing import assert_close

from optnas.algorithms import parts
from optnas.algorithms.base import Progress
from optnas.base.errors import UserError
from optnas.measures.evaluation import Batch
from optnas.measures.indicator import costs
from optnas.measures.indicator.oneshot import score_cells
from optnas.search import api
from optnas.search.state import build_state
from optnas.spaces import build_space, functions
from optnas.spaces.network import Statistics, build_fixed, build_network
from optnas.spaces.tables import Question, load_table

MACRO = build_space({"name": "nas-bench-macro"})
SHAPE = (8, 3)
STAGES = (2, 3, 3)
TIGHT = {"rtol": 1e-10, "atol": 1e-10}
SIZES: dict[str, Any] = {"channels": 4, "cells": 1, "classes": 5, "image_channels": 2}
ON_MACRO = {"space__name": "nas-bench-macro", "benchmark__table": "nas-bench-macro"}
ASKED = Question("cifar10", "test", 50)


# --- the network, written out as modules -----------------------------------------------------


class Identity(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, affine: bool):
        super().__init__()
        self.keeps = stride == 1 and inputs == outputs
        if not self.keeps:
            self.conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.keeps else self.norm(self.conv(x))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, affine: bool, k: int, t: int):
        super().__init__()
        wide = t * inputs
        self.expand = nn.Conv2d(inputs, wide, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(wide, affine=affine)
        self.depth = nn.Conv2d(wide, wide, k, stride, k // 2, groups=wide, bias=False)
        self.depth_norm = nn.BatchNorm2d(wide, affine=affine)
        self.project = nn.Conv2d(wide, outputs, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(outputs, affine=affine)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand_norm(self.expand(x)).relu()
        y = self.depth_norm(self.depth(y)).relu()
        y = self.project_norm(self.project(y))
        return x + y if self.residual else y


class Twin(nn.Module):
    """Every candidate of every layer, and an auxiliary skip where the sides are halved."""

    def __init__(self, *, channels: int, classes: int, image_channels: int, affine: bool):
        super().__init__()
        self.stem = nn.Conv2d(image_channels, channels, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        self.layers, self.auxiliary = nn.ModuleList(), nn.ModuleDict()
        width = channels
        for layers in STAGES:
            for place in range(layers):
                site = (width, 2 * width, 2) if place == 0 else (width, width, 1)
                width = site[1]
                if place == 0:
                    self.auxiliary[str(len(self.layers))] = Identity(*site, affine)
                three = [Identity(*site, affine), Block(*site, affine, 3, 3)]
                self.layers.append(nn.ModuleList([*three, Block(*site, affine, 5, 6)]))
        self.head = nn.Conv2d(width, 40 * channels, 1, bias=False)
        self.head_norm = nn.BatchNorm2d(40 * channels)
        self.linear = nn.Linear(40 * channels, classes)

    def forward(self, x: Tensor, A_EO: Tensor, beta: float = 0.0) -> Tensor:
        x = self.stem_norm(self.stem(x)).relu()
        for place, (three, row) in enumerate(zip(self.layers, A_EO, strict=True)):
            assert isinstance(three, nn.ModuleList)
            y = sum(a * one(x) for a, one in zip(row, three, strict=True))
            if beta:
                y = y + beta * (self.auxiliary[str(place)](x) if place in (0, 2, 5) else x)
            x = y
        x = self.head_norm(self.head(x)).relu().mean((2, 3))
        return self.linear(x)

    def load(self, weights: dict[str, Tensor]) -> dict[str, nn.Parameter]:
        """Take over weights by our names; the parameters under those names."""
        named: dict[str, nn.Parameter] = {}
        for name, weight in weights.items():
            named[name] = self.get_parameter(theirs(name))
            with torch.no_grad():
                named[name].copy_(weight)
        return named


def theirs(name: str) -> str:
    """The twin's name of a weight."""
    name = name.replace("stem.conv", "stem").replace("stem.norm", "stem_norm")
    name = name.replace("head.conv", "head").replace("head.norm", "head_norm")
    name = name.replace("head.linear", "linear")
    if name.startswith("chain.edges."):
        _, _, layer, operation, *rest = name.split(".")
        last = rest.pop()
        inner = "_".join(rest) or "conv"
        if operation == "auxiliary":
            return f"auxiliary.{layer}.{inner}.{last}"
        return f"layers.{layer}.{MACRO.operations.index(operation)}.{inner}.{last}"
    return name


def net_of(**more: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    return build_network(MACRO, **SIZES, **more, generator=generator, dtype=torch.float64)


def twin_of(weights: dict[str, Tensor], *, affine: bool) -> tuple[Twin, dict[str, nn.Parameter]]:
    sizes = {key: SIZES[key] for key in ("channels", "classes", "image_channels")}
    with torch.random.fork_rng(devices=[]):
        twin = Twin(**sizes, affine=affine).double()
    return twin, twin.load(weights)


def assert_agree(logits: Tensor, ours: list[Tensor], expected: Tensor, twins: list[Tensor]) -> None:
    labels = torch.arange(6) % 5
    assert_close(logits, expected, **TIGHT)
    got = torch.autograd.grad(F.cross_entropy(logits, labels), ours)
    want = torch.autograd.grad(F.cross_entropy(expected, labels), twins)
    assert_close(list(got), list(want), **TIGHT)


def test_the_supernet_equals_its_plain_twin() -> None:
    net, x = net_of(), normal(6, 2, 12, 12, seed=1)
    twin, named = twin_of(net.weights, affine=False)
    A_EO, start = normal(*SHAPE, seed=3).requires_grad_(), net.initial_statistics()
    logits, after = net(x, A_EO, statistics=start, update=True)
    twin.train()
    theirs_EO = A_EO.detach().clone().requires_grad_()
    assert_agree(
        logits, [A_EO, *net.weights.values()], twin(x, theirs_EO), [theirs_EO, *named.values()]
    )
    # The running statistics too: in evaluation both judge by what one batch has left.
    twin.eval()
    judged = net.judged_by(A_EO.detach(), after)(x)
    assert_close(judged, twin(x, A_EO.detach()), **TIGHT)
    assert net(x, A_EO[None], statistics=None).logits_BK.equal(logits)
    assert sorted(MACRO.strided) == [0, 2, 5]
    assert A_EO.numel() == 24


@pytest.mark.parametrize("epoch", [1, 3])
def test_the_auxiliary_skip_is_a_branch_of_its_own_where_identity_downsamples(epoch: int) -> None:
    net, x = net_of(auxiliary=True), normal(6, 2, 12, 12, seed=1)
    twin, named = twin_of(net.weights, affine=False)
    assert sum("auxiliary" in name for name in named) == 3
    relax = parts.softmax_with_skip(0.8, space=MACRO)
    alpha_EO = normal(*SHAPE, seed=3).requires_grad_()
    logits = net(x, relax(alpha_EO, Progress(epoch, 4)), statistics=None).logits_BK
    twin.train()
    theirs_EO = alpha_EO.detach().clone().requires_grad_()
    expected = twin(x, theirs_EO.softmax(-1), beta=0.8 * (1 - (epoch - 1) / 4))
    leaves = [*net.weights.values()]
    assert_agree(logits, [alpha_EO, *leaves], expected, [theirs_EO, *named.values()])
    # A derived network has none.
    one_hot_EO = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1, 2, 0, 1]]
    plain = copy.copy(net)
    plain.placed = [layer[:3] for layer in net.placed]
    assert_close(
        net(x, one_hot_EO, statistics=None).logits_BK,
        plain(x, one_hot_EO, statistics=None).logits_BK,
        **TIGHT,
    )


@pytest.mark.parametrize("chosen", ["02012100", "11111221", "00000000", "22222222"])
def test_a_network_alone_equals_its_plain_twin(chosen: str) -> None:
    """And the published one, to 3e-15 in logits and gradients, and in its number of parameters.

    That of xiusu/NAS-Bench-Macro at 61a2bfc, for these four and 32 channels.
    """
    cell, x = MACRO.architecture(map(int, chosen)), normal(6, 2, 12, 12, seed=1)
    net = build_fixed(
        cell, **SIZES, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    twin, named = twin_of(net.weights, affine=True)
    logits = net(x, statistics=net.initial_statistics(), update=True).logits_BK
    twin.train()
    one_hot_EO = torch.eye(3, dtype=torch.float64)[list(cell.operations)]
    assert_agree(logits, [*net.weights.values()], twin(x, one_hot_EO), [*named.values()])


# --- searches --------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", ["darts", "darts-minus"])
def test_a_search_is_interrupted_and_resumed(algorithm: str, tmp_path: Any) -> None:
    changes = ON_MACRO | {"algorithm__name": algorithm, "search__epochs": 2}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    chosen = {key.replace("__", "."): value for key, value in changes.items()}
    api.run(TINY | chosen, out=whole)
    interrupted_run(cut, **changes)
    api.resume(cut)
    assert timeless(cut) == timeless(whole)
    last = api.load(whole).iloc[-1]
    cell = MACRO.parse(last["architecture"])
    table = load_table("nas-bench-macro", folder=None)
    assert last["benchmark.accuracy.cifar10"] == table.accuracy(cell, ASKED)
    assert last["skips"] == cell.count("identity")


@pytest.mark.slow
def test_every_algorithm_searches_it_or_says_in_one_line_why_not(tmp_path: Any) -> None:
    refused = {}
    for name, changes in every_variant():
        chosen = {key.replace("__", "."): value for key, value in (ON_MACRO | changes).items()}
        try:
            api.run(TINY | chosen, out=tmp_path / name)
        except UserError as error:
            refused[name] = error.reason.partition(", and")[0]
    # Partial channels: what bypasses the operations cannot double its width.
    no = "its network takes no mixed_cell"
    one = "compares cells of a network"
    assert refused == {
        **{"pc-darts": no, "pc-darts-unrolled": no},
        **{"lambda-darts": one, "lambda-darts-unrolled": one},
    }


@pytest.mark.parametrize("calibrated", [False, True])
def test_one_shot_scores_are_those_of_networks_with_the_shared_weights(calibrated: bool) -> None:
    net, judged = net_of(), [Batch(normal(6, 2, 8, 8, seed=k), torch.arange(6) % 5) for k in (1, 2)]
    calibration = [Batch(normal(8, 2, 8, 8, seed=3), torch.arange(8) % 5)] if calibrated else []
    cells = [MACRO.architecture(map(int, key)) for key in ("02012100", "11111221", "02012100")]
    found = score_cells(net, cells, judged, calibration=calibration)
    for place, cell in enumerate(cells):
        generator = torch.Generator().manual_seed(1)
        alone = build_fixed(cell, **SIZES, generator=generator, dtype=torch.float64)
        shared = {name: net.weights.get(name, weight) for name, weight in alone.weights.items()}
        statistics = None
        for batch in calibration:
            zero = alone.initial_statistics().mean_S
            after = alone(
                batch.images_BCHW, weights=shared, statistics=Statistics(zero, zero), update=True
            ).statistics
            assert after is not None
            statistics = Statistics(after.mean_S / 0.1, after.variance_S / 0.1)
        losses = [
            F.cross_entropy(
                alone(batch.images_BCHW, weights=shared, statistics=statistics).logits_BK,
                batch.labels_B,
            )
            for batch in judged
        ]
        assert_close(found.loss_N[place], torch.stack(losses).mean().detach(), **TIGHT)


@pytest.mark.thorough
def test_costs_are_those_that_were_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "CHANNELS", 32)
    monkeypatch.setattr(costs, "_counted", costs._counted.__wrapped__)
    cell = MACRO.architecture(map(int, "02012100"))
    assert (costs.parameters(cell), costs.flops(cell)) == (890_666, 47_327_744)


def test_what_compares_cells_is_refused_where_there_is_one() -> None:
    settings = tiny_settings(**ON_MACRO, algorithm__name="lambda-darts")
    with pytest.raises(UserError, match="that of nas-bench-macro is one cell; choose another"):
        build_state(settings)


def test_sides_may_be_odd_and_the_last_pixel_counts() -> None:
    assert tiny_settings(**ON_MACRO, data__resolution=9).data.resolution == 9
    with pytest.raises(UserError, match=r"data\.train_size = 65: .*; change it by one, or raise"):
        tiny_settings(**ON_MACRO, data__train_size=65, search__batch_size=16)


# --- the table -------------------------------------------------------------------------------


def test_the_table_has_three_trainings_of_each_function() -> None:
    table = load_table("nas-bench-macro", folder=None)
    cell = MACRO.architecture(map(int, "02012100"))
    assert table.accuracy(cell, ASKED) == pytest.approx((89.47 + 88.95 + 89.17) / 3)
    assert table.spread(cell, ASKED) == pytest.approx(np.std([89.47, 88.95, 89.17], ddof=1))
    assert (table.count(cell, ASKED), MACRO.index(cell)) == (3, int("02012100", 3))
    values = table.values(ASKED)
    best = MACRO.architecture_at(int(values.argmax()))
    assert (values.max().round(2), best.operations) == (93.13, (2, 2, 2, 1, 2, 2, 0, 2))
    # Networks of one function were trained once: identities that keep the size move freely.
    grouped = functions(MACRO)
    assert len(grouped) == 3969
    assert all(len({values[place] for place in places}) == 1 for places in grouped.values())


def test_the_page_has_the_noise_of_the_table() -> None:
    table = load_table("nas-bench-macro", folder=None)
    means = table.values(ASKED)
    spreads = np.array([table.spread(cell, ASKED) for cell in MACRO.all()])
    page = (Path(__file__).parents[1] / "docs" / "spaces.md").read_text()
    bins = [(means >= low) & (means < high) for low, high in ((75, 85), (85, 90), (90, 92))]
    bins.append(means >= 92)
    noise = [float(np.sqrt(np.square(spreads[inside]).mean())) for inside in bins]
    for name, numbers in (
        ("networks", [f"{inside.sum():,}" for inside in bins]),
        ("one training, points", [f"{each:.2f}" for each in noise]),
        ("a mean of three, points", [f"{each / 3**0.5:.2f}" for each in noise]),
    ):
        assert f"| {name} | {' | '.join(numbers)} |" in page
