"""The landscape against loops over the naive supernet and against planted answers.

Shapes: E edges, O operations.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from cases import command, copied
from test_gap import VARIANTS, naive_of, naive_score, pixels
from tiny import TINY, tiny_settings, trained
from torch import Tensor
from torch.testing import assert_close

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.base.seeds import named_generator
from optnas.data.augmentation import Augmentation
from optnas.data.images import Images
from optnas.measures.base import Values
from optnas.measures.curvature.hessian import alpha_hessian
from optnas.measures.gap.measure import gap
from optnas.measures.landscape import maths as scape
from optnas.measures.landscape.directions import orthogonalised, top_eigenvectors, zero_sum_basis
from optnas.measures.landscape.figure import landscape as landscape_figure
from optnas.measures.landscape.measure import landscape
from optnas.measures.landscape.panels import short_unit
from optnas.measures.landscape.read import F4, f4_data, read_landscapes
from optnas.measures.landscape.surfaces import (
    Surface,
    fit_quadratic,
    path_numbers,
    projected,
    smoothness,
    surface_numbers,
)
from optnas.measures.snapshot import Snapshot
from optnas.report.data import drawn
from optnas.report.static import draw
from optnas.search import api
from optnas.search.observe import snapshot_of
from optnas.search.state import SearchState, build_state
from optnas.spaces import NAS_BENCH_201

QUICK: dict[str, Any] = {"points": 5, "images": 0, "batches": 2, "path_points": 3}
PLANES = ("gradient", "random", "eigenvectors")
SPACES = ("op-weights", "logits")
planes = pytest.mark.parametrize("plane", PLANES)
spaces = pytest.mark.parametrize("space", SPACES)
variants = pytest.mark.parametrize("variant", VARIANTS)


def searched(variant: str = "darts") -> SearchState:
    """After an epoch, with operation weights far enough from uniform to be cut off somewhere."""
    state = trained(VARIANTS[variant], 1)
    state.epoch = 1
    with torch.no_grad():
        generator = torch.Generator().manual_seed(3)
        state.alpha_EO.copy_(torch.randn(6, 5, generator=generator, dtype=torch.float64))
    return state


def measured(state: SearchState, **settings: Any) -> Values:
    return landscape(**{**QUICK, **settings}).measure(snapshot_of(state, "landscape"))


# --- the twin ---------------------------------------------------------------------------------


def auxiliary(variant: str) -> float:
    return 1.0 if variant == "darts-minus" else 0.0  # beta in the first epoch


def naive_clip(row: list[float], total: float) -> list[float]:
    """A row brought back to non-negative numbers of the given sum; untouched if it is there."""
    if min(row) >= 0:
        return row
    shares = [min(max(value / total, 0.0), 1.0) for value in row]
    return [share * total / sum(shares) for share in shares]


def naive_point(alpha_EO: Tensor, shift_EO: Tensor, space: str, beta: float) -> Tensor:
    boost_EO = torch.zeros(6, 5, dtype=torch.float64)
    boost_EO[:, NAS_BENCH_201.skip] = beta
    if space == "logits":
        return (alpha_EO + shift_EO).softmax(-1) + boost_EO
    moved_EO = alpha_EO.softmax(-1) + boost_EO + shift_EO
    return torch.tensor([naive_clip(row.tolist(), 1 + beta) for row in moved_EO])


@pytest.mark.parametrize(
    ("variant", "space"),
    [("darts", "logits"), ("darts-minus", "op-weights"), ("batch", "op-weights")],
)
@pytest.mark.thorough
def test_the_plane_is_that_of_a_loop_over_the_naive_supernet(variant: str, space: str) -> None:
    state = searched(variant)
    alpha_EO, beta = state.alpha_EO.detach(), auxiliary(variant)
    found = measured(state, space=space, plane="random", images=24).arrays
    first = Images(
        state.valid.images_NCHW[:24],
        state.valid.labels_N[:24],
        state.valid.mean_C,
        state.valid.std_C,
    )
    net, mode = naive_of(state), "batch" if variant == "batch" else "running"
    radius = {"op-weights": 0.3, "logits": 3.0}[space]
    assert found["axis"].tolist() == pytest.approx([-radius, -radius / 2, 0, radius / 2, radius])
    directions = torch.from_numpy(found["directions"])
    for i in (0, 2, 3):
        for j in (0, 1, 4):
            x, y = found["axis"][[i, j]]
            shift_EO = float(x) * directions[0] + float(y) * directions[1]
            A_EO = naive_point(alpha_EO, shift_EO, space, beta)
            loss, accuracy = naive_score(net, A_EO, SimpleNamespace(valid=first), mode)  # type: ignore[arg-type]
            assert found["loss"][i, j] == pytest.approx(loss, rel=1e-8)
            assert found["accuracy"][i, j] == pytest.approx(accuracy)
            A_EO[:, NAS_BENCH_201.skip] -= beta
            assert found["cells"][i, j].tolist() == [int(row.argmax()) for row in A_EO]


@planes
@spaces
def test_directions_are_orthogonal_with_zero_row_sums(plane: str, space: str) -> None:
    d1, d2 = measured(searched(), plane=plane, space=space).arrays["directions"]
    for direction in (d1, d2):
        assert np.abs(direction.sum(-1)).max() < 1e-12
    assert abs((d1 * d2).sum()) < 1e-12
    if space == "logits":
        assert [np.linalg.norm(d1), np.linalg.norm(d2)] == pytest.approx([1, 1])
    elif plane == "eigenvectors":
        assert [np.abs(d1).max(), np.abs(d2).max()] == pytest.approx([1, 1])
    else:
        assert np.abs((d1 * d2).sum(-1)).max() < 1e-12
        assert np.abs(d1).max(-1) == pytest.approx(np.ones(6))
        assert np.abs(d2).max(-1) == pytest.approx(np.ones(6))


def test_gram_schmidt_by_rows_or_over_the_matrix() -> None:
    one, other = torch.randn(2, 4, 5, dtype=torch.float64, generator=torch.Generator())
    one[0] = 0
    by_row = orthogonalised(other, one, by_row=True)
    assert torch.equal(by_row[0], other[0])
    assert_close((by_row * one).sum(-1), torch.zeros(4, dtype=torch.float64))
    whole = orthogonalised(other, one, by_row=False)
    assert float((whole * one).sum()) == pytest.approx(0, abs=1e-12)
    assert not torch.equal(whole, by_row)


def naive_gradient(state: SearchState) -> Tensor:
    net, leaf = naive_of(state).eval(), state.alpha_EO.detach().softmax(-1).requires_grad_()
    loss = F.cross_entropy(net(pixels(state.valid), leaf), state.valid.labels_N)
    return torch.autograd.grad(loss, leaf)[0]


def test_the_first_direction_is_the_gradient_of_each_row() -> None:
    state = searched()
    found = measured(state, plane="gradient").arrays["directions"][0]
    g_EO = naive_gradient(state)
    g_EO = g_EO - g_EO.mean(-1, keepdim=True)
    assert found == pytest.approx((g_EO / g_EO.abs().amax(-1, keepdim=True)).numpy(), abs=1e-8)


@pytest.mark.parametrize("plane", ["gradient", "eigenvectors"])
@pytest.mark.thorough
def test_directions_do_not_depend_on_the_size_of_batches(plane: Any) -> None:
    snapshot = snapshot_of(searched(), "landscape")
    chart = scape.Chart(snapshot, "op-weights")
    whole, split = (
        scape.Judge.on_first(dataclasses.replace(snapshot, evaluation_size=size), 20, 2)
        for size in (20, 7)
    )
    assert [len(whole.batches), len(split.batches)] == [1, 3]
    one, other = (scape.directions(judge, chart, plane, "run")[0] for judge in (whole, split))
    assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_eigenvectors_of_a_planted_hessian() -> None:
    edges, operations = 3, 4
    basis = zero_sum_basis(edges, operations)
    count = basis.shape[1]
    assert_close(basis.T @ basis, torch.eye(count, dtype=torch.float64))
    sums = basis.reshape(edges, operations, count).sum(1)
    assert float(sums.abs().max()) < 1e-12
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(count, count, generator=generator, dtype=torch.float64)).Q
    vectors = basis @ turn
    planted = torch.tensor([-9.0, -5.0, -4.0, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5]).double()
    hessian = vectors @ planted.diag() @ vectors.T
    # Shifts of a whole row, along which the largest eigenvalue would be, are no direction.
    shift = torch.eye(edges, dtype=torch.float64).repeat_interleave(operations, 0)
    values, found = top_eigenvectors(hessian + 7 * shift @ shift.T, edges)
    assert values.tolist() == pytest.approx([-0.5, -1.0])
    for each, expected in zip(found, (vectors[:, -1], vectors[:, -2]), strict=True):
        assert abs(float(each.reshape(-1) @ expected)) == pytest.approx(1)
        assert float(each.reshape(-1)[each.abs().argmax()]) > 0


@spaces
@pytest.mark.thorough
def test_eigenvalues_are_the_curvatures_along_the_eigenvectors(space: str) -> None:
    state = searched()
    snapshot = snapshot_of(state, "landscape")
    judge = scape.Judge.on_first(snapshot, 0, 2)
    chart = scape.Chart(snapshot, space)  # type: ignore[arg-type]
    pair_2EO, values = scape.directions(judge, chart, "eigenvectors", "run")
    assert values is not None

    def slope(unit_EO: Tensor, t: float) -> float:
        leaf = (chart.centre + t * unit_EO).requires_grad_()
        (loss,) = judge.losses(snapshot.statistics)
        return float((torch.autograd.grad(loss(chart.relax(leaf)), leaf)[0] * unit_EO).sum())

    e = 1e-6  # so small that no ReLU switches
    for direction, value in zip(pair_2EO, values, strict=True):
        unit_EO = direction / direction.norm()
        found = (slope(unit_EO, e) - slope(unit_EO, -e)) / (2 * e)
        assert found == pytest.approx(float(value), rel=1e-2)


# --- the centre, the path ---------------------------------------------------------------------


@variants
@spaces
def test_the_centre_is_the_record(variant: str, space: str) -> None:
    state = searched(variant)
    snapshot = snapshot_of(state, "landscape")
    found = measured(state, space=space)
    expected = snapshot.evaluate(snapshot.op_weights_EO, snapshot.statistics)
    assert (found.numbers["loss"], found.numbers["accuracy"]) == expected
    assert found.numbers["images"] == len(state.valid)
    assert found.arrays["cells"][2, 2].tolist() == snapshot.choice
    told = found.numbers["benchmark"]["accuracy"]
    assert {k: found.arrays[f"benchmark_{k}"][2, 2] for k in told} == told


CELLS: dict[str, dict[str, Any]] = {
    **{name: {"algorithm__name": name} for name in registry.names("algorithm")},
    "fair-darts with a threshold": {
        "algorithm__name": "fair-darts",
        "algorithm__threshold": 0.7,
    },
    "composed with a hard-gumbel": {
        "algorithm__name": "composed",
        "algorithm__relaxation__name": "hard-gumbel",
    },
}
NOT_IN_DARTS = ("pc-darts", "fair-darts with a threshold")
DARTS = {"space__name": "darts-s3", "benchmark__table": "none", "supernet__channels": 2}


def with_random_alpha(changes: dict[str, Any]) -> Snapshot:
    """At the end, by a random alpha; without training, as the cell does not ask for it."""
    state = build_state(tiny_settings(**changes))
    state.epoch = state.settings.search.epochs
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        state.alpha_EO.copy_(torch.randn(state.alpha_EO.shape, generator=generator))
    if state.memory.get("chosen_E") is not None:  # as after a selection
        rows = torch.arange(len(state.alpha_EO))
        state.memory = {"chosen_E": 1 + rows % (state.space.operation_count - 1)}
        for _, _, into in state.space.joints if state.space.keeps_some else ():
            state.memory["chosen_E"][list(into)[:-2]] = -2  # left out
    return snapshot_of(state, "landscape")


@spaces
@pytest.mark.parametrize("where", ["nas-bench-201", "darts-s3"])
@pytest.mark.parametrize("variant", CELLS)
def test_the_cell_of_the_centre_is_the_record_s(variant: str, where: str, space: str) -> None:
    changes = CELLS[variant] | (DARTS if where == "darts-s3" else {})
    if where == "darts-s3" and variant in NOT_IN_DARTS:
        with pytest.raises(UserError):
            tiny_settings(**changes)
        return
    snapshot = with_random_alpha(changes)
    chart = scape.Chart(snapshot, space)  # type: ignore[arg-type]
    centre_EO = torch.zeros(chart.centre.shape, dtype=torch.float64)
    assert chart.choice(centre_EO) == snapshot.choice
    assert torch.equal(chart.op_weights(centre_EO), snapshot.op_weights_EO)
    shift_EO = torch.randn(centre_EO.shape, generator=torch.Generator().manual_seed(1)).double()
    moved_EO = chart.op_weights(0.3 * (shift_EO - shift_EO.mean(-1, keepdim=True)))
    assert bool(moved_EO.isfinite().all())
    if space == "op-weights":
        assert_close(moved_EO.sum(-1), snapshot.op_weights_EO.sum(-1))


@pytest.mark.parametrize(
    ("variant", "read"),
    [
        ("darts", lambda A: int(A.argmax())),
        ("drnas", lambda A: int(A.argmax())),
        ("gdas", lambda A: int(A.argmax())),
        ("dsnas", lambda A: int(A.argmax())),
        ("nasp", lambda A: int(A.argmax())),
        ("shapley-nas", lambda A: int(A.argmax())),
        ("pr-darts", lambda A: int(A.argmax())),
        ("darts-minus", lambda A: int((A - torch.tensor([0, 0.5, 0, 0, 0])).argmax())),
        (
            "fair-darts with a threshold",
            lambda A: 1 + int(A[1:].argmax()) if A[1:].max() >= 0.7 else 0,
        ),
    ],
)
def test_the_cell_of_a_displaced_point_is_read_from_it(variant: str, read: Any) -> None:
    """A of DARTS- has 0.5 of its auxiliary skip in the last epoch of two."""
    snapshot = with_random_alpha(CELLS[variant])
    chart, generator = scape.Chart(snapshot, "op-weights"), torch.Generator().manual_seed(1)
    found = []
    for _ in range(5):
        shift_EO = 0.4 * torch.randn(6, 5, generator=generator, dtype=torch.float64)
        found.append(chart.choice(shift_EO))
        assert found[-1] == [read(row) for row in chart.op_weights(shift_EO)]
    assert any(each != snapshot.choice for each in found)


def test_at_a_displaced_point_the_weakest_skips_are_those_of_its_operation_weights() -> None:
    snapshot = with_random_alpha(CELLS["p-darts"] | {"algorithm__skips": 1})
    chart, generator = scape.Chart(snapshot, "op-weights"), torch.Generator().manual_seed(1)
    skip, struck, otherwise = 1, 0, 0

    def twin(here_EO: Tensor, strength_EO: Tensor) -> list[int]:
        left_EO = here_EO.clone()
        while True:
            cell = left_EO.argmax(-1).tolist()
            skips = [edge for edge in range(6) if cell[edge] == skip]
            if len(skips) <= 1:
                return cell
            left_EO[min(skips, key=lambda edge: strength_EO[edge, skip]), skip] = -1e9

    for _ in range(60):
        shift_EO = 0.5 * torch.randn(6, 5, generator=generator, dtype=torch.float64)
        shift_EO[:, skip] += 0.5
        here_EO = chart.op_weights(shift_EO) + scape.TIES * snapshot.alpha_EO.softmax(-1)
        found = chart.choice(shift_EO)
        assert found == twin(here_EO, here_EO)
        struck += found != here_EO.argmax(-1).tolist()
        otherwise += found != twin(here_EO, snapshot.op_weights_EO)
    assert struck > 30
    assert otherwise > 10


@pytest.mark.parametrize("variant", ["darts", "pc-darts"])
@pytest.mark.thorough
def test_eigenvectors_are_those_of_the_whole_hessian(variant: str) -> None:
    """The column of ``none`` is left out where the network does not read it, and there alone."""
    judge = scape.Judge.on_first(with_random_alpha(CELLS[variant]), 16, 2)
    chart = scape.Chart(judge.snapshot, "op-weights")
    losses = judge.losses(judge.statistics(judge.snapshot.op_weights_EO, "run"))
    whole = torch.stack([alpha_hessian(each, chart.relax, chart.centre) for each in losses]).sum(0)
    values, pair_2EO = top_eigenvectors(whole, len(chart.centre))
    found = scape.directions(judge, chart, "eigenvectors", "run")
    assert found.eigenvalues is not None
    assert_close(found.eigenvalues, values)
    assert_close(found.pair_2EO, pair_2EO / pair_2EO.abs().amax((-2, -1), keepdim=True))
    none_read = bool(whole.reshape(6, 5, 6, 5)[:, 0].any())
    assert none_read == (variant == "pc-darts")


def test_of_another_discretization_of_alpha_only_logits_are_displaced() -> None:
    snapshot = with_random_alpha({})
    algorithm = dataclasses.replace(snapshot.algorithm, discretize=lambda alpha_EO: [0] * 6)
    snapshot = dataclasses.replace(snapshot, algorithm=algorithm)
    shift_EO = torch.zeros(6, 5, dtype=torch.float64)
    assert scape.Chart(snapshot, "logits").choice(shift_EO) == [0] * 6
    with pytest.raises(UserError, match=r"in a way of its own, .*; set space=logits"):
        scape.Chart(snapshot, "op-weights").choice(shift_EO)


@pytest.mark.parametrize("variant", ["darts", "darts-minus"])
def test_the_path_ends_where_the_gap_is_measured(variant: str) -> None:
    state = searched(variant)
    expected = gap(batches=2).measure(snapshot_of(state, "gap")).numbers
    found = measured(state).arrays
    for quantity in ("loss", "accuracy"):
        path, own = found[f"path_{quantity}"], found[f"path_{quantity}_recalibrated"]
        assert path[0] == expected[f"supernet_{quantity}"]
        assert path[-1] == expected[f"one_hot_{quantity}"]
        assert own[-1] == expected[f"recalibrated_{quantity}"]


def test_statistics_of_each_point_are_its_own() -> None:
    state = searched()
    snapshot = snapshot_of(state, "landscape")
    found = measured(state, statistics="recalibrated", plane="random").arrays
    chart = scape.Chart(snapshot, "op-weights")
    for i, j in ((0, 0), (2, 2), (1, 4)):
        d1, d2 = torch.from_numpy(found["directions"])
        A_EO = chart.op_weights(float(found["axis"][i]) * d1 + float(found["axis"][j]) * d2)
        own = snapshot.recalibrated(A_EO, 2)
        assert found["loss"][i, j] == snapshot.evaluate(A_EO, own)[0]
    assert found["loss"][2, 2] == found["path_loss_recalibrated"][0]


# --- scalars ----------------------------------------------------------------------------------


def test_the_fit_recovers_a_planted_quadratic() -> None:
    axis = np.linspace(-0.3, 0.3, 7)
    x, y = (each.reshape(-1) for each in np.meshgrid(axis, axis, indexing="ij"))
    points = np.stack([x, y], 1)
    planted = 2 + 3 * x - y + 0.5 * (8 * x**2 + 2 * 1.5 * x * y - 4 * y**2)
    fit = fit_quadratic(points, planted)
    assert fit.hessian_22 == pytest.approx(np.array([[8, 1.5], [1.5, -4]]))
    assert fit.residual == pytest.approx(0, abs=1e-12)
    # Orthogonal to every term of the fit: an odd function of x times an odd one of y, less x y.
    wave = np.sign(x) * np.sign(y)
    wave -= x * y * (wave @ (x * y)) / ((x * y) @ (x * y))
    assert fit_quadratic(points, planted + wave).residual == pytest.approx(
        math.sqrt(np.mean(wave**2))
    )
    assert math.isnan(fit_quadratic(points, np.where(x > 0, np.nan, planted)).residual)


def test_numbers_are_over_the_disc() -> None:
    axis = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    x, y = np.meshgrid(axis, axis, indexing="ij")
    cells = np.zeros((5, 5, 3), dtype=np.int64)
    cells[0, 0] = 1  # a corner, outside
    cells[2, 3] = 2
    found = surface_numbers(axis, Surface(3 * x**2 + y**2, 80 - 10 * x, cells))
    # 12 points but the centre: four at distance 1, four on the diagonals, four at distance 2.
    assert found["mean_loss_rise"] == pytest.approx((2 * 3 + 2 * 1 + 4 * 4 + 2 * 12 + 2 * 4) / 12)
    assert found["worst_loss_rise"] == pytest.approx(12)
    assert found["mean_accuracy_drop"] == pytest.approx(0)
    assert found["worst_accuracy_drop"] == pytest.approx(20)
    assert (found["curvature_x"], found["curvature_y"]) == pytest.approx((6, 2))
    assert found["loss_residual"] == pytest.approx(0, abs=1e-12)
    assert found["cells"] == 2


def test_smoothness_is_the_largest_change_of_the_slope_between_neighbours() -> None:
    axis = np.linspace(-0.3, 0.3, 7)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    assert smoothness(axis, 4 * x**2 - 5 * y**2 + x) == pytest.approx(10)
    assert smoothness(axis, 3 * x * y) == pytest.approx(3)
    rough = np.random.default_rng(0).normal(size=(7, 7))
    slope = np.stack(np.gradient(rough, axis, axis, edge_order=2), axis=-1)
    inside = [(i, j) for i in range(7) for j in range(7) if x[i, j] ** 2 + y[i, j] ** 2 <= 0.0901]
    naive = max(
        np.linalg.norm(slope[p] - slope[q]) / (0.1 * math.dist(p, q))
        for p, q in itertools.combinations(inside, 2)
        if max(abs(p[0] - q[0]), abs(p[1] - q[1])) == 1
    )
    assert smoothness(axis, rough) == pytest.approx(naive)
    assert math.isnan(smoothness(axis, np.where(x > 0.1, np.nan, rough)))


def test_a_way_is_projected_by_least_squares() -> None:
    generator = np.random.default_rng(0)
    directions, centre = generator.normal(size=(2, 3, 4)), generator.normal(size=(3, 4))
    directions -= directions.mean(-1, keepdims=True)
    planted = generator.normal(size=(9, 2))
    inside = centre + np.einsum("tk,keo->teo", planted, directions)
    # A constant of a row of alpha is seen by no softmax.
    way = projected(inside + generator.normal(size=(9, 3, 1)), centre, directions)
    assert way.points_T2 == pytest.approx(planted)
    assert way.share == pytest.approx(1)
    free = generator.normal(size=(9, 3, 4))
    free -= free.mean(-1, keepdims=True)
    found = projected(centre + free, centre, directions)
    flat, basis = free.reshape(9, -1), directions.reshape(2, -1)
    nearest = [np.linalg.lstsq(basis.T, each, rcond=None)[0] for each in flat]
    assert found.points_T2 == pytest.approx(np.array(nearest))
    left = flat - np.array(nearest) @ basis
    spread = [np.sum((each - each.mean(0)) ** 2) for each in (left, flat)]
    assert found.share == pytest.approx(1 - spread[0] / spread[1])
    assert math.isnan(projected(np.stack([centre] * 3), centre, directions).share)


def test_numbers_of_a_path() -> None:
    shares = np.array([0.0, 0.5, 1.0])
    found = path_numbers(shares, np.array([1.0, 4.0, 3.0]), np.array([70.0, 20.0, 30.0]))
    assert found == {"path_accuracy_drop": 50.0, "path_loss_rise": 3.0, "path_barrier": 2.0}


def test_a_grid_without_a_centre_is_refused() -> None:
    with pytest.raises(UserError, match="points = 6: the centre is a point of the grid; make it"):
        landscape(points=6)


# --- figures ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landscapes")
    chosen = {f"measures.landscape.{key}": value for key, value in QUICK.items()}
    for algorithm in F4:
        short = {"algorithm.name": algorithm, "search.epochs": 1}
        api.run(TINY | chosen | short, out=folder / algorithm)
    api.run(TINY | chosen | {"search.epochs": 1, "search.seed": 1}, out=folder / "second")
    api.run(TINY | {"search.epochs": 1}, out=folder / "without")
    return folder


@pytest.mark.thorough
def test_f4_as_data_and_as_a_picture(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    names = ["second", *reversed(F4)]
    columns, remarks = f4_data([RunFolder(Path(name)) for name in names])
    assert remarks == []
    assert [column.algorithm for column in columns] == list(F4)
    assert [column.seeds for column in columns] == [(0, 1), (0,), (0,)]
    both = [
        read_landscapes([RunFolder(Path(n))])[0].values["accuracy"] for n in ("darts", "second")
    ]
    scalar = columns[0].scalars["accuracy"]
    assert (scalar.mean, scalar.sd) == pytest.approx((np.mean(both), np.std(both, ddof=1)))
    assert (scalar.n, columns[1].scalars["accuracy"].sd) == (2, None)
    assert columns[0].shown.arrays["accuracy"].shape == (5, 5)
    assert command("plot", *names, "--figure", "F4", "-o", "F4.svg") == 0
    text = Path("F4.svg").read_text()
    for word in (
        "(a) DARTS",
        "(b) SDARTS-RS",
        "(c) SDARTS-ADV",
        "DARTS, n = 2",
        "SDARTS-RS, n = 1",
    ):
        assert f"<!-- {word}" in text
    shown, remarks = f4_data([RunFolder(Path(name)) for name in F4[:2]])
    assert [column.algorithm for column in shown] == list(F4[:2])
    assert remarks == ["no landscape of sdarts-adv under SGD + Adam"]


OTHERS = {
    "weight_optimizer.lr=0.5: SGD + Adam": {"weight_optimizer.lr": 0.5},
    "darts (unrolled): SGD + Adam": {"algorithm.hypergradient": "unrolled"},
    "search.epochs=2": {"search.epochs": 2},
}


@pytest.mark.thorough
@pytest.mark.parametrize("told", OTHERS)
def test_f4_takes_no_mean_over_different_searches(told: str, runs: Path, tmp_path: Path) -> None:
    """Only the name of the data was compared: two rates were two "seeds"."""
    chosen = {f"measures.landscape.{key}": value for key, value in QUICK.items()}
    api.run(TINY | chosen | {"search.epochs": 1} | OTHERS[told], out=tmp_path / "other")
    folders = [RunFolder(runs / "darts"), RunFolder(tmp_path / "other")]
    with pytest.raises(UserError, match="the runs of darts are no seeds of one search") as error:
        f4_data(folders)
    assert told in str(error.value)
    # Each is a search of its own in the other figure.
    assert len(landscape_figure(folders).rows[0].panels) == 2


def test_heights_and_colours_are_in_common(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = landscape_figure([RunFolder(runs / "darts")]).rows[0].panels[0]
    assert short.grid is not None
    assert short.grid.way == []  # it would be hidden by the centre's mark
    told = r"not drawn: the way of operation weights, .* plane: within [\d.e-]+ of the centre there"
    assert re.fullmatch(told, short.remarks[0])
    monkeypatch.setattr("optnas.measures.landscape.panels.SHORTEST_WAY", 0.0)
    figure = landscape_figure([RunFolder(runs / name) for name in ("darts", "sdarts-rs", "second")])
    ready = drawn("landscape", figure)
    axes = draw(ready).axes
    surfaces = [ax for ax in axes if ax.name == "3d"]
    assert len(surfaces) == 3
    assert len({ax.get_zlim() for ax in surfaces}) == 1  # type: ignore[attr-defined]
    maps = [panel.grid for panel in figure.rows[0].panels if panel.grid is not None]
    low, high = (end(end(each.values.ravel()) for each in maps) for end in (min, max))
    ways = [each.way for each in maps]
    assert [len(way) for way in ways] == [2, 2, 2]  # epochs 0 and 1; the search ends in the middle
    assert ways[0][-1] == pytest.approx((0, 0))
    remarks = [panel.remarks[0] for panel in figure.rows[0].panels]
    told = (
        r"orange line: the way of operation weights, [\d.e-]+ % of whose variance is in the plane"
    )
    assert all(re.match(told, each) for each in remarks)
    [common] = {panel.range for panel in ready.rows[0].panels}
    assert common == pytest.approx((low, high), 1e-5)
    assert [panel.title.partition("seed")[2] for panel in ready.rows[0].panels] == [
        " 0, epoch 1",
        " 0, epoch 1",
        " 1, epoch 1",
    ]


REFUSALS = {
    "F4": "the figure landscape is drawn from runs; give one or more run folders",
    "landscape without": "without: the run has no landscape; "
    "take it: optnas measure without landscape at='[\"end\"]'",
    "landscape darts plane=random": "darts: the run has no such landscape; "
    "take it: optnas measure darts landscape plane=random at='[\"end\"]'",
    "landscape darts epoch=0": "landscape at='[0]'",
    "landscape again": "again: the run has lines of landscape with plane = gradient and random; "
    "choose one: plane=gradient",
    "landscape other darts": "images = 8: is 0 in darts: landscapes are compared only where they",
    "F4 minus": "algorithm.name = 'darts-minus': the figure F4 shows darts, sdarts-rs, sdarts-adv",
}


@pytest.mark.thorough
def test_what_cannot_be_drawn_is_told(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    copied(Path("darts"), Path("again"))
    quick = [f"{key}={value}" for key, value in QUICK.items()]
    assert command("measure", "again", "landscape", "plane=random", 'at=["end"]', *quick) == 0
    api.run(TINY | {"search.epochs": 1, "search.seed": 1}, out="other")
    assert command("measure", "other", "landscape", *quick, "images=8", 'at=["end"]') == 0
    chosen = {f"measures.landscape.{key}": value for key, value in QUICK.items()}
    api.run(TINY | chosen | {"search.epochs": 1, "algorithm.name": "darts-minus"}, out="minus")
    for words, told in REFUSALS.items():
        capfd.readouterr()
        assert command("plot", "-o", "no.png", "--figure", *words.split()) == 2, words
        lines = capfd.readouterr().err
        assert told in lines, (words, lines)
        assert lines.count("\n") == 1
        assert not Path("no.png").exists()


# --- as in OptDARTS -------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["darts", "darts-minus"])
@pytest.mark.thorough
def test_the_plane_of_optdarts_on_augmented_images(variant: str) -> None:
    """Its two directions row by row, and the loss of a corner, by the twin's own supernet."""
    state = searched(variant)
    snapshot = dataclasses.replace(
        snapshot_of(state, "landscape"), augmentation=Augmentation(crop_padding=1), seed=0
    )
    quick = {**QUICK, "plane": "optdarts", "space": "logits"}
    values = landscape(**quick).measure(snapshot)
    found = values.arrays
    assert found["axis"].tolist() == [-1, -0.5, 0, 0.5, 1]

    generator = named_generator(0, "evaluation-1")
    pixels, padded = state.valid.images_NCHW, F.pad(state.valid.images_NCHW, (1,) * 4)
    size, drawn = pixels.shape[-1], []
    for part in torch.arange(len(pixels)).split(snapshot.evaluation_size):
        drawn.append(torch.randint(3, (2, len(part)), generator=generator))
    places = zip(padded, *torch.cat(drawn, dim=1).tolist(), strict=True)
    cropped = torch.stack([each[:, r : r + size, c : c + size] for each, r, c in places])
    mean_C11, std_C11 = state.valid.mean_C[:, None, None], state.valid.std_C[:, None, None]
    images, net = (cropped.double() / 255 - mean_C11) / std_C11, naive_of(state).eval()

    def loss(alpha_EO: Tensor) -> Tensor:
        boost_O = auxiliary(variant) * F.one_hot(torch.tensor(NAS_BENCH_201.skip), 5)
        return F.cross_entropy(net(images, alpha_EO.softmax(-1) + boost_O), state.valid.labels_N)

    alpha_EO = state.alpha_EO.detach().clone().requires_grad_()
    (first_EO,) = torch.autograd.grad(loss(alpha_EO), alpha_EO)
    normal_2EO = torch.randn(2, 6, 5, generator=snapshot.generator(), dtype=torch.float64)
    inner = float((first_EO * normal_2EO[1]).sum())
    second_EO = normal_2EO[1] - first_EO * inner / float(first_EO.norm())
    rows = [
        [alpha_O.norm() * d_O / d_O.norm() for alpha_O, d_O in zip(alpha_EO, d_EO, strict=True)]
        for d_EO in (first_EO, second_EO)
    ]
    d1_EO, d2_EO = (torch.stack(each).detach() for each in rows)
    assert_close(torch.from_numpy(found["directions"]), torch.stack([d1_EO, d2_EO]))
    with torch.no_grad():
        assert found["loss"][2, 2] == pytest.approx(float(loss(alpha_EO)), rel=1e-9)
        corner = float(loss(alpha_EO - d1_EO + 0.5 * d2_EO))
    assert found["loss"][0, 3] == pytest.approx(corner, rel=1e-9)


def test_the_plane_of_optdarts_is_one_of_logits() -> None:
    with pytest.raises(UserError, match=r"space = 'op-weights': .*; set space=logits"):
        landscape(plane="optdarts")


def test_units_of_the_table_are_whole() -> None:
    """Also as earlier records have them."""
    assert short_unit("nats a squared unit of x") == "nats per squared unit of x"
    assert short_unit("percentage points") == "points"
