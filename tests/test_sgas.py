"""Edges that are decided one after the other: scores by plain loops, the schedule, and searches.

Shapes: E edges, O operations, K past epochs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from test_derived_cells import Trying, built
from tiny import normal, tiny_settings, train_batch, valid_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import Algorithm, Progress
from optnas.algorithms.sgas import decided_after, scored
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.measures.snapshot import derived
from optnas.search.session import Session
from optnas.search.state import build_state
from optnas.search.steps import arch_step
from optnas.spaces import build_space
from optnas.spaces.base import Space

SPACES = ["nas-bench-201", "darts", "darts-s1", "darts-s3"]


# --- by which edges are decided ------------------------------------------------------------------


def test_none_in_one_kind_of_cell_says_nothing_of_the_other() -> None:
    """S_EI of the kind without it is 1 but for rounding, which must not decide there."""
    without = [["avg_pool_3x3", "skip_connect", "sep_conv_3x3"]] * 14
    others = [["none", "skip_connect", "sep_conv_3x3"]] * 14
    some = build_space({"name": "darts", "candidates": without + others})
    no_edge = build_space({"name": "darts", "candidates": without * 2})
    for seed in range(20):
        alpha_EO = normal(28, 3, seed=seed)
        found, expected = scored(alpha_EO, some), scored(alpha_EO, no_edge)
        assert torch.equal(found.score_E[:14], expected.score_E[:14])
        assert (found.score_E[:14] > 0).sum() > 11
        assert not torch.equal(found.score_E[14:], expected.score_E[14:])


def test_both_criteria_by_hand() -> None:
    space = Space("three", 3, ((0, 1), (0, 2), (1, 2)), ("none", "a", "b"), none=0, skip=None)
    A_EO = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.8, 0.0], [0.0, 0.75, 0.25]]).double()
    # Importance 0.5, 0.8, 1 becomes 0, 0.6, 1; certainty is 0, 1 and that of a coin of 1 in 4.
    coin = 1 + 0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)
    found = scored(A_EO.log(), space)
    assert_close(found.score_E.tolist(), [0.0, 0.6, coin])
    assert_close(found.shares_EO.tolist(), [[0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [0.0, 0.75, 0.25]])
    past_KEO = torch.tensor(
        [
            [[0.0, 0.5, 0.5], [0.0, 0.0, 1.0], [0.0, 0.75, 0.25]],
            [[0.0, 0.5, 0.5], [0.0, 0.5, 0.5], [0.0, 0.25, 0.75]],
        ]
    ).double()
    # Stability 1, 0.25, 0.75 becomes 1, 0, 2 / 3: another edge comes first.
    assert_close(scored(A_EO.log(), space, past_KEO).score_E.tolist(), [0.0, 0.0, coin * 2 / 3])
    # Without a past nothing is steady, and of equals the first edge comes first.
    assert not scored(A_EO.log(), space, past_KEO[:0]).score_E.any()


class Twin:
    """What the published code does after each epoch, in plain lists; edges one after the other."""

    def __init__(self, space: Space, criterion: int, history: int):
        self.space, self.criterion, self.history = space, criterion, history
        self.chosen = [-1] * space.edge_count
        self.alpha: list[list[float]] = []
        self.past: list[list[list[float]]] = []
        self.groups, row = list[list[list[int]]](), 0
        for wiring in space.wirings:
            nodes: dict[int, list[int]] = {}
            for _, target in wiring.edges:
                nodes.setdefault(target, []).append(row)
                row += 1
            self.groups.append(list(nodes.values()))
        self.kept = space.wirings[0].kept or 100

    def scores(self, alpha_EO: Tensor) -> tuple[list[float], list[list[float]]]:
        old = self.alpha or alpha_EO.tolist()
        rows = zip(self.chosen, old, alpha_EO.tolist(), strict=True)
        self.alpha = [before if decided != -1 else now for decided, before, now in rows]
        importance, certainty, shares, stability = [], [], [], []
        for e, row in enumerate(self.alpha):
            exps = [math.exp(each) for each in row]
            columns = self.space.columns_at(e)
            some = [o for o, operation in enumerate(columns) if operation != self.space.none]
            A = [each / sum(exps) for each in exps]
            importance.append(sum(A[o] for o in some))
            p = [A[o] / importance[-1] if o in some else 0.0 for o in range(len(row))]
            shares.append(p)
            entropy = -sum(p[o] * math.log(p[o]) for o in some)
            certainty.append(1 - entropy / math.log(len(some)))
            same = [sum(map(min, each[e], p)) for each in self.past]
            stability.append(sum(same) / len(same) if same else 0.0)
        factors = [certainty]
        if any(self.space.none in self.space.columns_at(e) for e in range(len(shares))):
            factors.append(importance)
        factors += [stability] if self.criterion == 2 else []
        found = [1.0] * len(shares)
        for nodes in self.groups:
            edges = [e for node in nodes for e in node]
            for factor in factors:
                low, high = min(factor[e] for e in edges), max(factor[e] for e in edges)
                for e in edges:
                    found[e] *= (factor[e] - low) / (high - low) if high > low else 0.0
        self.past = [*self.past, shares][-self.history :]
        return found, shares

    def decide(self, scores: list[float], shares: list[list[float]]) -> None:
        """One edge of each kind of cell."""
        for nodes in self.groups:
            best = -1
            for e in (e for node in nodes for e in node):
                if self.chosen[e] == -1 and (best == -1 or scores[e] > scores[best]):
                    best = e
            if best != -1:
                self.chosen[best] = shares[best].index(max(shares[best]))
            for node in nodes:
                if sum(self.chosen[e] >= 0 for e in node) >= self.kept:
                    for e in node:
                        self.chosen[e] = -2 if self.chosen[e] == -1 else self.chosen[e]


def drifting(space: Space, epochs: int, seed: int) -> list[Tensor]:
    """Alpha before the first epoch and after each."""
    steps = normal(epochs, space.edge_count, space.operation_count, seed=seed)
    return [torch.zeros_like(steps[0]), *(0.3 * steps).cumsum(0)]


def decided(algorithm: Algorithm, alphas: list[Tensor]) -> list[Progress]:
    """Where the search stands in each epoch, its decisions made."""
    assert algorithm.select is not None
    assert algorithm.start is not None
    epochs = len(alphas) - 1
    progress, found = Progress(1, epochs, memory=algorithm.start()), []
    for epoch in range(1, epochs + 1):
        progress = replace(progress, epoch=epoch)
        if epoch >= algorithm.select.begins(epochs):
            A_EO = algorithm.relax(alphas[epoch - 1], progress)
            trial = Trying(alphas[epoch - 1], A_EO, progress, lambda _: math.nan)
            memory = {**progress.memory, **algorithm.select.choose(trial)}
            progress = replace(progress, memory=memory)
            assert not trial.judged
        found.append(progress)
    return found


@pytest.mark.parametrize("criterion", [1, 2])
@pytest.mark.parametrize("space_name", SPACES)
def test_edges_are_decided_as_in_the_published_code(space_name: str, criterion: int) -> None:
    """Beside lightaime/sgas, 9cfff65, `cnn/train_search.py` and `check_edges`.

    Its `edge_decision` for both kinds of cell, its histograms in double precision, handed 50 epochs
    of random alphas of the space of DARTS, in steps of 0.003, 0.1 and 1, five seeds, criterion 1,
    and 2 with K = 1, 4 and 7: all 960 decisions are the same ones after the same epochs. The
    largest difference of scores while edges are open is 6.6e-11 in steps of 0.003, where entropies
    are equal but for the sixth digit, and 1.4e-12 in the others.
    """
    space, history = build_space({"name": space_name}), 3
    alphas = drifting(space, 50, seed=criterion)
    algorithm = built("sgas", space, criterion=criterion, history=history)
    twin, found = Twin(space, criterion, history), decided(algorithm, alphas)
    due = [sum(kept for _, kept in nodes_of(space, kind)) for kind in range(len(twin.groups))]
    for epoch in range(1, 50):
        past_KEO = found[epoch - 1].memory["history_KEO"] if criterion == 2 else None
        scores, shares = twin.scores(alphas[epoch])
        held_EO = torch.tensor(twin.alpha, dtype=torch.float64)
        if -1 in twin.chosen:  # later all are steady, but for rounding
            own = scored(held_EO, space, past_KEO)
            assert_close(own.score_E.tolist(), scores, rtol=0, atol=1e-12)
            assert_close(own.shares_EO.tolist(), shares, rtol=0, atol=1e-12)
        if epoch in decided_after(50, max(due), 0.2, 0.1):
            twin.decide(scores, shares)
        assert found[epoch].memory["chosen_E"].tolist() == twin.chosen
        assert torch.equal(found[epoch].memory["held_EO"], held_EO)
    assert -1 not in twin.chosen


def nodes_of(space: Space, kind: int) -> list[tuple[range, int]]:
    """Of one kind of cell, the rows of the edges into each node, and how many stay."""
    wiring = space.wirings[kind]
    first = sum(len(each.edges) for each in space.wirings[:kind])
    own = [j.rows for j in space.joints if first <= j.rows.start < first + len(wiring.edges)]
    return [(rows, wiring.kept or len(rows)) for rows in own]


# --- when ----------------------------------------------------------------------------------------


def test_the_published_schedule_is_that_of_fifty_epochs_and_eight_edges() -> None:
    """Published code counts from 0: a warm-up of 9, then every 5 epochs, and 6 with the last."""
    published = [epoch + 1 for epoch in range(50) if epoch >= 9 and (epoch - 9) % 5 == 0][:8]
    assert decided_after(50, 8, 0.2, 0.1) == published == [10, 15, 20, 25, 30, 35, 40, 45]
    space = build_space({"name": "darts"})
    chosen = [
        each.memory["chosen_E"] for each in decided(built("sgas", space), drifting(space, 50, 0))
    ]
    counts = [int((each[:14] >= 0).sum()) for each in chosen]
    assert counts == [sum(after < epoch for after in published) for epoch in range(1, 51)]
    assert counts == [int((each[14:] >= 0).sum()) for each in chosen]


@pytest.mark.parametrize(
    ("epochs", "decisions", "expected"),
    [
        (50, 6, [10, 17, 24, 31, 38, 45]),
        (10, 6, [2, 3, 4, 6, 7, 9]),
        (4, 6, [1, 1, 1, 2, 2, 3]),
        (2, 3, [1, 1, 1]),
        (1, 3, [0, 0, 0]),
        (20, 1, [4]),
    ],
)
def test_a_run_of_any_length_has_its_decisions(
    epochs: int, decisions: int, expected: list[int]
) -> None:
    assert decided_after(epochs, decisions, 0.2, 0.1) == expected


def test_decisions_are_spread_evenly_before_the_last_epoch() -> None:
    for epochs in range(1, 60):
        for decisions in range(1, 20):
            for warmup, after in ((0.2, 0.1), (0.0, 0.0), (0.5, 0.5), (0.0, 0.9), (0.9, 0.0)):
                found = decided_after(epochs, decisions, warmup, after)
                gaps = [b - a for a, b in itertools.pairwise(found)]
                assert len(found) == decisions
                assert min(1, epochs - 1) <= found[0]
                assert found[-1] < epochs
                assert not gaps or max(gaps) - min(gaps) <= 1


# --- what is decided -----------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 2, 5, 30])
@pytest.mark.parametrize("space_name", registry.names("space"))
def test_every_edge_is_decided_by_the_end(space_name: str, epochs: int) -> None:
    space = build_space({"name": space_name})
    for criterion in (1, 2):
        algorithm = built("sgas", space, criterion=criterion)
        alphas = drifting(space, epochs, 7)
        last = decided(algorithm, alphas)[-1]
        chosen = last.memory["chosen_E"].tolist()
        assert -1 not in chosen
        for kind in range(len(space.wirings)):
            for rows, kept in nodes_of(space, kind):
                assert sum(chosen[e] >= 0 for e in rows) == kept
        operations = [space.columns_at(e)[o] if o >= 0 else None for e, o in enumerate(chosen)]
        assert space.none is None or space.none not in operations
        cell = derived(algorithm, alphas[-1], last, space)
        assert cell == [space.none if each is None else each for each in operations]
        A_EO = algorithm.relax(alphas[-1], last)
        rows = torch.tensor([each >= 0 for each in chosen])
        one_hot_EO = F.one_hot(torch.tensor(chosen).clamp(min=0), space.operation_count)
        assert torch.equal(A_EO, (one_hot_EO * rows[:, None]).double())


def test_a_decided_edge_stays_in_the_cell_whatever_the_open_ones_are() -> None:
    """Into node 3 of the first kind edge 2 is decided, and alphas of edges 3 and 4 grow."""
    space = build_space({"name": "darts"})
    algorithm = built("sgas", space)
    alpha_EO = torch.zeros(28, 8, dtype=torch.float64)
    alpha_EO[3:5, 4] = 20.0
    chosen_E = torch.full((28,), -1)
    chosen_E[2] = 1
    cell = derived(algorithm, alpha_EO, Progress(3, 9, memory={"chosen_E": chosen_E}), space)
    assert cell[2:5] == [1, 4, 0]


@pytest.mark.thorough
def test_a_search_trains_on_and_a_decided_row_is_one_hot() -> None:
    """Its alpha has no gradient, and decay and momentum go on; scores have it as it was."""
    changes: dict[str, Any] = {"algorithm__name": "sgas", "search__epochs": 10}
    plain = Session(build_state(tiny_settings(search__epochs=10)))
    session = Session(build_state(tiny_settings(**changes)))
    state, held = session.state, dict[int, Tensor]()
    optimizer = state.weight_optimizer
    counts = []
    for epoch in range(11):
        before_EO = state.alpha_EO.detach().clone()
        old = state.memory["chosen_E"].tolist()
        rates = [session.train_epoch()[key] for key in ("weight_lr",)]
        assert rates == [plain.train_epoch()["weight_lr"]]
        chosen = state.memory["chosen_E"].tolist()
        A_EO = state.algorithm.relax(state.alpha_EO.detach(), state.progress(epoch))
        for e in (e for e in range(6) if chosen[e] != -1):
            if old[e] == -1:
                held[e] = before_EO[e]
            assert chosen[e] == old[e] or old[e] == -1
            assert A_EO[e].tolist() == F.one_hot(torch.tensor(chosen[e]), 5).tolist()
            assert torch.equal(state.memory["held_EO"][e], held[e])
            assert not torch.equal(state.alpha_EO[e], held[e])
        counts.append(len(held))
    assert counts == [0, 0, 0, 1, 2, 3, 3, 4, 5, 5, 6]
    assert state.weight_optimizer is optimizer
    assert session.snapshot.choice == state.memory["chosen_E"].tolist()
    state.memory = {**state.memory, "chosen_E": torch.tensor([-1, 2, -1, 1, -1, -1])}
    arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), Progress(9, 10))
    assert state.alpha_EO.grad is not None
    assert state.alpha_EO.grad.any(dim=-1).tolist() == [True, False, True, False, True, True]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"criterion": 3}, r"algorithm\.criterion = 3: .*use one of: 1, 2"),
        ({"history": 0}, r"algorithm\.history = 0: .*use 1 or more"),
        ({"warmup": -0.1}, r"algorithm\.warmup = -0\.1: .*use 0\.0 or more"),
        ({"after": 1.0}, r"algorithm\.after = 1\.0: .*use less than 1\.0"),
        (
            {"warmup": 0.75, "after": 0.5},
            r"algorithm\.after = 0\.5: this and warmup = 0\.75 are more than the whole run; lower",
        ),
    ],
)
def test_bad_settings_are_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        tiny_settings(algorithm={"name": "sgas", **changes})
    assert "\n" not in str(raised.value)


def test_an_optimizer_that_reads_its_rate_once_may_train_the_weights() -> None:
    """No rate is set by this selection; one that sets it refuses Rprop."""
    changes = {"weight_optimizer": {"name": "Rprop", "schedule": "constant"}}
    tiny_settings(algorithm__name="sgas", **changes)
    with pytest.raises(UserError, match="sets that of the network weights"):
        tiny_settings(algorithm__name="darts-pt", **changes)
