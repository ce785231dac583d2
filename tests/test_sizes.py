"""docs/results-sizes.md: effects by size, and second order, are the planted ones, seed by seed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_families import BLOCK
from tidy import Arm, arms, study
from topics import script

from optnas.analysis.claims.judge import judge
from optnas.base.records import RunFolder, find_runs

ROOT = Path(__file__).resolve().parents[1]
OWN = {
    "protocol": "optdarts-cpu",
    "supernet.channels": 8,
    "data.train_size": 5000,
    "data.valid_size": 5000,
    "search.epochs": 40,
    "algorithm.hypergradient.name": "first-order",
}
ADAM = {"arch_optimizer.name": "Adam", "weight_optimizer.momentum": 0.9}
PUBLISHED = {"algorithm.hypergradient.name": "unrolled-optdarts"}
EXACT = {
    "algorithm.hypergradient.name": "unrolled",
    "algorithm.hypergradient.derivative": "exact",
}


@pytest.fixture(scope="module")
def module() -> ModuleType:
    return script("sizes")


def from_eight(chosen: list[Arm], respond: Any, seeds: int, draw: str = "") -> pd.DataFrame:
    """A study whose seeds begin at 8; ``draw`` tells the ids of two of them apart."""
    frame = study(chosen, respond, seeds=seeds, epochs=4).replace("nan", None)
    frame["search.seed"] += 8
    frame["id"] = draw + frame["id"]
    return frame


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines if "---" not in line]


# --- size -----------------------------------------------------------------------------------------


def effect(arm: Arm) -> float:
    """SGD minus Adam on w of seed 9: seeds 8 and 10 are one less, and one more."""
    if arm["algorithm.name"] == "sdarts-rs":
        return 7.0
    return -3.0 + 10 * (arm["supernet.channels"] == 4) - (arm["search.epochs"] == 100)


def by_size(arm: Arm, rng: np.random.Generator) -> dict[str, Any]:
    seed = arm["search.seed"]  # from 0
    sgd = arm["weight_optimizer.name"] == "SGD"
    other = arm["arch_optimizer.name"] == "SGD" or arm.get("weight_optimizer.momentum", 0.9) != 0.9
    level = 50 + 5 * seed + sgd * (effect(arm) + seed - 1) + 1000 * other
    return {"percentile.cifar10": [1e6, *np.linspace(level - 1, level + 1, 4)]}  # 0 counts nowhere


def at(algorithm: str, **size: int) -> list[Arm]:
    named = {key.replace("__", "."): value for key, value in size.items()}
    pair = [{"weight_optimizer.name": w} for w in ("SGD", "Adam")]
    found = [{**OWN, **ADAM, "algorithm.name": algorithm, **each, **named} for each in pair]
    del found[1]["weight_optimizer.momentum"]
    return found


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Blocks of the confirming study, and all sizes but 16 channels; one run diverged."""
    half = {"data__train_size": 2500, "data__valid_size": 2500}
    double = {"data__train_size": 10000, "data__valid_size": 10000}
    lengths = [{"search__epochs": epochs} for epochs in (20, 80, 100)]
    sizes: list[dict[str, int]] = [{"supernet__channels": 4}, half, double, *lengths]
    chosen = [arm for size in sizes for name in ("darts", "sdarts-rs") for arm in at(name, **size)]
    own = from_eight([{**OWN, **arm} for arm in BLOCK], by_size, 3)
    found = pd.concat([own, from_eight(chosen, by_size, 3, "size-")], ignore_index=True)
    is_it = (found["search.epochs"] == 20) & (found["algorithm.name"] == "sdarts-rs")
    is_it &= (found["weight_optimizer.name"] == "SGD") & (found["search.seed"] == 9)
    found.loc[is_it, "state"] = "diverged"
    return found


def test_effects_by_size_are_those_of_the_seeds(module: ModuleType, frame: pd.DataFrame) -> None:
    text = module.told_by_size(frame)
    head, *rows = rows_of(text)
    assert head == ["factor", "level", "DARTS", "n", "SDARTS-RS", "n"]
    minus, seven = "-3 (-4 to -2)", "+7 (+6 to +8)"
    assert rows == [
        ["channels", "4", "+7 (+6 to +8)", "3", seven, "3"],
        ["channels", "8 (the protocol's)", minus, "3", seven, "3"],
        ["channels", "16", "waits", "0", "waits", "0"],
        ["images per half", "2,500", minus, "3", seven, "3"],
        ["images per half", "5,000 (the protocol's)", minus, "3", seven, "3"],
        ["images per half", "10,000", minus, "3", seven, "3"],
        ["epochs", "20", minus, "3", seven, "2"],
        ["epochs", "40 (the protocol's)", minus, "3", seven, "3"],
        ["epochs", "80", minus, "3", seven, "3"],
        ["epochs", "100", "-4 (-5 to -3)", "3", seven, "3"],
    ]
    # Seven sizes have runs, that of the protocol is counted once.
    assert (
        "The 14 effects do not have one sign: 1 of 7 are above 0 under DARTS (4 channels); 7 of 7 "
        "are above 0 under SDARTS-RS (4 channels, the protocol's size, 2,500 images per half, "
        "10,000 images per half, 20 epochs, 80 epochs, 100 epochs); in 14 of them every seed has "
        "the sign of the mean.\n" in text
    )
    assert text.endswith("or of which one diverged: 9 (SDARTS-RS, 20 epochs).")


def test_sizes_without_runs_wait(module: ModuleType, frame: pd.DataFrame) -> None:
    nothing = module.told_by_size(None)
    assert {row[2] for row in rows_of(nothing)[1:]} == {"waits"}
    own = module.told_by_size(frame[~frame["id"].str.startswith("size-")])
    assert sum("waits" in row for row in rows_of(own)) == 7
    for text in (nothing, own):
        assert text.endswith("whether the sign depends on the size is open.")


def test_signs_that_agree_are_told(module: ModuleType) -> None:
    found = {("darts", "a"): {8: 1.0, 9: 2.0}, ("darts", "b"): {8: -1.0, 9: 4.0}}
    told = "The 2 effects have one sign, {} 0; in 1 of them every seed has the sign of the mean."
    assert module.signs(found) == told.format("above")
    turned = {key: {seed: -x for seed, x in each.items()} for key, each in found.items()}
    assert module.signs(turned) == told.format("below")
    assert "do not have one sign" in module.signs(found | {("darts", "b"): {8: 0.0}})


def test_shared_runs_are_counted_once_and_other_seeds_not(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = find_runs(ROOT / "results" / "optdarts-cpu")
    by_seed: dict[int, list[RunFolder]] = {}
    for run in runs:
        by_seed.setdefault(run.read_config()["search"]["seed"], []).append(run)
    shared, own, diverged, failed = by_seed[8][:4]
    for run, status in (
        (shared, "done"),
        (own, "done"),
        (diverged, "diverged"),
        (failed, "failed"),
    ):
        copy = tmp_path / "size" / run.path.name
        shutil.copytree(run.path, copy)
        ends = json.loads((copy / "result.json").read_text())
        (copy / "result.json").write_text(json.dumps(ends | {"status": status}))
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "table_of", lambda chosen: [each.path.name for each in chosen])
    results = SimpleNamespace(runs=[shared, by_seed[11][0], by_seed[10][0]])
    found = module.frame_of_sizes(results)
    wanted = [shared, by_seed[10][0], own, diverged]
    assert sorted(found) == sorted(each.path.name for each in wanted)
    shutil.rmtree(tmp_path / "size")
    assert module.frame_of_sizes(SimpleNamespace(runs=[])) is None


# --- second order ---------------------------------------------------------------------------------

# SGD minus Adam on w under each, of the first seed; each further seed has one more.
PLANTED = {"first-order": -5.0, "unrolled-optdarts": 3.0, "unrolled": -5.5}


def by_order(arm: Arm, rng: np.random.Generator) -> dict[str, Any]:
    seed, sgd = arm["search.seed"], arm["weight_optimizer.name"] == "SGD"
    other = arm.get("weight_optimizer.momentum", 0.9) != 0.9 or arm["algorithm.name"] != "darts"
    gain = PLANTED[arm["algorithm.hypergradient.name"]]
    level = 50 + sgd * (gain + seed) + 2 * (arm["arch_optimizer.name"] == "SGD") + 1000 * other
    return {
        "percentile.cifar10": [1e6, level - 1, level - 1, level - 1, level + 3],
        "benchmark.cifar10": level + 40,
        "skips": 2 + seed,
    }


def of_orders(seeds: int = 5) -> pd.DataFrame:
    """Confirming blocks; published second order, of which a run diverged; exact without a pair."""
    first = [{**OWN, **arm} for arm in BLOCK]
    second = [{**OWN, **arm, **order} for order in (PUBLISHED, EXACT) for arm in arms("darts")]
    for arm in second:
        if arm["weight_optimizer.name"] == "SGD":
            arm["weight_optimizer.momentum"] = 0.9
    found = [from_eight(first, by_order, seeds), from_eight(second, by_order, seeds, "order-")]
    return pd.concat(found, ignore_index=True)


def test_second_order_beside_first_on_the_same_seeds(module: ModuleType) -> None:
    frame = of_orders()  # of seed 12 too, which has no second order in the study
    order, w, alpha = (
        frame[f"{each}.name"]
        for each in ("algorithm.hypergradient", "weight_optimizer", "arch_optimizer")
    )
    adam = (w == "Adam") & (alpha == "Adam")
    frame.loc[(order == "unrolled-optdarts") & adam & (frame["search.seed"] == 9), "state"] = (
        "diverged"
    )
    frame = frame[~((order == "unrolled") & adam)]
    text = module.second_order(SimpleNamespace(runs=[None], frame=frame))
    rows = rows_of(text)
    cells, contrasts = rows[1:13], rows[14:]
    told = {(row[0], row[1]): row[2:] for row in cells}
    assert told["first order", "SGD + SGD"] == [
        *("4", "51.5 (50 to 53)", "88.50 (87.00 to 90.00)", "3.5 (2 to 5)", "-")
    ]
    published = "second order as in Shin's program"
    assert told[published, "SGD + Adam"] == [
        *("4", "57.5 (56 to 59)", "94.50 (93.00 to 96.00)", "3.5 (2 to 5)", "+8 (+8 to +8)")
    ]
    adam_adam = ["53 (53 to 53)", "90.00 (90.00 to 90.00)", "3.67 (2 to 5)", "0 (0 to 0)"]
    assert told[published, "Adam + Adam"][1:-1] == adam_adam[:-1]
    assert told[published, "Adam + Adam"][0] == "3"
    assert told["second order, exact", "Adam + Adam"] == ["0", *["waits"] * 4]
    assert told["second order, exact", "SGD + SGD"][-1] == "-0.5 (-0.5 to -0.5)"
    assert contrasts == [
        ["first order", "4", "-3.5 (-5 to -2)", "-"],
        [published, "3", "+4.67 (+3 to +6)", "+8 (+8 to +8)"],  # without seed 9
        ["second order, exact", "0", "waits", "waits"],
    ]
    assert text.endswith("Claim S1 waits for runs of both.")
    whole = module.second_order(SimpleNamespace(runs=[None], frame=of_orders()))
    assert re.search(r"Claim S1: inconclusive; n = 4 seeds, and a verdict needs 6", whole)
    first = frame[frame["algorithm.hypergradient.name"] == "first-order"]
    waiting = module.second_order(SimpleNamespace(runs=[None], frame=first))
    assert waiting.count("waits |") == 2 * (4 * 4 + 2)
    assert module.second_order(SimpleNamespace(runs=[])) == "Waits for the first run."


@pytest.mark.parametrize(("gain", "verdict"), [(30.0, "supported"), (-30.0, "contradicted")])
def test_the_claim_on_second_order_reads_its_runs_alone(
    gain: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANTED, "first-order", -gain)
    monkeypatch.setitem(PLANTED, "unrolled-optdarts", gain)
    monkeypatch.setitem(PLANTED, "unrolled", gain)
    (finding,) = judge(of_orders(10), ["S1"])
    assert (finding.verdict, finding.role, finding.n) == (verdict, "descriptive", 10)
    assert [part.effect for part in finding.parts] == [gain + 4.5] * 2
    first = of_orders(10)
    (finding,) = judge(first[first["algorithm.hypergradient.name"] == "first-order"], ["S1"])
    assert finding.absent
