"""The score function of drawn cells: by enumeration and plain loops, and in searches.

Shapes: E edges, O operations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from naive_supernet import NaiveSupernet
from test_published import IDLE
from tiny import every_space, fingerprint, normal, tiny_settings, train_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import Draw, Progress
from optnas.algorithms.bilevel import Bilevel, LossValue
from optnas.algorithms.chosen import CHOSEN, OPEN
from optnas.algorithms.dsnas import drawn_or_fixed, fixed, score_function
from optnas.algorithms.single_level import train_gradient
from optnas.base.errors import UserError
from optnas.search.exam.base import difference
from optnas.search.exam.searches import tiny, trace
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state
from optnas.search.steps import arch_step, weight_step

NOW = Progress(1, 4)
WEIGHTS_FIRST = "weights-first"
Loss = Callable[[Tensor], Tensor]


def draw_of(cell: tuple[int, ...], alpha_EO: Tensor) -> Draw:
    """A draw whose numbers are such that a cell comes of it, but where alphas are 30 apart."""
    uniform_EO = torch.full(alpha_EO.shape, 1e-9, dtype=torch.float64)
    uniform_EO[range(len(cell)), cell] = 1 - 1e-12
    return Draw(0, uniform_EO)


def probability(cell: tuple[int, ...], alpha_EO: Tensor) -> Tensor:
    p_EO = alpha_EO.exp() / alpha_EO.exp().sum(-1, keepdim=True)
    return p_EO[range(len(cell)), cell].prod()


def one_hot(cell: tuple[int, ...], operations: int) -> Tensor:
    return torch.tensor([[float(o == s) for o in range(operations)] for s in cell]).double()


def gradient(loss: Loss, relax: Callable[[Tensor], Tensor], alpha_EO: Tensor) -> Tensor:
    """What the hypergradient of the train loss hands back."""

    def train_loss(op_weights_EO: Tensor, weights: Any, *, update: bool = False) -> LossValue:
        return LossValue(loss(op_weights_EO), None)

    problem = Bilevel(**{**vars(IDLE), "train_loss": train_loss})
    found_EO = train_gradient(problem, alpha_EO, relax).gradient_EO
    assert found_EO is not None
    return found_EO


# --- the relaxation ------------------------------------------------------------------------------


@pytest.mark.thorough
def test_operations_are_drawn_with_their_probabilities_independently_on_each_edge() -> None:
    """Every operation, and every pair of operations of the first two edges."""
    alpha_EO, many = normal(6, 5, seed=0), 6000
    p_EO, counts_EO = alpha_EO.softmax(-1), torch.zeros(6, 5, dtype=torch.float64)
    pairs_OO = torch.zeros(5, 5, dtype=torch.float64)
    for seed in range(many):
        drawn_EO = score_function(alpha_EO, Progress(1, 4, Draw(seed)))
        assert drawn_EO.sum(-1).tolist() == [1.0] * 6
        assert sorted(drawn_EO.unique().tolist()) == [0.0, 1.0]
        counts_EO += drawn_EO
        pairs_OO += drawn_EO[0][:, None] * drawn_EO[1]
    assert_close(counts_EO / many, p_EO, rtol=0, atol=4 * 0.5 / math.sqrt(many))
    assert_close(pairs_OO / many, torch.outer(p_EO[0], p_EO[1]), rtol=0, atol=0.025)


def test_the_gradient_is_the_score_of_the_draw_times_that_of_the_drawn_operation() -> None:
    """Entry by entry; where nothing is drawn the operation is that of the largest alpha."""
    alpha_EO, along_EO = normal(6, 5, seed=0), normal(6, 5, seed=1)
    for draw in (*map(Draw, range(5)), None):
        leaf_EO = alpha_EO.clone().requires_grad_()
        found_EO = score_function(leaf_EO, Progress(1, 4, draw))
        (here_EO,) = torch.autograd.grad((found_EO * along_EO).sum(), leaf_EO)
        noise_EO = torch.zeros(6, 5)
        if draw is not None:
            uniform_EO = torch.rand(6, 5, generator=draw.generator(), dtype=torch.float64)
            noise_EO = -(-uniform_EO.log()).log()
        for e in range(6):
            z = [float(alpha_EO[e, o] + noise_EO[e, o]) for o in range(5)]
            s, total = z.index(max(z)), sum(math.exp(a) for a in alpha_EO[e].tolist())
            assert found_EO[e].tolist() == [float(o == s) for o in range(5)]
            for o in range(5):
                score = float(o == s) - math.exp(float(alpha_EO[e, o])) / total
                assert float(here_EO[e, o]) == pytest.approx(float(along_EO[e, s]) * score)


def bilinear(A_EO: Tensor) -> Tensor:
    """Linear in each of two rows."""
    return A_EO[0] @ normal(3, 3, seed=5) @ A_EO[1]


def curved(A_EO: Tensor) -> Tensor:
    return (normal(4, 6, seed=6) @ A_EO.flatten()).logsumexp(-1) + bilinear(A_EO) ** 2


@pytest.mark.parametrize("loss", [bilinear, curved])
def test_its_mean_over_all_cells_is_that_of_the_equation(loss: Loss) -> None:
    """sum_s p[e, s] E[G[e, s] | s] (1[o = s] - p[e, o]), with E over the cells that have s.

    Where the loss is linear in each row that is the gradient of its mean over cells, to rounding;
    where it is not, another one: the local gradient is not what the operation costs.
    """
    alpha_EO = 0.7 * normal(2, 3, seed=2)
    p_EO = alpha_EO.softmax(-1)
    mean_EO, G_ESE = torch.zeros(2, 3).double(), torch.zeros(2, 3).double()
    leaf_EO = alpha_EO.clone().requires_grad_()
    expected = torch.zeros(()).double()
    for cell in itertools.product(range(3), repeat=2):
        draw = draw_of(cell, alpha_EO)
        found_EO = gradient(
            loss, lambda alpha, draw=draw: score_function(alpha, Progress(1, 4, draw)), alpha_EO
        )
        mean_EO += probability(cell, alpha_EO) * found_EO
        A_EO = one_hot(cell, 3).requires_grad_()
        (local_EO,) = torch.autograd.grad(loss(A_EO), A_EO)
        for e, s in enumerate(cell):
            G_ESE[e, s] += probability(cell, alpha_EO) / p_EO[e, s] * local_EO[e, s]
        expected = expected + probability(cell, leaf_EO) * loss(one_hot(cell, 3))
    closed_EO = torch.zeros(2, 3).double()
    for e, o, s in itertools.product(range(2), range(3), range(3)):
        closed_EO[e, o] += p_EO[e, s] * G_ESE[e, s] * (float(o == s) - p_EO[e, o])
    assert_close(mean_EO, closed_EO, rtol=1e-12, atol=1e-12)
    (true_EO,) = torch.autograd.grad(expected, leaf_EO)
    apart = float((mean_EO - true_EO).abs().max())
    assert apart < 1e-14 if loss is bilinear else apart > 0.05


# --- searches ------------------------------------------------------------------------------------


def dsnas(**more: Any) -> SearchState:
    return build_state(tiny_settings(**{"algorithm__name": "dsnas", **more}))


def test_no_validation_image_is_seen() -> None:
    state = dsnas()
    nothing: Any = None  # not looked at: an image of it would be an error
    for _ in range(3):
        train = train_batch(state, torch.arange(16))
        arch_step(state, train, nothing, NOW)
        weight_step(state, train, NOW)
    assert not torch.equal(state.alpha_EO, state.alpha_start_EO)


def test_a_weight_step_moves_the_weights_of_the_drawn_cell_alone() -> None:
    state = dsnas(weight_optimizer={"name": "SGD", "momentum": 0, "weight_decay": 0})
    before, now = fingerprint(state)["weights"], Progress(1, 4, Draw(4))
    cell = score_function(state.alpha_EO.detach(), now).argmax(-1).tolist()
    weight_step(state, train_batch(state, torch.arange(16)), now)
    drawn = {(str(e), state.space.operations[o]) for e, o in enumerate(cell)}
    moved = set()
    for name, weight in state.supernet.weights.items():
        if name.startswith("cells.") and not torch.equal(weight, before[name]):
            _, _, _, edge, operation, *_ = name.split(".")
            moved.add((edge, operation))
    assert moved
    assert moved <= drawn


@pytest.mark.parametrize("arch", ["Adam", "SGD"])
def test_handed_one_draw_both_levels_take_the_published_step(arch: str) -> None:
    """Published code draws once per step: one backward pass, whose alpha then is multiplied.

    Beside SNAS-Series/SNAS-Series, 9a43adb, `DSNAS/network.py`: 4.4e-16.

    Its network of 20 blocks in double precision, `.cuda()` a no-op, `_get_weights` handing out the
    cell that `score_function` draws, no dropout, no penalty, torch's cross-entropy, beside
    `train_gradient` on a copy whose blocks are weighed sums, its two optimizers on each, ten
    steps, another cell in each. Rate of alpha 0.001 on images of 224 and of 64, and 0.1 from alphas
    N(1, 1) on images of 64: gradients of alpha differ by at most 4.4e-16 (of 5.1), those of w by 0,
    alpha afterwards by 4.4e-16, w by 0. Cleared gradients are zeros there, as before torch 2.0; the
    weight step has the cell of the alpha step; at 0.1 it would have been another in 13 of 20. Its
    lines of `--early_fix_arch` beside `fixed` over 40 random walks of 85 epochs: equal.
    """
    rates = {"name": arch, "lr": 0.02, "weight_decay": 0.0}
    state = dsnas(
        arch_optimizer=rates | ({"betas": [0.5, 0.999]} if arch == "Adam" else {"momentum": 0.0}),
        weight_optimizer={"name": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 4e-5},
        clipping__max_norm=0,
        supernet__alpha_scale=1.0,
    )
    sizes = {"channels": 2, "cells": 1, "classes": 10, "image_channels": 1}
    net = NaiveSupernet(state.space.edges, state.space.operations, **sizes).double()
    net.load(state.supernet.weights)
    alpha_EO = state.alpha_EO.detach().clone().requires_grad_()
    of_w = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=4e-5)
    of_alpha = (
        torch.optim.Adam([alpha_EO], lr=0.02, betas=(0.5, 0.999))
        if arch == "Adam"
        else torch.optim.SGD([alpha_EO], lr=0.02)
    )
    chooses = torch.Generator().manual_seed(3)
    for step in range(6):
        train = train_batch(state, torch.arange(8 * step % 24, 8 * step % 24 + 8))
        cell = tuple(torch.randint(1, 5, (6,), generator=chooses).tolist())
        Z_EO = one_hot(cell, 5).requires_grad_()
        loss = F.cross_entropy(net.train()(train.images_BCHW, Z_EO), train.labels_B)
        loss_alpha = (Z_EO.detach() * alpha_EO.softmax(-1)).sum(-1).log().sum()
        of_w.zero_grad(set_to_none=False)
        of_alpha.zero_grad()
        (loss + loss_alpha).backward()
        assert Z_EO.grad is not None
        assert alpha_EO.grad is not None
        alpha_EO.grad *= (Z_EO.grad * Z_EO.detach()).sum(-1, keepdim=True)
        of_w.step()
        of_alpha.step()

        now = Progress(1, 4, draw_of(cell, alpha_EO))
        arch_step(state, train, train, now)
        weight_step(state, train, now)
        assert_close(state.alpha_EO.detach(), alpha_EO.detach(), rtol=1e-10, atol=1e-10)
        ours = {name: weight.detach() for name, weight in state.supernet.weights.items()}
        theirs = {name: weight.detach() for name, weight in net.named_weights().items()}
        assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_second_level_is_a_hypergradient_away() -> None:
    first_order = {"algorithm__hypergradient": "first-order"}
    levels = [dsnas(), dsnas(**first_order), dsnas(**first_order, search__step_order=WEIGHTS_FIRST)]
    for state in levels:
        session = Session(state)
        session.train_epoch()
        session.train_epoch()
    one, two, weights_first = (state.alpha_EO for state in levels)
    assert not torch.equal(one, two)
    assert not torch.equal(two, weights_first)


# Where an edge is fixed within a few steps.
MOVED = {"arch_optimizer__lr": 0.3, "supernet__alpha_scale": 1.0}
ON_DARTS = [
    (name, {"space__name": name, "benchmark__table": "none"}) for name in ("darts", "darts-s3")
]


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "changes"), [*every_space(), *ON_DARTS])
@pytest.mark.parametrize("margin", [1.0, 0.02])
def test_it_searches_every_space(name: str, changes: dict[str, Any], margin: float) -> None:
    """Where derived cells keep two edges into each node, a fixed ``none`` left a node without."""
    state = dsnas(**changes, **MOVED, algorithm__margin=margin, search__epochs=3)
    session = Session(state)
    for _ in range(4):
        session.train_epoch()
        session.measure()
    assert state.alpha_EO.isfinite().all()
    assert not torch.equal(state.alpha_EO, state.alpha_start_EO)
    chosen = state.memory[CHOSEN].tolist() if margin < 1 else []
    assert any(each != OPEN for each in chosen) == (margin < 1)
    if state.space.keeps_some:
        assert state.space.column_of(state.space.none) not in chosen


# --- early stop ----------------------------------------------------------------------------------


def test_edges_are_fixed_whose_two_most_probable_operations_are_so_far_apart() -> None:
    p_EO = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.35, 0.55], [0.625, 0.25, 0.125], [0.0, 1.0, 0.0]])
    chosen_E = torch.full((4,), OPEN)
    assert fixed(chosen_E, p_EO, 0.375).tolist() == [OPEN, OPEN, 0, 1]
    assert fixed(chosen_E, p_EO, 0.19).tolist() == [0, 2, 0, 1]
    assert fixed(torch.tensor([OPEN, 0, 2, OPEN]), p_EO, 0.19).tolist() == [0, 0, 2, 1]
    assert fixed(chosen_E, torch.ones(4, 1), 0.3).tolist() == [0, 0, 0, 0]
    assert fixed(chosen_E, p_EO, 0.19, torch.full((4,), 1)).tolist() == [0, 2, 0, OPEN]
    barred_E = torch.tensor([1, -1, 1, 0])
    assert fixed(chosen_E, p_EO, 0.19, barred_E).tolist() == [0, 2, 0, 1]


def test_a_fixed_edge_is_drawn_no_longer_and_has_no_gradient() -> None:
    alpha_EO, chosen_E = normal(6, 5, seed=0), torch.tensor([OPEN, 3, OPEN, 0, OPEN, 4])
    for draw in (*map(Draw, range(20)), None):
        leaf_EO = alpha_EO.clone().requires_grad_()
        now = Progress(3, 4, draw, {CHOSEN: chosen_E})
        found_EO, free_EO = drawn_or_fixed(leaf_EO, now), score_function(leaf_EO, now)
        for e, o in enumerate(chosen_E.tolist()):
            expected_O = free_EO[e] if o == OPEN else F.one_hot(torch.tensor(o), 5).double()
            assert torch.equal(found_EO[e], expected_O)
        (gradient_EO,) = torch.autograd.grad((found_EO * normal(6, 5, seed=1)).sum(), leaf_EO)
        assert gradient_EO.abs().sum(-1).bool().tolist() == (chosen_E == OPEN).tolist()


SOON = {
    "algorithm__margin": 0.12,
    "arch_optimizer__lr": 0.3,
    "search__epochs": 5,
    "supernet__alpha_scale": 0.1,
}


def test_a_search_fixes_edges_as_epochs_begin_and_keeps_them() -> None:
    state = dsnas(**SOON)
    session, chosen, open_edges = Session(state), [OPEN] * 6, []
    session.train_epoch()  # epoch 0
    for epoch in range(1, 6):
        p = state.alpha_EO.detach().softmax(-1).tolist()
        session.train_epoch()
        for e, row in enumerate(p):
            first, second, *_ = sorted(row, reverse=True)
            if chosen[e] == OPEN and first - second >= 0.12:
                chosen[e] = row.index(first)
        assert state.memory[CHOSEN].tolist() == chosen
        open_edges.append(chosen.count(OPEN))
        now, alpha_EO = state.progress(epoch), state.alpha_EO.detach()
        cell = state.algorithm.cell(alpha_EO, now)
        assert state.algorithm.relax(alpha_EO, now).argmax(-1).tolist() == cell
        assert all(own in (OPEN, read) for own, read in zip(chosen, cell, strict=True))
    assert len(set(open_edges)) > 2, open_edges


@pytest.mark.thorough
def test_with_edges_fixed_a_resumed_search_is_bit_for_bit_the_same() -> None:
    sections = {"algorithm": {"name": "dsnas", "margin": 0.02}, "arch_optimizer": {"lr": 0.3}}
    settings = tiny(sections | {"search": {"epochs": 4}})
    assert difference(trace(settings), trace(settings, stop=2)) is None


@pytest.mark.parametrize("margin", [0, -0.5, 1.5, math.nan])
def test_a_margin_is_a_difference_of_probabilities(margin: float) -> None:
    with pytest.raises(UserError, match=r"algorithm\.margin = "):
        dsnas(algorithm__margin=margin)
