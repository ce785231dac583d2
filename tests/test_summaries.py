"""Tables of results from a tidy table, against loops over its rows."""

from __future__ import annotations

import itertools
from statistics import mean, median

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tidy import PAIRS, Arm, arms, study

from optnas.analysis import summaries
from optnas.analysis.curves import ARM
from optnas.base.errors import UserError

W, A, G = "weight_optimizer.name", "arch_optimizer.name", "algorithm.name"


def respond(arm: Arm, rng: np.random.Generator) -> dict:
    n = arm["search.epochs"] + 1
    return {"y": rng.normal(90, 5, size=n), "skips": rng.integers(0, 6, size=n)}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Seed 3 lacks one arm, and another of its runs has diverged."""
    whole = study(arms("darts", "sdarts-rs"), respond, seeds=7)
    sgd = (whole["search.seed"] == 3) & (whole[W] == "SGD") & (whole[G] == "darts")
    whole.loc[sgd & (whole[A] == "Adam"), "state"] = "diverged"
    return whole[~(sgd & (whole[A] == "SGD"))]


def values(table: pd.DataFrame, column: str = "y", **arm: str) -> dict[int, float]:
    """The last value of the runs of one arm by seed, row by row."""
    found = {}
    for row in table.sort_values("epoch").to_dict("records"):
        chosen = all(row[f"{key}.name"] == value for key, value in arm.items())
        if chosen and row["state"] == "done":
            found[row["search.seed"]] = row[column]
    return found


def test_centres(table: pd.DataFrame) -> None:
    found = summaries.centres(table, "y", draws=200)
    assert len(found) == 8
    for row in found.to_dict("records"):
        names = {key.split(".")[0]: row[key] for key in ARM}
        x = list(values(table, **names).values())
        assert row["n"] == len(x)
        assert row["mean"] == pytest.approx(mean(x))
        assert row["median"] == pytest.approx(median(x))
        assert row["iqm"] == pytest.approx(stats.trim_mean(x, 0.25))
        assert min(x) <= row["iqm_low"] <= row["iqm"] <= row["iqm_high"] <= max(x)


def test_differences_are_paired_by_seed(table: pd.DataFrame) -> None:
    found = summaries.differences(table, "y", W, "SGD", "Adam").set_index([G, A])
    assert len(found) == 4
    for (algorithm, arch), row in found.iterrows():
        sgd, adam = (
            values(table, algorithm=algorithm, arch_optimizer=arch, weight_optimizer=w)
            for w in ("SGD", "Adam")
        )
        seeds = sorted(set(sgd) & set(adam))
        d = np.array([sgd[seed] - adam[seed] for seed in seeds])
        theirs = stats.permutation_test(
            (d,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
        )
        assert row["n"] == len(seeds) == (6 if algorithm == "darts" else 7)
        assert row["estimate"] == pytest.approx(d.mean())
        assert row["p"] == pytest.approx(theirs.pvalue)
        wins = [sgd[s] > adam[t] for s in seeds for t in seeds]
        assert row["improvement"] == pytest.approx(mean(wins))
    assert (found["p_holm"] >= found["p"]).all()
    assert found["p_holm"].min() == pytest.approx(min(1, 4 * found["p"].min()))
    assert summaries.differences(table, "y", W, "SGD", "AdamW").empty


def test_a_seed_with_a_run_that_diverged_is_in_no_difference(table: pd.DataFrame) -> None:
    before = summaries.differences(table, "y", W, "SGD", "Adam").set_index([G, A])
    seed = table["search.seed"].max()
    lost = table.assign(y=table["y"].where(table["search.seed"] != seed, np.inf))
    after = summaries.differences(lost, "y", W, "SGD", "Adam").set_index([G, A])
    assert (after["n"] == before["n"] - 1).all()
    assert np.isfinite(after["p"]).all()


def test_effects_of_three_factors(table: pd.DataFrame) -> None:
    factors = {G: ("darts", "sdarts-rs"), W: ("SGD", "Adam"), A: ("SGD", "Adam")}
    found = summaries.effects(table, "y", factors).set_index("effect")
    assert len(found) == 7
    assert set(found["n"]) == {6}
    total = 0.0
    for g, w, a in itertools.product(range(2), repeat=3):
        arm = {"algorithm": factors[G][g], "weight_optimizer": factors[W][w]}
        of_seed = values(table, **arm, arch_optimizer=factors[A][a])
        total += (-1) ** (g + w + a) * mean(of_seed[seed] for seed in (0, 1, 2, 4, 5, 6))
    assert found.loc[" x ".join(factors), "estimate"] == pytest.approx(total)
    with pytest.raises(UserError, match="no seed has a run of every combination"):
        summaries.effects(table, "y", {W: ("SGD", "AdamW")})
    with pytest.raises(UserError, match="column = 'z': the table has no such column"):
        summaries.effects(table, "z", {W: ("SGD", "Adam")})


def test_collapse_rates(table: pd.DataFrame) -> None:
    found = summaries.collapse_rates(table, 87.0, "y")
    assert found["n"].tolist() == [7, 7, 6, 6, 7, 7, 7, 7]
    assert len(PAIRS) * 2 == len(found)
    for row in found.to_dict("records"):
        names = {key.split(".")[0]: row[key] for key in ARM}
        y, skips = values(table, **names), values(table, "skips", **names)
        events = sum(y[seed] < 87.0 or skips[seed] >= 4 for seed in y)
        ends = stats.binomtest(events, len(y)).proportion_ci(method="exact")
        assert (row["events"], row["rate"]) == (events, pytest.approx(events / len(y)))
        assert (row["low"], row["high"]) == (pytest.approx(ends.low), pytest.approx(ends.high))
