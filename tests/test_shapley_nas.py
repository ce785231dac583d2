"""Shapley values of operations: by plain loops, of games with known values, and in searches.

Beside Euphoria16/Shapley-NAS, 0649727: 4.4e-16. Its `shap_estimation` and `change_alpha` as they
are, in double precision on its `Network` (four channels, three cells, two inner nodes: 70 players),
asked four times with five weight steps in between, beside `shapley` on the same network, batches of
64 and orders, thresholds 0, 0.5 and 0.9: the largest difference of the standardised values; of
alpha under plain SGD at 0.1 and momentum 0.8 of the part, 5.6e-17. Both ask the network equally
often. That is with the published s started at 0; started from N(0, 0.001^2) as published, alpha is
5.4e-4 away. SGD with momentum and dampening 0.8 is up to 0.76 away. One estimate with four inner
nodes, 196 players, is equal.

Shapes: E edges, O operations, P players, M samples.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, pstdev, stdev
from typing import Any

import pytest
import torch
from test_derived_cells import built
from test_published import IDLE
from tiny import assert_same, fingerprint, normal, tiny_settings, train_batch, valid_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import Draw, Progress
from optnas.algorithms.bilevel import Bilevel, Hypergradient, Judged
from optnas.algorithms.shapley_nas import gains, players_of, shapley
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.data.batches import fresh_batch
from optnas.measures.evaluation import augmented_batch, evaluate_batches
from optnas.search.draws import draw_epoch, seed_of
from optnas.search.exam.base import difference
from optnas.search.exam.searches import tiny, trace
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state
from optnas.search.steps import arch_step
from optnas.spaces import build_space
from optnas.spaces.base import Space

NOW = Progress(2, 2)
# Of fewer orders, cut short, the values of tiny networks are often all the same.
QUICK = {"samples": 2, "threshold": 0.0}
SGD = {"name": "SGD", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}
TOY: dict[str, Any] = {"space__name": "toy", "benchmark__table": "toy"}
MACRO: dict[str, Any] = {"space__name": "nas-bench-macro", "benchmark__table": "nas-bench-macro"}
Game = Callable[[Tensor], float]


def search(own: Mapping[str, Any] = QUICK, **changes: Any) -> SearchState:
    changes = {"arch_optimizer": SGD, **TOY, **changes}
    return build_state(tiny_settings(algorithm={"name": "shapley-nas", **own}, **changes))


def asked(games: Sequence[Game], progress: Progress = NOW) -> Bilevel:
    """A problem whose further validation batches are these games."""

    def more(count: int, images: int) -> list[Judged]:
        del images
        assert count == len(games)
        return [
            Judged(lambda A, w, game=game: torch.tensor(game(A), dtype=torch.float64), Draw(seed))
            for seed, game in enumerate(games)
        ]

    return dataclasses.replace(IDLE, progress=progress, weights={}, more_valid_batches=more)


def weighed(seed: int, shape: Sequence[int]) -> Game:
    """Accuracies that depend on which operations are there, and on one another."""
    worth_EO = normal(*shape, seed=seed).abs()

    def accuracy(op_weights_EO: Tensor) -> float:
        there = float((worth_EO * (op_weights_EO != 0)).sum() / worth_EO.sum())
        return 100 * there**1.5

    return accuracy


def plainly(
    space: Space,
    games: Sequence[Game],
    op_weights_EO: Tensor,
    threshold: float,
    seeds: Sequence[int] = range(9),
) -> list[list[float]]:
    """The published estimate in Python's numbers, player by player; ``none`` is no player."""
    kinds, before = [], 0
    for wiring in space.wirings:
        kinds.append([*range(before, before := before + len(wiring.edges))])
    players = [
        (e, o)
        for e in range(space.edge_count)
        for o, operation in enumerate(space.columns_at(e))
        if operation != space.none
    ]
    samples: dict[tuple[int, int], list[float]] = {player: [] for player in players}
    for seed, game in zip(seeds, games, strict=False):
        order = torch.randperm(len(players), generator=torch.Generator().manual_seed(seed))
        left = [list(row) for row in op_weights_EO.tolist()]
        accuracy = full = game(torch.tensor(left))
        found = dict.fromkeys(players, 0.0)
        for place in order.tolist():
            e, o = players[place]
            left[e][o] = 0.0
            now = game(torch.tensor(left))
            found[e, o] = accuracy - now
            accuracy = now
            if accuracy < threshold * full:
                break
        for player, gain in found.items():
            samples[player].append(gain)
    value = {player: fmean(each) - pstdev(each) for player, each in samples.items()}
    rows = [[0.0] * space.operation_count for _ in range(space.edge_count)]
    for kind in kinds:
        here = {player: v for player, v in value.items() if player[0] in kind}
        mean, spread = fmean(here.values()), stdev(here.values())
        for (e, o), v in here.items():
            rows[e][o] = -(v - mean) / spread
    return rows


# --- the estimate --------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("space_name", registry.names("space"))
def test_the_gradient_is_minus_the_published_value(space_name: str, threshold: float) -> None:
    space = build_space({"name": space_name})
    alpha_EO = normal(space.edge_count, space.operation_count, seed=9)
    games = [weighed(seed, alpha_EO.shape) for seed in range(3)]
    part = shapley(3, threshold, 8, 0.0, space=space)
    found = part(asked(games), alpha_EO, lambda alpha_EO: alpha_EO.softmax(-1))
    A_EO = alpha_EO.softmax(-1)
    expected_EO = torch.tensor(plainly(space, games, A_EO, threshold), dtype=torch.float64)
    assert_close(found.gradient_EO, expected_EO, rtol=1e-9, atol=1e-11)
    assert float(found.loss) == pytest.approx(1 - fmean(game(A_EO) for game in games) / 100)  # type: ignore[arg-type]


def test_over_all_orders_the_mean_gain_is_the_shapley_value() -> None:
    """By its definition, a sum over coalitions, on an edge of four operations."""
    game = weighed(3, (1, 4))
    A_EO = torch.full((1, 4), 0.25, dtype=torch.float64)

    def of(coalition: tuple[int, ...]) -> float:
        there_EO = torch.zeros_like(A_EO)
        there_EO[0, list(coalition)] = 0.25
        return game(there_EO)

    orders = list(itertools.permutations(range(4)))
    found = torch.stack([gains(game, A_EO, order, 0.0, game(A_EO)) for order in orders]).mean(0)
    for p in range(4):
        others, expected = [o for o in range(4) if o != p], 0.0
        for size in range(4):
            for coalition in itertools.combinations(others, size):
                share = math.factorial(size) * math.factorial(3 - size) / math.factorial(4)
                expected += share * (of((*coalition, p)) - of(coalition))
        assert float(found[p]) == pytest.approx(expected)


def test_below_the_threshold_the_rest_of_an_order_counts_nothing() -> None:
    asks = []

    def game(op_weights_EO: Tensor) -> float:
        asks.append(int((op_weights_EO == 0).sum()))
        return 100.0 - 20 * asks[-1]

    A_EO = torch.full((1, 5), 0.2)
    assert gains(game, A_EO, [4, 2, 0, 1, 3], 0.5, 100.0).tolist() == [20, 0, 20, 0, 20]
    assert asks == [1, 2, 3]  # 40 is below 50, 60 is not
    assert bool((A_EO == 0.2).all())


def test_equal_values_are_no_direction() -> None:
    space = build_space({"name": "toy"})
    part = shapley(2, 0.5, 8, 0.0, space=space)
    alpha_EO = torch.zeros(space.edge_count, space.operation_count, dtype=torch.float64)
    found = part(asked([lambda A: 50.0] * 2), alpha_EO, lambda alpha_EO: alpha_EO.softmax(-1))
    assert found.gradient_EO is not None
    assert not found.gradient_EO.any()


def test_players_are_kind_by_kind_and_without_none() -> None:
    space = build_space({"name": "darts"})
    normal_cell, reduction_cell = players_of(space)
    assert normal_cell[:8] == [1, 2, 3, 4, 5, 6, 7, 9]
    assert reduction_cell == [14 * 8 + place for place in normal_cell]
    assert sum(map(len, players_of(build_space({"name": "nas-bench-201"})))) == 6 * 4


# --- momentum ------------------------------------------------------------------------------------


def test_the_parts_momentum_is_the_published_one_and_sgds_counts_the_first_five_times() -> None:
    """A momentum of torch begins at the first gradient, undamped: 0.8 x 5 of it more in the end."""
    space = build_space({"name": "toy"})
    kept, bare = (shapley(2, 0.5, 8, 0.0, momentum, space=space) for momentum in (0.8, 0.0))
    start_EO = normal(space.edge_count, space.operation_count, seed=4)
    plain, sgd = (start_EO.clone().requires_grad_() for _ in range(2))
    steps = {
        "plain": torch.optim.SGD([plain], lr=0.1),
        "sgd": torch.optim.SGD([sgd], lr=0.1, momentum=0.8, dampening=0.8),
    }
    published_EO, sum_EO, memory = start_EO.clone(), torch.zeros_like(start_EO), {}
    first_EO = None
    for epoch in range(1, 31):
        games = [weighed(10 * epoch + m, start_EO.shape) for m in range(2)]
        now = Progress(epoch, 30)
        value_EO = bare(asked(games, now), start_EO, torch.nn.Softmax(-1)).gradient_EO
        assert value_EO is not None
        first_EO = value_EO if first_EO is None else first_EO
        sum_EO = 0.8 * sum_EO - (1 - 0.8) * value_EO
        published_EO += 0.1 * sum_EO
        held = dataclasses.replace(now, memory=memory)
        found = kept(asked(games, held), start_EO, torch.nn.Softmax(-1))
        memory = {**memory, **(found.memory or {})}
        plain.grad, sgd.grad = found.gradient_EO, value_EO
        for step in steps.values():
            step.step()
    assert_close(plain.detach(), published_EO, rtol=0, atol=1e-14)
    assert first_EO is not None
    more_EO = -0.1 * 0.8 * (1 - 0.8**30) / (1 - 0.8) * first_EO
    assert_close(sgd.detach() - published_EO, more_EO, rtol=0, atol=1e-14)


# --- in a search ---------------------------------------------------------------------------------


def alphas(state: SearchState) -> list[list[Tensor]]:
    """Alpha before each epoch's steps and after each of them, epoch by epoch."""
    session, found = Session(state), []
    session.train_epoch()
    for _ in range(state.settings.search.epochs):
        session.begin_epoch()
        found.append([state.alpha_EO.detach().clone()])
        for draws in draw_epoch(state):
            session.step(draws)
            found[-1].append(state.alpha_EO.detach().clone())
    return found


@pytest.mark.parametrize("arch", [SGD, {"name": "Adam"}, {"name": "sam", "lr": 0.1}])
@pytest.mark.parametrize("order", ["arch-first", "weights-first"])
def test_alpha_moves_in_the_first_step_of_each_epoch_after_the_warm_up(
    order: str, arch: dict[str, Any]
) -> None:
    if arch["name"] == "sam":
        arch = {**arch, "base": {"name": "SGD"}}
    own = {**QUICK, "warmup": 0.4}
    for epoch, (before, *after) in enumerate(
        alphas(search(own, search__epochs=4, search__step_order=order, arch_optimizer=arch)), 1
    ):
        assert len(after) > 1
        assert torch.equal(after[0], before) == (epoch <= 2)  # round(1.6)
        assert all(torch.equal(each, after[0]) for each in after)


def test_the_last_epoch_moves_alpha_however_long_the_warm_up() -> None:
    moved = [
        not torch.equal(after[0], before)
        for before, *after in alphas(search({**QUICK, "warmup": 0.99}, search__epochs=2))
    ]
    assert moved == [False, True]
    ((before, *after),) = alphas(search(search__epochs=1))
    assert not torch.equal(before, after[0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_step_is_that_of_the_plain_estimate_on_batches_of_its_own_stream(dtype: str) -> None:
    """The search's network judged batch by batch; only alpha, memory and that stream have moved."""
    own = {"samples": 2, "threshold": 0.7, "images": 24}
    state = search(own, supernet__dtype=dtype, supernet__alpha_scale=0.5)
    drawn = torch.Generator()
    drawn.set_state(state.generators["more-valid-batches"].get_state())
    generator = torch.Generator().manual_seed(seed_of(drawn))
    games, orders = [], []
    for _ in range(2):
        indices_B = fresh_batch(len(state.valid), 24, generator)
        batch = augmented_batch(
            state.valid, indices_B, state.valid_augmentation, generator, state.dtype
        )
        orders.append(seed_of(generator))

        def game(A: Tensor, batch: Any = batch) -> float:
            A_EO = A.to(state.alpha_EO)
            return evaluate_batches(state.supernet, [batch], A_EO, statistics=None)[1]

        games.append(game)
    A_EO = state.alpha_EO.detach().softmax(-1)
    gradient = plainly(state.space, games, A_EO, 0.7, orders)
    train, valid = train_batch(state, torch.arange(16)), valid_batch(state)
    before, start_EO = fingerprint(state), state.alpha_EO.detach().clone()
    arch_step(state, train, valid, NOW)
    expected_EO = start_EO - 0.1 * torch.tensor(gradient).to(start_EO)
    assert_close(state.alpha_EO.detach(), expected_EO)
    after = fingerprint(state)
    for key in ("weights", "mean", "variance", "w"):
        assert_same(after[key], before[key])
    moved = [
        name
        for name, stream in after["streams"].items()
        if not torch.equal(stream, before["streams"][name])
    ]
    assert moved == ["more-valid-batches"]
    assert torch.equal(after["streams"][moved[0]], drawn.get_state())


def test_an_optimizer_that_evaluates_twice_sees_the_same_orders_and_batches() -> None:
    state = search(arch_optimizer={"name": "sam", "lr": 0.1, "base": {"name": "SGD"}})
    compute, found = state.algorithm.hypergradient, []

    def shown(problem: Bilevel, alpha_EO: Tensor, relax: Any) -> Hypergradient:
        batches = [*problem.more_valid_batches(2, 8), *problem.more_valid_batches(1, 8)]
        A_EO = torch.full_like(alpha_EO, 0.2)
        found.append([(float(b.accuracy(A_EO, problem.weights)), b.draw) for b in batches])
        return compute(problem, alpha_EO, relax)

    object.__setattr__(state.algorithm, "hypergradient", shown)
    for _ in range(2):
        arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), NOW)
    first, second, later = found  # that step moves nothing, and SAM evaluates once
    assert first == second
    assert first[0] == first[2]
    assert first[0][1] != first[1][1]
    assert {draw for _, draw in first}.isdisjoint({draw for _, draw in later})


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("pc-darts", {"warmup": 0.0}),
        ("gdas", {}),
        ("fair-darts", {}),
        ("gaea", {}),
        ("milenas", {}),
        ("darts-minus", {}),
    ],
)
@pytest.mark.thorough
def test_it_stands_where_a_hypergradient_may(name: str, more: dict[str, Any]) -> None:
    """Further columns of alpha are no operations: they stay."""
    part = {"name": "shapley", **QUICK, "warmup": 0.0}
    own = {"name": name, "hypergradient": part, **more}
    state = build_state(tiny_settings(algorithm=own, arch_optimizer=SGD))
    before_EO = state.alpha_EO.detach().clone()
    arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), NOW)
    moved_EO = state.alpha_EO.detach() - before_EO
    assert moved_EO.isfinite().all()
    assert moved_EO[:, :5].any()
    assert not moved_EO[:, 5:].any()


@pytest.mark.thorough
@pytest.mark.parametrize("arch", ["SGD", "Adam"])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(arch: str) -> None:
    """Between two estimates, with a sum of its own in memory."""
    own = {"name": "shapley-nas", **QUICK, "momentum": 0.8, "warmup": 0.0}
    settings = tiny(
        {"algorithm": own, "arch_optimizer": {"name": arch}, "search": {"epochs": 3}},
        {"space": {"name": "toy"}, "benchmark": {"table": "toy"}},
    )
    whole = trace(settings)
    for stop in (1, 2):
        assert difference(whole, trace(settings, stop=stop)) is None


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"samples": 0}, r"algorithm\.samples = 0: .*use 1 or more"),
        ({"images": 1}, r"algorithm\.images = 1: .*use 2 or more"),
        ({"threshold": 1.0}, r"algorithm\.threshold = 1\.0: "),
        ({"warmup": 1.0}, r"algorithm\.warmup = 1\.0: "),
        ({"momentum": -0.1}, r"algorithm\.momentum = -0\.1: "),
        ({"treshold": 0.1}, "has no setting 'treshold'"),
    ],
)
def test_what_is_out_of_range_is_refused(own: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        search(own)


def test_an_auxiliary_skip_of_strided_edges_is_refused() -> None:
    own = {"name": "darts-minus", "hypergradient": "shapley"}
    with pytest.raises(UserError, match=r"algorithm\.hypergradient = 'shapley': sets entries of"):
        tiny_settings(algorithm=own, **MACRO)
    tiny_settings(algorithm=own)  # there a skip is the identity


def test_only_who_says_so_has_further_validation_batches() -> None:
    state = build_state(tiny_settings())
    assert "more-valid-batches" not in state.generators
    compute = built("shapley-nas", state.space).hypergradient
    object.__setattr__(state.algorithm, "hypergradient", compute)
    with pytest.raises(UserError, match=r'with needs=\("valid-batches",\)'):
        arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), NOW)
