"""Findings in words: why a verdict is what it is, and what would settle an open claim."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from optnas.analysis import paired, power
from optnas.analysis.claims.declare import Claim
from optnas.analysis.claims.families import Family
from optnas.analysis.claims.findings import PartFinding, Verdict
from optnas.analysis.sequential import FEWEST

FEWEST_FOR_SPREAD = 4  # seeds below which a spread says nothing of the seeds that are needed


def reason(primary: Sequence[PartFinding], verdict: Verdict, n: int, claim: Claim) -> str:
    """Why.

    Args:
        primary: the primary parts.
        verdict: of the claim.
        n: fewest seeds of a tested part.
        claim: the claim.
    """
    tested = [part for part in primary if part.n]
    if verdict == "not testable":
        told = [f"{parts}: {why}" for why, parts in _by_cause(primary).items()]
        return "; ".join([*told, *_so_far(tested)])
    by_evidence = any(part.scale is not None for part in primary)
    if verdict == "inconclusive" and n < claim.minimum_n and not by_evidence:
        told = [
            f"n = {n} seeds, and a verdict needs {claim.minimum_n};"
            f" the smallest p that {n} can reach is {paired.smallest_p(n):.3g}"
        ]
        return "; ".join([*told, *_so_far(tested)])
    told = [
        f"{part.name}: {shown(part)} ({part.verdict})"
        for part in primary
        if verdict != "contradicted" or part.verdict == "contradicted"
    ]
    # Parts that fail together, none of them alone.
    return "; ".join(told or [f"{part.name}: {shown(part)}" for part in tested])


def _by_cause(primary: Sequence[PartFinding]) -> dict[str, str]:
    """By what is missing, the parts that miss it."""
    found: dict[str, list[str]] = {}
    for part in primary:
        if part.missing:
            found.setdefault(part.missing, []).append(f"'{part.name}'")
    return {why: ", ".join(parts) for why, parts in found.items()}


def _so_far(tested: Sequence[PartFinding]) -> list[str]:
    told = [f"{part.name}: {shown(part)}, n = {part.n}" for part in tested]
    return [f"what there is: {'; '.join(told)}"] if told else []


def shown(part: PartFinding) -> str:
    """Effect, interval, E where there is one, and what the claim says."""
    ends = f" [{part.low:.4g}, {part.high:.4g}]" if math.isfinite(part.low) else ""
    e = f", E {part.e:.3g}" if part.scale is not None else ""
    of = f" against {np.mean(list(part.other.values())):+.4g}" if part.other else ""
    return f"{part.effect:+.4g}{_unit(part)}{ends}{of}{e}, claim {part.hypothesis}"


def shown_e(e: float, threshold: float) -> str:
    """E to three digits, from a thousand on whole; rounded down where it is below the threshold.

    Example:
        >>> shown_e(59.98, 60.0), shown_e(60.0, 60.0), shown_e(2543.7, 60.0)
        ('59.9', '60', '2,544')
    """
    told = f"{e:.3g}" if e < 1000 else f"{e:,.0f}"
    if e < threshold <= float(told.replace(",", "")):
        unit = 10.0 ** (math.floor(math.log10(e)) - 2)
        told = f"{math.floor(e / unit) * unit:.3g}"
    return told


def settle(primary: Sequence[PartFinding], verdict: Verdict, claim: Claim, alpha: float) -> str:
    """What would decide a claim that is tested with a fixed number of seeds."""
    if verdict == "not testable":
        return "; ".join(dict.fromkeys(part.supply for part in primary if part.supply))
    if verdict != "inconclusive":
        return ""
    n, fewest = min(part.n for part in primary), max(claim.minimum_n, power.fewest_seeds(alpha))
    open_part = most_open(primary)
    if n >= fewest:
        return f"{open_part.name}: {_outlook(open_part, alpha)}"
    short = [part for part in primary if part.n < fewest]
    told = [f"run {fewest} seeds or more in every arm"]
    if all(part.n + len(part.incomplete) >= fewest for part in short):
        told = [
            f"{part.name}: {part.n} of {part.n + len(part.incomplete)} seeds have it in every arm; "
            f"measure {fewest} or more"
            for part in short
        ]
    if n >= FEWEST_FOR_SPREAD and math.isfinite(open_part.gap):
        told.append(f"{open_part.name}: {_asks(open_part, alpha)}")
    return "; ".join(told)


def settle_primary(
    claim: Claim,
    family: Family,
    verdict: Verdict,
    primary: Sequence[PartFinding],
    e: float,
    add: int | None,
    missing: Sequence[str],
    *,
    adds_for: bool,
) -> str:
    """What would decide a claim of a primary family: seeds may be added.

    Args:
        claim: the claim.
        family: its family.
        verdict: of the claim.
        primary: its primary parts.
        e: E so far.
        add: about how many more it needs.
        missing: how to supply columns that are missing.
        adds_for: whether these would decide for it; else against it.
    """
    endpoint = family.endpoint
    assert endpoint is not None
    first, planned = endpoint.first_seed, endpoint.most_seeds
    most = len(endpoint.seeds(claim.id))
    if verdict == "not testable":
        counted = f"its seeds {first} to {first + planned - 1} count"
        told = f"optnas study run {endpoint.study}: {counted}"
        return "; ".join([*dict.fromkeys(missing), told])
    if verdict != "inconclusive":
        return ""
    told = f"E {shown_e(e, family.threshold)}, and {family.threshold:g} decides: "
    n = min(part.n for part in primary)
    waits = [part.waits for part in primary if part.waits is not None]
    if waits:
        return f"{told}it waits for seed {min(waits)}, which lacks an arm"
    if min(part.n + len(part.incomplete) for part in primary) >= most:
        left_out = "" if n >= most else f", {n} of them with every arm"
        return f"{told}all {most} seeds of the plan are run{left_out}; it stays open"
    if n < FEWEST:
        return f"{told}add seeds; how many cannot be said with n = {n}"
    if add is None:
        return f"{told}as seen, no number of seeds would do; the plan ends at {most}"
    beyond = ""
    if n + add > most:
        beyond = f", {n + add} in all; the plan ends at {most}"
    elif n + add > planned:
        beyond = (
            f", {n + add} in all; those beyond {planned} are in {endpoint.added[claim.id].study}"
        )
    to = f"to {'support' if adds_for else 'contradict'} it"
    return f"{told}add about {add} seed{'s' if add != 1 else ''} {to}{beyond}"


def most_open(primary: Sequence[PartFinding]) -> PartFinding:
    """The part that is furthest from a verdict."""
    return max(primary, key=lambda part: min(part.p_for, part.p_against))


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
    count = seeds_for(part, alpha)
    shown = f"more than {power.MOST:,}" if count >= power.MOST else str(count)
    beyond = " from the margin" if part.hypothesis.startswith(("within", "less than half")) else ""
    return f"a gap as seen ({part.gap:.3g}{_unit(part)}{beyond}) needs n = {shown}"


def seeds_for(part: PartFinding, alpha: float) -> int:
    """How many seeds a fixed-n test needs for the gap that was seen, with 80 %."""
    return power.needed(part.gap, _spread(part), alpha=alpha)


def _spread(part: PartFinding) -> float:
    values_N = np.array(list(part.values.values()))
    if part.other:
        other_N = np.array(list(part.other.values()))
        values_N = np.sign(other_N.mean()) * other_N / 2 - np.sign(values_N.mean()) * values_N
    return float(np.std(values_N, ddof=1))


def _unit(part: PartFinding) -> str:
    return f" {part.unit}" if part.unit else ""
