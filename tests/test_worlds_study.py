"""The claims of other worlds: each finds the runs of its own world, and says what was planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tidy import Arm, arms, study

from optnas.analysis.claims.judge import judge
from optnas.study.declare import STUDIES

WORLDS = {
    "m": ("worlds-macro", {"space.name": "nas-bench-macro", "data.name": "cifar10"}),
    "f": ("worlds-fashion-mnist", {"space.name": "nas-bench-201", "data.name": "fashion-mnist"}),
}


def world(letter: str, sign: int) -> pd.DataFrame:
    """A study under whose runs both conclusions hold (1) or fail (-1)."""

    def respond(arm: Arm, rng: np.random.Generator) -> dict[str, Any]:
        sgd = arm["weight_optimizer.name"] == "SGD" and arm["algorithm.name"] == "darts"
        fall = np.linspace(0, 30, arm["search.epochs"] + 1) + rng.normal()
        return {"percentile.cifar10": 50 + sign * (20 * sgd - fall) + rng.normal()}

    name, settings = WORLDS[letter]
    seeds = len(STUDIES.load(name)[1]["study"]["seeds"])
    chosen = [{**arm, **settings} for arm in arms("darts", "sdarts-rs")]
    return study(chosen, respond, seeds=seeds)


@pytest.mark.parametrize("letter", WORLDS)
def test_a_study_of_its_length_decides_both_conclusions_after_holm(letter: str) -> None:
    for sign, verdict in ((1, "supported"), (-1, "contradicted")):
        findings = judge(world(letter, sign), [f"W1{letter}", f"W3{letter}"])
        assert [each.verdict_holm for each in findings] == [verdict] * 2


def test_runs_of_one_world_say_nothing_of_another() -> None:
    for finding in judge(world("m", 1), ["W1f", "W3f"]):
        assert finding.verdict == "not testable"
        assert finding.absent
