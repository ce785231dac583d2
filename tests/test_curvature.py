"""The alpha-Hessian against dense double backward, finite differences and the naive supernet.

Symbols: a alpha as a vector, A operation weights. Shapes: E edges, O operations, P = E O.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from naive_supernet import NaiveSupernet
from tiny import normal, tiny_settings, train_batch, valid_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import Progress
from optnas.measures.curvature.hessian import alpha_hessian, extreme_eigenvalues
from optnas.measures.sharpness.measure import sharpness
from optnas.search.observe import snapshot_of
from optnas.search.settings.layers import Layer, resolve
from optnas.search.state import SearchState, build_state
from optnas.search.steps import arch_step, weight_step

E, O, P = 6, 5, 30
BATCH = 8
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
algorithms = pytest.mark.parametrize("algorithm", ["darts", "darts-minus"])


def dense(function: Callable[[Tensor], Tensor], alpha_EO: Tensor) -> Tensor:
    """A row of double backward for each logit."""
    leaf = alpha_EO.detach().clone().requires_grad_()
    (g_EO,) = torch.autograd.grad(function(leaf), leaf, create_graph=True)
    rows = [
        torch.autograd.grad(g, leaf, retain_graph=True)[0].reshape(-1) for g in g_EO.reshape(-1)
    ]
    return torch.stack(rows)


# --- a smooth toy -----------------------------------------------------------------------------


def toy_loss(A_EO: Tensor) -> Tensor:
    """Reads no operation of column 0."""
    read = A_EO[:, 1:].reshape(-1)
    return (normal(7, len(read), seed=1) @ read).sin().sum() + read.cos().prod()


def softmax(alpha_EO: Tensor) -> Tensor:
    return alpha_EO.softmax(-1)


def toy_hessian(**options: Any) -> Tensor:
    return alpha_hessian(toy_loss, softmax, normal(E, O, seed=2), **options)


def test_a_toys_hessian_is_that_of_finite_differences() -> None:
    def gradient(alpha_EO: Tensor) -> Tensor:
        leaf = alpha_EO.clone().requires_grad_()
        return torch.autograd.grad(toy_loss(leaf.softmax(-1)), leaf)[0].reshape(-1)

    alpha_EO, e = normal(E, O, seed=2), 1e-5
    steps = e * torch.eye(P, dtype=torch.float64).reshape(P, E, O)
    rows = [(gradient(alpha_EO + s) - gradient(alpha_EO - s)) / (2 * e) for s in steps]
    assert_close(toy_hessian(), torch.stack(rows), rtol=1e-6, atol=1e-8)


def test_inert_columns_are_skipped_without_a_trace() -> None:
    calls = []

    def counted(A_EO: Tensor) -> Tensor:
        A_EO.register_hook(calls.append)
        return toy_loss(A_EO)

    alpha_EO = normal(E, O, seed=2)
    full = alpha_hessian(counted, softmax, alpha_EO)
    dear = len(calls)
    skipping = alpha_hessian(counted, softmax, alpha_EO, inert=(0,))
    assert torch.equal(skipping, full)
    assert dear - (len(calls) - dear) == E  # one row per edge less


def test_the_dtype_is_double_whatever_the_networks() -> None:
    single = alpha_hessian(
        lambda A: toy_loss(A.double()).float(), softmax, normal(E, O, seed=2).float()
    )
    assert single.dtype == torch.float64
    assert_close(single, toy_hessian(), rtol=1e-4, atol=1e-4)


def test_extreme_eigenvalues_are_algebraic() -> None:
    turn = torch.linalg.qr(normal(4, 4, seed=3)).Q
    spectrum = torch.tensor([-9.0, -1.0, 0.5, 2.0], dtype=torch.float64)
    assert extreme_eigenvalues(turn @ spectrum.diag() @ turn.T) == pytest.approx((2.0, -9.0))
    broken = torch.full((2, 2), math.inf)
    assert all(map(math.isnan, extreme_eigenvalues(broken)))


# --- the supernet -----------------------------------------------------------------------------


@functools.cache
def searched(algorithm: str) -> SearchState:
    """A search after two iterations: alpha, weights, statistics and optimizers have moved."""
    document = {
        "search": {"batch_size": BATCH, "epochs": 2},
        "algorithm": {"name": algorithm},
        "supernet": {"channels": 2, "dtype": "float64", "alpha_scale": 1.0},
        "data": {"name": "digits", "train_size": 16, "valid_size": 16},
        "curvature": {"batch_size": BATCH},
    }
    state = build_state(resolve([Layer("test", document)]))
    for _ in range(2):
        train = train_batch(state, torch.arange(BATCH))
        arch_step(state, train, valid_batch(state), Progress(1, 2))
        weight_step(state, train, Progress(1, 2))
    return state


def twin_hessian(state: SearchState, skip_boost: float) -> Tensor:
    """Through the naive supernet, on the first validation images, under batch statistics."""
    space = state.space
    naive = NaiveSupernet(
        space.edges, space.operations, channels=2, cells=1, classes=10, image_channels=1
    ).double()
    naive.load(state.supernet.weights)
    pixels_BCHW = state.valid.images_NCHW[:BATCH].double() / 255
    images_BCHW = (pixels_BCHW - state.valid.mean_C) / state.valid.std_C
    labels_B = state.valid.labels_N[:BATCH]
    boost_EO = torch.zeros(E, O, dtype=torch.float64)
    boost_EO[:, space.operations.index("skip_connect")] = skip_boost

    def loss(alpha_EO: Tensor) -> Tensor:
        logits = naive.train()(images_BCHW, alpha_EO.softmax(-1) + boost_EO)
        return F.cross_entropy(logits, labels_B)

    return dense(loss, state.alpha_EO)


def supernet_loss(state: SearchState) -> Callable[[Tensor], Tensor]:
    images_BCHW = normal(BATCH, 1, 8, 8, seed=4)
    labels_B = torch.arange(BATCH)
    return lambda A_EO: F.cross_entropy(
        state.supernet(images_BCHW, A_EO, statistics=None).logits_BK, labels_B
    )


def relaxed(state: SearchState) -> Callable[[Tensor], Tensor]:
    return lambda alpha_EO: state.algorithm.relax(alpha_EO, Progress(1, 2))


@functools.cache
def measured(algorithm: str) -> Tensor:
    """Without the rows of ``none`` for one algorithm, with them for the other."""
    state = searched(algorithm)
    inert = (state.space.none,) if algorithm == "darts" else ()
    return alpha_hessian(supernet_loss(state), relaxed(state), state.alpha_EO, inert)


@algorithms
@pytest.mark.thorough
def test_the_supernets_hessian_is_the_dense_one(algorithm: str) -> None:
    state, found = searched(algorithm), measured(algorithm)
    loss, relax = supernet_loss(state), relaxed(state)
    assert torch.equal(found, found.T)
    assert_close(found, dense(lambda alpha_EO: loss(relax(alpha_EO)), state.alpha_EO), **TIGHT)


def test_of_a_hard_gumbel_it_is_that_of_the_temperature() -> None:
    """As docs/algorithms/gdas.md says: with 1 / tau^2 at equal w and alpha, tau from 10 to 0.1."""
    state = build_state(tiny_settings(algorithm__name="gdas", search__epochs=40))
    tops = []
    for epoch in (1, 40):
        state.epoch = epoch
        found = sharpness(batch_size=8).measure(snapshot_of(state, "sharpness")).numbers
        tops.append(found["alpha_hessian_max"])
    assert tops[1] / tops[0] == pytest.approx(100**2, rel=0.1)


@algorithms
@pytest.mark.thorough
def test_shifting_all_logits_of_an_edge_is_a_null_direction(algorithm: str) -> None:
    found = measured(algorithm)
    scale = float(found.abs().max())
    shifts_PE = torch.eye(E, dtype=torch.float64).repeat_interleave(O, dim=0)
    assert float((found @ shifts_PE).abs().max()) < 1e-12 * scale
    magnitudes = torch.linalg.eigvalsh(found).abs().sort().values
    assert float(magnitudes[E - 1]) < 1e-12 * scale
    assert float(magnitudes[E + 2]) > 1e-9 * scale


def everything(state: SearchState) -> dict[str, Any]:
    assert state.statistics is not None
    return {
        "weights": {n: (w.detach(), w.grad) for n, w in state.supernet.weights.items()},
        "alpha": (state.alpha_EO.detach(), state.alpha_EO.grad, state.path_lengths),
        "statistics": (state.statistics.mean_S, state.statistics.variance_S),
        "optimizers": [o.state_dict() for o in (state.weight_optimizer, state.arch_optimizer)],
        "generators": [g.get_state() for g in state.generators.values()],
        "global": torch.get_rng_state(),
    }


def test_what_a_search_records_is_the_twins_and_moves_nothing() -> None:
    """Epoch 2 of 2: half of the auxiliary skip is left. No weight decay on the diagonal."""
    state = searched("darts-minus")
    before = copy.deepcopy(everything(state))
    state.epoch = 2
    found = sharpness(BATCH).measure(snapshot_of(state)).numbers
    assert_close(everything(state), before, rtol=0, atol=0)
    spectrum = torch.linalg.eigvalsh(twin_hessian(state, skip_boost=0.5))
    ends = (float(spectrum[-1]), float(spectrum[0]))
    assert tuple(found.values()) == pytest.approx(ends, rel=1e-8)
