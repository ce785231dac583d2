"""Responses over epochs, runs of a table, references: against slow twins and by hand."""

from __future__ import annotations

import doctest
import importlib
import math
import pkgutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tidy import arms, study

from optnas import analysis
from optnas.analysis import claims as declarations
from optnas.analysis import curves, estimates, references
from optnas.analysis.claims.declare import TRANSFORMS, WITH_ANOTHER, Response
from optnas.analysis.runs import Runs, plain
from optnas.base.errors import UserError

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (analysis, declarations)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_are_true(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def noisy(arm: dict, rng: np.random.Generator) -> dict:
    n = arm["search.epochs"] + 1
    return {"y": rng.normal(size=n), "z": rng.normal(size=n), "skips": np.arange(n) % 5.0}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return study(arms("darts"), noisy, seeds=5, epochs=12)


# --- curves -----------------------------------------------------------------------------------


def test_anytime_curves_are_made_epoch_by_epoch(table: pd.DataFrame) -> None:
    holed = table.copy()
    holed.loc[(holed["epoch"] == 3) & (holed["search.seed"] == 0), "y"] = np.nan
    found = curves.anytime(holed, "y", draws=200)
    assert len(found) == 4 * 13
    assert set(found.loc[found["epoch"] == 3, "n"]) == {4}
    row = found[(found["epoch"] == 5)].iloc[-1]
    arm = {key: row[key] for key in curves.ARM}
    chosen = table[(table[list(arm)] == pd.Series(arm)).all(axis=1) & (table["epoch"] == 5)]["y"]
    assert row["mean"] == pytest.approx(sum(chosen) / 5)
    assert row["iqm"] == pytest.approx(float(estimates.iqm(chosen)))
    assert min(chosen) <= row["low"] <= row["iqm"] <= row["high"] <= max(chosen)


def test_best_and_final_of_each_run(table: pd.DataFrame) -> None:
    found = curves.best_and_final(table, "y").set_index("id")
    assert len(found) == 20
    for run, epochs in table.groupby("id"):
        y = list(epochs["y"])
        assert found.loc[run, "final"] == y[-1]
        assert found.loc[run, "oracle_best"] == max(y[1:])
        assert found.loc[run, "oracle_epoch"] == y.index(max(y[1:]))
        assert found.loc[run, "drop"] == pytest.approx(max(y[1:]) - y[-1])
    assert curves.best_and_final(table.assign(y=np.nan), "y").empty


def test_the_best_epoch_beats_the_last_by_chance_alone(table: pd.DataFrame) -> None:
    """Why the drop is never tested against zero."""
    assert (curves.best_and_final(table, "y")["drop"] >= 0).all()
    assert curves.best_and_final(table, "y")["drop"].mean() > 1


@pytest.mark.parametrize(
    ("level", "expected"), [(2.5, 7.0), (2.0, 7.0), (1.25, 6.25), (1.0, 6.0), (0.75, 5.0)]
)
def test_values_at_equal_loss_are_interpolated(level: float, expected: float) -> None:
    # The loss rises again after its first fall; only the first crossing counts.
    assert curves.at_loss([2.0, 1.0, 1.5, 0.5], [7.0, 6.0, 6.0, 16 / 3 - 1], level) == (
        pytest.approx(expected) if level != 0.75 else pytest.approx(6 + 0.75 * (16 / 3 - 1 - 6))
    )


def test_a_loss_that_is_never_reached_has_no_value() -> None:
    assert math.isnan(curves.at_loss([2.0, 1.0], [0.0, 1.0], 0.5))
    assert curves.common_loss([[2.0, 1.0, 1.2], [3.0, np.nan, 1.5]]) == 1.5


# --- transforms -------------------------------------------------------------------------------


def naive_partial(x: list[float], y: list[float], t: list[float]) -> float:
    """Correlation of what is left of the ranks of x and y after a line in the ranks of t."""
    rx, ry, rt = (stats.rankdata(v) for v in (x, y, t))
    left = [r - np.polyval(np.polyfit(rt, r, 1), rt) for r in (rx, ry)]
    return float(np.corrcoef(*left)[0, 1])


def test_transforms_are_what_their_names_say(table: pd.DataFrame) -> None:
    runs = Runs(table)
    run = 7
    epochs = table[table["id"] == runs.settings["id"][run]]
    y, z, t = (list(epochs[c][1:]) for c in ("y", "z", "epoch"))
    level = 1.6
    expected = {
        "final": y[-1],
        "max": max(y),
        "drop": max(y) - y[-1],
        "auc": sum(y) / 12,
        "slope": stats.linregress(t, y).slope,
        "early": sum(y[:3]) / 3,
        "early-late": sum(y[:3]) / 3 - sum(y[-3:]) / 3,
        "difference": y[-1] - z[-1],
        "ratio": y[-1] / z[-1],
        "rank-correlation": stats.spearmanr(y, z).statistic,
        "partial-rank-correlation": naive_partial(y, z, t),
        "at-equal-train-loss": np.interp(-level, -np.array(epochs["train_loss"])[1:], y),
        "collapse": float(y[-1] < 0.5),
    }
    for name, value in expected.items():
        other = "z" if name in WITH_ANOTHER else None
        response = Response(column="y", transform=name, other=other)
        assert runs.value(run, response, 0.5, level) == pytest.approx(value), name


@pytest.mark.parametrize("transform", sorted(TRANSFORMS))
def test_epoch_0_is_no_epoch_of_the_search(transform: str) -> None:
    """Whatever is recorded before the first step moves no response."""

    other = "z" if transform in WITH_ANOTHER else None
    response = Response(column="y", transform=transform, other=other)
    low, high = (Runs(begun_at(at_0)).value(0, response, 12.0, 2.0) for at_0 in (-50.0, 50.0))
    assert math.isfinite(low)
    assert low == high


def begun_at(at_0: float) -> pd.DataFrame:
    """One run of 6 epochs that recorded this much before its first step."""
    n = np.arange(7.0)
    y, z = np.where(n == 0, at_0, 10 + n % 4), np.where(n == 0, -at_0, (n - 2) ** 2)
    one = study(arms("darts")[:1], lambda a, r: {"y": y, "z": z, "skips": y - 9}, 1, epochs=6)
    return one.assign(train_loss=np.where(n == 0, 3 - at_0, 3 - n / 3))


def test_the_best_epoch_is_one_of_the_search() -> None:
    (best,) = curves.best_and_final(begun_at(50.0), "y").to_dict("records")
    assert (best["oracle_epoch"], best["oracle_best"], best["drop"]) == (3, 13.0, 1.0)


def test_a_search_of_epoch_0_alone_has_no_response(table: pd.DataFrame) -> None:
    begun = table[table["epoch"] == 0]
    assert curves.best_and_final(begun, "y").empty
    assert math.isnan(Runs(begun).value(0, Response(column="y"), 0, 0))


def test_early_is_by_epochs_however_few_are_recorded(table: pd.DataFrame) -> None:
    """A measure taken at the last epoch only says nothing of the first quarter."""
    last = table.assign(y=table["y"].where(table["epoch"] == 12))
    assert math.isnan(Runs(last).value(0, Response(column="y", transform="early"), 0, 0))
    some = table.assign(y=table["y"].where(table["epoch"].isin([2, 12])))
    early = Runs(some).value(0, Response(column="y", transform="early"), 0, 0)
    assert early == Runs(table).epochs(0, "y")[2]


def test_logarithms_and_collapses() -> None:
    def respond(arm: dict, rng: np.random.Generator) -> dict:
        return {"y": 93.0 if arm["search.seed"] else -1.0, "skips": 4.0 * arm["search.seed"]}

    runs = Runs(study(arms("darts")[:1], respond, seeds=2))
    log, collapse = (Response(column="y", transform=t) for t in ("log-final", "collapse"))
    assert math.isnan(runs.value(0, log, 0, 0))
    assert runs.value(1, log, 0, 0) == pytest.approx(math.log(93))
    assert [runs.value(k, collapse, 87.06, 0) for k in (0, 1)] == [1, 1]


def test_a_correlation_with_something_constant_is_undefined(table: pd.DataFrame) -> None:
    runs = Runs(table.assign(z=1.0))
    response = Response(column="y", transform="rank-correlation", other="z")
    assert math.isnan(runs.value(0, response, 0, 0))


# --- tables and references --------------------------------------------------------------------


def test_equal_settings_have_equal_texts() -> None:
    for same in ((0, 0.0, np.float64(0)), ([0.9, 1], (0.9, 1.0)), (None, float("nan"), pd.NA)):
        assert len({plain(value) for value in same}) == 1
    assert plain([0.9, 0.0]) == plain((0.90, 0)) == plain("[0.9, 0.0]") == "[0.9, 0]"
    assert len({plain(value) for value in (["a, b"], ["a", "b"], [None], [], "[" * 5000)}) == 5
    assert len({plain(value) for value in (True, 1, "x", None)}) == 4


def test_a_table_read_back_from_csv_is_the_same(table: pd.DataFrame, tmp_path: object) -> None:
    file = f"{tmp_path}/table.csv"
    table.to_csv(file, index=False)
    back = Runs(pd.read_csv(file, dtype={"id": str}))
    response = Response(column="y", transform="early")
    for run in range(3):
        assert back.value(run, response, 0, 0) == Runs(table).value(run, response, 0, 0)


def test_what_is_no_tidy_table_is_told() -> None:
    with pytest.raises(UserError, match="not a tidy table: a column is missing"):
        Runs(pd.DataFrame({"id": ["a"]}))


def test_references_come_from_the_table_that_answered() -> None:
    from optnas.spaces.tables import load_table

    table = load_table("analog-nasbench", folder=None)
    (question,) = table.coverage.headline
    accuracies = sorted(table.values(question))
    found = references.references(table, cells=3)
    random_cell, search = (values["benchmark.cifar10"] for values in found.values())
    assert random_cell == pytest.approx(sum(accuracies) / len(accuracies))
    # The best of three is the cell at i if the other two are among the i below it.
    n = len(accuracies)
    best = sum(math.comb(i, 2) * x for i, x in enumerate(accuracies)) / math.comb(n, 3)
    assert search == pytest.approx(best)
