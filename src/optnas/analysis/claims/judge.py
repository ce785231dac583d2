"""The ledger of claims before a tidy table: what these runs support, contradict, or leave open.

from optnas.analysis.claims.judge import judge
findings = judge(table, ["H3", "./mine.toml"])
print(render.as_text(findings))
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from optnas.analysis.alike import REMEDY as MEASURE_ALIKE
from optnas.analysis.claims import Claim, Control, find_claim, names
from optnas.analysis.claims.columns import column_of
from optnas.analysis.claims.declare import Change, Part, label
from optnas.analysis.claims.evaluate import arms_are_there, evaluate
from optnas.analysis.claims.evidence import gated, judge_primary
from optnas.analysis.claims.families import Endpoint, Role, family_of
from optnas.analysis.claims.findings import PartFinding, Setting, Verdict, decide
from optnas.analysis.claims.reasons import (
    FEWEST_FOR_SPREAD,
    most_open,
    reason,
    seeds_for,
    settle,
    settle_primary,
)
from optnas.analysis.multiplicity import holm
from optnas.analysis.references import References
from optnas.analysis.runs import SEED, Mask, Runs, Selection
from optnas.analysis.tuning import ARMS, RateArm, rate_arms
from optnas.spaces.tables.table import Noise

DECIDED = ("supported", "contradicted")


@dataclass(frozen=True)
class Finding:
    """A claim's verdict under one learning-rate arm.

    ``verdict`` is at the level of the one claim. ``verdict_holm`` is at that of its family in this
    arm: by Holm's correction in a secondary one, the same as ``verdict`` in a primary one, whose
    level is divided already; None where nothing is tested or corrected. Effect, interval and n are
    those of ``part``, the primary part that p (in a primary family E) rests on: for the claim the
    one least in its favour, as all must hold; against it the one that speaks most clearly. Its name
    is left empty where there is one only. ``p`` is two-sided, of a fixed number of seeds, and of
    all primary parts together, NaN where none could be tested.
    ``e`` is the largest E so far, of a decided claim on the side that decided it, and ``threshold``
    the one that decides, NaN outside a primary family; ``decided_at`` is the seed with which it was
    decided there, whatever later seeds say. ``seeds_to_add`` is about how many seeds an open claim
    still needs, None where that cannot be said. ``absent``: no run at all is of some arm of a
    primary part.
    """

    id: str
    text: str
    source: str
    note: str
    changes: tuple[Change, ...]
    family: str
    role: Role
    alpha: float
    lr_arm: str
    rates: str
    verdict: Verdict
    verdict_holm: Verdict | None
    reason: str
    settle: str
    part: str
    n: int
    effect: float
    low: float
    high: float
    unit: str
    p: float
    p_holm: float
    p_for: float
    p_against: float
    e: float
    threshold: float
    seeds_to_add: int | None
    parts: tuple[PartFinding, ...]
    references: Mapping[str, Mapping[str, float]]
    unfinished: Mapping[str, int]
    decided_at: int | None = None
    absent: bool = False


def judge(
    table: pd.DataFrame,
    claims: Iterable[str | Claim] | None = None,
    references: References | None = None,
    *,
    noise: Mapping[str, Noise] | None = None,
    lr_arms: Iterable[RateArm] = (),
    hold: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Judge claims by the runs of a tidy table.

    A claim is *supported* if every primary part is, each tested one-sided at alpha / 2; it is
    *contradicted* if one of them fails clearly enough, or several together (`combined`), at
    alpha / 2; *not testable* if a part lacks runs, columns or references, or a control fails; else
    *inconclusive*. Where nothing holds, a claim is wrongly "supported" or "contradicted" in at most
    alpha of all studies; of several claims, one or the other more often. Alpha, and what is done
    about there being several claims, is the family's (`optnas.analysis.claims.families`); the
    claims of a primary one are decided by an e-process, on its runs and in the first learning-rate
    arm only.

    Args:
        table: one row per run and epoch; runs that are not ``done`` are left out and counted.
        claims: names, files or claims; all registered ones if not given.
        references: by name (``random cell``), then by column; see `optnas.analysis.references`.
        noise: the benchmark's noise floor by column: its smallest deviation is the margin of an
            equivalence whose claim fixes none.
        lr_arms: learning-rate arms beside ``default`` and ``same``, such as that of
            `optnas.analysis.tuning.tune`.
        hold: values at which to hold settings that vary in the table and that a claim does not
            name; by default each is held at the value of most runs.

    Returns:
        One finding per claim and learning-rate arm in which it is testable, and one for each claim
        that is testable in none.
    """
    runs, references, hold = Runs(table), references or {}, hold or {}
    diverged = table[table["state"] == "diverged"]
    chosen = [
        each if isinstance(each, Claim) else find_claim(each)
        for each in (names() if claims is None else claims)
    ]
    chosen = [_with_margins(each, noise or {}) for each in chosen]
    arms = [*rate_arms(runs), *lr_arms]
    if not arms:
        arms = [RateArm("as run", ({},))]
    judged = []
    for arm in arms:
        allowed = arm.belongs(runs)
        whole = Selection(runs, allowed, hold)
        # For parts at one lr / (1 - momentum): their rates belong to no arm.
        free = Selection(runs, ~np.isin(whole.seeds, list(arm.tuned_on)), hold)
        findings, own = [], dict[tuple[int, ...], Selection]()  # of claims with runs of their own
        for claim in chosen:
            setting = _setting(claim, references, diverged)
            family = setting.family
            if family.endpoint is None:
                findings.append(_judge(claim, arm, whole, setting, free))
                continue
            key = tuple(setting.seeds)
            if key not in own:
                counted = _counted(family.endpoint, key, runs.settings) & (arm is arms[0])
                own[key] = Selection(runs, allowed & counted, hold)
            findings.append(_judge(claim, arm, own[key], setting, own[key]))
        judged.append(_with_holm(findings))
    every = Selection(runs, np.ones(len(runs), bool), hold)
    absent = {
        claim.id
        for claim in chosen
        if not all(arms_are_there(part, every) for part in claim.parts if part.primary)
    }
    return [replace(each, absent=each.id in absent) for each in _tidied(judged)]


def _counted(endpoint: Endpoint, seeds: Sequence[int], settings: pd.DataFrame) -> Mask:
    if "protocol" not in settings:
        return np.zeros(len(settings), bool)
    counted = settings[SEED].isin(seeds) & (settings["protocol"] == endpoint.protocol)
    return counted.to_numpy(bool)


def _with_margins(claim: Claim, noise: Mapping[str, Noise]) -> Claim:
    """The claim with the smallest deviation as margin of an equivalence that has none."""

    def complete(part: Part) -> Part:
        floor = noise.get(column_of(part.response.column).name, ())
        if part.direction != "equivalent" or part.margin is not None or not floor:
            return part
        return part.model_copy(update={"margin": min(deviation for _, deviation in floor)})

    return claim.model_copy(update={"parts": tuple(map(complete, claim.parts))})


def _setting(claim: Claim, references: References, diverged: pd.DataFrame) -> Setting:
    family = family_of(claim)
    endpoint = family.endpoint
    if endpoint is None:
        return Setting(references, family.alpha, family)
    seeds = endpoint.seeds(claim.id)
    ended = frozenset(diverged.loc[_counted(endpoint, seeds, diverged), SEED].astype(int))
    return Setting(references, family.alpha, family, endpoint.scales[claim.id], seeds, ended)


def _judge(
    claim: Claim, arm: RateArm, selection: Selection, setting: Setting, free: Selection
) -> Finding:
    family = setting.family
    parts = tuple(
        evaluate(part, free if part.at_any_rate else selection, setting, claim.minimum_n)
        for part in claim.parts
    )
    parts = gated(claim, parts, family)
    primary = [part for part in parts if part.primary]
    tested = [part for part in primary if part.verdict != "not testable"]
    # Beside a part that has the seeds for a verdict, one with fewer counts as not tested.
    most = max((part.n for part in tested), default=0)
    needed = claim.minimum_n if most >= claim.minimum_n else 0
    p_for, p_against = combined(
        [part.p_for if part.n >= needed else 1.0 for part in primary],
        [part.p_against if part.n >= needed else 1.0 for part in primary],
    )
    n = min((part.n for part in tested), default=0)
    verdict, e, add = decide(p_for, p_against, most, claim.minimum_n, setting.alpha), math.nan, None
    shown, decided_at = _rests_on(tested or primary, needed, family.role), None
    adds_for = True
    if family.role == "primary":
        verdict, e, add, place, decided_at, adds_for = judge_primary(claim, parts, setting)
        shown = primary[place]
    elif family.role == "computed":
        verdict = "computed"
    failed = _failed_control(claim.controls, selection)
    if failed or (verdict != "contradicted" and len(tested) < len(primary)):
        verdict, decided_at = "not testable", None
    if family.role in ("secondary", "descriptive"):
        add = _to_add(primary, verdict, setting.alpha)
    asked = bool(tested) and not failed and family.role != "computed"
    if failed:
        why, how = failed
    else:
        why = reason(primary, verdict, n, claim)
        columns = [selection.runs.column(part.response.column) for part in claim.parts]
        missing = [each.supplied_by for each in columns if not selection.runs.has(each.name)]
        how = (
            settle_primary(claim, family, verdict, primary, e, add, missing, adds_for=adds_for)
            if family.role == "primary"
            else settle(primary, verdict, claim, setting.alpha)
        )
    return Finding(
        id=claim.id,
        text=claim.text,
        source=claim.source,
        note=claim.note,
        changes=claim.changes,
        family=family.name,
        role=family.role,
        alpha=family.alpha,
        lr_arm=arm.name,
        rates=arm.rates if arm.rows != ({},) else "",
        verdict=verdict,
        verdict_holm=None if family.role in ("computed", "descriptive") else verdict,
        reason=why,
        settle=how,
        part=shown.name if len(primary) > 1 else "",
        n=shown.n,
        effect=shown.effect,
        low=shown.low,
        high=shown.high,
        unit=shown.unit,
        p=min(1.0, 2 * min(p_for, p_against)) if asked else math.nan,
        p_holm=math.nan,
        p_for=p_for,
        p_against=p_against,
        e=e if tested else math.nan,
        threshold=family.threshold if family.role == "primary" else math.nan,
        seeds_to_add=add if verdict != "not testable" else None,
        parts=parts,
        references=setting.references,
        unfinished=selection.runs.unfinished,
        decided_at=decided_at,
    )


def _rests_on(parts: Sequence[PartFinding], needed: int, role: Role) -> PartFinding:
    """The part that a claim's p is of."""
    if role == "computed":
        return parts[0]
    p_for = [part.p_for if part.n >= needed else 1.0 for part in parts]
    p_against = [part.p_against if part.n >= needed else 1.0 for part in parts]
    both = combined(p_for, p_against)
    if both[0] <= both[1]:
        return parts[p_for.index(max(p_for))]
    return parts[p_against.index(min(p_against))]


def _to_add(primary: Sequence[PartFinding], verdict: Verdict, alpha: float) -> int | None:
    """About how many seeds a fixed-n test of the most open part still needs."""
    if verdict in DECIDED:
        return 0
    part = most_open(primary)
    if part.n < FEWEST_FOR_SPREAD or not math.isfinite(part.gap):
        return None
    return max(0, seeds_for(part, alpha) - part.n)


def combined(p_for: Sequence[float], p_against: Sequence[float]) -> tuple[float, float]:
    """The one-sided p-values of a claim from those of its k primary parts.

    For it, the largest: all parts must hold (intersection-union). Against it, min_j k q_(j) / j of
    the sorted q: one part that clearly fails is enough, or several that fail together (Simes; its
    level holds for parts that are independent or go together). A part that could not be tested
    counts as 1.

    Args:
        p_for: small speaks for the part.
        p_against: q, small speaks against it.

    Returns:
        The two p-values of the claim, for and against.

    Reference: Berger, Technometrics 1982; Simes, Biometrika 1986.

    Example:
        >>> combined([0.01, 0.5], [0.99, 0.5])
        (0.5, 0.99)
    """
    k = len(p_against)
    return max(p_for), min(k * q / j for j, q in enumerate(sorted(p_against), start=1))


def _failed_control(controls: Iterable[Control], selection: Selection) -> tuple[str, str] | None:
    """Why a control fails, and what to do."""
    for control in controls:
        column = selection.runs.column(control.response.column)
        if not selection.runs.has(column.name):
            return f"control '{control.name}': no column {column.name}", column.supplied_by
        for plus, minus in control.pairs():
            masks = [selection.comparable(dict(cell), set(plus)) for cell in (plus, minus)]
            if unlike := selection.unlike(masks[0] | masks[1], control.response):
                return f"control '{control.name}': {unlike}", MEASURE_ALIKE
            ratio = _ratio(control, masks, selection)
            # Where a part lacks the same runs, that is told as its reason.
            if ratio is not None and not control.within[0] <= ratio <= control.within[1]:
                low, high = control.within
                return (
                    f"control '{control.name}': ratio {ratio:.3g} of {label(plus)} to"
                    f" {label(minus)} is outside {low:g} to {high:g}",
                    control.remedy,
                )
    return None


def _ratio(control: Control, masks: Sequence[Mask], selection: Selection) -> float | None:
    """Median over seeds of the ratio of two cells, None where no seed has both."""
    sides = [
        {
            seed: np.mean([selection.runs.value(r, control.response, math.nan, 0.0) for r in each])
            for seed, each in selection.by_seed(mask).items()
        }
        for mask in masks
    ]
    shared = sorted(set(sides[0]) & set(sides[1]))
    return float(np.median([sides[0][s] / sides[1][s] for s in shared])) if shared else None


def _with_holm(findings: list[Finding]) -> list[Finding]:
    """Holm's correction within each secondary family."""
    adjusted = np.full(len(findings), math.nan)
    for family in {each.family for each in findings if each.role == "secondary"}:
        members = [k for k, each in enumerate(findings) if each.family == family]
        adjusted[members] = holm([findings[k].p for k in members])
    return [
        replace(
            finding,
            p_holm=float(p),
            verdict_holm="inconclusive"
            if finding.verdict in DECIDED and p > finding.alpha
            else finding.verdict_holm,
        )
        for finding, p in zip(findings, adjusted, strict=True)
    ]


def _tidied(by_arm: list[list[Finding]]) -> list[Finding]:
    """Claim by claim; an arm in which a claim is not testable is told once, if no arm is."""
    tidy = []
    for findings in zip(*by_arm, strict=True):
        testable = [f for f in findings if f.verdict != "not testable"]
        kept: list[Finding] = []
        told, notes = set(), []
        for finding in testable or findings[:1]:
            told |= {arm for arm in ARMS if finding.lr_arm.startswith(arm)}
            # An arm may choose the very runs of another, where a claim is of one optimizer.
            twin = next((other for other in kept if _runs_of(other) == _runs_of(finding)), None)
            if twin is None:
                kept.append(finding)
            else:
                notes.append(f"learning rates {finding.lr_arm}: the runs of {twin.lr_arm}")
        absent = [arm for arm in ARMS if arm not in told]
        # A primary claim is judged at the protocol's rates and at no other.
        if absent and testable and testable[0].role != "primary":
            notes.append(f"not judged at learning rates: {', '.join(absent)}")
        tidy += [
            replace(finding, settle="; ".join(filter(None, [finding.settle, *notes])))
            for finding in kept
        ]
    return tidy


def _runs_of(finding: Finding) -> list[Mapping[int, float]]:
    return [part.values for part in finding.parts]
