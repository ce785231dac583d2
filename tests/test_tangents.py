"""The exact Hessian from tangents, and the measure `curvature`, against rows of double backward.

The twin is the naive supernet, one row of double backward per operation weight or logit, its batch
norm torch's own. Shapes: E edges, O operations, P = E O.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from activations import as_relu, as_softplus, with_masks_held
from naive_supernet import NaiveSupernet
from scipy.sparse.linalg import LinearOperator, eigsh
from test_gap import naive_of, naive_recalibrated, pixels
from tiny import TINY, normal, trained
from torch import Tensor
from torch.testing import assert_close

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.curvature.hessian import on_zero_row_sums
from optnas.measures.curvature.maths import Expansion, expansion
from optnas.measures.curvature.measure import curvature
from optnas.measures.evaluation import Batch
from optnas.measures.sharpness.measure import sharpness
from optnas.measures.snapshot import Snapshot
from optnas.report.pictures import plot_figure
from optnas.search import api
from optnas.search.exam.searches import tiny
from optnas.search.observe import snapshot_of, take
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.base import Space
from optnas.spaces.network import Statistics, Supernet
from optnas.spaces.toy import TOY

TIGHT = {"rtol": 1e-9, "atol": 1e-11}
BATCHES, BATCH = 2, 12


def dense(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """A row of double backward for each entry."""
    leaf = point.detach().clone().requires_grad_()
    (g,) = torch.autograd.grad(function(leaf), leaf, create_graph=True)
    rows = [torch.autograd.grad(each, leaf, retain_graph=True)[0] for each in g.reshape(-1)]
    return torch.stack([row.reshape(-1) for row in rows])


# --- one batch --------------------------------------------------------------------------------


def supernet_of(space: Space, cells: int = 1) -> Supernet:
    net = Supernet(
        space,
        channels=3,
        cells=cells,
        classes=5,
        image_channels=2,
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    scaled = {
        name: weight.detach() + 0.3 * normal(*weight.shape, seed=5)  # away from 1 and 0
        for name, weight in net.weights.items()
    }
    net.weights = scaled
    return net


def fixed(net: Supernet) -> Statistics:
    start = net.initial_statistics()
    size = len(start.mean_S)
    return Statistics(normal(size, seed=6) / 5, start.variance_S + normal(size, seed=7) ** 2)


def batch_of(size: int = 6) -> Batch:
    return Batch(normal(size, 2, 8, 8, seed=1), torch.arange(size) % 5)


def weights_of(space: Space) -> Tensor:
    return normal(len(space.edges), space.operation_count, seed=2)


def naive_loss(net: Supernet, statistics: Statistics | None) -> Callable[[Tensor], Tensor]:
    cells = len(net.stages[0])
    sizes = {"channels": 3, "cells": cells, "classes": 5, "image_channels": 2}
    naive = NaiveSupernet(net.space.edges, net.space.operations, **sizes).double()
    naive.load(net.weights)
    naive.train(statistics is None)
    if statistics is not None:
        held = net.named_statistics(statistics)
        for name, (mean, variance) in naive.named_statistics().items():
            mean.copy_(held[name][0])
            variance.copy_(held[name][1])
    batch = batch_of()
    return lambda A_EO: F.cross_entropy(naive(batch.images_BCHW, A_EO), batch.labels_B)


@pytest.mark.parametrize(
    ("space", "cells", "batch_statistics"),
    [
        (NAS_BENCH_201, 1, True),
        (NAS_BENCH_201, 1, False),
        (TOY, 1, True),
        pytest.param(NAS_BENCH_201, 2, True, marks=pytest.mark.slow),
    ],
    ids=["nas-bench-201", "fixed statistics", "toy", "two cells"],
)
def test_it_is_the_naive_twins(space: Space, cells: int, batch_statistics: bool) -> None:
    """Any real operation weights; affine batch norms away from their start."""
    net, A_EO = supernet_of(space, cells), weights_of(space)
    statistics = None if batch_statistics else fixed(net)
    found = expansion(net, batch_of(), A_EO, statistics)
    loss = naive_loss(net, statistics)
    leaf = A_EO.clone().requires_grad_()
    value = loss(leaf)
    assert found.loss == pytest.approx(float(value.detach()), rel=1e-12)
    assert_close(found.gradient_EO, torch.autograd.grad(value, leaf)[0], **TIGHT)
    assert_close(found.hessian_PP, dense(loss, A_EO), **TIGHT)


@functools.cache
def found_once() -> Expansion:
    return expansion(supernet_of(NAS_BENCH_201), batch_of(), weights_of(NAS_BENCH_201), None)


def test_it_is_symmetric_and_none_has_no_part_in_it() -> None:
    hessian_PP = found_once().hessian_PP
    assert_close(hessian_PP, hessian_PP.T, rtol=0, atol=1e-14 * float(hessian_PP.abs().max()))
    read = hessian_PP.reshape(6, 5, 6, 5)
    none = NAS_BENCH_201.none
    assert not read[:, none].any()
    assert not read[:, :, :, none].any()


def test_single_precision_is_near() -> None:
    net, batch = supernet_of(NAS_BENCH_201), batch_of()
    # Held where they are: a ReLU near 0 may fall on the other side in single precision.
    net.weights = {name: weight.float() for name, weight in net.weights.items()}
    A_EO = weights_of(NAS_BENCH_201).float()
    single = expansion(net, Batch(batch.images_BCHW.float(), batch.labels_B), A_EO, None)
    assert single.hessian_PP.dtype == single.gradient_EO.dtype == torch.float64
    scale = float(found_once().hessian_PP.abs().max())
    assert float((single.hessian_PP - found_once().hessian_PP).abs().max()) < 1e-3 * scale


def test_lanczos_finds_its_extreme_eigenvalues() -> None:
    """Products of the Hessian with a vector, double backward through the supernet."""
    net, batch, A_EO = supernet_of(NAS_BENCH_201), batch_of(), weights_of(NAS_BENCH_201)
    leaf = A_EO.clone().requires_grad_()
    logits_BK = net(batch.images_BCHW, leaf, statistics=None).logits_BK
    loss = F.cross_entropy(logits_BK, batch.labels_B)
    (g_EO,) = torch.autograd.grad(loss, leaf, create_graph=True)

    def product(v_P: Any) -> Any:
        v_EO = torch.from_numpy(np.ascontiguousarray(v_P)).reshape(6, 5)
        (row_EO,) = torch.autograd.grad(g_EO, leaf, v_EO, retain_graph=True)
        return row_EO.reshape(-1).numpy()

    operator = LinearOperator((30, 30), matvec=product, dtype=np.float64)
    start = normal(30, seed=3).numpy()
    lanczos = eigsh(operator, k=2, which="BE", v0=start, return_eigenvectors=False)
    spectrum = torch.linalg.eigvalsh(found_once().hessian_PP)
    assert sorted(lanczos) == pytest.approx([float(spectrum[0]), float(spectrum[-1])], rel=1e-9)


def difference_errors(activation: Any, steps: tuple[float, ...], *, tangents: bool) -> list[float]:
    """Relative error of central differences of the gradient at three operation weights."""
    net, batch, A_EO = supernet_of(NAS_BENCH_201), batch_of(), weights_of(NAS_BENCH_201)
    positions = (2, 8, 19)

    def loss(A_EO: Tensor) -> Tensor:
        logits_BK = net(batch.images_BCHW, A_EO, statistics=None).logits_BK
        return F.cross_entropy(logits_BK, batch.labels_B)

    def gradient(A_P: Tensor) -> Tensor:
        leaf = A_P.reshape(6, 5).clone().requires_grad_()
        return torch.autograd.grad(loss(leaf), leaf)[0].reshape(-1)

    with activation(lambda: loss(A_EO)):
        if tangents:
            exact = expansion(net, batch, A_EO, None).hessian_PP[list(positions)]
        else:
            exact = dense(loss, A_EO)[list(positions)]
        errors = []
        for h in steps:
            moves = [h * torch.eye(30, dtype=torch.float64)[p] for p in positions]
            base = A_EO.reshape(-1)
            rows = [(gradient(base + m) - gradient(base - m)) / (2 * h) for m in moves]
            errors.append(float((torch.stack(rows) - exact).norm() / exact.norm()))
    return errors


@pytest.mark.parametrize(
    ("activation", "tangents"),
    [(with_masks_held, True), (as_softplus, False)],
    ids=["masks held", "softplus"],
)
def test_differences_of_a_smooth_network_approach_it(activation: Any, tangents: bool) -> None:
    coarse, fine = difference_errors(activation, (1e-3, 1e-4), tangents=tangents)
    assert fine < 1e-5
    assert coarse / fine == pytest.approx(100, rel=0.05)  # as h squared


def test_differences_through_kinks_do_not() -> None:
    errors = difference_errors(as_relu, (1e-1, 1e-2, 1e-3), tangents=True)
    assert min(errors) > 0.1


# --- the measure ------------------------------------------------------------------------------


def snapshot(changes: dict[str, Any]) -> tuple[SearchState, Snapshot]:
    state = trained(changes | {"supernet__alpha_scale": 1.0}, 1)
    state.epoch = 1
    return state, snapshot_of(state, "curvature")


def twin(state: SearchState, loss: str, recalibrated: bool, boost: float) -> list[dict[str, Any]]:
    """Hessians by batch, in logits and in operation weights, through the naive supernet."""
    half = {"train": state.train, "valid": state.valid}[loss]
    images, size = pixels(half), len(half)
    alpha_EO = state.alpha_EO.detach()
    boost_EO = torch.zeros_like(alpha_EO)
    boost_EO[:, NAS_BENCH_201.skip] = boost
    A_EO = alpha_EO.softmax(-1) + boost_EO
    net = naive_of(state).train()
    if recalibrated:
        net = naive_recalibrated(net, A_EO, state)
    found = []
    for b in range(BATCHES):
        here = [i % size for i in range(b * BATCH, (b + 1) * BATCH)]
        x, y = images[here], half.labels_N[here]
        blocks = dense(lambda A, x=x, y=y: F.cross_entropy(net(x, A), y), A_EO).reshape(6, 5, 6, 5)
        for axis in (1, 3):  # the mean of a row leaves
            blocks = blocks - blocks.mean(axis, keepdim=True)
        in_alpha = dense(
            lambda a, x=x, y=y: F.cross_entropy(net(x, a.softmax(-1) + boost_EO), y), alpha_EO
        )
        found.append({"logits": in_alpha, "op_weights": blocks.reshape(30, 30)})
    return found


@pytest.mark.parametrize(
    ("changes", "loss", "statistics", "boost"),
    [
        ({"algorithm__name": "darts"}, "valid", "recalibrated", 0.0),
        pytest.param(  # beta in the first epoch
            {"algorithm__name": "darts-minus"}, "train", "batch", 1.0, marks=pytest.mark.slow
        ),
    ],
    ids=["recalibrated", "darts-minus, train"],
)
def test_the_measure_is_the_naive_twins(
    changes: dict[str, Any], loss: Any, statistics: Any, boost: float
) -> None:
    state, seen = snapshot(changes)
    measure = curvature(loss, BATCHES, BATCH, statistics, recalibration=5)
    values = measure.measure(seen)
    hessians = twin(state, loss, statistics == "recalibrated", boost)
    for name in ("logits", "op_weights"):
        each = np.stack([batch[name].numpy() for batch in hessians])
        assert values.arrays[f"{name}_hessians"] == pytest.approx(each, rel=1e-8, abs=1e-11)
        mean = each.mean(0)
        spectrum = np.linalg.eigvalsh(mean)
        expected = {
            "max": spectrum[-1],
            "min": spectrum[0],
            "spectral": np.linalg.norm(mean, 2),
            "frobenius": math.sqrt((mean**2).sum()),
            "trace": sum(mean[i, i] for i in range(30)),
        }
        for key, value in expected.items():
            assert values.numbers[f"{name}_{key}"] == pytest.approx(value, rel=1e-8), key
        assert values.arrays[f"{name}_spectrum"] == pytest.approx(spectrum, rel=1e-8, abs=1e-11)
        singles = {
            "max": [np.linalg.eigvalsh(h)[-1] for h in each],
            "min": [np.linalg.eigvalsh(h)[0] for h in each],
            "trace": [np.trace(h) for h in each],
        }
        for key, of_batches in singles.items():
            one, two = of_batches
            middle = (one + two) / 2
            # Student's t at 97.5 % with 1 degree of freedom; s / sqrt(2) is half the difference.
            half = 12.706204736174698 * abs(one - two) / 2
            for end, sign in (("low", -1), ("high", 1)):
                found = values.numbers[f"{name}_{key}_{end}"]
                assert found == pytest.approx(middle + sign * half, rel=1e-7, abs=1e-10)


def test_the_slope_is_that_of_the_loss_without_the_row_means() -> None:
    _, seen = snapshot({"algorithm__name": "darts"})
    numbers = curvature("valid", BATCHES, BATCH).measure(seen).numbers
    slopes = []
    for batch in seen.batches("valid", BATCHES, BATCH):
        leaf_EO = seen.op_weights_EO.detach().clone().requires_grad_()
        found = seen.supernet(batch.images_BCHW, leaf_EO, statistics=None)
        (slope_EO,) = torch.autograd.grad(F.cross_entropy(found.logits_BK, batch.labels_B), leaf_EO)
        slopes.append(slope_EO - slope_EO.mean(-1, keepdim=True))
    mean = sum(slopes) / len(slopes)
    assert numbers["op_weights_l1"] == pytest.approx(float(mean.abs().sum()), rel=1e-8)
    singles = [float(each.abs().sum()) for each in slopes]
    middle = (numbers["op_weights_l1_low"] + numbers["op_weights_l1_high"]) / 2
    assert middle == pytest.approx(sum(singles) / len(singles), rel=1e-8)


@functools.cache
def measured(weight_decay: float = 0.0) -> Any:
    _, seen = snapshot({"algorithm__name": "darts"})
    return curvature(batches=2, batch_size=BATCH, weight_decay=weight_decay).measure(seen)


@pytest.mark.parametrize("name", ["logits", "op_weights"])
def test_a_constant_added_to_a_row_is_a_null_direction(name: str) -> None:
    shifts_PE = np.kron(np.eye(6), np.ones((5, 1)))
    for hessian in measured().arrays[f"{name}_hessians"]:
        assert (hessian == hessian.T).all()
        assert np.abs(hessian @ shifts_PE).max() < 1e-12 * np.abs(hessian).max()
    magnitudes = np.sort(np.abs(measured().arrays[f"{name}_spectrum"]))
    assert magnitudes[5] < 1e-12 * magnitudes[-1]
    assert magnitudes[6] > 1e-9 * magnitudes[-1]


def test_weight_decay_shifts_the_logits_and_nothing_else() -> None:
    plain, shifted = measured().numbers, measured(0.5).numbers
    for key in ("max", "min", "max_low", "min_high"):
        assert shifted[f"logits_{key}"] == pytest.approx(plain[f"logits_{key}"] + 0.5)
    assert shifted["logits_trace"] == pytest.approx(plain["logits_trace"] + 15)
    others = [key for key in plain if not key.startswith("logits")]
    assert {key: plain[key] for key in others} == {key: shifted[key] for key in others}


def test_the_rows_of_operation_weights_are_described() -> None:
    state, _ = snapshot({"algorithm__name": "darts"})
    numbers = measured().numbers
    for edge, row in enumerate(state.alpha_EO.detach().softmax(-1).tolist()):
        assert numbers["entropies"][edge] == pytest.approx(-sum(a * math.log(a) for a in row))
        assert numbers["saturations"][edge] == pytest.approx(max(row))
    assert numbers["entropy"] == pytest.approx(sum(numbers["entropies"]) / 6)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [{"name": "rsps", "cells": 2}, {"name": "darts-pt"}])
def test_an_edge_that_the_cell_leaves_out_has_no_entropy(algorithm: dict[str, Any]) -> None:
    """Its row of zeros was divided by its sum, and with the whole measure every figure was lost."""
    settings = {
        "space": {"name": "darts-s3"},
        "benchmark": {"table": "none"},
        "supernet": {"dtype": "float32", "channels": 2},
        "data": {"train_size": 32, "valid_size": 32},
        "measures": {"curvature": {"every": 0, "at": ["end"], "batches": 2, "batch_size": 8}},
    }
    session = Session(build_state(tiny(settings, {"algorithm": algorithm})))
    while session.state.epoch < session.state.settings.search.epochs:
        session.train_epoch()
    line = take(session.snapshot, session.state.settings.measures["curvature"]).line
    assert line["status"] == "ok", line.get("reason")
    rows, values = session.snapshot.op_weights_EO.tolist(), line["values"]
    there = [any(row) for row in rows]
    assert 0 < sum(there) < len(rows)  # two edges into each node, one-hot
    assert values["entropies"] == [0.0 if each else None for each in there]
    assert values["saturations"] == [1.0 if each else None for each in there]
    assert (values["entropy"], values["saturation"]) == (0.0, 1.0)


def test_the_records_eigenvalue_is_one_batchs() -> None:
    """The records' own batch, the first images: their value among the batches' spectra."""
    _, seen = snapshot({"algorithm__name": "darts"})
    top, bottom = sharpness(BATCH).measure(seen).numbers.values()
    spectra = measured().arrays["logits_spectra"]
    assert (spectra[0][-1], spectra[0][0]) == pytest.approx((top, bottom), rel=1e-8)


def test_the_projection_keeps_what_has_zero_row_sums() -> None:
    hessian_PP = normal(30, 30, seed=8)
    hessian_PP = hessian_PP + hessian_PP.T
    d_EO = normal(6, 5, seed=9)
    d_P = (d_EO - d_EO.mean(-1, keepdim=True)).reshape(-1)
    found = on_zero_row_sums(hessian_PP, 5)
    assert float(d_P @ found @ d_P) == pytest.approx(float(d_P @ hessian_PP @ d_P))


def test_what_is_not_finite_is_no_eigenvalue() -> None:
    _, seen = snapshot({"algorithm__name": "darts"})
    broken = {name: weight * math.inf for name, weight in seen.supernet.weights.items()}
    seen.supernet.weights = broken
    numbers = curvature(batches=2, batch_size=BATCH).measure(seen).numbers
    assert math.isnan(numbers["logits_max"])
    assert math.isnan(numbers["op_weights_max_low"])


@pytest.mark.thorough
def test_the_figure(tmp_path: Path) -> None:
    taken = {"batches": 2, "batch_size": 8, "at": [0, "end"]}
    api.run(
        TINY | {f"measures.curvature.{key}": value for key, value in taken.items()},
        out=tmp_path / "a",
    )
    run = RunFolder(tmp_path / "a")
    plot_figure("curvature", [run], tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()

    def refused(message: str, runs: list[RunFolder], **options: Any) -> None:
        with pytest.raises(UserError, match=message):
            plot_figure("curvature", runs, tmp_path / "b.svg", options)
        assert not (tmp_path / "b.svg").exists()

    refused(r"no measurement of curvature with loss=train .*optnas measure", [run], loss="train")
    refused("drawn from runs", [])
    line = run.read_measures("curvature")[-1]
    other = {**line, "settings": line["settings"] | {"batches": 3}}
    run.measures.put("curvature", other, run.measures.arrays(line))
    refused("measured with different batches", [run])
    plot_figure("curvature", [run], tmp_path / "c.svg", {"batches": 2})
    assert (tmp_path / "c.svg").read_text() == (tmp_path / "a.svg").read_text()
