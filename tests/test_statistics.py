"""Each statistic against a known answer, an independent library, or a slow obvious twin."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from topics import text_of

from optnas.analysis import (
    effects,
    estimates,
    interactions,
    multiplicity,
    paired,
    power,
    proportions,
    shape,
)

RNG = np.random.default_rng
contrasts = st.lists(st.integers(-4, 4), min_size=1, max_size=8)


# --- estimates --------------------------------------------------------------------------------


def naive_iqm(values: list[float]) -> float:
    cut = len(values) // 4
    kept = sorted(values)[cut : len(values) - cut]
    return sum(kept) / len(kept)


@pytest.mark.parametrize("n", [1, 3, 4, 7, 10])
def test_iqm_drops_a_quarter_at_either_end(n: int) -> None:
    values = RNG(n).normal(size=n)
    assert estimates.iqm(values) == pytest.approx(naive_iqm(list(values)))


def test_bootstrap_agrees_with_scipy() -> None:
    values = RNG(0).normal(90, 3, size=12)
    ours = estimates.bootstrap([values], estimates.median, draws=20_000)
    theirs = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=20_000, rng=RNG(1)
    ).confidence_interval
    assert ours.estimate == np.median(values)
    assert ours[1:] == pytest.approx(theirs, abs=0.15)


def test_bootstrap_resamples_within_strata() -> None:
    """Two constant strata of different level: pooled resampling would vary, stratified cannot."""
    found = estimates.bootstrap([[0.0] * 3, [10.0] * 3], lambda x: x.mean(-1))
    assert found == (5.0, 5.0, 5.0)


def test_bootstrap_covers_at_about_its_level() -> None:
    covered = sum(
        low <= 0 <= high
        for k in range(200)
        for _, low, high in [estimates.bootstrap([RNG(k).normal(size=30)], draws=300)]
    )
    assert 170 <= covered <= 199


# --- paired -----------------------------------------------------------------------------------


def naive_sign_flip(values: list[float]) -> tuple[float, float]:
    observed = sum(values)
    sums = [
        sum(s * v for s, v in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    greater = sum(s >= observed - 1e-9 for s in sums) / len(sums)
    return greater, sum(s <= observed + 1e-9 for s in sums) / len(sums)


@settings(max_examples=60, deadline=None)
@given(contrasts)
def test_sign_flip_is_the_enumeration(values: list[float]) -> None:
    found = paired.sign_flip(values)
    assert (found.p_greater, found.p_less) == naive_sign_flip(values)


@pytest.mark.parametrize("n", [4, 7, 10])
def test_sign_flip_agrees_with_scipy(n: int) -> None:
    values = RNG(n).normal(0.5, size=n)
    theirs = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert paired.sign_flip(values).p == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("n", [2, 3, 5, 6])
def test_the_smallest_p_is_reached_when_all_signs_agree(n: int) -> None:
    found = paired.sign_flip(np.arange(1, n + 1.0))
    assert found.p == found.smallest == paired.smallest_p(n) == 2.0 ** (1 - n)
    assert found.error == 0


def test_beyond_enumeration_sign_vectors_are_drawn_with_their_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = RNG(3).normal(0.35, size=16)
    exact, ends = paired.sign_flip(values), paired.interval(values)
    monkeypatch.setattr(paired, "EXACT", 10)
    drawn = paired.sign_flip(values)
    assert exact.error == 0 < drawn.error < 0.5 / math.sqrt(paired.DRAWS)
    assert abs(drawn.p_greater - exact.p_greater) < 4 * drawn.error
    assert paired.interval(values) == pytest.approx(ends, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=6, max_size=8), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_interval_holds_what_the_test_does_not_reject(
    values: list[float], level: float
) -> None:
    _, low, high = paired.interval(values, level)
    for against in (low - 1e-3, low + 1e-3, high - 1e-3, high + 1e-3):
        if low < high - 1e-2:
            rejected = paired.sign_flip(values, against).p <= 1 - level
            assert rejected == (not low <= against <= high)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n", [5, 24])
def test_what_is_not_finite_has_no_p(n: int, value: float) -> None:
    """It was 0: no sum is at least a NaN."""
    values = [value, *range(1, n + 1)]
    for refuse in (
        lambda: paired.sign_flip(values),
        lambda: paired.sign_flip(range(n), against=value),
        lambda: paired.interval(values),
        lambda: paired.equivalence(values, margin=1.0),
        lambda: paired.beyond(values, margin=1.0),
        lambda: paired.less_than_half(values, [1.0] * (n + 1)),
    ):
        with pytest.raises(ValueError, match="not finite: leave out the seeds"):
            refuse()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_too_few_seeds_have_no_interval(n: int) -> None:
    assert paired.interval(np.ones(n))[1:] == (-math.inf, math.inf)


def test_the_interval_covers_a_skewed_symmetric_and_a_bimodal_centre() -> None:
    for draw in (
        lambda rng: rng.standard_t(2, size=7),
        lambda rng: rng.choice([-30.0, -0.1, 0.1, 30.0], size=7) + rng.normal(size=7),
    ):
        missed = sum(
            not low <= 0 <= high
            for k in range(400)
            for _, low, high in [paired.interval(draw(RNG(k)))]
        )
        assert missed / 400 <= 0.05 + 0.03


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=6, max_size=8), st.sampled_from([0.1, 0.5, 1.2]))
def test_equivalence_reads_from_the_interval(values: list[float], margin: float) -> None:
    _, low, high = paired.interval(values)
    if abs(abs(low) - margin) > 1e-6 and abs(abs(high) - margin) > 1e-6:
        assert (paired.equivalence(values, margin) <= 0.025) == (-margin < low <= high < margin)
        assert (paired.beyond(values, margin) <= 0.025) == (low > margin or high < -margin)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-3, 3), min_size=7, max_size=7),
    st.lists(st.integers(-8, 8), min_size=7, max_size=7),
)
def test_less_than_half_is_written_out(a: list[float], b: list[float]) -> None:
    """Either sign of b may be the right one; both of b / 2 - a and b / 2 + a must be above 0."""
    sides = [
        max(
            naive_sign_flip([s * y / 2 - x for x, y in zip(a, b, strict=True)])[0],
            naive_sign_flip([s * y / 2 + x for x, y in zip(a, b, strict=True)])[0],
        )
        for s in (1, -1)
    ]
    assert paired.less_than_half(a, b) == pytest.approx(min(1, 2 * min(sides)))


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (1.0, 2.0), (-1.0, 2.0), (0.5, 0.0)])
def test_at_half_and_above_it_is_rarely_called_less(a: float, b: float) -> None:
    called = sum(
        paired.less_than_half(a + RNG(k).normal(size=8), b + RNG(k + 9999).normal(size=8)) <= 0.025
        for k in range(600)
    )
    assert called / 600 <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 600)


# --- effects ----------------------------------------------------------------------------------


def test_improvement_is_mann_whitney() -> None:
    x, y = RNG(0).integers(0, 6, 9), RNG(1).integers(0, 6, 7)
    u = stats.mannwhitneyu(x, y).statistic / (9 * 7)
    assert effects.probability_of_improvement(x, y) == pytest.approx(u)


# --- proportions ------------------------------------------------------------------------------


@pytest.mark.parametrize(("events", "n"), [(0, 6), (3, 10), (6, 6)])
def test_the_exact_interval_inverts_the_binomial(events: int, n: int) -> None:
    _, low, high = proportions.rate(events, n)
    assert low == 0 if events == 0 else stats.binom.sf(events - 1, n, low) == pytest.approx(0.025)
    assert high == 1 if events == n else stats.binom.cdf(events, n, high) == pytest.approx(0.025)


def test_wilson_has_its_formula() -> None:
    k, n, z = 3, 10, stats.norm.ppf(0.975)
    centre = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
    found = proportions.rate(k, n, method="wilson")
    assert found == pytest.approx((0.3, centre - half, centre + half))


# --- interactions -----------------------------------------------------------------------------


def test_factorial_contrasts_are_written_out() -> None:
    r = RNG(0).normal(size=(6, 2, 2, 2))
    found = interactions.factorial(r, ["g", "w", "a"]).set_index("effect")["estimate"]
    assert found["w"] == pytest.approx((r[:, :, 0] - r[:, :, 1]).mean())
    four = r[:, 0, 0] - r[:, 0, 1] - r[:, 1, 0] + r[:, 1, 1]
    assert found["g x w"] == pytest.approx(four.mean())
    assert found["g x w x a"] == pytest.approx((four[:, 0] - four[:, 1]).mean())
    assert list(found.index) == ["g", "w", "a", "g x w", "g x a", "w x a", "g x w x a"]


def test_the_factorial_p_is_that_of_the_contrast() -> None:
    r = RNG(1).normal(size=(7, 2, 2))
    row = interactions.factorial(r, ["w", "a"]).set_index("effect").loc["w x a"]
    contrast = r[:, 0, 0] - r[:, 0, 1] - r[:, 1, 0] + r[:, 1, 1]
    assert row["p"] == naive_sign_flip(list(contrast))[0] * 2 or row["p"] == pytest.approx(
        2 * min(naive_sign_flip(list(contrast)))
    )


# --- shape ------------------------------------------------------------------------------------

MOMENTA = [0.0, 0.5, 0.9, 0.95, 0.99]


def curves(shape_L: list[float], k: int, n: int = 8) -> np.ndarray:
    return np.array(shape_L) + RNG(k).normal(size=(n, len(shape_L))) + RNG(k).normal(size=(n, 1))


def test_two_lines_see_both_shapes_and_not_a_flattening_rise() -> None:
    hits = {"inverted": 0, "upright": 0, "flattening": 0, "flat": 0}
    for k in range(100):
        inverted = shape.two_lines(MOMENTA, curves([0, 3, 5, 2, -2], k))
        hits["inverted"] += inverted.p_inverted <= 0.025
        hits["upright"] += (
            shape.two_lines(MOMENTA, curves([0, -3, -5, -2, 2], k)).p_upright <= 0.025
        )
        hits["flattening"] += (
            shape.two_lines(MOMENTA, curves([0, 4, 5, 5, 5], k)).p_inverted <= 0.025
        )
        flat = shape.two_lines(MOMENTA, curves([0] * 5, k))
        hits["flat"] += min(flat.p_inverted, flat.p_upright) <= 0.025
    assert hits["inverted"] >= 90
    assert hits["upright"] >= 90
    assert hits["flattening"] <= 5
    assert hits["flat"] <= 5


def test_two_lines_with_one_bad_level_keep_twice_their_level() -> None:
    """Three levels alike and one lower: slopes are lopsided, and their flips only nearly exact."""
    low = np.array([50.0, 60.0, 88.0, 91.0, 93.0])
    alike = np.array([80.0, 85.0, 90.0, 92.0, 93.0, 93.5])
    hits, studies = 0, 400
    for k in range(studies):
        y = np.column_stack([RNG(k).choice(low, 8), RNG(k + studies).choice(alike, (8, 3))])
        hits += shape.two_lines([0.0, 0.5, 0.9, 0.99], y).p_inverted <= 0.025
    assert hits <= 0.05 * studies + 3 * np.sqrt(0.05 * 0.95 * studies)


def test_slopes_are_least_squares() -> None:
    y = RNG(0).normal(size=(6, 3))
    found = shape.two_lines([0.0, 1.0, 3.0], y)
    naive = np.mean([stats.linregress([0.0, 1.0], row[:2]).slope for row in y])
    assert (found.breakpoint, found.left) == (1.0, pytest.approx(naive))
    whole = shape._slopes(np.array([0.0, 1.0, 3.0]), y)
    assert whole == pytest.approx([stats.linregress([0, 1, 3], row).slope for row in y])


# --- multiplicity -----------------------------------------------------------------------------


def naive_holm(p: list[float]) -> list[float]:
    return [max(min(1.0, sum(r >= q for r in p) * q) for q in p if q <= mine) for mine in p]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=6, unique=True))
def test_holm_is_its_definition(p: list[float]) -> None:
    assert multiplicity.holm(p) == pytest.approx(naive_holm(p))


def test_holm_leaves_out_what_was_not_tested() -> None:
    found = multiplicity.holm([0.02, math.nan, 0.5])
    assert found[[0, 2]].tolist() == [0.04, 0.5]
    assert math.isnan(found[1])


# --- power ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "dz"), [(20, 0.66), (30, 0.53)])
def test_paired_gaps_that_textbooks_print(n: int, dz: float) -> None:
    assert power.detectable(n) == pytest.approx(dz, abs=0.006)
    assert power.needed(dz + 0.01, 1.0) == pytest.approx(n, abs=1)


# 80 % at 0.05: with six seeds 1.79 standard deviations, not the t-test's 1.43.
@pytest.mark.parametrize(
    ("n", "dz", "expected"), [(6, 1.43, 0.62), (6, 1.79, 0.80), (7, 1.31, 0.8)]
)
def test_power_with_few_seeds_is_that_of_the_test_itself(
    n: int, dz: float, expected: float
) -> None:
    assert power.paired(n, dz) == pytest.approx(expected, abs=0.02)
    assert power.paired(n, dz) == pytest.approx(simulated(n, dz, studies=4000), abs=0.02)


def simulated(n: int, dz: float, studies: int = 2000) -> float:
    """Share of sign-flip tests on normal contrasts that are significant."""
    values = RNG(n + 100).normal(dz, size=(studies, n))
    signs = np.array(list(itertools.product((1, -1), repeat=n)))
    sums = values @ signs.T
    p = 2 * np.minimum(
        (sums >= values.sum(1, keepdims=True) - 1e-9).mean(1),
        (sums <= values.sum(1, keepdims=True) + 1e-9).mean(1),
    )
    return float((p <= 0.05).mean())


@pytest.mark.parametrize(("n", "dz"), [(8, 1.0), (10, 1.0), (12, 0.7)])
def test_paired_power_has_a_simulated_twin(n: int, dz: float) -> None:
    assert power.paired(n, dz) == pytest.approx(simulated(n, dz), abs=0.05)


def test_five_seeds_show_nothing() -> None:
    assert power.fewest_seeds() == 6
    assert power.paired(5, 100.0) == 0 == simulated(5, 100.0)
    assert power.detectable(5) == math.inf
    assert power.needed(100.0, 1.0) == 6


# --- the page -------------------------------------------------------------------------------------

PAGE = text_of("statistics")


def two_humps(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Final accuracies as the pilot's of DARTS: six in ten near 91, the others near 68."""
    good = rng.random(shape) < 0.6
    return np.where(good, rng.normal(91, 1.5, shape), rng.normal(68, 8, shape))


CENTRE = 0.6 * 91 + 0.4 * 68


def coverage(n: int, studies: int = 1000) -> list[float]:
    """Percent of intervals that hold the truth: of a contrast of two alike arms, and of one arm.

    Of each the exact interval, the percentile bootstrap of the mean, and the t-interval.
    """
    rng = RNG(n)
    x, y = two_humps(rng, (2, studies, n))
    found = []
    for values, truth in ((x - y, 0.0), (x, CENTRE)):
        exact = [paired.interval(row)[1:] for row in values]
        draws = values[:, rng.integers(n, size=(400, n))].mean(axis=-1)
        boot = np.quantile(draws, [0.025, 0.975], axis=1).T
        half = stats.t.ppf(0.975, n - 1) * values.std(axis=1, ddof=1) / math.sqrt(n)
        student = values.mean(axis=1)[:, None] + np.outer(half, [-1, 1])
        found += [100 * np.mean([a <= truth <= b for a, b in e]) for e in (exact, boot, student)]
    return found


def coverage_row(n: int) -> str:
    return f"| {n} | {' | '.join(f'{each:.0f}' for each in coverage(n))} |"


@pytest.mark.thorough
def test_the_table_of_coverages_is_that_of_the_intervals() -> None:
    for n in (3, 4, 5, 6, 7, 8, 10, 12):
        assert coverage_row(n) in PAGE, coverage_row(n)


def test_the_worked_claim_is_worked_right() -> None:
    """H3 of the pilot, from six numbers to p, as a reader would do it."""
    d = [6.62, 1.10, -30.97, -2.60, -12.34, -2.69]
    assert f"{', '.join(f'{each:+.2f}' for each in d)}" in PAGE
    total = sum(d)
    few = [
        subset
        for size in range(7)
        for subset in itertools.combinations(sorted(map(abs, d)), size)
        if sum(subset) <= (sum(map(abs, d)) + total) / 2 + 1e-9
    ]
    assert len(few) == 10
    for subset in few[1:]:
        assert " + ".join(f"{each:.2f}" for each in subset) in PAGE
    found = paired.sign_flip(d)
    assert (found.p_less, found.p) == (10 / 64, 20 / 64)
    assert f"mean {total:.2f} / 6 = {total / 6:.2f}" in PAGE
    assert "10 / 64 = 0.156" in PAGE
    assert paired.interval(d)[1:] == (min(d), max(d))
