"""What a search needs of a network: operations of a space's own, operation weights per cell.

Shapes: B images, E edges, O operations, L cells.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from naive_supernet import NaiveSupernet
from torch import Tensor
from torch.testing import assert_close

from optnas import UserError
from optnas.measures.curvature.maths import expansion
from optnas.measures.evaluation import Batch
from optnas.measures.indicator.oneshot import score_cells
from optnas.spaces import NAS_BENCH_201, Space
from optnas.spaces.base import Wiring
from optnas.spaces.network import Network, Supernet
from optnas.spaces.network.protocol import ONE_SHOT, TANGENTS
from optnas.spaces.operations.base import Operation
from optnas.spaces.operations.nasbench201 import avg_pool_3x3, nor_conv_3x3

TIGHT = {"rtol": 1e-10, "atol": 1e-10}
SIZES: dict[str, Any] = {"channels": 3, "cells": 2, "classes": 5, "image_channels": 2}
SHAPE = (NAS_BENCH_201.edge_count, NAS_BENCH_201.operation_count)


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


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


def test_what_judges_and_measures_runs_on_it_too(pair: tuple[Supernet, Supernet]) -> None:
    merged, apart = pair
    A_EO, cells = normal(*SHAPE, seed=3), [NAS_BENCH_201.architecture_at(i) for i in range(20)]
    assert (merged.offers, apart.offers) == ({TANGENTS, ONE_SHOT}, {ONE_SHOT})
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
    places = iter(range(net.cells))
    for cell in (cell for stage in naive.stages for cell in stage):
        cell.register_forward_pre_hook(lambda _, args: (args[0], args[1][next(places)]))
    expected = naive(batch().images_BCHW, A_LEO)
    assert_close(net(batch().images_BCHW, A_LEO, statistics=None).logits_BK, expected, **TIGHT)


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


def test_another_number_of_matrices_is_refused() -> None:
    net = net_of(NAS_BENCH_201)
    with pytest.raises(ValueError, match="5 matrices for 6 cells"):
        net(batch().images_BCHW, normal(5, *SHAPE, seed=3), statistics=None)
