"""DARTS under the four pairs at several sets of learning rates: a part of docs/results.md.

optnas study export optdarts-cpu-arms --out RUNS --to results/optdarts-cpu-arms
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from documents import as_table

from optnas.analysis.claims.declare import Claim
from optnas.analysis.claims.judge import judge
from optnas.analysis.claims.read import find_claim
from optnas.analysis.claims.render import ends
from optnas.analysis.runs import Runs
from optnas.analysis.tuning import RateArm, rate_arms
from optnas.base.records import FINISHED, RunFolder, find_runs
from optnas.study.declare import STUDIES, Study, study_of
from optnas.study.judging import declared_arms
from optnas.study.tables import table_of

if TYPE_CHECKING:
    from results import Results

HERE = Path(__file__).parent
STUDY = "optdarts-cpu-arms"
SWEEPS = ("optdarts-cpu-rates", "optdarts-cpu-rates-alpha")
NAMES = {"default": "Shin's", "SmoothDARTS": "SmoothDARTS'", "tuned": "tuned"}
# The first parts of claims that are judged elsewhere: here in no family, and nothing is decided.
CONTRASTS = {"C1": "percentile over epochs", "H3": "accuracy of the last cell (points)"}


def arms(results: Results) -> str:
    """SGD minus Adam on w at each set of rates, or what this waits for."""
    own = _ended()
    if not own:
        return f"*Waits for the study `{STUDY}`.*"
    study = declared()
    seeds = {run.settings.search.seed for run in study.runs.values()}
    runs = {run.path.name: run for run in [*results.runs, *own] if _of(run, seeds)}
    return told(table_of(runs.values()), declared_arms(study))


def told(frame: pd.DataFrame, lr_arms: Sequence[RateArm]) -> str:
    """A line per set of rates.

    Args:
        frame: the tidy table of runs at all of them.
        lr_arms: those that the study names, beside the protocol's.
    """
    runs = Runs(frame)
    rows = [
        (NAMES.get(arm.name, arm.name), arm.rates, *_contrasts(frame, runs, arm))
        for arm in (*rate_arms(runs)[:1], *lr_arms)
    ]
    text = as_table(("rates", "which", *CONTRASTS.values()), rows)
    if "tuned" not in {each.name for each in lr_arms}:
        sweeps = " and ".join(f"`{each}`" for each in SWEEPS)
        text += f"\n\nTuned rates wait for the sweeps {sweeps}."
    return text


def _contrasts(frame: pd.DataFrame, runs: Runs, arm: RateArm) -> list[str]:
    """Each contrast on the runs of one arm; two arms may be the same runs."""
    own = frame[frame["id"].isin(runs.settings.loc[arm.belongs(runs), "id"])]
    if own.empty:
        return ["n = 0"] * len(CONTRASTS)
    findings = {each.id: each for each in reversed(judge(own, map(_contrast, CONTRASTS)))}
    return [
        f"{each.effect:+.3g} {ends(each)}, n = {each.n}" if each.n else "n = 0"
        for each in (findings[_contrast(name).id] for name in CONTRASTS)
    ]


def declared() -> Study:
    """The study; its rates need no images, so that it is read with those of the package."""
    label, document = STUDIES.load(STUDY)
    document["study"]["base"]["data"] = {"name": "digits"}
    return study_of(document, label)


def _ended() -> list[RunFolder]:
    """The runs of the study that are recorded here and have ended."""
    folder = HERE / STUDY
    return [run for run in find_runs(folder) if _status(run) in FINISHED] if folder.is_dir() else []


def _status(run: RunFolder) -> object:
    return (run.read_result() or {}).get("status")


def _of(run: RunFolder, seeds: set[int]) -> bool:
    config = run.read_config()
    return config["search"]["seed"] in seeds and config["algorithm"]["name"] == "darts"


def _contrast(name: str) -> Claim:
    claim = find_claim(name)
    return claim.model_copy(update={"id": f"{name} at rates", "parts": claim.parts[:1]})
