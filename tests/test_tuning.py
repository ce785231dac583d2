"""Rates chosen in turn on equal seeds, and sets of rates that a study names."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import command
from studies import tiny_study
from tidy import arms, study
from topics import script

from optnas.analysis import tuning
from optnas.analysis.claims.judge import Finding, judge
from optnas.analysis.runs import Runs
from optnas.analysis.tuning import RateArm
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.base.toml import dump_toml, inline_toml
from optnas.study.declare import STUDIES, load_study, study_of
from optnas.study.judging import declared_arms

ROOT = Path(__file__).resolve().parents[1]
W_SGD, W_ADAM = (0.0025, 0.008, 0.025, 0.08, 0.25), (0.0001, 0.0003, 0.001, 0.003, 0.01)
A_SGD, A_ADAM = (0.003, 0.01, 0.03, 0.1), (0.0003, 0.001, 0.003, 0.01)
MOMENTUM = "weight_optimizer.momentum"
Point = tuple[str, float, str, float]  # optimizer and rate of w, then of alpha


def sweep(losses: Mapping[Point, Sequence[float | str | None]]) -> pd.DataFrame:
    """A table of three epochs a run; a loss for each of seeds 100 and 101, a state, or no run."""
    rows = []
    for number, ((w, w_rate, a, a_rate), own) in enumerate(losses.items()):
        for seed, loss in zip((100, 101), own, strict=True):
            if loss is None:
                continue
            state, value = (loss, np.nan) if isinstance(loss, str) else ("done", loss)
            rows += [
                {
                    "id": f"{number}-{seed}",
                    "state": state,
                    "epoch": epoch,
                    "search.seed": seed,
                    "algorithm.name": "darts",
                    "weight_optimizer.name": w,
                    "weight_optimizer.lr": w_rate,
                    "arch_optimizer.name": a,
                    "arch_optimizer.lr": a_rate,
                    "valid_loss": value,
                }
                for epoch in (0, 1, 2)
            ]
    return pd.DataFrame(rows)


def of_w(best: float = 0.08, **changed: Sequence[float | str | None]) -> pd.DataFrame:
    """A sweep of w at the protocol's alpha, in which SGD's best rate is the best of all."""
    losses: dict[Point, Sequence[float | str | None]] = {}
    for name, rates, own, level in (("SGD", W_SGD, best, 1.0), ("Adam", W_ADAM, 0.003, 1.2)):
        for rate in rates:
            loss = level + abs(np.log10(rate / own))
            losses[name, rate, "Adam", 0.001] = changed.get(f"{name} {rate:g}", (loss, loss + 0.1))
    return sweep(losses)


def of_alpha(w_rate: float = 0.08) -> pd.DataFrame:
    return sweep(
        {
            ("SGD", w_rate, name, rate): (1 + abs(np.log10(rate / own)),) * 2
            for name, rates, own in (("SGD", A_SGD, 0.03), ("Adam", A_ADAM, 0.003))
            for rate in rates
        }
    )


TUNED = {
    "weight_optimizer.lr": {"SGD": 0.08, "Adam": 0.003},
    "arch_optimizer.lr": {"SGD": 0.03, "Adam": 0.003},
}
SMOOTH = {
    "weight_optimizer.lr": {"SGD": 0.025, "Adam": 0.001},
    "arch_optimizer.lr": {"SGD": 0.003, "Adam": 0.0003},
}
DEFAULT = SMOOTH | {"arch_optimizer.lr": {"SGD": 0.01, "Adam": 0.001}}


# --- the choice -----------------------------------------------------------------------------------


def test_two_sweeps_give_the_four_pairs() -> None:
    arm = tuning.tune_in_turn(of_w(), of_alpha())
    assert arm.remarks == ()
    assert arm.tuned_on == {100, 101}
    got = {tuple(row.values()) for row in arm.rows}
    assert got == {
        ("darts", w, a, TUNED["weight_optimizer.lr"][w], TUNED["arch_optimizer.lr"][a])
        for w in ("SGD", "Adam")
        for a in ("SGD", "Adam")
    }
    # Both in one table were "unequal budgets" without a way out.
    with pytest.raises(UserError, match=r"unequal budgets.*a sweep of w and one of alpha"):
        tuning.tune(pd.concat([of_w(), of_alpha().assign(id=lambda each: "a" + each["id"])]))
    with pytest.raises(UserError, match=r"sweep of w: has several settings of alpha: Adam 0\.0003"):
        tuning.tune_in_turn(of_alpha(), of_alpha())


def test_a_second_sweep_at_another_w_is_told() -> None:
    told = str(tuning.tune_in_turn(of_w(), of_alpha(0.025)))
    assert "the sweep of alpha has SGD 0.025 on w, that of w prefers SGD 0.08" in told


def test_an_optimum_at_the_edge_is_told() -> None:
    arm = tuning.tune(of_w(best=0.25))
    (told,) = arm.remarks
    assert told == (
        "at the edge of the sweep, declare further rates: darts, SGD, Adam at 0.25 on w"
    )
    # One beyond which a rate diverged is none.
    inside = tuning.tune(of_w(best=0.25, **{"SGD 0.25": ("diverged", "diverged")}))
    assert not any("edge" in each for each in inside.remarks)
    assert any("ranked last" in each for each in inside.remarks)


def test_rates_are_compared_on_equal_seeds() -> None:
    """A run of one lucky seed won against means of two, and nothing was said."""
    lucky = of_w(**{"SGD 0.0025": (1.5, None)})
    lucky.loc[lucky["search.seed"] == 101, "valid_loss"] += 5
    arm = tuning.tune(lucky)
    assert {row["weight_optimizer.lr"] for row in arm.rows} == {0.08, 0.003}
    assert arm.remarks == (
        "1 run of the sweep is not finished (darts, SGD, Adam at 0.0025, 0.001, seed 101), and "
        "rates are compared on seed 100 alone",
    )
    assert tuning.responses(lucky)["n"].tolist() == [1] * 10
    # A loss that is not there is no loss; a run that diverged has ended.
    absent = tuning.tune(of_w(**{"SGD 0.0025": (np.nan, 1.0)}))
    assert "seed 100), and rates are compared on seed 101 alone" in absent.remarks[0]
    with pytest.raises(UserError, match=r"no seed has ended at every rate: 2 runs .*seed 101"):
        tuning.tune(of_w(**{"SGD 0.0025": (1.5, None), "Adam 0.01": ("failed", 1.5)}))


def test_a_sweep_of_more_than_rates_is_refused() -> None:
    """It answered with means over momenta, and the rate of the best momentum was not among them."""
    low, high = (of_w(best).assign(**{MOMENTUM: m}) for m, best in ((0.9, 0.008), (0.0, 0.08)))
    both = pd.concat([low, high.assign(id="b" + high["id"])])
    wanted = (
        r"^the sweep: weight_optimizer\.momentum: differs among the runs of darts, SGD, Adam at "
        r"0\.0025, 0\.001: 0 and 0\.9; rates are chosen at one value .*a study for each"
    )
    for asked in (tuning.tune, tuning.responses):
        with pytest.raises(UserError, match=wanted):
            asked(both[both["weight_optimizer.name"] == "SGD"])
    assert {row["weight_optimizer.lr"] for row in tuning.tune(high).rows} == {0.08, 0.003}
    assert len(tuning.tune(both, by=(*tuning.PAIR, MOMENTUM)).rows) == 4


# --- arms -----------------------------------------------------------------------------------------


def at(rates: Mapping[str, Mapping[str, float]], mark: str, effect: float) -> pd.DataFrame:
    """DARTS under the four pairs on seeds 8 to 13, SGD on w better by an effect."""

    def respond(arm: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        better = effect * (arm["weight_optimizer.name"] == "SGD")
        return {"valid_accuracy": 50 + better + rng.normal()}

    table = study(arms("darts"), respond).assign(protocol="optdarts-cpu")
    for key, own in rates.items():
        table[key] = table[key.replace(".lr", ".name")].map(own)
    table["search.seed"] += 8
    return table.assign(id=mark + table["id"])


def three() -> pd.DataFrame:
    return pd.concat([at(DEFAULT, "d", 9), at(SMOOTH, "s", 0), at(TUNED, "t", -9)])


def found(table: pd.DataFrame, lr_arms: Sequence[RateArm]) -> dict[str, Finding]:
    return {each.lr_arm: each for each in judge(table, ["H1"], lr_arms=lr_arms)}


def arms_study(*grids: dict[str, Any]) -> dict[str, Any]:
    """The shipped study on images that come with the package, with further grids."""
    document = STUDIES.load("optdarts-cpu-arms")[1]
    document["study"]["base"]["data"] = {"name": "digits"}
    return {**document, "grid": [*document["grid"], *grids]}


def test_the_tuned_pairs_have_a_verdict() -> None:
    told = found(pd.concat([at(DEFAULT, "d", 9), at(TUNED, "t", -9)]), [])
    assert set(told) == {"default"}
    arm = tuning.tune_in_turn(of_w(), of_alpha())
    told = found(pd.concat([at(DEFAULT, "d", 9), at(TUNED, "t", -9)]), [arm])
    assert {name: each.verdict for name, each in told.items()} == {
        "default": "supported",
        "tuned": "contradicted",
    }
    assert "not judged at learning rates: same" in told["tuned"].settle


@pytest.mark.thorough
def test_each_set_of_rates_that_a_study_names_is_judged() -> None:
    grid = {
        "rates": "tuned",
        "weight_optimizer": [{"name": n, "lr": r} for n, r in TUNED["weight_optimizer.lr"].items()],
        "arch_optimizer": [{"name": n, "lr": r} for n, r in TUNED["arch_optimizer.lr"].items()],
    }
    declared = study_of(arms_study(grid), "arms.toml")
    assert len(declared.runs) == 6 * 12
    named = declared_arms(declared)
    assert [arm.name for arm in named] == ["SmoothDARTS", "tuned"]
    told = found(three(), named)
    assert {name: (each.verdict, each.n) for name, each in told.items()} == {
        "default": ("supported", 6),
        "SmoothDARTS": ("inconclusive", 6),
        "tuned": ("contradicted", 6),
    }
    assert told["SmoothDARTS"].rates == (
        "Adam 0.0003 on alpha, Adam 0.001 on w, SGD 0.003 on alpha, SGD 0.025 on w"
    )
    runs = Runs(three())
    assert tuning.in_no_arm(runs, [*tuning.rate_arms(runs), *named]) == ""
    left = tuning.in_no_arm(runs, [*tuning.rate_arms(runs), named[0]])
    assert left.startswith("24 runs belong to no learning-rate arm")
    assert "SGD 0.08 on w with SGD 0.03 on alpha" in left


@pytest.mark.thorough
def test_the_page_has_a_line_for_each_set_of_rates() -> None:
    rates = script("rates")
    waits = "*Waits for the study `optdarts-cpu-arms`.*"
    if not (rates.HERE / rates.STUDY).is_dir():
        assert rates.arms(None) == waits
        assert waits in (ROOT / "docs" / "results.md").read_text()
    named = declared_arms(rates.declared())
    table = three().assign(
        **{"percentile.cifar10": lambda t: t["valid_accuracy"], "benchmark.cifar10": 90.0}
    )
    heads, _, shin, smooth, _, note = rates.told(table, named).splitlines()
    assert heads.startswith("| rates | which | percentile over epochs |")
    assert shin.startswith("| Shin's | Adam 0.001 on alpha, Adam 0.001 on w, SGD 0.01 on alpha")
    assert smooth.startswith("| SmoothDARTS' | Adam 0.0003 on alpha")
    assert "n = 6 | +0 [0, 0], n = 6 |" in smooth
    assert 7 < float(shin.split("|")[3].split()[0]) < 11
    assert note == (
        "Tuned rates wait for the sweeps `optdarts-cpu-rates` and `optdarts-cpu-rates-alpha`."
    )
    tuned = tuning.tune_in_turn(of_w(), of_alpha())
    *_, last = rates.told(table, [*named, tuned]).splitlines()
    assert last.startswith("| tuned | Adam 0.003 on alpha")
    assert -11 < float(last.split("|")[3].split()[0]) < -7
    # A set of which no run is there, and one of the very runs of another.
    *_, absent, same = rates.told(
        table[~table["id"].str.startswith("t")], [tuned, replace(named[0], name="again")]
    ).splitlines()
    assert absent.endswith("| n = 0 | n = 0 |")
    assert same.split("|")[3] == smooth.split("|")[3]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"rates": 3}, r'arms.toml: grid 3: rates = 3: must be text; .*rates = "tuned"'),
        ({"rates": "same 0.1"}, "rates = 'same 0.1': an arm of this name is found in the runs"),
        (
            {"rates": "a", "weight_optimizer": [{"name": "SGD", "lr": r} for r in (0.1, 0.2)]},
            r"rates = 'a': a pair has one rate .* here 0\.1, 0\.001 and 0\.2, 0\.001; give each",
        ),
    ],
)
def test_an_arm_of_a_study_is_one_set_of_rates(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        study_of(arms_study(grid), "arms.toml")


# --- the command ----------------------------------------------------------------------------------


def declared_in(folder: Path, name: str, **base: Any) -> Path:
    document = STUDIES.load(name)[1]
    document["study"]["base"] |= {"data": {"name": "digits"}, **base}
    path = folder / f"{name}.toml"
    path.write_text(dump_toml(document))
    return path


def away(best: Mapping[str, float]) -> Callable[[Mapping[str, Any]], float]:
    """A loss that grows with the distance of an axis's rate from the best of its optimizer."""

    def loss(point: Mapping[str, Any]) -> float:
        (section,) = [each for each in point.values() if isinstance(each, Mapping)]
        return float(1 + abs(np.log10(section["lr"] / best[section["name"]])))

    return loss


def record(
    path: Path, out: Path, loss: Callable[[Mapping[str, Any]], float], but: Sequence[str] = ()
) -> None:
    """Records of the runs of a study, but those of some labels."""
    source = sorted((ROOT / "results" / "optdarts-cpu").glob("*/epochs.jsonl"))[0]
    lines = [json.loads(line) for line in source.read_text().splitlines()[:3]]
    ended = json.loads((source.parent / "result.json").read_text())
    for run in load_study(str(path)).runs.values():
        if run.label in but:
            continue
        folder = RunFolder(out / run.id)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.config.write_text(dump_toml(run.settings.document()))
        lines[-1]["valid_loss"] = loss(run.point)
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (folder.path / "epochs.jsonl").write_text(text)
        result = ended | {"hash": run.settings.hash, "epochs": 2}
        (folder.path / "result.json").write_text(json.dumps(result))


@pytest.mark.thorough
def test_each_hand_over_prints_what_to_declare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the sweep of w to that of alpha, and from both to the third arm."""
    out = tmp_path / "runs"
    weights = declared_in(tmp_path, "optdarts-cpu-rates")
    record(weights, out / "w", away({"SGD": 0.079, "Adam": 0.0101}))
    words = ["study", "tune", str(weights), "--out", str(out)]
    assert command(*words) == 0
    told = capsys.readouterr().out
    assert "chosen: Adam 0.01 on w, SGD 0.08 on w" in told
    assert "but: at the edge of the sweep, declare further rates: darts, Adam at 0.01 on w" in told
    line = told.splitlines()[-1]
    assert "in the base of a sweep of alpha:" in told
    assert line == (
        'weight_optimizer = { name = "Adam", lr = 0.01, '
        'schedule = { name = "cosine", final_lr = 0.001 } }'
    )
    archs = declared_in(tmp_path, "optdarts-cpu-rates-alpha", **tomllib.loads(line))
    record(archs, out / "alpha", away({"SGD": 0.03, "Adam": 0.003}))
    # At the same w and alpha it is the run that is there already.
    assert set(load_study(str(weights)).runs) & set(load_study(str(archs)).runs)
    words.insert(3, str(archs))
    assert command(*words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["studies"] == ["optdarts-cpu-rates", "optdarts-cpu-rates-alpha"]
    assert len(told["chosen"]) == 4
    assert "at the edge of the sweep" in told["remarks"][0]
    assert [len(each) for each in told["responses"]] == [10, 8]
    (grid,) = tomllib.loads(told["declare"])["grid"]
    third = study_of(arms_study(grid), "arms.toml")
    assert len(third.runs) == 6 * 12
    rates = {(r["weight_optimizer.lr"], r["arch_optimizer.lr"]) for r in third.rates["tuned"]}
    assert rates == {(w, a) for w in (0.08, 0.01) for a in (0.03, 0.003)}
    finals = {
        document["schedule"]["final_lr"]
        for document in (run.settings.document()["weight_optimizer"] for run in third.runs.values())
        if document["lr"] in (0.08, 0.01)
    }
    assert finals == {0.0032, 0.001}

    # Claims are judged at the same rates, from the two folders, unless the study has them itself.
    light = str(ROOT / "results" / "first-light")
    sweeps = ["--recorded", "--sweep", str(out / "w"), "--sweep", str(out / "alpha")]
    assert command("study", "claims", "--out", light, "--claims", "H1", "--json", *sweeps) == 0
    tuned = json.loads(capsys.readouterr().out)["tuned"]
    assert tuned.startswith("Adam 0.003 on alpha, Adam 0.01 on w, SGD 0.03 on alpha, SGD 0.08 on w")
    assert "at the edge of the sweep" in tuned
    (tmp_path / "arms.toml").write_text(dump_toml(arms_study(grid)))
    asked = ["study", "claims", str(tmp_path / "arms.toml"), "--out", str(out)]
    assert command(*asked, *sweeps) == 2
    assert "declares the learning-rate arm tuned itself; leave it out" in capsys.readouterr().err
    assert command("study", "claims", "--out", light, *sweeps, "--sweep", light) == 2
    assert "3 sweeps; give one, or that of w and then that of alpha" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_run_that_was_never_begun_is_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    weights = declared_in(tmp_path, "optdarts-cpu-rates")
    label = "SGD (lr 0.25, schedule.name cosine, schedule.final_lr 0.01)"
    loss = away({"SGD": 0.08, "Adam": 0.001})
    record(weights, out, loss, [f"{label}, seed 101"])
    assert command("study", "tune", str(weights), "--out", str(out)) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "but: 1 run of the sweep is not finished (darts, SGD at 0.25, 0.001, seed 101)" in told
    other = tmp_path / "other"
    record(weights, other, loss, [f"{label}, seed {seed}" for seed in (100, 101)])
    assert command("study", "tune", str(weights), "--out", str(other)) == 2
    assert "no seed has ended at every rate: 2 runs" in capsys.readouterr().err


@pytest.mark.thorough
def test_pairs_that_are_tuned_apart_are_grids_of_one_arm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SGD on w wants a low rate beside SGD on alpha, and a high one beside Adam."""
    grid = """[[grid]]
    weight_optimizer = [
        { name = "SGD", lr = 0.01 }, { name = "SGD", lr = 0.1 },
        { name = "Adam", lr = 0.01 }, { name = "Adam", lr = 0.1 },
    ]
    "arch_optimizer.name" = ["SGD", "Adam"]
    """
    path, out = tiny_study(tmp_path, "[100]", grid), tmp_path / "runs"

    def loss(point: Mapping[str, Any]) -> float:
        w, a = point["weight_optimizer"], point["arch_optimizer.name"]
        return float(w["lr"] * (1 if w["name"] == a else -1))

    record(Path(path), out, loss)
    assert command("study", "tune", path, "--out", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    grids = tomllib.loads(told["declare"])["grid"]
    assert [each["weight_optimizer"][0]["lr"] for each in grids] == [0.01, 0.1, 0.1, 0.01]
    again = tmp_path / "again.toml"
    again.write_text(Path(path).read_text().partition("[[grid]]")[0] + told["declare"])
    (rows,) = load_study(str(again)).rates.values()
    assert [row["weight_optimizer.lr"] for row in rows] == [0.01, 0.1, 0.1, 0.01]
    # Its runs are those of the sweep.
    assert load_study(str(again)).runs.keys() < load_study(path).runs.keys()
    capsys.readouterr()
    assert command("study", "tune", path, path, path, "--out", str(out)) == 2
    assert "STUDY" in capsys.readouterr().err
    assert command("study", "tune", path, path, "--out", str(out)) == 2
    assert "the sweep of alpha: has several settings of w" in capsys.readouterr().err


def test_a_value_on_one_line_of_toml() -> None:
    value = {"name": "SGD", "lr": 1e-5, "betas": [0.9, 1], "a b": {"c": True, "d": {}}, "e": '"'}
    assert tomllib.loads(f"x = {inline_toml(value)}")["x"] == value


def test_a_sweep_that_declares_a_rate_in_two_ways_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The declaration was that of the first of them."""
    grid = """[[grid]]
    "weight_optimizer.name" = ["SGD"]
    "weight_optimizer.lr" = [0.01, 0.1]
    "weight_optimizer.momentum" = [0.9, 0.0]
    """
    path, out = tiny_study(tmp_path, "[100]", grid), tmp_path / "runs"
    record(Path(path), out, lambda point: float(point["weight_optimizer.lr"]))
    assert command("study", "tune", path, "--out", str(out)) == 2
    told = capsys.readouterr().err
    assert "weight_optimizer.momentum: differs among the runs of darts, SGD" in told
    by_alpha = """[[grid]]
    "weight_optimizer.name" = ["SGD"]
    "weight_optimizer.lr" = [0.01, 0.1]
    "weight_optimizer.momentum" = [MOMENTUM]
    "arch_optimizer.name" = ["ALPHA"]
    """
    both = [
        by_alpha.replace("MOMENTUM", momentum).replace("ALPHA", alpha)
        for momentum, alpha in (("0.9", "SGD"), ("0.0", "Adam"))
    ]
    path, out = tiny_study(tmp_path, "[100]", "\n".join(both)), tmp_path / "by-alpha"
    record(Path(path), out, lambda point: float(point["weight_optimizer.lr"]))
    assert command("study", "tune", path, "--out", str(out)) == 2
    told = capsys.readouterr().err
    assert "weight_optimizer.momentum: is 0.9 in some runs of SGD at 0.01 and 0 in others" in told
