"""Perturbations, relaxations, discretizations, radii and learning-rate schedules.

Symbols: A operation weights, r radius. Shapes: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_supernet import MixedEdge, NaiveSupernet
from tiny import tiny_settings
from torch import Tensor, nn
from torch.testing import assert_close

from optnas.algorithms.base import Perturb, Progress
from optnas.algorithms.parts import (
    Radius,
    argmax_per_edge,
    attack,
    softmax,
    softmax_with_skip,
    uniform,
    unperturbed,
)
from optnas.algorithms.parts.perturbations import clip_and_renormalise, project_on_box_and_simplex
from optnas.base.errors import UserError
from optnas.optimizers.schedules.common import constant, cosine, linear
from optnas.spaces.nasbench201 import NAS_BENCH_201
from optnas.spaces.network import Supernet

E, O = 3, 4
MIDDLE = Progress(3, 4)  # half way
unhurried = settings(
    deadline=None, max_examples=50
)  # the first call of a torch function may take a second
projections = pytest.mark.parametrize("projection", ["published", "exact"])

entries = st.floats(-3, 3).map(lambda x: round(x, 6))
matrices = st.lists(entries, min_size=E * O, max_size=E * O).map(
    lambda values: torch.tensor(values, dtype=torch.float64).reshape(E, O)
)
simplices = matrices.map(lambda alpha_EO: (3 * alpha_EO).softmax(-1))
radii = st.sampled_from([0.0, 1e-9, 0.03, 0.3, 1.0])


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def start(seed: int = 0) -> Tensor:
    return torch.randn(E, O, generator=rng(seed), dtype=torch.float64).softmax(-1)


def on_simplex(rows_EO: Tensor) -> bool:
    sums_E = rows_EO.sum(-1)
    return bool((rows_EO >= 0).all()) and bool(((sums_E - 1).abs() < 1e-12).all())


# --- the two ways back ------------------------------------------------------------------------


@unhurried
@given(matrices)
def test_clipping_clamps_fills_empty_rows_and_divides(y_EO: Tensor) -> None:
    expected = []
    for row in y_EO.tolist():
        clamped = [min(max(x, 0.0), 1.0) for x in row]
        if sum(clamped) == 0:
            clamped[row.index(max(row))] = 1.0
        expected.append([x / sum(clamped) for x in clamped])
    before = y_EO.clone()
    found = clip_and_renormalise(y_EO)
    assert torch.equal(y_EO, before)
    assert on_simplex(found)
    assert_close(found, torch.tensor(expected, dtype=torch.float64))


@unhurried
@given(simplices)
def test_clipping_keeps_a_point_of_the_simplex(A_EO: Tensor) -> None:
    assert_close(clip_and_renormalise(A_EO), A_EO, rtol=0, atol=1e-15)


def bisected(y_O: Tensor, low_O: Tensor, high_O: Tensor) -> Tensor:
    """clamp(y - tau, low, high) with a sum of one, tau by bisection."""
    left, right = float((y_O - high_O).min()), float((y_O - low_O).max())
    for _ in range(60):
        tau = (left + right) / 2
        too_much = (y_O - tau).clamp(low_O, high_O).sum() > 1
        left, right = (tau, right) if too_much else (left, tau)
    return (y_O - right).clamp(low_O, high_O)


@unhurried
@given(matrices, simplices, radii)
def test_projection_is_the_nearest_point_of_box_and_simplex(
    y_EO: Tensor, A_EO: Tensor, r: float
) -> None:
    before = y_EO.clone(), A_EO.clone()
    found = project_on_box_and_simplex(y_EO, A_EO, r)
    assert torch.equal(y_EO, before[0])
    assert torch.equal(A_EO, before[1])
    assert on_simplex(found)
    assert float((found - A_EO).abs().max()) <= r + 1e-12
    low_EO, high_EO = (A_EO - r).clamp(min=0), A_EO + r
    rows = [bisected(*row) for row in zip(y_EO, low_EO, high_EO, strict=True)]
    assert_close(found, torch.stack(rows), rtol=0, atol=1e-11)


@unhurried
@given(simplices, simplices, radii)
def test_projection_keeps_a_point_of_both(A_EO: Tensor, B_EO: Tensor, r: float) -> None:
    share = min(1.0, r)  # |B - A| <= 1, so this far towards B stays inside the box
    inside_EO = A_EO + share * (B_EO - A_EO)
    found = project_on_box_and_simplex(inside_EO, A_EO, r)
    assert_close(found, inside_EO, rtol=0, atol=1e-13)


# --- perturbations ----------------------------------------------------------------------------

RADIUS = (0.1, 0.3)  # 0.2 half way
KINDS: dict[str, Callable[[Any], Perturb]] = {
    "uniform": lambda projection: uniform(*RADIUS, projection),
    "attack": lambda projection: attack(*RADIUS, 7, projection),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def toy_loss(seed: int) -> Callable[[Tensor], Tensor]:
    """A smooth function of A with several bumps."""
    slope, curve, phase = (
        torch.randn(E * O, n, generator=rng(1000 + seed), dtype=torch.float64) for n in (1, 8, 8)
    )
    return lambda A_EO: (
        (A_EO.reshape(-1) @ slope).sum() + (4 * A_EO.reshape(-1) @ curve + phase[0]).sin().sum()
    )


def test_radius_starts_at_start_and_never_reaches_end() -> None:
    radius = Radius(0.03, 0.3)
    assert radius.at(Progress(0, 100)) == radius.at(Progress(1, 100)) == 0.03
    assert radius.at(Progress(51, 100)) == pytest.approx(0.165)
    assert radius.at(Progress(100, 100)) == pytest.approx(0.3 - 0.27 / 100)


def test_unperturbed_hands_its_input_back_and_draws_nothing() -> None:
    generator, A_EO = rng(0), start()
    assert unperturbed(A_EO, toy_loss(0), MIDDLE, generator) is A_EO
    assert torch.equal(generator.get_state(), rng(0).get_state())


@kinds
@projections
def test_perturbed_weights_are_on_the_simplex_and_their_input_is_kept(
    kind: str, projection: str
) -> None:
    perturb = KINDS[kind](projection)
    for seed in range(20):
        A_EO = start(seed)
        before = A_EO.clone()
        found = perturb(A_EO, toy_loss(seed), MIDDLE, rng(seed))
        assert torch.equal(A_EO, before)
        assert not A_EO.requires_grad
        assert on_simplex(found)
        if projection == "exact":
            assert float((found - A_EO).abs().max()) <= 0.2 + 1e-12


@kinds
@projections
def test_rows_of_other_sums_keep_them_and_a_radius_of_0_moves_nothing(
    kind: str, projection: str
) -> None:
    """An auxiliary skip is what a row has over 1; gates sum to anything, shut ones to 0."""
    still = {"uniform": uniform(0.0, 0.0, projection), "attack": attack(0.0, 0.0, 7, projection)}
    for seed in range(20):
        sums_E1 = 2 * torch.rand(E, 1, generator=rng(seed), dtype=torch.float64)
        sums_E1[seed % E] = 0.0
        A_EO = sums_E1 * start(seed)
        assert_close(still[kind](A_EO, toy_loss(seed), MIDDLE, rng(seed)), A_EO, atol=1e-12, rtol=0)
        found = KINDS[kind](projection)(A_EO, toy_loss(seed), MIDDLE, rng(seed))
        assert_close(found.sum(-1, keepdim=True), sums_E1, atol=1e-12, rtol=0)
        assert float(found.min()) >= 0
        if projection == "exact":
            assert float((found - A_EO).abs().max()) <= 0.2 + 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_sum_to_1_but_for_rounding_are_brought_back_as_published_bit_for_bit(
    dtype: torch.dtype,
) -> None:
    rounded = 0
    for seed in range(20):
        A_EO = start(seed).to(dtype)
        rounded += int((A_EO.sum(-1) != 1).sum())
        noise_EO = torch.rand(E, O, generator=rng(seed), dtype=torch.float64)
        moved_EO = A_EO + ((2 * noise_EO - 1) * 0.2).to(dtype)
        expected = {
            "published": clip_and_renormalise(moved_EO),
            "exact": project_on_box_and_simplex(moved_EO, A_EO, 0.2),
        }
        for projection, each in expected.items():
            found = KINDS["uniform"](projection)(A_EO, toy_loss(0), MIDDLE, rng(seed))
            assert torch.equal(found, each)
    assert rounded > 0


@kinds
@projections
def test_perturbations_draw_one_number_an_entry_from_their_generator_only(
    kind: str, projection: str
) -> None:
    perturb, generator, spent = KINDS[kind](projection), rng(5), rng(5)
    around = torch.get_rng_state()
    first = perturb(start(), toy_loss(0), MIDDLE, generator)
    assert torch.equal(torch.get_rng_state(), around)
    torch.rand(E, O, generator=spent, dtype=torch.float64)
    assert torch.equal(generator.get_state(), spent.get_state())
    torch.manual_seed(99)
    assert torch.equal(perturb(start(), toy_loss(0), MIDDLE, rng(5)), first)


@kinds
def test_noise_drawn_ahead_is_that_of_the_generator(kind: str) -> None:
    perturb, unused = KINDS[kind]("published"), rng(6)
    ahead_EO = torch.rand(E, O, generator=rng(5), dtype=torch.float64)
    found = perturb(start(), toy_loss(0), replace(MIDDLE, noise_EO=ahead_EO), unused)
    assert torch.equal(found, perturb(start(), toy_loss(0), MIDDLE, rng(5)))
    assert torch.equal(unused.get_state(), rng(6).get_state())


def test_uniform_noise_fills_its_interval() -> None:
    """Around the middle of the simplex clipping does not bite, and r = 0.2 is the largest move."""
    A_EO = torch.full((2000, 5), 0.2, dtype=torch.float64)
    found = uniform(*RADIUS, "published")(A_EO, toy_loss(0), MIDDLE, rng(1))
    noise_EO = 0.2 * (2 * torch.rand(2000, 5, generator=rng(1), dtype=torch.float64) - 1)
    assert_close(found, (A_EO + noise_EO) / (A_EO + noise_EO).sum(-1, keepdim=True))
    assert float(found.mean(0).sub(0.2).abs().max()) < 0.01


@projections
def test_the_attack_raises_the_loss_further_than_its_random_start(projection: str) -> None:
    moved, gains, random_gains = 0, [], []
    for seed in range(50):
        loss, A_EO = toy_loss(seed), start(seed)
        attacked = KINDS["attack"](projection)(A_EO, loss, MIDDLE, rng(seed))
        random = KINDS["uniform"](projection)(A_EO, loss, MIDDLE, rng(seed))
        moved += not torch.equal(attacked, A_EO)
        gains.append(float(loss(attacked) - loss(A_EO)))
        random_gains.append(float(loss(random) - loss(A_EO)))
    assert min(gains) >= 0
    assert moved >= 45
    assert sum(gains) / 50 > sum(random_gains) / 50 + 1


@projections
def test_an_attack_that_lowers_the_loss_is_undone(projection: str) -> None:
    A_EO = start()
    found = KINDS["attack"](projection)(
        A_EO, lambda B_EO: -(B_EO - A_EO).square().sum().sqrt(), MIDDLE, rng(0)
    )
    assert torch.equal(found, A_EO)


@projections
def test_a_linear_loss_is_attacked_to_its_maximum(projection: str) -> None:
    """Two operations: the most that can be moved from the cheap one to the dear one is r."""
    A_EO, price_O = torch.tensor([[0.5, 0.5]], dtype=torch.float64), torch.tensor([-1.0, 1.0])
    found = attack(0.2, 0.2, 7, projection)(
        A_EO, lambda B_EO: (B_EO @ price_O.double()).sum(), MIDDLE, rng(0)
    )
    assert_close(found, torch.tensor([[0.3, 0.7]], dtype=torch.float64))


# --- relaxations and discretizations ----------------------------------------------------------


@unhurried
@given(matrices, st.floats(0, 2), st.integers(1, 4))
def test_relaxations_are_softmax_and_a_fading_skip(
    alpha_EO: Tensor, beta: float, epoch: int
) -> None:
    exponentials_EO = alpha_EO.exp()
    expected = exponentials_EO / exponentials_EO.sum(-1, keepdim=True)
    assert_close(softmax(alpha_EO, Progress(epoch, 4)), expected)
    expected[:, 1] += beta * (1 - (epoch - 1) / 4)
    assert_close(
        softmax_with_skip(beta, space=NAS_BENCH_201)(alpha_EO, Progress(epoch, 4)), expected
    )


@pytest.mark.parametrize(
    ("epoch", "epochs", "share"),
    [(0, 40, 1), (1, 40, 1), (40, 40, 0.61), (101, 200, 0), (102, 200, 0)],
)
def test_the_auxiliary_skip_may_fade_over_another_length_than_the_run(
    epoch: int, epochs: int, share: float
) -> None:
    """As in OptDARTS: (100 - e) / 100 in epoch e from 0, whatever the length; then nothing."""
    alpha_EO = torch.randn(6, 5, generator=rng(2), dtype=torch.float64)
    expected_EO = alpha_EO.softmax(-1)
    expected_EO[:, 1] += 2 * share
    relax = softmax_with_skip(2.0, 100, space=NAS_BENCH_201)
    assert_close(relax(alpha_EO, Progress(epoch, epochs)), expected_EO)


class EdgeBesideInput(nn.Module):
    def __init__(self, edge: MixedEdge, beta: float):
        super().__init__()
        self.candidates, self.edge, self.beta = edge.candidates, edge, beta

    def forward(self, x_BCHW: Tensor, weights_O: Tensor) -> Tensor:
        return self.edge(x_BCHW, weights_O) + self.beta * x_BCHW


@pytest.mark.parametrize("epoch", [1, 3])
def test_added_weight_equals_an_auxiliary_skip_on_every_edge(epoch: int) -> None:
    space, sizes = NAS_BENCH_201, {"channels": 2, "cells": 2, "classes": 3, "image_channels": 1}
    net = Supernet(space, **sizes, generator=rng(0), dtype=torch.float64)
    naive = NaiveSupernet(space.edges, space.operations, **sizes).double()
    naive.load(net.weights)
    for cell in (cell for stage in naive.stages for cell in stage):
        beta = 1 - (epoch - 1) / 4
        cell.edges = nn.ModuleList(EdgeBesideInput(edge, beta) for edge in cell.edges)
    images_BCHW = torch.randn(4, 1, 8, 8, generator=rng(1), dtype=torch.float64)
    alpha_EO = torch.randn(6, 5, generator=rng(2), dtype=torch.float64)
    relax = softmax_with_skip(1.0, space=space)
    found = net(images_BCHW, relax(alpha_EO, Progress(epoch, 4)), statistics=None).logits_BK
    assert_close(found, naive.train()(images_BCHW, alpha_EO.softmax(-1)), rtol=1e-10, atol=1e-10)


def test_discretization_takes_the_first_of_equals_and_knows_no_forbidden_operation() -> None:
    alpha_EO = torch.tensor([[0.0, 2.0, 2.0], [1.0, 0.0, -1.0], [3.0, 3.0, 3.0]])
    assert argmax_per_edge(alpha_EO) == [1, 0, 0]


# --- schedules --------------------------------------------------------------------------------


def torch_rates(make: Callable[[torch.optim.Optimizer], Any], epochs: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.025)
    scheduler = make(optimizer)
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


TORCH = torch.optim.lr_scheduler
SCHEDULES = {
    "constant": (constant, {}, lambda o, n: TORCH.ConstantLR(o, 1.0)),
    "cosine": (
        cosine,
        {"final_lr": 0.001},
        lambda o, n: TORCH.CosineAnnealingLR(o, n, eta_min=0.001),
    ),
    "cosine to a share": (
        cosine,
        {"final_share": 0.04},
        lambda o, n: TORCH.CosineAnnealingLR(o, n, eta_min=0.001),
    ),
    "linear to a share": (
        linear,
        {"final_share": 0.04},
        lambda o, n: TORCH.LinearLR(o, 1.0, 0.04, total_iters=n),
    ),
    "linear": (
        linear,
        {"final_lr": 0.001},
        lambda o, n: TORCH.LinearLR(o, 1.0, 0.001 / 0.025, total_iters=n),
    ),
}
schedules = pytest.mark.parametrize("name", SCHEDULES)


@schedules
@pytest.mark.parametrize("epochs", [1, 7, 100])
def test_schedules_are_torchs(name: str, epochs: int) -> None:
    make, options, torchs = SCHEDULES[name]
    rates = [make(**options)(0.025, epoch, epochs) for epoch in range(1, epochs + 1)]
    assert rates == pytest.approx(torch_rates(lambda o: torchs(o, epochs), epochs), rel=1e-9)


@schedules
def test_warmup_rises_to_the_initial_rate_then_follows_the_rest(name: str) -> None:
    make, options, torchs = SCHEDULES[name]
    warmed = make(**options, warmup_epochs=3)
    rates = [warmed(0.025, epoch, 10) for epoch in range(1, 11)]
    assert rates[:4] == pytest.approx([0.025 * part for part in (0.25, 0.5, 0.75, 1.0)])
    assert rates[3:] == pytest.approx(torch_rates(lambda o: torchs(o, 7), 7))
    with pytest.raises(UserError, match="negative"):
        make(**options, warmup_epochs=-1)


@pytest.mark.parametrize(
    ("algorithm", "told"),
    [
        ({"name": "fair-darts", "threshold": 3.0}, r"algorithm\.threshold = 3\.0: a gate is"),
        ({"name": "pc-darts", "warmup": 1.0}, r"algorithm\.warmup = 1\.0: is out of range"),
        ({"name": "drnas", "kl": -1.0}, r"algorithm\.kl = -1\.0: is not negative"),
        (
            {"name": "nasp", "complexity_weight": -1.0},
            r"algorithm\.complexity_weight = -1\.0: is",
        ),
    ],
)
def test_what_an_algorithm_refuses_is_refused_with_the_settings(
    algorithm: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        tiny_settings(algorithm=algorithm)
