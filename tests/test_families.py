"""The primary family: declared as agreed, decided by E on its own seeds; gates, several parts."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tidy import Arm, arms, study

from optnas.analysis.claims import find_claim, names, render
from optnas.analysis.claims.families import OWN, family_of, shipped_families
from optnas.analysis.claims.findings import Setting
from optnas.analysis.claims.judge import Finding, judge
from optnas.analysis.claims.reasons import shown_e
from optnas.analysis.sequential import e_process
from optnas.base.records import find_runs
from optnas.study.declare import describe_settings, load_study
from optnas.study.tables import table_of

ROOT = Path(__file__).resolve().parents[1]
FIRST = 8
SGD_ADAM = {"weight_optimizer.name": "SGD", "arch_optimizer.name": "Adam"}
BLOCK = [
    *arms("darts", "sdarts-rs"),
    {"algorithm.name": "darts-minus", **SGD_ADAM},
    *(
        {"algorithm.name": "darts", **SGD_ADAM, "weight_optimizer.momentum": mu}
        for mu in (0, 0.5, 0.99)
    ),
]
for _arm in BLOCK:
    if _arm["weight_optimizer.name"] == "SGD":
        _arm.setdefault("weight_optimizer.momentum", 0.9)


def world(sgd: float = 0.0, noisy: float = 0.0, extreme: float = 0.0, fall: Any = 0.0) -> Any:
    """Percentiles with planted effects, in percentiles; a run's own noise has spread 5.

    Args:
        sgd: SGD minus Adam on w under DARTS, over all epochs.
        noisy: the same under SDARTS-RS.
        extreme: what an extreme momentum adds to the fall.
        fall: first minus last epoch, by algorithm or for all.
    """

    def respond(arm: Arm, rng: np.random.Generator) -> dict[str, Any]:
        t = np.linspace(0, 1, arm["search.epochs"] + 1)
        algorithm = arm["algorithm.name"]
        gain = {"darts": sgd, "sdarts-rs": noisy}.get(algorithm, 0.0)
        drop = fall.get(algorithm, 0.0) if isinstance(fall, dict) else fall
        if arm.get("weight_optimizer.momentum", 0.9) in (0, 0.99):
            drop += extreme
        level = 50 + gain * (arm["weight_optimizer.name"] == "SGD") + 5 * rng.normal()
        return {"percentile.cifar10": level - (drop + 5 * rng.normal()) * t}

    return respond


def found(respond: Any, *wanted: str, seeds: int = 12, first: int = FIRST) -> list[Finding]:
    return judge(confirming(study(BLOCK, respond, seeds=seeds), first), wanted)


def confirming(table: pd.DataFrame, first: int = FIRST) -> pd.DataFrame:
    """A synthetic study as one that the primary family counts."""
    seeds = table["search.seed"] + first
    return table.assign(**{"search.seed": seeds, "protocol": "optdarts-cpu"})


def test_the_families_hold_every_claim_once() -> None:
    families = shipped_families()
    listed = [name for family in families.families for name in family.claims]
    assert sorted(listed) == sorted(names())
    assert families.date.isoformat() == "2026-11-28"
    assert "no run of the study optdarts-cpu existed" in families.seen


def test_the_primary_family_is_three_claims_at_a_third_of_the_level() -> None:
    primary = shipped_families().families[0]
    assert (primary.role, primary.claims, primary.alpha) == ("primary", ("C1", "C2", "C3"), 0.05)
    assert primary.endpoint is not None
    for name in primary.claims:
        claim = find_claim(name)
        assert {part.name for part in claim.parts} == set(primary.endpoint.scales[name])
        assert {part.direction for part in claim.parts} <= {"greater", "less"}
    assert {part.response.transform for part in find_claim("C1").parts} == {"auc"}
    weights = [weight for weight, _ in find_claim("C2").parts[0].expanded()]
    assert weights == [0.5, 0.5, -0.5, -0.5]


def test_a_claim_of_ones_own_is_in_no_shipped_family() -> None:
    assert family_of(find_claim("H3")).role == "descriptive"
    assert family_of(find_claim("H3").model_copy(update={"text": "mine"})) is OWN


def test_the_conclusions_are_supported_where_they_hold() -> None:
    respond = world(sgd=15, extreme=30, fall={"darts": 20, "darts-minus": 30, "sdarts-rs": 15})
    for finding in found(respond, "C1", "C2", "C3"):
        assert finding.verdict == finding.verdict_holm == "supported", finding.reason
        assert finding.e >= finding.threshold == 60
        assert finding.seeds_to_add == 0
        assert finding.role == "primary"
        assert finding.p == 2 * 2**-12
        of_all = " over all parts" if finding.id == "C3" else ""
        assert render.evidence(finding).endswith(f"p < 0.001{of_all}")


def test_they_are_contradicted_where_the_opposite_holds() -> None:
    respond = world(sgd=-15, extreme=-30, fall=-25)
    assert {f.verdict for f in found(respond, "C1", "C2", "C3")} == {"contradicted"}


@pytest.mark.thorough
def test_one_algorithm_that_fails_contradicts_the_third_at_three_times_the_threshold() -> None:
    respond = world(fall={"darts": 20, "darts-minus": 30, "sdarts-rs": -15})
    (finding,) = found(respond, "C3")
    assert finding.verdict == "contradicted"
    parts = {part.name: part for part in finding.parts}
    assert finding.e == pytest.approx(parts["SDARTS-RS"].e_against / 3)
    # At an E between 60 and 180 the part speaks against the claim, and the claim stays open.
    for seeds in range(6, 12):
        (finding,) = found(respond, "C3", seeds=seeds)
        e = max(part.e_against for part in finding.parts)
        assert (finding.verdict == "contradicted") == (e >= 180), seeds


def test_the_second_part_of_the_first_is_asked_once_the_first_is_decided() -> None:
    (decided,) = found(world(sgd=15, noisy=-15), "C1")
    assert [part.verdict for part in decided.parts] == ["supported", "supported"]
    (open_,) = found(world(sgd=0, noisy=-40), "C1")
    assert [part.verdict for part in open_.parts] == ["inconclusive", "not asked"]
    assert open_.parts[1].e > 60
    assert "learning rates" not in open_.settle
    told = render.as_text([open_], details=True)
    assert "not asked before 'percentile over epochs' is decided" in told


def without(table: pd.DataFrame, seed: int, state: str) -> pd.DataFrame:
    """One run of DARTS with SGD + Adam in a state that is not done."""
    arm = (table["algorithm.name"] == "darts") & (table["weight_optimizer.momentum"] == 0.9)
    chosen = arm & (table["arch_optimizer.name"] == "Adam") & (table["search.seed"] == seed)
    assert table.loc[chosen, "id"].nunique() == 1
    return table.assign(state=table["state"].where(~chosen, state))


def test_a_seed_that_lacks_an_arm_holds_up_those_after_it() -> None:
    """Come late it would change an E that has decided; one that diverged never comes."""
    whole = confirming(study(BLOCK, world(sgd=15), seeds=12))
    (before,) = judge(whole[whole["search.seed"] < 12], ["C1"])
    (late,) = judge(without(whole, 12, "failed"), ["C1"])
    (part, *_) = late.parts
    assert (part.waits, part.n, late.verdict) == (12, 11, "inconclusive")
    assert part.e == before.parts[0].e
    assert "waits for seed 12, which lacks an arm" in late.settle
    (ended,) = judge(without(whole, 12, "diverged"), ["C1"])
    assert (ended.parts[0].waits, ended.n, ended.verdict) == (None, 11, "supported")
    (first,) = judge(without(whole, 8, "failed"), ["C1"])
    assert (first.parts[0].waits, first.parts[0].e, first.e) == (8, 1.0, 0.0)
    (without_any,) = judge(whole[whole["search.seed"] != 12], ["C1"])
    assert (without_any.parts[0].waits, without_any.e) == (12, late.e)


def test_what_is_decided_stays_decided() -> None:
    """Of two sides that E reached the one with the larger counted, so that a claim could turn."""
    early = confirming(study(BLOCK, world(sgd=12, fall=16), seeds=9))
    later = confirming(study(BLOCK, world(sgd=-72, fall=-108), seeds=15), FIRST + 9)
    later = later.assign(id=later["id"].astype(str) + "later")
    turned = pd.concat([early.assign(id=early["id"].astype(str)), later], ignore_index=True)
    for name in ("C1", "C3"):
        (before,), (after,) = judge(early, [name]), judge(turned, [name])
        assert (before.verdict, after.verdict) == ("supported", "supported")
        deciding = [part for part in after.parts if part.primary]
        assert max(part.e_against for part in deciding) > 60 * len(deciding)
        assert before.decided_at == after.decided_at
        assert FIRST < (after.decided_at or 0) < FIRST + 9
        was = [part for part in before.parts if part.primary]
        for part, early_part in zip(deciding, was, strict=True):
            assert (part.verdict, part.decided_at) == (early_part.verdict, early_part.decided_at)
        assert after.e == min(part.e_for for part in deciding) >= 60
    (open_,) = judge(early[early["search.seed"] < FIRST + 4], ["C1"])
    assert (open_.verdict, open_.decided_at) == ("inconclusive", None)


def test_the_last_seed_that_lacks_an_arm_holds_up_none() -> None:
    whole = confirming(study(BLOCK, world(sgd=15), seeds=12))
    (found_,) = judge(without(whole, 19, "running"), ["C1"])
    assert (found_.parts[0].waits, found_.n, found_.verdict) == (None, 11, "supported")


def test_the_plan_ends_where_a_run_has_diverged() -> None:
    table = without(confirming(study(BLOCK, world(), seeds=24)), 20, "diverged")
    (finding,) = judge(table, ["C2"])
    assert finding.settle.endswith(
        "all 24 seeds of the plan are run, 23 of them with every arm; it stays open"
    )


def test_what_is_shown_of_a_contradicted_claim_is_the_part_that_fails() -> None:
    (finding,) = found(world(fall={"darts": 20, "darts-minus": 30, "sdarts-rs": -15}), "C3")
    assert (finding.verdict, finding.part) == ("contradicted", "SDARTS-RS")
    assert finding.high < 0
    told = render.as_text([finding])
    assert "SDARTS-RS, means over n = 12 seeds" in told


def test_a_reference_of_zero_is_one() -> None:
    setting = Setting({"random cell": {"x": 0.0}}, 0.05)
    assert (setting.level("random cell", "x"), math.isnan(setting.level("other", "x"))) == (0, True)


def test_e_is_never_rounded_up_to_what_decides() -> None:
    assert [shown_e(e, 60.0) for e in (59.96, 60.0, 59.94, 1.0, 1234.4)] == [
        *("59.9", "60", "59.9", "1", "1,234")
    ]


def test_only_the_seeds_of_the_family_count() -> None:
    (finding,) = found(world(sgd=15), "C1", first=FIRST - 5)
    assert sorted(finding.parts[0].values) == list(range(FIRST, FIRST + 7))
    (finding,) = found(world(sgd=15), "C1", first=100)
    assert finding.verdict == "not testable"
    assert "optnas study run optdarts-cpu: its seeds 8 to 31 count" in finding.settle


def beyond_the_plan(seeds: int, sgd: float) -> pd.DataFrame:
    """The 24 seeds of the plan, and what was added for C1: DARTS under four pairs."""
    planned = confirming(study(BLOCK, world(sgd=sgd), seeds=24))
    if not seeds:
        return planned
    assert {arm["algorithm.name"] for arm in BLOCK[:4]} == {"darts"}
    added = confirming(study(BLOCK[:4], world(sgd=sgd), seeds=seeds), first=52)
    return pd.concat([planned, added.assign(id="added-" + added["id"])])


def test_seeds_beyond_the_plan_count_in_the_claim_they_were_added_for() -> None:
    """After those of the plan, in the part that has their arms; in no other claim."""
    c1, c2, c3 = judge(beyond_the_plan(3, sgd=-3), ["C1", "C2", "C3"])
    planned = list(range(FIRST, FIRST + 24))
    of_darts, more_so = c1.parts
    assert list(of_darts.values) == [*planned, 52, 53, 54]
    assert of_darts.waits is None
    for part in (more_so, *c2.parts, *c3.parts):
        assert list(part.values) == planned
    values = -np.array(list(of_darts.values.values()))
    endpoint = shipped_families().families[0].endpoint
    assert endpoint is not None
    scale = endpoint.scales["C1"]["percentile over epochs"]
    assert of_darts.e == pytest.approx(e_process(values, scale, endpoint.lambdas).both[-1])


def test_a_seed_of_the_plan_holds_up_those_beyond_it() -> None:
    table = without(beyond_the_plan(3, sgd=-3), 31, "failed")
    (finding,) = judge(table, ["C1"])
    assert "waits for seed 31, which lacks an arm" in finding.settle


def test_what_an_open_claim_needs_beyond_the_plan_names_its_study() -> None:
    (open_,) = judge(beyond_the_plan(0, sgd=-1), ["C1"])
    assert open_.verdict == "inconclusive"
    assert open_.seeds_to_add
    told = f"{24 + open_.seeds_to_add} in all"
    beyond = (
        "the plan ends at 40" if open_.seeds_to_add > 16 else "those beyond 24 are in optdarts-"
    )
    assert told in open_.settle
    assert beyond in open_.settle


def test_only_runs_of_its_protocol_count() -> None:
    table = confirming(study(BLOCK, world(sgd=15), seeds=12))
    other = table.assign(protocol="optdarts", id="x" + table["id"])
    (mixed,) = judge(pd.concat([table, other]), ["C1"])
    (alone,) = judge(table, ["C1"])
    assert mixed.parts[0].values == alone.parts[0].values
    assert judge(other, ["C1"])[0].verdict == "not testable"


def test_a_missing_percentile_is_told() -> None:
    table = confirming(study(BLOCK, world()).drop(columns="percentile.cifar10"))
    (finding,) = judge(table, ["C1"])
    assert "no run has the column percentile.cifar10" in finding.reason
    assert "ask a whole benchmark table" in finding.settle


def test_an_open_claim_says_about_how_many_seeds_to_add() -> None:
    (few,) = found(world(sgd=8), "C1", seeds=6)
    assert few.verdict == "inconclusive"
    assert few.seeds_to_add
    assert few.settle.endswith(f"add about {few.seeds_to_add} seeds to support it")
    (against,) = found(world(extreme=-3), "C2", seeds=6)
    assert against.verdict == "inconclusive"
    told = re.search(
        r"add about (\d+) seeds to contradict it, (\d+) in all; the plan ends at 24", against.settle
    )
    assert told
    assert int(told[2]) == 6 + int(told[1]) == 6 + against.seeds_to_add
    (more,) = found(world(sgd=8), "C1", seeds=6 + few.seeds_to_add + 4)
    assert more.verdict == "supported"
    (nothing,) = found(world(), "C1", seeds=3)
    assert "add seeds; how many cannot be said with n = 3" in nothing.settle
    (cap,) = found(world(), "C2", seeds=24)
    assert "all 24 seeds of the plan are run" in cap.settle


def test_the_json_names_what_a_program_asks_for() -> None:
    (told,) = json.loads(render.as_json(found(world(sgd=8), "C1")))
    asked = {"family", "role", "n", "effect", "interval", "p", "E", "threshold", "verdict"}
    assert asked | {"seeds_to_add"} <= told.keys()
    assert (told["family"], told["role"], told["threshold"]) == ("conclusions", "primary", 60.0)
    assert told["interval"][0] < told["effect"] < told["interval"][1]


@pytest.mark.thorough
def test_wrong_verdicts_on_the_conclusions_are_rare() -> None:
    """Two looks at each of 20 studies without effect: at most alpha over three of each claim."""
    wrong = 0
    for draw in range(20):
        table = confirming(study(BLOCK, world(), seeds=16, draw=draw))
        for seeds in (8, 16):
            looked = table[table["search.seed"] < FIRST + seeds]
            wrong += sum(
                f.verdict in ("supported", "contradicted")
                for f in judge(looked, ["C1", "C2", "C3"])
            )
    assert wrong <= 3


def test_the_effect_is_the_contrast_of_the_means_that_are_shown() -> None:
    (finding,) = found(world(sgd=8), "C1")
    mean = {arm.arm: arm.mean for arm in finding.parts[0].arms}
    sgd = mean["darts: SGD + SGD"] + mean["darts: SGD + Adam"]
    adam = mean["darts: Adam + SGD"] + mean["darts: Adam + Adam"]
    assert finding.effect == pytest.approx((sgd - adam) / 2)
    assert finding.effect == pytest.approx(np.mean(list(finding.parts[0].values.values())))
    told = render.as_text([finding])
    assert f"{mean['darts: SGD + SGD']:.4g}" in told
    assert f"by seed (percentiles): 8: {finding.parts[0].values[8]:+.4g}" in told


# --- the scales, from the pilot ---------------------------------------------------------------


def pilot() -> pd.DataFrame:
    folder = Path(os.environ.get("OPTNAS_DATA", ""))
    if not (folder / "nas-bench-201").is_dir():
        pytest.skip("OPTNAS_DATA has no official table")
    table = table_of(find_runs(ROOT / "results" / "pairs-cpu"), data=folder)
    rows = []
    for _, run in table[table["epoch"] >= 1].groupby("id"):
        path, first = run.sort_values("epoch")["percentile.cifar10"].to_numpy(), run.iloc[0]
        keys = ("algorithm.name", "weight_optimizer.name", "arch_optimizer.name", "search.seed")
        names_ = ("algorithm", "w", "alpha", "seed")
        facts = {name: first[key] for name, key in zip(names_, keys, strict=True)}
        rows.append(facts | {"mean": path.mean(), "drop": path[:10].mean() - path[-10:].mean()})
    return pd.DataFrame(rows)


@pytest.mark.thorough
def test_the_scales_are_those_of_the_pilot() -> None:
    runs = pilot()
    endpoint = shipped_families().families[0].endpoint
    assert endpoint is not None
    by = runs.pivot_table(index="seed", columns=["algorithm", "w"], values="mean")
    effect = {name: by[name, "SGD"] - by[name, "Adam"] for name in ("darts", "sdarts-rs")}
    falls = runs.pivot_table(index="seed", columns="algorithm", values="drop")
    darts = runs[runs["algorithm"] == "darts"]
    x = darts.pivot_table(index="seed", columns=["w", "alpha"], values="drop")
    y = x.to_numpy()
    residual = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    expected = {
        "percentile over epochs": effect["darts"].std(),
        "more so than under SDARTS-RS": (effect["darts"] - effect["sdarts-rs"]).std(),
        "drop in percentile, moderate minus extreme momentum": math.sqrt((residual**2).sum() / 15),
        "DARTS": falls["darts"].std(),
        "DARTS-": x["SGD", "Adam"].std(),
        "SDARTS-RS": falls["sdarts-rs"].std(),
    }
    told = {part: s for of_claim in endpoint.scales.values() for part, s in of_claim.items()}
    assert told == {part: float(f"{s:.3g}") for part, s in expected.items()}


# --- columns that follow from records ---------------------------------------------------------


def test_the_table_has_what_follows_from_a_record() -> None:
    runs = find_runs(ROOT / "results" / "first-light")[:2]
    table = table_of(runs, benchmark="analog-nasbench", arrays=True)
    assert table["percentile.cifar10"].between(0, 100, inclusive="right").all()
    ranks = table[["benchmark.cifar10", "percentile.cifar10"]].rank(method="dense")
    assert (ranks.nunique(axis=1) == 1).all()
    weights_OE = np.array([json.loads(each) for each in table["op_weights"]]).transpose(0, 2, 1)
    operations = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    found = table[[f"op_weight.{operation}" for operation in operations]].to_numpy()
    assert found == pytest.approx(weights_OE.mean(axis=-1))
    # Records of this version of the numbers lack the centred displacement; alpha has it.
    assert "alpha_displacement_centred" not in runs[0].read_epochs()[0]
    for _, run in table.groupby("id"):
        alpha = np.array([json.loads(each) for each in run["alpha"]])
        moved = (alpha - alpha[0]) - (alpha - alpha[0]).mean(axis=-1, keepdims=True)
        expected = np.sqrt((moved**2).sum(axis=(1, 2)))
        assert run["alpha_displacement_centred"].to_numpy() == pytest.approx(expected)


def test_without_a_table_there_are_no_percentiles() -> None:
    runs = find_runs(ROOT / "results" / "first-light")[:1]
    assert not any(c.startswith("percentile.") for c in map(str, table_of(runs, recorded=True)))


def test_every_amended_claim_says_what_had_been_seen() -> None:
    pilot_claims = ROOT / "results" / "pairs-cpu" / "claims"
    for name in names():
        claim = find_claim(name)
        before = pilot_claims / f"{name}.toml"
        if before.exists():
            old = find_claim(str(before))
            amended = (claim.text, claim.parts, claim.controls) != (
                old.text,
                old.parts,
                old.controls,
            )
            assert amended <= bool(claim.changes), name
        for change in claim.changes:
            assert change.date.isoformat() >= "2026-11-28"
            assert "optdarts-cpu" in change.seen
    told = render.as_text(judge(study(arms("darts"), world()), ["H9"]), details=True)
    assert "changed 2026-11-28: The operation weight of skip decides" in told


@pytest.mark.thorough
def test_the_study_that_decides_them_runs_every_arm() -> None:
    """With the settings of its real runs: nothing that varies among them hides an arm."""
    if not (Path(os.environ.get("OPTNAS_DATA", "")) / "cifar10").is_dir():
        pytest.skip("OPTNAS_DATA has no cifar10/train-*.parquet")
    rng, rows = np.random.default_rng(0), []
    for name, run in load_study("optdarts-cpu").runs.items():
        head = describe_settings(run.settings.document())
        if head["search.seed"] <= FIRST + 1:
            told = {k: str(v) if isinstance(v, (list, dict)) else v for k, v in head.items()}
            path = pd.DataFrame({"epoch": range(9), "percentile.cifar10": rng.normal(50, 5, 9)})
            rows.append(path.assign(id=name, state="done", **told))
    for finding in judge(pd.concat(rows), ["C1", "C2", "C3"]):
        assert [part.n for part in finding.parts] == [2] * len(finding.parts), finding.reason
        assert all(part.incomplete == () for part in finding.parts)
        assert finding.lr_arm == "default"
