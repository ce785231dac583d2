"""The e-process: against its definition, and its error rates and power by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from optnas.analysis.claims.families import shipped_families
from optnas.analysis.sequential import LAMBDAS, e_process, seeds_to_add

RNG = np.random.default_rng
THRESHOLD = 60.0


def naive(values: list[float], scale: float) -> float:
    """E after the last seed, term by term."""
    total = 0.0
    for sign in (1, -1):
        for lam in LAMBDAS:
            product = 1.0
            for value in values:
                product *= 2 / (1 + math.exp(-2 * lam * sign * value / scale))
            total += product / len(LAMBDAS) / 2
    return total


@pytest.mark.parametrize("scale", [0.5, 1.0, 9.0])
def test_e_is_its_definition(scale: float) -> None:
    values = RNG(0).normal(0.7, size=9).tolist()
    process = e_process(values, scale)
    for n in range(1, 10):
        assert process.both[n - 1] == pytest.approx(naive(values[:n], scale))
    mirrored = e_process([-value for value in values], scale)
    assert mirrored.above_N == pytest.approx(process.below_N)


def test_the_mean_of_e_is_one_where_contrasts_are_symmetric() -> None:
    """Over all sign vectors, exactly: whatever the size of the contrasts."""
    sizes = np.array([0.1, 3.0, 40.0, 0.0, 1.0])
    signs = np.array(np.meshgrid(*[[1, -1]] * 5)).reshape(5, -1).T
    ends = [e_process(sizes * sign, 2.0).both[-1] for sign in signs]
    assert np.mean(ends) == pytest.approx(1.0)


def decided_by(draw: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Share of studies that have reached the threshold by each n; a twin in arrays."""
    total = 0.0
    for sign in (1, -1):
        steps = 2 * sign * draw[:, :, None] / scale * np.array(LAMBDAS)
        logs = math.log(2) - np.logaddexp(0, -steps)
        total = total + np.exp(np.cumsum(logs, axis=1)).mean(axis=-1) / 2
    return np.maximum.accumulate(total >= THRESHOLD, axis=1).mean(axis=0)


NULLS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(2, size=shape),
    "two humps": lambda rng, shape: (
        rng.choice([-30.0, 0.0, 0.0, 30.0], size=shape) + rng.normal(size=shape)
    ),
    "ties": lambda rng, shape: rng.choice([-1.0, 0.0, 1.0], size=shape),
}


@pytest.mark.parametrize("draw", NULLS.values(), ids=NULLS)
@pytest.mark.parametrize("scale", [0.3, 1.0, 10.0])
def test_looking_after_every_seed_keeps_the_level(draw: object, scale: float) -> None:
    """E of 60 or more at any of 40 looks, without effect: in at most a sixtieth of the studies."""
    studies = 4000
    share = decided_by(draw(RNG(1), (studies, 40)), scale)[-1]  # type: ignore[operator]
    assert share <= 1 / THRESHOLD + 3 * math.sqrt(1 / THRESHOLD / studies)


# dz | decided by n = 12, 16, 24, 40: as the plan was chosen
POWER = {
    0.0: (0.01, 0.01, 0.01, 0.01),
    0.5: (0.05, 0.09, 0.19, 0.43),
    0.8: (0.20, 0.36, 0.62, 0.92),
    1.0: (0.37, 0.58, 0.86, 0.99),
    1.36: (0.68, 0.89, 0.99, 1.0),
    1.6: (0.85, 0.97, 1.0, 1.0),
}


@pytest.mark.parametrize(("dz", "expected"), POWER.items())
def test_power_is_that_of_the_plan(dz: float, expected: tuple[float, ...]) -> None:
    share = decided_by(RNG(2).normal(dz, size=(3000, 40)))[[11, 15, 23, 39]]
    assert share == pytest.approx(expected, abs=0.03)


def test_a_scale_twice_off_costs_little() -> None:
    draw = RNG(3).normal(1.0, size=(2000, 24))
    shares = [decided_by(draw, scale)[-1] for scale in (0.5, 1.0, 2.0)]
    assert min(shares) > 0.75


def test_seeds_to_add_is_what_the_same_numbers_would_take() -> None:
    seen = [0.8, 1.2, 0.5, 1.5, 1.0]
    told = seeds_to_add(seen, 1.0, THRESHOLD)
    assert told is not None
    # The same numbers again, in turn.
    path = e_process(seen * 4, 1.0).above_N
    assert abs(int(np.argmax(path >= THRESHOLD)) + 1 - (5 + told)) <= 1
    assert seeds_to_add([-value for value in seen], 1.0, THRESHOLD) is None
    assert seeds_to_add([1.0] * 30, 1.0, THRESHOLD) == 0
    assert seeds_to_add(seen[:3], 1.0, THRESHOLD) is None


def test_the_shipped_lambdas_are_these() -> None:
    primary = shipped_families().families[0]
    assert primary.endpoint is not None
    assert (primary.endpoint.lambdas, primary.threshold) == (LAMBDAS, THRESHOLD)
