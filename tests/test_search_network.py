"""What a search needs of a network: operations of a space's own, operation weights per cell.

Shapes: B images, E edges, O operations, L cells.
"""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from cases import console, finish, start, timeless, tiny_search
from naive_supernet import NaiveSupernet
from partial import naive_partial
from tiny import normal, tiny_settings, train_batch, valid_batch
from topics import text_of
from torch import Tensor
from torch.testing import assert_close

from optnas import Bilevel, Hypergradient, UserError, parts
from optnas.algorithms.base import Progress
from optnas.algorithms.pc_darts import normalised_edges, pc_darts
from optnas.base import registry
from optnas.measures.curvature.maths import expansion
from optnas.measures.evaluation import Batch
from optnas.measures.indicator.measure import indicator
from optnas.measures.indicator.oneshot import score_cells
from optnas.measures.operations.measure import RATES, operations
from optnas.measures.proxies.measure import proxies
from optnas.measures.snapshot import Snapshot
from optnas.search import api
from optnas.search.checkpoints import restore
from optnas.search.exam.base import difference
from optnas.search.exam.searches import searched, tiny, trace
from optnas.search.observe import snapshot_of
from optnas.search.session import Session
from optnas.search.settings.layers import Layer
from optnas.search.standalone.settings import load_settings
from optnas.search.state import build_state
from optnas.search.steps import arch_step
from optnas.spaces import (
    NAS_BENCH_201,
    Space,
    build_space,
    draw_cell,
    function_string,
    is_connected,
    without_dead_edges,
)
from optnas.spaces.base import Wiring
from optnas.spaces.network import Network, Supernet, build_network
from optnas.spaces.network.protocol import ONE_SHOT, SKIP_DROPOUT, TANGENTS
from optnas.spaces.operations.base import Operation
from optnas.spaces.operations.nasbench201 import avg_pool_3x3, nor_conv_3x3
from optnas.theory.measure import theory

TIGHT = {"rtol": 1e-10, "atol": 1e-10}
SIZES: dict[str, Any] = {"channels": 3, "cells": 2, "classes": 5, "image_channels": 2}
SHAPE = (NAS_BENCH_201.edge_count, NAS_BENCH_201.operation_count)


@pytest.fixture(autouse=True)
def _beside_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """two_kinds.py is named by path, so that no other test meets its names."""
    monkeypatch.chdir(Path(__file__).parent)


def net_of(space: Space) -> Supernet:
    generator = torch.Generator().manual_seed(0)
    return Supernet(space, **SIZES, generator=generator, dtype=torch.float64)


def batch(seed: int = 1) -> Batch:
    return Batch(normal(6, 2, 8, 8, seed=seed), torch.arange(6) % 5)


def nor_conv_alone() -> Operation:
    """The same function, but not told to be one that a network may merge."""
    return dataclasses.replace(nor_conv_3x3(), kernel=None)


def pool_alone() -> Operation:
    return dataclasses.replace(avg_pool_3x3(), tangents=False)


# The same space twice: what of it is merged here runs edge by edge there.
APART = dataclasses.replace(
    NAS_BENCH_201, own={"nor_conv_3x3": nor_conv_alone, "avg_pool_3x3": pool_alone}
)


@pytest.fixture(name="pair")
def _pair() -> tuple[Supernet, Supernet]:
    merged, apart = net_of(NAS_BENCH_201), net_of(APART)
    assert merged.weights.keys() == apart.weights.keys()
    apart.weights = {name: merged.weights[name].detach().clone() for name in apart.weights}
    for weight in apart.weights.values():
        weight.requires_grad_()
    return merged, apart


# --- an operation on its own ------------------------------------------------------------------


@pytest.mark.parametrize("update", [False, True])
def test_an_operation_that_is_not_merged_is_the_same_function(
    pair: tuple[Supernet, Supernet], update: bool
) -> None:
    found = []
    for net in pair:
        A_EO = normal(*SHAPE, seed=3).requires_grad_()
        start = net.initial_statistics()
        logits, after = net(batch().images_BCHW, A_EO, statistics=start, update=update)
        loss = F.cross_entropy(logits, batch().labels_B)
        leaves = {"A": A_EO, **net.weights}
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        named = {} if after is None else net.named_statistics(after)
        found.append((logits.detach(), dict(zip(leaves, gradients, strict=True)), named))
    assert_close(found[0][0], found[1][0], **TIGHT)
    for name, gradient in found[0][1].items():
        assert_close(gradient, found[1][1][name], **TIGHT)
    for name, moments in found[0][2].items():
        other = name if name in found[1][2] else f"{name}.norm"
        assert_close(moments, found[1][2][other], **TIGHT)


@pytest.mark.thorough
def test_what_judges_and_measures_runs_on_it_too(pair: tuple[Supernet, Supernet]) -> None:
    merged, apart = pair
    A_EO, cells = normal(*SHAPE, seed=3), [NAS_BENCH_201.architecture_at(i) for i in range(20)]
    always = {ONE_SHOT, SKIP_DROPOUT}
    assert (merged.offers, apart.offers) == ({TANGENTS, *always}, always)
    for net in pair:
        net.weights = {name: weight.detach() for name, weight in net.weights.items()}
        statistics = net(
            batch().images_BCHW, A_EO, statistics=net.initial_statistics(), update=True
        ).statistics
        assert statistics is not None
        expected = net(batch(2).images_BCHW, A_EO, statistics=statistics).logits_BK
        assert_close(net.judged_by(A_EO, statistics)(batch(2).images_BCHW), expected, **TIGHT)
    by_tangents, by_rows = (expansion(net, batch(), A_EO, None) for net in pair)
    assert_close(by_rows.hessian_PP, by_tangents.hessian_PP, **TIGHT)
    assert_close(by_rows.gradient_EO, by_tangents.gradient_EO, **TIGHT)
    for calibration in ([], [batch(4)]):
        one, other = (
            score_cells(net, cells, [batch(), batch(2)], calibration=calibration) for net in pair
        )
        assert_close(one.loss_N, other.loss_N, **TIGHT)


def test_a_network_of_one_cell_runs_it(pair: tuple[Supernet, Supernet]) -> None:
    logits = []
    for space in (NAS_BENCH_201, APART):
        cell = space.architecture_at(7)
        generator = torch.Generator().manual_seed(0)
        net = Network(cell, **SIZES, generator=generator, dtype=torch.float64)
        logits.append(net(batch().images_BCHW, statistics=None).logits_BK)
    assert_close(*logits, rtol=0, atol=0)


def test_an_unknown_operation_is_one_line() -> None:
    space = Space("odd", 2, ((0, 1),), ("none", "skip_connect", "nor_conv_3x4"), 0, 1)
    with pytest.raises(UserError, match="no operation of this name; did you mean nor_conv_3x3"):
        net_of(space)


def test_cells_that_do_not_fit_the_skeleton_are_refused() -> None:
    strided = Wiring("down", 2, ((0, 1),), strided=(0,))
    space = Space.of_wirings("down", (strided,), ("none", "skip_connect"), 0, 1)
    with pytest.raises(UserError, match=r"do not fit the skeleton.*Space\(network=\.\.\.\)"):
        net_of(space)


def test_weights_that_a_space_does_not_tell_are_one_line() -> None:
    names = ("none", "skip_connect", "nor_conv_3x3")
    space = Space("silent", 2, ((0, 1),), names, 0, 1)
    with pytest.raises(UserError, match=r"have weights.*and \[2\] have; write weighted=\(2,\)"):
        net_of(space)


# --- operation weights per cell ---------------------------------------------------------------


def test_equal_matrices_per_cell_are_one_matrix() -> None:
    net = net_of(NAS_BENCH_201)
    A_EO = normal(*SHAPE, seed=3).requires_grad_()
    A_LEO = A_EO.detach().expand(net.cells, *SHAPE).clone().requires_grad_()
    statistics = net.initial_statistics()
    shared, own = (
        net(batch().images_BCHW, A, statistics=statistics, update=True) for A in (A_EO, A_LEO)
    )
    assert_close(shared.logits_BK, own.logits_BK, rtol=1e-13, atol=1e-13)
    loss, loss_L = (F.cross_entropy(o.logits_BK, batch().labels_B) for o in (shared, own))
    (g_EO,), (g_LEO,) = torch.autograd.grad(loss, A_EO), torch.autograd.grad(loss_L, A_LEO)
    assert_close(g_LEO.sum(0), g_EO, **TIGHT)
    assert (g_LEO[:, :, 1:].abs().amax((-2, -1)) > 0).all()


def test_each_cell_reads_its_own_matrix() -> None:
    net = net_of(NAS_BENCH_201)
    with torch.random.fork_rng(devices=[]):
        naive = NaiveSupernet(NAS_BENCH_201.edges, NAS_BENCH_201.operations, **SIZES).double()
    naive.load(net.weights)
    A_LEO = normal(net.cells, *SHAPE, seed=3)
    expected = naive(batch().images_BCHW, A_LEO)
    assert_close(net(batch().images_BCHW, A_LEO, statistics=None).logits_BK, expected, **TIGHT)


@pytest.mark.thorough
def test_judging_and_hessian_take_matrices_per_cell() -> None:
    net = net_of(NAS_BENCH_201)
    net.weights = {name: weight.detach() for name, weight in net.weights.items()}
    A_LEO, statistics = normal(net.cells, *SHAPE, seed=3), net.initial_statistics()
    expected = net(batch().images_BCHW, A_LEO, statistics=statistics).logits_BK
    assert_close(net.judged_by(A_LEO, statistics)(batch().images_BCHW), expected, **TIGHT)
    by_tangents = expansion(net, batch(), A_LEO, None)
    net.offers = frozenset()
    by_rows = expansion(net, batch(), A_LEO, None)
    assert by_tangents.hessian_PP.shape == (A_LEO.numel(), A_LEO.numel())
    assert_close(by_rows.hessian_PP, by_tangents.hessian_PP, **TIGHT)


def test_a_hypergradient_may_ask_for_each_cells_gradient() -> None:
    """The sum over cells is what `first_order` finds; the parts are Lambda-DARTS' and OLES'."""
    seen: list[Tensor] = []

    def by_cell(problem: Bilevel, alpha_EO: Tensor, relax: Any) -> Hypergradient:
        A_EO = relax(alpha_EO)
        A_LEO = A_EO.detach().expand(problem.cells, *A_EO.shape).clone().requires_grad_()
        loss = problem.valid_loss(A_LEO, problem.weights).loss
        (g_LEO,) = torch.autograd.grad(loss, A_LEO)
        seen.append(g_LEO)
        return Hypergradient(torch.autograd.grad(A_EO, alpha_EO, g_LEO.sum(0))[0])

    found = []
    for part in (parts.first_order, by_cell):
        state = build_state(tiny({"supernet": {"cells": 2}}))
        state.algorithm = dataclasses.replace(state.algorithm, hypergradient=part)
        train, valid = train_batch(state, torch.arange(16)), valid_batch(state)
        arch_step(state, train, valid, state.progress(1))
        found.append(state.alpha_EO.grad)
    assert seen[0].shape == (6, *SHAPE)
    assert_close(*found, **TIGHT)


def test_another_number_of_matrices_is_refused() -> None:
    net = net_of(NAS_BENCH_201)
    with pytest.raises(ValueError, match="5 matrices for 6 cells"):
        net(batch().images_BCHW, normal(5, *SHAPE, seed=3), statistics=None)


# --- a space with a network of its own --------------------------------------------------------

TWO: dict[str, Any] = {
    "space": {"name": "./two_kinds.py:two_kinds"},
    "benchmark": {"table": "none"},
    "supernet": {"dtype": "float64", "channels": 2},
    "measures": {"sharpness": {"every": 1}, "operations": {}},
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("algorithm", "weights"),
    [({"name": "darts"}, "SGD"), ({"name": "darts", "hypergradient": "unrolled"}, "Adam")],
    ids=["first-order", "unrolled"],
)
def test_another_network_searches_and_resumes_bit_for_bit(
    algorithm: dict[str, Any], weights: str
) -> None:
    settings = tiny(TWO, {"algorithm": algorithm, "weight_optimizer": {"name": weights}})
    whole = trace(settings)
    assert difference(whole, trace(settings, stop=1)) is None
    first, last = whole["records"][0], whole["records"][-1]
    assert len(last["alpha"]) == 10  # five edges of each kind
    assert first["alpha"] != last["alpha"]
    assert last["alpha_hessian_max"] > last["alpha_hessian_min"]
    normal_cell, reduction_cell = last["architecture"].split(" ")
    assert normal_cell.count("~") == reduction_cell.count("~") == 5


@pytest.mark.thorough
def test_what_is_a_theorem_about_one_network_refuses_another_in_one_line() -> None:
    settings = tiny(TWO, {"benchmark": {"table": "none"}})
    with searched(settings) as folder:
        state = build_state(settings)
        restore(state, folder.checkpoint)
    cells = [state.space.architecture([0] * 10)]
    with pytest.raises(UserError, match="one kind of cell, from one input to the sum"):
        score_cells(state.supernet, cells, [batch()])
    with pytest.raises(UserError, match="one kind of cell, from one input to the sum"):
        function_string(cells[0])
    with pytest.raises(UserError, match="one kind of cell, from one input to the sum"):
        draw_cell(cells[0])
    sizes = {**SIZES, "generator": torch.Generator()}
    with pytest.raises(UserError, match="no stand-alone network is known for a space that brings"):
        Network(cells[0], **sizes)
    with pytest.raises(UserError, match="do not fit the skeleton"):
        Network(dataclasses.replace(state.space, network=None).architecture([0] * 10), **sizes)
    with pytest.raises(
        UserError, match=r"its network takes no auxiliary, and .*=darts-minus has an"
    ):
        build_state(tiny(TWO, {"algorithm": {"name": "darts-minus"}}))
    found = operations().measure(snapshot_of(state)).numbers
    assert found["mass"].keys() == set(state.space.operations)
    assert set(found["phi"].values()) == {None}


@pytest.mark.thorough
def test_rows_of_double_backward_are_the_hessian() -> None:
    state = build_state(tiny(TWO))
    snapshot = snapshot_of(state)
    (one,) = snapshot.batches("valid", 1, 8)
    A_EO = snapshot.op_weights_EO

    def loss(point_EO: Tensor) -> Tensor:
        logits = snapshot.supernet(one.images_BCHW, point_EO, statistics=None).logits_BK
        return F.cross_entropy(logits, one.labels_B)

    expected = torch.autograd.functional.hessian(loss, A_EO).reshape(A_EO.numel(), -1)
    assert_close(expansion(snapshot.supernet, one, A_EO, None).hessian_PP, expected, **TIGHT)


def test_the_string_of_several_kinds_reads_back() -> None:
    space = build_space(TWO["space"])
    cell = space.architecture([1, 2, 0, 1, 2, 2, 1, 0, 1, 1])
    assert cell.string.count(" ") == 1
    assert space.parse(cell.string) == cell
    assert space.strided == {5, 6, 7, 8}
    assert (space.is_identity(0, 1), space.is_identity(5, 1)) == (True, False)
    assert is_connected(cell)
    # In the second kind nothing reaches node 2, and its one edge is dead.
    dead = space.architecture([1, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    assert not is_connected(dead)
    assert without_dead_edges(dead).operations == (1, 0, 0, 0, 1, 0, 0, 0, 0, 0)
    with pytest.raises(UserError, match="no cell of two-kinds"):
        space.parse(cell.string.replace(" ", "+"))


def test_the_space_that_comes_next_can_be_declared() -> None:
    """As decision 12 has it."""
    edges = tuple((source, target) for target in range(2, 6) for source in range(target))
    strided = tuple(e for e, (source, _) in enumerate(edges) if source < 2)
    darts = Space.of_wirings(
        "darts",
        (
            Wiring("normal", 6, edges, inputs=2, output="concat"),
            Wiring("reduce", 6, edges, inputs=2, output="concat", strided=strided),
        ),
        ("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "a", "b", "c", "d"),
        none=0,
        skip=3,
        weighted=(4, 5, 6, 7),
    )
    assert (darts.edge_count, len(darts.strided)) == (28, 8)
    cell = darts.architecture([3, 4, *[0] * 26])
    assert darts.parse(cell.string) == cell


# --- a mixed cell of an algorithm's own -------------------------------------------------------

PARTIAL: dict[str, Any] = {"algorithm": {"name": "pc-darts", "k": 2}}


@pytest.mark.parametrize(("space", "k"), [("nas-bench-201", 2), ("toy", 4)])
def test_another_mixed_cell_equals_its_naive_twin(space: str, k: int) -> None:
    """PC-DARTS.

    The published mixed operation agrees too: output within 4.4e-16, gradients within 3.6e-15, of a
    cell of 8 channels, k = 4, float64 (yuhuixu1993/PC-DARTS at b74702f).
    """
    built = build_space({"name": space})
    algorithm = pc_darts(k, space=built)
    generator = torch.Generator().manual_seed(0)
    sizes = SIZES | {"channels": 4}
    net = build_network(
        built, algorithm.mixed_cell, **sizes, generator=generator, dtype=torch.float64
    )
    with torch.random.fork_rng(devices=[]):
        naive = naive_partial(built, k=k, **sizes).double()
    weights = {**net.weights}
    naive.load(weights)
    alpha_EP = normal(built.edge_count, built.operation_count + 1, seed=3).requires_grad_()
    A_EO = algorithm.relax(alpha_EP, Progress(1, 2))
    odds_E = alpha_EP[:, -1].exp()
    b_E = torch.stack(
        [
            odds_E[e] / sum(odds_E[f] for f, (_, i) in enumerate(built.edges) if i == target)
            for e, (_, target) in enumerate(built.edges)
        ]
    )
    A_EO_twin = b_E[:, None] * alpha_EP[:, :-1].softmax(-1)
    logits = net(batch().images_BCHW, A_EO, statistics=None).logits_BK
    expected = naive(batch().images_BCHW, A_EO_twin)
    assert_close(logits, expected, **TIGHT)
    named = naive.named_weights()
    got = torch.autograd.grad(
        F.cross_entropy(logits, batch().labels_B), [alpha_EP, *weights.values()]
    )
    want = torch.autograd.grad(
        F.cross_entropy(expected, batch().labels_B), [alpha_EP, *(named[name] for name in weights)]
    )
    assert_close(list(got), list(want), **TIGHT)


def test_alpha_stays_in_the_warm_up_and_the_rows_are_those_of_the_edges() -> None:
    settings = tiny({"algorithm": {"name": "pc-darts", "k": 2, "warmup": 0.5}})
    first, second, third = (torch.tensor(r["alpha"]) for r in trace(settings)["records"])
    assert torch.equal(first, second)
    assert not torch.equal(second[:, :-1], third[:, :-1])
    assert not torch.equal(second[:, -1], third[:, -1])
    with pytest.raises(UserError, match=r"algorithm\.k = 3: does not divide the 2 channels"):
        build_state(tiny({"algorithm": {"name": "pc-darts", "k": 3}}))


@pytest.mark.parametrize("epochs", [1, 2, 10])
def test_a_warm_up_leaves_the_last_epoch(epochs: int) -> None:
    moved = Hypergradient(torch.ones(6, 6))
    algorithm = pc_darts(2, warmup=0.95, hypergradient=lambda *given: moved, space=NAS_BENCH_201)

    def gradient(epoch: int) -> Tensor | None:
        problem: Any = SimpleNamespace(progress=Progress(epoch, epochs))
        return algorithm.hypergradient(problem, torch.zeros(6, 6), torch.clone).gradient_EO

    assert [gradient(epoch) for epoch in range(1, epochs)] == [None] * (epochs - 1)
    assert gradient(epochs) is moved.gradient_EO


def test_the_edges_into_a_node_are_those_of_its_own_kind_of_cell() -> None:
    kinds = tuple(Wiring(name, 2, ((0, 1),)) for name in ("normal", "reduce"))
    space = Space.of_wirings("kinds", kinds, ("none", "skip_connect"), none=0, skip=1)
    alpha_EP = normal(2, 3, seed=3)
    A_EO = normalised_edges(space)(alpha_EP, Progress(1, 2))
    assert_close(A_EO, alpha_EP[:, :-1].softmax(-1), **TIGHT)


@pytest.mark.thorough
def test_an_algorithm_with_another_mixed_cell_searches_and_resumes() -> None:
    settings = tiny(PARTIAL, {"supernet": {"channels": 4}, "measures": {"sharpness": {"every": 1}}})
    whole = trace(settings)
    assert difference(whole, trace(settings, stop=1)) is None
    assert len(whole["records"][-1]["alpha"][0]) == NAS_BENCH_201.operation_count + 1
    assert whole["records"][-1]["alpha_hessian_max"] is not None


def test_measures_of_the_spaces_own_cells_refuse_another_mixed_cell_or_have_no_value() -> None:
    """Of an edge without operation (K - 1) / K of the channels pass: a one-hot row is no edge."""
    one_line = r"measures\.{0} = '{0}': takes one-hot .*; leave the measure out, or choose"
    for measure in ("indicator", "proxies"):
        with pytest.raises(UserError, match=one_line.format(measure)):
            tiny(PARTIAL, {"measures": {measure: {"every": 1}}})
        tiny({"algorithm": {"name": "pc-darts", "k": 1}}, {"measures": {measure: {"every": 1}}})
    session = Session(build_state(tiny(PARTIAL)))
    session.train_epoch()
    assert net_reads_none(session.snapshot)
    for factory in (indicator, proxies):
        with pytest.raises(UserError, match="one-hot operation weights for a cell"):
            factory().measure(session.snapshot)
    phi = operations().measure(session.snapshot).numbers
    assert {phi[name]["deck"] for name in RATES} == {None}
    bound = theory(channels=2, samples=4, draws=1).measure(session.snapshot).numbers
    assert {name for name, value in bound.items() if value is not None} == {"delta"}
    with searched(tiny(PARTIAL, {"search": {"epochs": 1}})) as folder:
        with pytest.raises(UserError, match=one_line.format("indicator")):
            api.measure(folder.path, {"indicator": {"uniform": 4, "top": 4}})
        assert not folder.read_measures("indicator")


def net_reads_none(snapshot: Snapshot) -> bool:
    """Whether a cell of nothing but ``none`` tells images apart."""
    images_BCHW = torch.stack([b.images_BCHW for b in snapshot.batches("valid", 1, 8)])[0]
    none_EO = snapshot.one_hot([NAS_BENCH_201.none] * NAS_BENCH_201.edge_count)
    logits_BK = snapshot.supernet(images_BCHW, none_EO, statistics=None).logits_BK
    return bool(logits_BK.std(0).max() > 1e-3)


def test_a_network_that_takes_no_other_mixed_cell_says_so() -> None:
    with pytest.raises(UserError, match=r"takes no mixed_cell, and \S*=pc-darts brings one"):
        tiny(TWO, PARTIAL)
    with pytest.raises(UserError, match=r"takes no head_affine, and supernet\.head_affine=false"):
        tiny(TWO, {"supernet": {"head_affine": False}})


# --- the template of docs/extending/operation.md ----------------------------------------------


@pytest.fixture(name="template")
def _template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (text,) = re.findall(r"```python\n(# my_operation\.py\n.*?)```", text_of("extending"), re.S)
    (tmp_path / "my_operation.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    return {"space": {"name": "./my_operation.py:dilated"}, "benchmark": {"table": "none"}}


@pytest.mark.parametrize(("weights", "arch"), [("SGD", "Adam"), ("Adam", "SGD")])
@pytest.mark.thorough
def test_a_space_with_an_operation_of_its_own_resumes_bit_for_bit(
    template: dict[str, Any], weights: str, arch: str
) -> None:
    pair = {"weight_optimizer": {"name": weights}, "arch_optimizer": {"name": arch}}
    settings = tiny(template, pair, {"measures": {"sharpness": {"every": 1}}})
    whole = trace(settings)
    assert difference(whole, trace(settings, stop=1)) is None
    assert "cells.0.edges.0.dil_conv_3x3.depth.weight" in build_state(settings).supernet.weights
    assert whole["records"][-1]["alpha_hessian_max"] is not None


@pytest.mark.slow
def test_such_a_search_is_killed_and_resumed(template: dict[str, Any], tmp_path: Path) -> None:
    del template
    more = {"benchmark__table": "none", "search__epochs": 12}
    whole, search = (
        tiny_search("space.name=./my_operation.py:dilated", out=out, **more)
        for out in ("whole", "out")
    )
    assert console(whole, tmp_path)[0] == 0
    process, records = start(search, tmp_path), tmp_path / "out" / "epochs.jsonl"
    while not (records.exists() and records.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    finish(process)
    assert console(["resume", "out"], tmp_path)[0] == 0
    assert timeless(tmp_path / "out") == timeless(tmp_path / "whole")


# --- the sides of images --------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [8, 9, 10, 12])
@pytest.mark.parametrize("name", [*registry.names("space"), "./two_kinds.py:two_kinds"])
def test_sides_are_refused_or_fit(name: str, resolution: int) -> None:
    """On the spaces of DARTS sides of 10 pixels passed every check and failed in the first pass."""
    space = build_space({"name": name})
    chosen = {"space__name": name, "benchmark__table": "none", "data__resolution": resolution}
    over = {"data": {"name": "digits", "resolution": resolution}}
    told = f"take sides that are multiples of {space.side_multiple}"
    if resolution % space.side_multiple:
        with pytest.raises(UserError, match=told) as refused:
            tiny_settings(**chosen)
        assert refused.value.key == "data.resolution"
        with pytest.raises(UserError, match=told):
            load_settings(space, "cpu", over=[Layer("test", over)])
        return
    state = build_state(tiny_settings(**chosen))
    load_settings(space, "cpu", over=[Layer("test", over)])
    x_BCHW = torch.zeros(2, 1, resolution, resolution, dtype=state.dtype)
    weights_EO = state.alpha_EO.softmax(-1)
    assert state.supernet(x_BCHW, weights_EO, statistics=None).logits_BK.shape == (2, 10)


def test_a_space_of_an_own_multiple_in_the_skeleton_needs_both() -> None:
    assert dataclasses.replace(NAS_BENCH_201, multiple=6).side_multiple == 12
