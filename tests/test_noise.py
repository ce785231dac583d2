"""Tail indices and flatness against what they are by construction; pairs of runs compared."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tiny import TINY
from typer.testing import CliRunner

import optnas
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.cli.main import app
from optnas.theory import compared, flatness, noise, stability, tails


@pytest.mark.thorough
def test_scales_look_like_heavy_tails_until_they_are_taken_off() -> None:
    """Pure Gaussian noise with lognormal scales: 2.0, 1.5, 1.0, 0.7 by the published estimator."""
    generator = np.random.default_rng(1)
    for spread, pooled in ((0, 2.0), (1, 1.5), (2, 1.0), (3, 0.7)):
        scales_J = np.exp(spread * generator.normal(size=2000))
        found = tails.told(generator.normal(size=(256, 2000)) * scales_J, seed=0)
        assert found["pooled"] == pytest.approx(pooled, abs=0.1)
        assert found["pooled_surrogate"] == pytest.approx(pooled, abs=0.1)
        assert found["standardised"] == pytest.approx(2, abs=0.1)  # four standard errors
        assert found["kurtosis"] == pytest.approx(0, abs=0.1)
        assert found["hill"] == pytest.approx(6, abs=0.3)  # of Gaussian values


@pytest.mark.parametrize("correlation", [0.05, 0.1])
@pytest.mark.thorough
def test_correlation_between_coordinates_is_no_tail(correlation: float) -> None:
    """Gaussian noise in blocks of 50 coordinates: 1.7 and 1.6 where they stay together."""
    generator = np.random.default_rng(0)
    shared_NJ = np.repeat(generator.normal(size=(256, 100)), 50, axis=1)
    own_NJ = generator.normal(size=shared_NJ.shape)
    noise_NJ = math.sqrt(correlation) * shared_NJ + math.sqrt(1 - correlation) * own_NJ
    found = tails.told(noise_NJ - noise_NJ.mean(0), seed=1)
    for name in ("standardised", "pooled"):
        assert found[name] == pytest.approx(found[f"{name}_surrogate"], abs=0.05)
    assert found["standardised_together"] < found["standardised_surrogate"] - 0.2


def test_a_stable_noise_has_its_own_index() -> None:
    noise_NJ = stats.levy_stable.rvs(1.5, 0, size=(256, 200), random_state=3)
    inverse = np.mean(1 / tails.tail_index(noise_NJ.T))  # unbiased
    assert 1 / inverse == pytest.approx(1.5, abs=0.05)
    found = tails.told(noise_NJ, seed=0)
    assert found["by_coordinate"] < found["by_coordinate_surrogate"] - 0.2
    pareto = np.random.default_rng(0).pareto(3.0, 50_000) + 1
    assert tails.hill(pareto) == pytest.approx(3, abs=0.2)


WEIGHTS = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(), "b": torch.ones(1).double()}
BENDS = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).double()


def quadratic(weights: dict) -> torch.Tensor:
    flat = torch.cat([weights["a"].flatten(), weights["b"]])
    return (BENDS * flat**2).sum() / 2


def test_flatness_of_a_quadratic() -> None:
    product, size = flatness.hessian(quadratic, WEIGHTS)
    assert flatness.top_eigenvalues(product, size, 2, seed=0) == pytest.approx([5, 4], rel=1e-2)
    signs = torch.Generator().manual_seed(0)
    assert flatness.trace(product, size, 3, signs) == pytest.approx(15)  # exact where diagonal
    g = BENDS * torch.tensor([1.0, 2.0, 3.0, 4.0, 1.0]).double()
    rho = flatness.RADIUS
    expected = rho * g.norm() + rho**2 / 2 * (BENDS * g**2).sum() / (g**2).sum()
    assert flatness.sam_rise(quadratic, WEIGHTS) == pytest.approx(float(expected))


def scale_free(weights: dict) -> torch.Tensor:
    direction = weights["a"] / weights["a"].norm()
    return (direction * torch.tensor([[0.5, -1.0], [2.0, 0.1]]).double()).sum() ** 2


def test_what_is_scaled_does_not_see_one_factor_of_all_weights() -> None:
    """Twice the weights are the same function: a quarter of the curvature, no change in ASAM."""
    found = []
    for factor in (1.0, 2.0):
        weights = {"a": factor * WEIGHTS["a"]}
        product, size = flatness.hessian(scale_free, weights)
        (top,) = flatness.top_eigenvalues(product, size, 1, seed=0)
        scaled = top * flatness.norm(weights) ** 2
        asam = flatness.sam_rise(scale_free, weights, adaptive=True)
        draws = torch.Generator().manual_seed(1)
        found.append((top, scaled, asam, flatness.filter_rise(scale_free, weights, 3, draws)))
    assert found[1][0] == pytest.approx(found[0][0] / 4, rel=2e-2)
    assert found[1][1:] == pytest.approx(found[0][1:], rel=2e-2)


ROWS = {
    "cells.0.a": torch.tensor([[1.0, 2.0, -1.0], [0.5, 3.0, 1.0]]).double(),
    "cells.1.b": torch.tensor([[2.0, -1.0], [1.0, 1.5], [0.3, -2.0]]).double(),
    "norm": torch.tensor([0.7, 1.2]).double(),
}


def of_directions(weights: dict) -> torch.Tensor:
    """A loss of the direction of each row, as after a batch norm of each filter, and of a norm."""
    a, b = (weights[name] / weights[name].norm(dim=1, keepdim=True) for name in list(ROWS)[:2])
    return ((weights["norm"][:, None] * a @ b) ** 2).sum() + 0.3 * (a[0] * b[:, 1]).sum()


def test_only_what_is_in_shares_of_filters_does_not_see_the_scale_of_one() -> None:
    found = []
    for factors in ((1.0, 1.0, 1.0, 1.0, 1.0), (0.25, 1.0, 1.0, 1.0, 2.0)):
        of_a, of_b = torch.tensor(factors).double()[:, None].split([2, 3])
        weights = {
            "cells.0.a": of_a * ROWS["cells.0.a"],
            "cells.1.b": of_b * ROWS["cells.1.b"],
            "norm": ROWS["norm"],
        }
        product, size = flatness.hessian(of_directions, weights)
        by_filter = flatness.per_filter(product, weights)
        draws = [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]
        length = flatness.norm(weights)
        (top,) = flatness.top_eigenvalues(product, size, 1, seed=0)
        (own,) = flatness.top_eigenvalues(by_filter, size, 1, seed=0)
        same = {
            "loss": float(of_directions(weights)),
            "asam": flatness.sam_rise(of_directions, weights, adaptive=True),
            "filter": flatness.filter_rise(of_directions, weights, 3, draws[0]),
            "lambda_max_filters": own,
            "trace_filters": flatness.trace(by_filter, size, 3, draws[1]),
        }
        other = {
            "lambda_max_scaled": top * length**2,
            "trace_scaled": flatness.trace(product, size, 3, draws[2]) * length**2,
            "largest_part": max(flatness.by_part(of_directions, weights, 0).values()),
        }
        dense = torch.stack([by_filter(row) for row in torch.eye(size).double()])
        assert torch.allclose(dense, dense.T)
        assert own == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-2)
        assert not dense[-2:].any()  # no filters
        found.append((same, other))
    (same, other), (same_too, other_too) = found
    assert same_too == pytest.approx(same, rel=1e-2)
    for name, value in other.items():
        assert abs(other_too[name] / value - 1) > 0.1, name


SMALL = 1e-6  # so that no gradient moves what Adam averages
CASES = {
    "plain SGD": lambda w: torch.optim.SGD([w], lr=0.1),
    "SGD": lambda w: torch.optim.SGD([w], lr=0.1, momentum=0.9, dampening=0.5),
    "Nesterov": lambda w: torch.optim.SGD([w], lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda w: torch.optim.Adam([w], lr=0.1, eps=1e-30),
}


def hold(optimizer: torch.optim.Optimizer, w: torch.Tensor) -> None:
    """Adam's P is 4, its averages are old."""
    if "exp_avg_sq" in optimizer.state[w]:
        optimizer.state[w]["step"].fill_(10_000.0)
        optimizer.state[w]["exp_avg_sq"].fill_(16.0)


@pytest.mark.parametrize("name", CASES)
def test_steps_grow_beyond_the_threshold_and_not_before(name: str) -> None:
    """w of the loss h w^2 / 2, h a little below and above; Adam's P is set to 4."""
    for share, grows in ((0.97, False), (1.03, True)):
        w = torch.full((1,), SMALL, dtype=torch.float64, requires_grad=True)
        optimizer = CASES[name](w)
        before = stability.dynamics_of(optimizer)
        assert (before is None) == (name == "Adam")  # P is not there before its first step
        w.grad = torch.zeros_like(w)
        optimizer.step()
        hold(optimizer, w)
        found = stability.dynamics_of(optimizer)
        assert found is not None
        h = share * found.threshold * float(found.scale_W)
        assert float(found.scale_W) == pytest.approx(4.0 if name == "Adam" else 1.0, rel=1e-3)
        for _ in range(400):
            w.grad = h * w.detach()
            hold(optimizer, w)
            optimizer.step()
        assert (abs(w.item()) > SMALL) == grows


def test_adam_without_a_gradient_of_each_leaf_and_a_rate_of_zero_have_no_dynamics() -> None:
    leaves = [torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)]
    adam, still = torch.optim.Adam(leaves), torch.optim.SGD(leaves, lr=0.0)
    leaves[0].grad = torch.ones(1)
    adam.step()
    assert stability.dynamics_of(adam) is None
    assert stability.dynamics_of(still) is None


def test_noise_holds_a_quadratic_loss_at_the_stationary_rise() -> None:
    """10,000 chains of heavy ball with unit noise, small steps: h E[w^2] / 2 = gain / 4."""
    generator = torch.Generator().manual_seed(0)
    w = torch.zeros(10_000, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.02, momentum=0.8)
    for _ in range(300):
        noise = torch.randn(w.shape, generator=generator, dtype=torch.float64)
        w.grad = 0.5 * w.detach() + noise
        optimizer.step()
    found = stability.dynamics_of(optimizer)
    assert found is not None
    assert found.gain == pytest.approx(0.1)
    rise = 0.5 * float(w.detach().square().mean()) / 2
    assert rise == pytest.approx(found.gain / 4, rel=0.05)


def test_rises_and_blocks_of_a_quadratic() -> None:
    product, size = flatness.hessian(quadratic, WEIGHTS)
    scale_W = torch.tensor([1.0, 1.0, 1.0, 4.0, 1.0]).double()
    of_steps = stability.preconditioned(product, scale_W)
    (top,) = flatness.top_eigenvalues(of_steps, size, 1, seed=0)
    assert top == pytest.approx(5, rel=1e-2)  # 4 / 4 is not the largest any more
    along = torch.eye(5, dtype=torch.float64)[:2]
    length2 = flatness.norm(WEIGHTS) ** 2
    flat = torch.cat([each.flatten() for each in WEIGHTS.values()])
    step = stability.DISPLACEMENT * length2**0.5
    expected = [step * BENDS[k] * flat[k] + step**2 * BENDS[k] / 2 for k in range(2)]
    assert stability.rise(quadratic, WEIGHTS, along) == pytest.approx(float(sum(expected)) / 2)
    parts = {"cells.0.a": WEIGHTS["a"], "head.b": torch.full((2,), 3.0).double()}
    of_parts = flatness.by_part(
        lambda w: quadratic({"a": w["cells.0.a"], "b": w["head.b"][:1]}), parts, seed=0
    )
    assert of_parts == pytest.approx({"cells.0": 4 * 30.0, "head": 5 * 18.0}, rel=1e-2)


def test_what_was_measured_too_late_is_not_compared_at_a_level() -> None:
    assert compared._between([2.0, 1.0], [5.0, 7.0], 1.5) == pytest.approx(6)
    assert math.isnan(compared._between([1.0, 0.5], [5.0, 7.0], 1.5))
    assert math.isnan(compared._between([2.0, 1.8], [5.0, 7.0], 1.5))


JUDGED = [quantity for quantity, says in compared.QUANTITIES.items() if says]


@pytest.mark.slow
def test_what_is_judged_does_not_see_the_scales_of_single_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measure of one function, before and after each filter is 1 to 10 times itself.

    Thirtyfold filters, beside whose variance the eps of a batch norm does not count.
    """
    optnas.run(TINY | {"supernet.dtype": "float64", "measures.sharpness.every": 0}, out=tmp_path)
    noise_of = noise._noise
    settings = {"coordinates": 4000, "images": 16, "draws": 2, "eigenvalues": 1}
    found = []
    for batches, factor in ((16, 0.0), (17, 9.0)):

        def rescaled(snapshot: Any, _: int, *rest: int, factor: float = factor) -> Any:
            draws = torch.Generator().manual_seed(3)
            for name, w in snapshot.supernet.weights.items():
                if w.ndim == 4 and "shortcut" not in name:  # a batch norm follows
                    w *= 30 * (1 + factor * torch.rand(len(w), 1, 1, 1, generator=draws)).to(w)
            return noise_of(snapshot, 16, *rest)

        monkeypatch.setattr(noise, "_noise", rescaled)
        optnas.measure(tmp_path, {"noise": {**settings, "batches": batches}})
        (line,) = RunFolder(tmp_path).read_measures("noise", batches=batches)[-1:]
        found.append(line["values"])
    one, other = found
    for quantity in ("loss", *JUDGED):
        assert other[quantity] == pytest.approx(one[quantity], rel=0.01), quantity
    moved = {q for q in compared.QUANTITIES if one[q] and abs(other[q] / one[q] - 1) > 0.01}
    assert {"escape", "pooled", "lambda_max"} <= moved
    assert moved.isdisjoint(JUDGED)


def a_run(seed: int, name: str, flat: float, gap: float) -> compared.Run:
    config = {"search": {"seed": seed}, "weight_optimizer": {"name": name}}
    line = {"epoch": 1, "values": {"asam": flat, "gap": gap}}
    return compared.Run(RunFolder(Path(f"{seed}-{name}")), config, [], [line])


@pytest.mark.thorough
def test_runs_of_one_seed_are_one_block_of_a_link() -> None:
    """Every run twice, as arms that change nothing would have it, says nothing more."""
    generator = np.random.default_rng(0)
    runs = [
        a_run(seed, name, *generator.normal(size=2))
        for seed in range(8)
        for name in ("SGD", "Adam")
    ]
    ends = [lambda run, key=key: run.values(key, run.lines)[0] for key in ("asam", "gap")]
    once, twice = compared._link(runs, *ends), compared._link(runs * 2, *ends)
    assert (once.pop("n"), twice.pop("n")) == (16, 32)
    assert twice == pytest.approx(once, abs=1e-12)
    few = compared._link(runs[:10] * 2, *ends)  # five seeds have no interval of 95 % in any test
    assert few["spearman"] is not None
    assert (few["low"], few["high"]) == (None, None)


def test_tail_indices_of_two_versions_are_not_mixed_and_those_of_the_older_not_judged() -> None:
    older, newer = a_run(0, "SGD", 1.0, 1.0), a_run(0, "Adam", 1.0, 1.0)
    newer.lines[0]["values"][compared.TOGETHER] = 2.0
    assert compared._shuffled([newer])
    assert not compared._shuffled([older])
    with pytest.raises(UserError, match=r"correlation between coordinates(?s:.*)noise --again"):
        compared._shuffled([newer, older])
    known = {quantity: [1.0] * 6 for quantity in compared.QUANTITIES}
    for shuffled in (True, False):
        judged = [
            each["reading"].split()[0] for each in compared._verdicts(known, shuffled=shuffled)
        ]
        assert judged == [each for each in JUDGED if shuffled or each != "standardised"]


def test_a_partial_correlation_has_the_third_taken_out() -> None:
    held = np.repeat([0.0, 1.0], 6)
    own = np.tile([1.0, 2, 3, 4, 5, 6], 2)
    assert compared._partial(
        np.stack([own + 10 * held, own - 10 * held, held], 1)
    ) == pytest.approx(1)
    assert math.isnan(compared._partial(np.stack([held, own, held], 1)))


@pytest.mark.slow
def test_the_command_measures_and_compares_two_runs(tmp_path: Path) -> None:
    for name in ("SGD", "Adam"):
        settings = TINY | {"search.epochs": 2, "checkpoints.keep": "all"}
        optnas.run(settings | {"weight_optimizer.name": name}, out=tmp_path / name)
    runs = [str(tmp_path / name) for name in ("SGD", "Adam")]
    words = ["batches=16", "coordinates=40", "images=16", "eigenvalues=1", "draws=1"]
    done = CliRunner().invoke(app, ["theory", "noise", *runs, *words, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["pairs"] == 1
    edges = [run["values"]["edge"] for run in found["runs"]]
    assert min(edges) > 0
    assert found["mediation"]["Adam on w and gap, flatness of w held"]["value"] is None
    # One run's train loss is below the other's best where it is measured first.
    assert found["verdicts"] == []
    assert found["estimates"]["at equal norm"] == {}  # but before the first step
    assert found["estimates"]["at the last epoch"]["escape"]["n"] == 1
    assert found["links"]["Adam on w -> rise under ASAM"]["spearman"] is None  # two runs
    for run, batches in zip(runs, (2, 3), strict=True):
        optnas.measure(run, {"gap": {"at": ["end"], "batches": batches}})
    with pytest.raises(UserError, match=r"gap was measured with batches = 2 in .*, with 3 here"):
        compared.compared([RunFolder(Path(run)) for run in runs])
    with pytest.raises(UserError, match="no pair of runs"):
        compared.compared([RunFolder(Path(runs[0]))])
