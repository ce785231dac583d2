"""What is dropped behind skips, when alpha moves, and which skips a derived cell keeps.

Beside chenxin061/pdarts, b880e87, on the CPU in float64 with the same batches and the same dropped
elements: 2.6e-15.

Its `Network` of `model_search.py` (two channels, five cells) with the loop of its `train`, whose
alpha was made double, beside `p-darts` on space ``darts``: five steps at p = 0.4 without a warm-up,
ten in two epochs of which the first is one, and ten on five of the eight operations at p = 0.7.
Weights agree to 2.6e-15, alpha to 2.3e-17, logits to 1.6e-15 (0.4 and more from those of a network
that drops nothing), and p of every epoch to 1e-15.

Its derivation of the last stage, with 3 candidates per edge of both cells, ``none`` on each edge,
on no edge or on about half of them, and limits of 0, 1, 2 and 4 skips: the same genotype in 3200 of
3200 draws of alpha, in 1918 of which skips were struck off.

Shapes: B images, C channels, H x W pixels, E edges, O operations.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from tiny import assert_same, fingerprint, tiny_settings
from torch import Tensor
from torch.testing import assert_close

import optnas
from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, Progress
from optnas.algorithms.darts import darts
from optnas.algorithms.p_darts import p_darts
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.snapshot import derived
from optnas.search.draws import draw_epoch
from optnas.search.problem import batch_loss
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state
from optnas.search.steppers import check_stepper
from optnas.search.steps import weight_step
from optnas.spaces import Space, build_space
from optnas.spaces.darts import DARTS, S1
from optnas.spaces.nasbench201 import NAS_BENCH_201
from optnas.spaces.network import SearchNetwork, build_network, chain, network
from optnas.spaces.network import darts as of_darts
from optnas.spaces.network.dropout import Drop, dropping
from optnas.spaces.network.partial import PartialCell

SHARE, DRAW = 0.3, 5
# What two cells of NAS-Bench-201, five of DARTS' and a chain hold.
SPACES = {"nas-bench-201": 6, "darts": 5, "nas-bench-macro": 1}


def stage(space: Space = DARTS, **settings: Any) -> Algorithm:
    return p_darts(hypergradient=parts.first_order, space=space, **settings)


def state_of(**changes: Any) -> SearchState:
    return build_state(tiny_settings(algorithm__name="p-darts", **changes))


def network_of(name: str, cells: int) -> tuple[SearchNetwork, Tensor, Tensor]:
    space, drawn = build_space({"name": name}), torch.Generator().manual_seed(0)
    built = build_network(
        space,
        None,
        channels=2,
        cells=cells,
        classes=4,
        image_channels=1,
        generator=drawn,
        dtype=torch.float64,
    )
    x_BCHW = torch.randn(3, 1, 16, 16, generator=drawn, dtype=torch.float64)
    shape = (space.edge_count, space.operation_count)
    return built, x_BCHW, torch.rand(shape, generator=drawn, dtype=torch.float64)


class Recorded:
    def __init__(self, whole: SearchNetwork, call: Callable[..., Any]):
        self._whole, self._call = whole, call

    def __call__(self, *given: Any, **modes: Any) -> Any:
        return self._call(*given, **modes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


# --- what is dropped ------------------------------------------------------------------------------


def test_elements_are_dropped_one_by_one_and_the_mean_stays() -> None:
    x_BCHW = torch.full((8, 16, 20, 20), 2.0, dtype=torch.float64)
    y = dropping(SHARE, torch.Generator().manual_seed(0))(x_BCHW)
    assert set(y.unique().tolist()) == {0.0, 2.0 / (1 - SHARE)}
    n = y.numel()
    assert abs(float((y == 0).double().mean()) - SHARE) < 4 * math.sqrt(SHARE * (1 - SHARE) / n)
    for dim in range(4):  # no image, channel, row or column goes as a whole
        assert y.movedim(dim, 0).flatten(1).count_nonzero(1).min() > 0


@pytest.mark.parametrize("name", SPACES)
def test_each_identity_of_each_cell_is_asked_for_by_itself_and_nothing_else(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tensor] = []

    def keeping_all(share: float, generator: torch.Generator) -> Drop:
        def drop(x_BCHW: Tensor) -> Tensor:
            asked.append(x_BCHW)
            return x_BCHW

        return drop

    for module in (network, of_darts, chain):
        monkeypatch.setattr(module, "dropping", keeping_all)
    net, x_BCHW, op_weights_EO = network_of(name, SPACES[name] // 3)
    all_of_it = net(x_BCHW, op_weights_EO, statistics=None)
    dropped = net(x_BCHW, op_weights_EO, statistics=None, draw=DRAW, skip_dropout=SHARE)  # type: ignore[call-arg]
    assert torch.equal(all_of_it.logits_BK, dropped.logits_BK)
    space = build_space({"name": name})
    rows = [e for e in range(space.edge_count) if e not in space.strided]
    if name != "darts":
        assert len(asked) == SPACES[name] * len(rows)
        return
    # Three normal cells of fourteen edges, two reduction cells of which six have no stride.
    assert len(asked) == 3 * 14 + 2 * 6


@pytest.mark.parametrize("name", SPACES)
def test_a_draw_decides_what_is_dropped_and_none_drops_nothing(name: str) -> None:
    net, x_BCHW, op_weights_EO = network_of(name, SPACES[name] // 3)

    def logits(**modes: Any) -> Tensor:
        return net(x_BCHW, op_weights_EO, statistics=None, **modes).logits_BK

    one = logits(draw=DRAW, skip_dropout=SHARE)
    assert torch.equal(one, logits(draw=DRAW, skip_dropout=SHARE))
    assert torch.equal(logits(), logits(draw=DRAW, skip_dropout=0.0))
    for other in (
        logits(),
        logits(draw=6, skip_dropout=SHARE),
        logits(draw=DRAW, skip_dropout=0.5),
    ):
        assert not torch.allclose(one, other)


def test_the_merged_cell_is_that_of_one_sum_per_edge() -> None:
    """A twin that drops after each identity, edge by edge, with the same numbers."""
    net, _, op_weights_EO = network_of("nas-bench-201", 1)
    assert isinstance(net, network.Supernet)
    cell, space, generator = net.stages[0][0], net.space, torch.Generator().manual_seed(DRAW)
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    candidates = space.candidates()
    nodes: list[Any] = [x, 0.0, 0.0, 0.0]
    leaving = sorted(range(6), key=lambda e: space.edges[e][0])
    for e in leaving:
        source, target = space.edges[e]
        value = nodes[source]
        for o, name in enumerate(space.operations):
            weight = net.weights.get(f"{cell.name}.edges.{e}.{name}.weight")
            y = candidates[o].call(value, cell.site, {"weight": weight}, standardised)  # type: ignore[attr-defined,dict-item]
            if name == "skip_connect":
                kept = torch.rand(value.shape, generator=generator) >= SHARE
                y = value * kept / (1 - SHARE)
            if name != "none":
                nodes[target] = nodes[target] + op_weights_EO[e, o] * y
    drop = dropping(SHARE, torch.Generator().manual_seed(DRAW))

    def normalise(y: Tensor, name: str, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        del name, bias
        assert weight is not None
        return standardised(y, "") * weight[:, None, None]

    merged = cell.forward(x, op_weights_EO, net.weights, normalise, drop=drop)  # type: ignore[call-arg]
    assert_close(merged, nodes[3], rtol=0, atol=1e-12)


def standardised(y: Tensor, name: str) -> Tensor:
    del name
    mean = y.mean((0, 2, 3), keepdim=True)
    return (y - mean) / (y.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()


# --- in a search ----------------------------------------------------------------------------------


def test_what_is_dropped_is_the_batchs_in_each_evaluation_of_a_step() -> None:
    state = state_of(algorithm__dropout=0.6)
    state.epoch = 1
    first, second = draw_epoch(state)[:2]
    (train, valid), (later, _) = first.batches(state), second.batches(state)
    assert len({train.draw, valid.draw, later.draw}) == 3
    op_weights_EO = state.alpha_EO.detach().softmax(-1)

    def loss(batch: Any) -> float:
        return float(batch_loss(state, batch)(op_weights_EO, state.supernet.weights).loss.detach())

    assert loss(train) == loss(train)
    assert loss(train) != loss(train._replace(draw=later.draw))
    assert loss(train) != loss(train._replace(draw=None, skip_dropout=0.0))


@pytest.mark.parametrize(
    ("optimizer", "evaluations"), [({"name": "SGD", "lr": 0.1}, 1), ({"name": "LBFGS"}, 2)]
)
def test_an_optimizer_that_looks_twice_sees_the_same_dropped_elements(
    optimizer: dict[str, Any], evaluations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_of(algorithm__dropout=0.6, weight_optimizer=optimizer)
    drawn: list[tuple[Any, Any]] = []
    whole = state.supernet

    def recorded(*given: Any, **modes: Any) -> Any:
        drawn.append((modes.get("draw"), modes.get("skip_dropout")))
        return whole(*given, **modes)

    monkeypatch.setattr(state, "supernet", Recorded(whole, recorded))
    state.epoch = 2
    step = draw_epoch(state)[0]
    weight_step(state, step.batches(state)[0], step.weight(state.progress(2)))
    assert len(drawn) >= evaluations
    assert len(set(drawn)) == 1
    assert drawn[0][1] > 0


@pytest.mark.parametrize(
    ("hypergradient", "judges"), [("k-step", False), ("value-function", False), ("shapley", True)]
)
def test_further_train_batches_drop_and_further_validation_batches_judge(
    hypergradient: str, judges: bool
) -> None:
    state = state_of(
        algorithm__dropout=0.6, algorithm__warmup=0.0, algorithm__hypergradient=hypergradient
    )
    dropped, whole = [], state.supernet

    def recorded(*given: Any, **modes: Any) -> Any:
        dropped.append("skip_dropout" in modes)
        return whole(*given, **modes)

    session = Session(state)
    session.train_epoch()
    state.supernet = cast(SearchNetwork, Recorded(whole, recorded))
    for _ in range(2):
        session.train_epoch()
    assert any(dropped)
    assert all(dropped) is not judges


def test_without_dropout_warm_up_and_limit_it_is_darts_in_every_bit() -> None:
    changes = {"algorithm__dropout": 0.0, "algorithm__warmup": 0.0, "algorithm__skips": 6}
    own, plain = state_of(**changes), build_state(tiny_settings())
    for state in (own, plain):
        session = Session(state)
        for _ in range(3):
            session.train_epoch()
    found, expected = fingerprint(own), fingerprint(plain)
    del found["streams"]["operation-noise"]
    assert_same(found, expected)


def test_alpha_waits_and_the_share_falls_as_published() -> None:
    algorithm = stage(dropout=0.5, warmup=0.4)
    assert algorithm.skip_dropout is not None
    shares = [algorithm.skip_dropout(Progress(t, 25)) for t in range(1, 26)]
    linear = [0.5 * (25 - t) / 25 for t in range(1, 11)]
    exponential = [0.5 * math.exp(-0.2 * (t - 11)) for t in range(11, 26)]
    assert shares == pytest.approx(linear + exponential, rel=1e-15)
    state = state_of(search__epochs=5)
    session = Session(state)
    for _ in range(3):
        session.train_epoch()
    assert torch.equal(state.alpha_EO, state.alpha_start_EO)
    session.train_epoch()
    assert not torch.equal(state.alpha_EO, state.alpha_start_EO)


def test_each_epoch_drops_its_own_share() -> None:
    state = state_of(search__epochs=5, algorithm__dropout=0.5)
    session = Session(state)
    session.train_epoch()
    shares = []
    for _ in range(5):
        session.begin_epoch()
        shares.append({b.skip_dropout for s in draw_epoch(state) for b in s.batches(state)})
    decayed = [0.5 * math.exp(-0.2 * past) for past in range(3)]
    assert shares == [{0.4}, {0.3}, *({share} for share in decayed)]


def test_nothing_is_dropped_where_the_search_is_judged() -> None:
    state = state_of(algorithm__dropout=0.9)
    session = Session(state)
    for _ in range(2):
        session.train_epoch()
    snapshot, passes = session.snapshot, []
    whole = state.supernet

    def recorded(*given: Any, **modes: Any) -> Any:
        passes.append(modes)
        return whole(*given, **modes)

    watched = dataclasses.replace(snapshot, supernet=cast(SearchNetwork, Recorded(whole, recorded)))
    watched.evaluate(snapshot.op_weights_EO, None)
    assert passes
    assert not any("skip_dropout" in modes for modes in passes)


@pytest.mark.thorough
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("hypergradient", ["first-order", "unrolled"])
def test_it_searches_every_space(name: str, hypergradient: str) -> None:
    state = state_of(
        space__name=name,
        benchmark__table="none",
        algorithm__hypergradient=hypergradient,
        algorithm__dropout=0.5,
    )
    session = Session(state)
    for _ in range(3):
        session.train_epoch()
    assert state.alpha_EO.isfinite().all()
    assert not torch.equal(state.alpha_EO, state.alpha_start_EO)


@pytest.mark.slow
def test_stages_narrow_the_space_and_the_last_cell_has_few_skips(tmp_path: Any) -> None:
    settings: dict[str, Any] = {
        "algorithm": {"name": "p-darts", "dropout": 0.0},
        "data": {"name": "digits", "train_size": 64, "valid_size": 64},
        "search": {"epochs": 2, "batch_size": 32},
        "supernet": {"channels": 2, "cells": 1},
        "benchmark": {"table": "analog-nasbench"},
        "measures": {"sharpness": {"every": 0}},
    }
    for number, (keep, dropout) in enumerate([(4, 0.0), (3, 0.4), (0, 0.7)]):
        settings["algorithm"]["dropout"] = dropout
        settings["supernet"]["cells"] = number + 1
        optnas.run(settings, out=tmp_path / str(number))
        if keep:
            settings = optnas.narrow(tmp_path / str(number), keep, none="ranked")
            assert {len(each) for each in settings["space"]["candidates"]} == {keep}
    cell = RunFolder(tmp_path / "2").read_epochs()[-1]["architecture"]
    assert cell.count("skip_connect") <= 2


# --- the derived cell -----------------------------------------------------------------------------


def cells_within(space: Space, alpha_EO: Tensor, most: int) -> list[int]:
    """A twin: operations by softmax, and the weakest skip of the cell struck off in turn."""
    rows = [row.softmax(-1).tolist() for row in alpha_EO]
    strength = [list(row) for row in rows]
    first = len(space.wirings[0].edges)
    while True:
        best = []
        for e, row in enumerate(strength):
            own = space.columns_at(e)
            allowed = [c for c, o in enumerate(own) if not (space.keeps_some and o == space.none)]
            best.append(max(allowed, key=lambda c, row=row: row[c]))  # type: ignore[misc]
        cell = [space.columns_at(e)[c] for e, c in enumerate(best)]
        for kind, _, into in space.joints:
            ranked = sorted(into, key=lambda e: -strength[e][best[e]])
            for e in ranked[kind.kept :] if kind.kept else []:
                assert space.none is not None
                cell[e] = space.none
        skips = [e for e in range(first) if cell[e] == space.skip]
        if len(skips) <= most:
            return cell
        weakest = min(skips, key=lambda e: rows[e][best[e]])
        strength[weakest][best[weakest]] = 0.0


def draws(space: Space) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = (space.edge_count, space.operation_count)
    for _ in range(40):
        alpha_EO = torch.randn(shape, generator=generator, dtype=torch.float64)
        for e in range(space.edge_count):
            own = space.columns_at(e)
            if space.skip in own:
                alpha_EO[e, own.index(space.skip)] += 2
        yield alpha_EO


@pytest.mark.parametrize("space", [DARTS, S1, NAS_BENCH_201], ids=lambda space: space.name)
@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_the_weakest_skips_are_struck_off_until_few_are_left(space: Space, most: int) -> None:
    algorithm, struck = stage(space, skips=most), 0
    for alpha_EO in draws(space):
        cell = derived(algorithm, alpha_EO, Progress(1, 1), space)
        assert cell == cells_within(space, alpha_EO, most)
        struck += cell != derived(darts(parts.first_order), alpha_EO, Progress(1, 1), space)
        first = len(space.wirings[0].edges)
        assert cell[:first].count(space.skip) <= most  # type: ignore[arg-type]
    assert struck > 0


def test_an_edge_of_skips_alone_keeps_its_skip() -> None:
    candidates = [["none", "skip_connect"]] * 28
    space = build_space({"name": "darts", "candidates": candidates})
    alpha_EO = torch.zeros(28, 2, dtype=torch.float64)
    cell = derived(stage(space), alpha_EO, Progress(1, 1), space)
    assert cell[:14].count(space.skip) == 8  # type: ignore[arg-type]


# --- what is refused, and what is said ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm__dropout": 1.0}, r"algorithm\.dropout = 1\.0: .*less than 1"),
        ({"algorithm__warmup": -0.1}, r"algorithm\.warmup = -0\.1: "),
        ({"algorithm__skips": -1}, r"algorithm\.skips = -1: "),
        ({"algorithm__decay": -1}, r"algorithm\.decay = -1: "),
    ],
)
def test_odd_values_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        state_of(**changes)


def test_what_is_chosen_whatever_is_read_keeps_its_skips() -> None:
    """As of a selection, or of a discretization of its own: no end would come."""
    skip = NAS_BENCH_201.skip_column("the test")
    algorithm = dataclasses.replace(stage(NAS_BENCH_201), discretize=lambda alpha_EO: [skip] * 6)
    cell = derived(algorithm, torch.zeros(6, 5), Progress(1, 1), NAS_BENCH_201)
    assert cell == [skip] * 6


def test_further_columns_of_alpha_are_no_candidates() -> None:
    candidates = [["none", "skip_connect"]] * 28
    space = build_space({"name": "darts", "candidates": candidates})
    algorithm = dataclasses.replace(
        stage(space), columns=1, relax=lambda alpha_EP, progress: alpha_EP[:, :-1].softmax(-1)
    )
    cell = derived(algorithm, torch.zeros(28, 3), Progress(1, 1), space)
    assert cell[:14].count(space.skip) == 8  # type: ignore[arg-type]


def test_no_graph_records_what_is_drawn_in_a_step() -> None:
    state = state_of(run__stepper="graph")
    there: Any = SimpleNamespace(device=torch.device("cuda"))
    with pytest.raises(UserError, match=r"draws what it drops of skips.*use run\.stepper=eager"):
        check_stepper(dataclasses.replace(state, alpha_EO=there))


def test_a_space_without_identities_is_searched_with_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    state_of(space__name="darts-s4", benchmark__table="none")
    told = (
        "no edge has a skip that is an identity, so nothing is dropped; set algorithm.dropout=0, or"
    )
    assert told in caplog.text
    caplog.clear()
    state_of()
    assert "nothing is dropped" not in caplog.text


@pytest.mark.parametrize("share", [1.0, -0.1, math.nan])
def test_no_share_that_is_none_is_dropped(share: float) -> None:
    state = state_of()
    state.algorithm = dataclasses.replace(state.algorithm, skip_dropout=lambda progress: share)
    session = Session(state)
    session.train_epoch()
    with pytest.raises(
        UserError, match=rf"algorithm\.name = 'p-darts': drops a share of {share} of"
    ):
        session.train_epoch()


def _unsaid() -> Algorithm:
    return dataclasses.replace(darts(parts.first_order), skip_dropout=lambda progress: 0.1)


def _in_partial_cells(*, space: Space) -> Algorithm:
    return dataclasses.replace(
        stage(space), mixed_cell=lambda name, channels, space: PartialCell(name, channels, space, 2)
    )


@pytest.mark.parametrize(
    ("factory", "needs", "message"),
    [
        (_unsaid, (), r'drops parts of skips and does not say so.*needs=\("skip-dropout",\)'),
        (
            _in_partial_cells,
            ("skip-dropout", "own-cell"),
            "the network of nas-bench-201 offers no such thing",
        ),
    ],
)
def test_who_cannot_drop_is_told(
    factory: Any, needs: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    registry.register("algorithm", "mine", needs=needs)(factory)
    with pytest.raises(UserError, match=message):
        build_state(tiny_settings(algorithm__name="mine"))
