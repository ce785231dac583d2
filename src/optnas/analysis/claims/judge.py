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

from optnas.analysis import power
from optnas.analysis.claims import Claim, Control, find_claim, names
from optnas.analysis.claims.columns import column_of
from optnas.analysis.claims.declare import label
from optnas.analysis.claims.evaluate import evaluate
from optnas.analysis.claims.findings import PartFinding, Setting, Verdict, decide
from optnas.analysis.multiplicity import holm
from optnas.analysis.references import References
from optnas.analysis.runs import Runs, Selection
from optnas.analysis.tuning import ARMS, RateArm, rate_arms

ALPHA = 0.05
FEWEST_FOR_SPREAD = 4  # seeds below which a spread says nothing of the seeds that are needed


@dataclass(frozen=True)
class Finding:
    """A claim's verdict under one learning-rate arm.

    ``verdict`` is at the level of the one claim, ``verdict_holm`` at that of all claims judged in
    this arm together. Effect, interval and n are those of the first primary part; ``p`` is
    two-sided and of all primary parts together, NaN where none could be tested.
    """

    id: str
    text: str
    source: str
    note: str
    lr_arm: str
    rates: str
    verdict: Verdict
    verdict_holm: Verdict
    reason: str
    settle: str
    n: int
    effect: float
    low: float
    high: float
    unit: str
    p: float
    p_holm: float
    p_for: float
    p_against: float
    parts: tuple[PartFinding, ...]
    references: Mapping[str, Mapping[str, float]]
    unfinished: Mapping[str, int]


def judge(
    table: pd.DataFrame,
    claims: Iterable[str | Claim] | None = None,
    references: References | None = None,
    *,
    alpha: float = ALPHA,
    lr_arms: Iterable[RateArm] = (),
    hold: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Judge claims by the runs of a tidy table.

    A claim is *supported* if every primary part is, each tested one-sided at alpha / 2; it is
    *contradicted* if one of them fails clearly enough, or several together (`combined`), at
    alpha / 2; *not testable* if a part lacks runs, columns or references, or a control fails; else
    *inconclusive*. Where nothing holds, a wrong "supported" or "contradicted" comes up at most in
    alpha of all studies.

    Args:
        table: one row per run and epoch; runs that are not ``done`` are left out and counted.
        claims: names, files or claims; all registered ones if not given.
        references: by name (``random cell``), then by column; see `optnas.analysis.references`.
        alpha: two-sided level of a verdict.
        lr_arms: learning-rate arms beside ``default`` and ``same``, such as that of
            `optnas.analysis.tuning.tune`.
        hold: values at which to hold settings that vary in the table and that a claim does not
            name; by default each is held at the value of most runs.

    Returns:
        One finding per claim and learning-rate arm in which it is testable, and one for each claim
        that is testable in none.
    """
    runs, references, hold = Runs(table), references or {}, hold or {}
    setting = Setting(references, alpha)
    chosen = [
        each if isinstance(each, Claim) else find_claim(each)
        for each in (names() if claims is None else claims)
    ]
    arms = [*rate_arms(runs), *lr_arms]
    if not arms:
        arms = [RateArm("as run", ({},))]
    judged = [
        [_judge(claim, arm, selection, setting) for claim in chosen]
        for arm in arms
        for selection in [Selection(runs, arm.belongs(runs), hold)]
    ]
    return _tidied([_with_holm(findings, alpha) for findings in judged])


def _judge(claim: Claim, arm: RateArm, selection: Selection, setting: Setting) -> Finding:
    parts = tuple(evaluate(part, selection, setting, claim.minimum_n) for part in claim.parts)
    primary = [part for part in parts if part.primary]
    tested = [part for part in primary if part.verdict != "not testable"]
    p_for, p_against = combined(
        [part.p_for for part in primary], [part.p_against for part in primary]
    )
    n = min((part.n for part in tested), default=0)
    verdict = decide(p_for, p_against, n, claim.minimum_n, setting.alpha)
    failed = _failed_control(claim.controls, selection)
    if failed or (verdict != "contradicted" and len(tested) < len(primary)):
        verdict = "not testable"
    shown = tested[0] if tested else primary[0]
    asked = bool(tested) and not failed
    return Finding(
        id=claim.id,
        text=claim.text,
        source=claim.source,
        note=claim.note,
        lr_arm=arm.name,
        rates=arm.rates if arm.rows != ({},) else "",
        verdict=verdict,
        verdict_holm=verdict,
        reason=failed[0] if failed else _reason(primary, verdict, n, claim.minimum_n),
        settle=failed[1] if failed else _settle(primary, verdict, claim, setting.alpha),
        n=shown.n,
        effect=shown.effect,
        low=shown.low,
        high=shown.high,
        unit=shown.unit,
        p=min(1.0, 2 * min(p_for, p_against)) if asked else math.nan,
        p_holm=math.nan,
        p_for=p_for,
        p_against=p_against,
        parts=parts,
        references=setting.references,
        unfinished=selection.runs.unfinished,
    )


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
        column = column_of(control.response.column)
        if not selection.runs.has(column.name):
            return f"control '{control.name}': no column {column.name}", column.supplied_by
        for plus, minus in control.pairs():
            ratio = _ratio(control, plus, minus, selection)
            # Where a part lacks the same runs, that is told as its reason.
            if ratio is not None and not control.within[0] <= ratio <= control.within[1]:
                low, high = control.within
                return (
                    f"control '{control.name}': ratio {ratio:.3g} of {label(plus)} to"
                    f" {label(minus)} is outside {low:g} to {high:g}",
                    control.remedy,
                )
    return None


def _ratio(
    control: Control, plus: Mapping[str, Any], minus: Mapping[str, Any], selection: Selection
) -> float | None:
    """Median over seeds of the ratio of two cells, None where no seed has both."""
    sides = [
        {
            seed: np.mean([selection.runs.value(r, control.response, math.nan, 0.0) for r in each])
            for seed, each in selection.by_seed(selection.comparable(dict(cell), set(plus))).items()
        }
        for cell in (plus, minus)
    ]
    shared = sorted(set(sides[0]) & set(sides[1]))
    return float(np.median([sides[0][s] / sides[1][s] for s in shared])) if shared else None


def _reason(primary: list[PartFinding], verdict: Verdict, n: int, minimum_n: int) -> str:
    tested = [part for part in primary if part.n]
    if verdict == "not testable":
        told = [f"{parts}: {why}" for why, parts in _by_cause(primary).items()]
        return "; ".join([*told, *_so_far(tested)])
    if verdict == "inconclusive" and n < minimum_n:
        told = [
            f"n = {n} seeds, and a verdict needs {minimum_n};"
            f" the smallest p that {n} can reach is {power.smallest_p(n):.3g}"
        ]
        return "; ".join([*told, *_so_far(tested)])
    told = [
        f"{part.name}: {_shown(part)} ({part.verdict})"
        for part in primary
        if verdict != "contradicted" or part.verdict == "contradicted"
    ]
    # Parts that fail together, none of them alone.
    return "; ".join(told or [f"{part.name}: {_shown(part)}" for part in tested])


def _by_cause(primary: list[PartFinding]) -> dict[str, str]:
    """By what is missing, the parts that miss it."""
    found: dict[str, list[str]] = {}
    for part in primary:
        if part.missing:
            found.setdefault(part.missing, []).append(f"'{part.name}'")
    return {why: ", ".join(parts) for why, parts in found.items()}


def _so_far(tested: list[PartFinding]) -> list[str]:
    told = [f"{part.name}: {_shown(part)}, n = {part.n}" for part in tested]
    return [f"what there is: {'; '.join(told)}"] if told else []


def _shown(part: PartFinding) -> str:
    ends = f" [{part.low:.4g}, {part.high:.4g}]" if math.isfinite(part.low) else ""
    return f"{part.effect:+.4g}{_unit(part)}{ends}, claim {part.hypothesis}"


def _settle(primary: list[PartFinding], verdict: Verdict, claim: Claim, alpha: float) -> str:
    """What would decide the claim."""
    if verdict == "not testable":
        return "; ".join(dict.fromkeys(part.supply for part in primary if part.supply))
    if verdict != "inconclusive":
        return ""
    n, fewest = min(part.n for part in primary), max(claim.minimum_n, power.fewest_seeds(alpha))
    open_part = max(primary, key=lambda part: min(part.p_for, part.p_against))
    if n >= fewest:
        return f"{open_part.name}: {_outlook(open_part, alpha)}"
    told = [f"run {fewest} seeds or more in every arm"]
    if n >= FEWEST_FOR_SPREAD and math.isfinite(open_part.gap):
        told.append(f"{open_part.name}: {_asks(open_part, alpha)}")
    return "; ".join(told)


def _outlook(part: PartFinding, alpha: float) -> str:
    """What these seeds could have shown, and how many would show what was seen."""
    told = [f"n = {part.n}: smallest reachable p {part.smallest_p:.3g}"]
    if part.smallest_p > alpha:
        told.append("run more seeds")
    elif math.isfinite(part.gap):
        gap = power.detectable(part.n, _spread(part), alpha=alpha)
        told.append(f"a gap of {gap:.3g}{_unit(part)} would be seen with 80 %")
        told.append(_asks(part, alpha))
    return "; ".join(told)


def _asks(part: PartFinding, alpha: float) -> str:
    """How many seeds would show the gap that was seen."""
    count = power.needed(part.gap, _spread(part), alpha=alpha)
    shown = f"more than {power.MOST:,}" if count >= power.MOST else str(count)
    beyond = " from the margin" if part.hypothesis.startswith("within") else ""
    return f"a gap as seen ({part.gap:.3g}{_unit(part)}{beyond}) needs n = {shown}"


def _spread(part: PartFinding) -> float:
    return float(np.std(list(part.values.values()), ddof=1))


def _unit(part: PartFinding) -> str:
    return f" {part.unit}" if part.unit else ""


def _with_holm(findings: list[Finding], alpha: float) -> list[Finding]:
    adjusted = holm([finding.p for finding in findings])
    return [
        replace(
            finding,
            p_holm=float(p),
            verdict_holm=finding.verdict
            if finding.verdict not in ("supported", "contradicted") or p <= alpha
            else "inconclusive",
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
        if absent and testable:
            notes.append(f"not judged at learning rates: {', '.join(absent)}")
        tidy += [
            replace(finding, settle="; ".join(filter(None, [finding.settle, *notes])))
            for finding in kept
        ]
    return tidy


def _runs_of(finding: Finding) -> list[Mapping[int, float]]:
    return [part.values for part in finding.parts]
