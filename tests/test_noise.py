"""Tail indices and flatness against what they are by construction; pairs of runs compared."""

from __future__ import annotations

import json
from pathlib import Path

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
from optnas.theory import flatness, tails
from optnas.theory.compared import compared


def test_scales_look_like_heavy_tails_until_they_are_taken_off() -> None:
    """Pure Gaussian noise with lognormal scales: 2.0, 1.5, 1.0, 0.7 by the published estimator."""
    generator = np.random.default_rng(1)
    for spread, pooled in ((0, 2.0), (1, 1.5), (2, 1.0), (3, 0.7)):
        scales_J = np.exp(spread * generator.normal(size=2000))
        found = tails.told(generator.normal(size=(256, 2000)) * scales_J, seed=0)
        assert found["pooled"] == pytest.approx(pooled, abs=0.1)
        assert found["pooled_surrogate"] == pytest.approx(pooled, abs=0.1)
        assert found["standardised"] == pytest.approx(2, abs=0.05)
        assert found["kurtosis"] == pytest.approx(0, abs=0.1)
        assert found["hill"] == pytest.approx(6, abs=0.3)  # of Gaussian values


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


def test_what_is_scale_aware_does_not_see_the_scale() -> None:
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


@pytest.mark.thorough
def test_two_runs_are_compared_at_equal_train_loss(tmp_path: Path) -> None:
    for name in ("SGD", "Adam"):
        settings = TINY | {"search.epochs": 2, "checkpoints.keep": "all"}
        optnas.run(settings | {"weight_optimizer.name": name}, out=tmp_path / name)
    runs = [str(tmp_path / name) for name in ("SGD", "Adam")]
    words = ["batches=16", "coordinates=40", "images=16", "eigenvalues=1", "draws=1"]
    done = CliRunner().invoke(app, ["theory", "noise", *runs, *words, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["pairs"] == 1
    assert found["runs"][0]["edge of stability"] > 0
    assert found["runs"][1]["edge of stability"] is None
    assert {each["verdict"] for each in found["verdicts"]} == {"inconclusive"}
    assert found["links"]["Adam on w -> rise under ASAM"]["spearman"] is None  # two runs
    with pytest.raises(UserError, match="no pair of runs"):
        compared([RunFolder(Path(runs[0]))])
