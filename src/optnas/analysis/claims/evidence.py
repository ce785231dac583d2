"""Primary claims: decided by an e-process, so that seeds may be added until it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from optnas.analysis.claims.declare import Claim, Part
from optnas.analysis.claims.families import Family
from optnas.analysis.claims.findings import PartFinding, Setting, Verdict
from optnas.analysis.estimates import Floats
from optnas.analysis.sequential import e_process, seeds_to_add


class Evidence(NamedTuple):
    """A claim's verdict, the E behind it, and about how many seeds E still needs."""

    verdict: Verdict
    e: float
    seeds_to_add: int | None


def decided(e_for: float, e_against: float, threshold: float) -> Verdict:
    """A verdict from the largest E so far on either side.

    Example:
        >>> decided(61.0, 1.0, threshold=60)
        'supported'
    """
    if max(e_for, e_against) < threshold:
        return "inconclusive"
    return "supported" if e_for >= e_against else "contradicted"


def with_evidence(part: Part, found: PartFinding, setting: Setting) -> PartFinding:
    """A part of a primary family with its E and the verdict by it; any other as it is.

    E runs over the seeds as they are numbered. One that lacks an arm holds up those after it: come
    late, it would change an E at which the claim was decided. One with a run that diverged has
    ended, and is passed over.
    """
    endpoint = setting.family.endpoint
    if endpoint is None or not found.n:
        return found
    scale, threshold = setting.scales[part.name], setting.family.threshold
    begun = [seed for seed in found.incomplete if seed not in setting.diverged]
    waits = next((seed for seed in begun if seed < max(found.values)), None)
    found = replace(found, waits=waits)
    sign = 1.0 if part.direction == "greater" else -1.0
    process = e_process(sign * counted(found), scale, endpoint.lambdas)
    e_for, e_against = process.reached
    verdict = decided(e_for, e_against, threshold)
    found = replace(
        found,
        verdict=verdict,
        scale=scale,
        e=float(process.both[-1]) if len(process.both) else 1.0,
        e_for=e_for,
        e_against=e_against,
    )
    ways = [to_reach(found, part, setting, side, threshold) for side in (1, -1)]
    return replace(found, seeds_to_add=0 if verdict != "inconclusive" else _fewest(ways))


def counted(found: PartFinding) -> Floats:
    """The contrasts that E is of, in order: [N]."""
    last = math.inf if found.waits is None else found.waits
    return np.array([value for seed, value in found.values.items() if seed < last])


def to_reach(
    found: PartFinding, part: Part, setting: Setting, side: int, threshold: float
) -> int | None:
    """About how many seeds E needs for the part (side 1) or against it (-1), as seen."""
    assert setting.family.endpoint is not None
    if (found.e_for if side > 0 else found.e_against) >= threshold:
        return 0
    sign = side if part.direction == "greater" else -side
    lambdas = setting.family.endpoint.lambdas
    return seeds_to_add(sign * counted(found), setting.scales[part.name], threshold, lambdas)


def judge_primary(claim: Claim, parts: Sequence[PartFinding], setting: Setting) -> Evidence:
    """A claim of a primary family by its K primary parts.

    For it, every part must reach the threshold: the smallest of their E counts. Against it one part
    is enough, at K times the threshold: the largest of their E over K counts.
    """
    deciding = [pair for pair in zip(claim.parts, parts, strict=True) if pair[0].primary]
    k, threshold = len(deciding), setting.family.threshold
    e_for = min(found.e_for for _, found in deciding)
    e_against = max(found.e_against for _, found in deciding) / k
    verdict = decided(e_for, e_against, threshold)
    tested = [(part, found) for part, found in deciding if found.n]
    needed = [to_reach(found, part, setting, 1, threshold) for part, found in tested]
    whole = len(tested) == k and None not in needed
    support = max((n for n in needed if n is not None), default=None) if whole else None
    contradict = [to_reach(found, part, setting, -1, k * threshold) for part, found in tested]
    add = 0 if verdict != "inconclusive" else _fewest([support, *contradict])
    return Evidence(verdict, max(e_for, e_against), add)


def _fewest(ways: Sequence[int | None]) -> int | None:
    return min((each for each in ways if each is not None), default=None)


def gated(claim: Claim, parts: Sequence[PartFinding], family: Family) -> tuple[PartFinding, ...]:
    """The parts, where one that waits for another is not asked before that is decided."""
    by_name = {found.name: found.verdict for found in parts}
    return tuple(
        replace(found, verdict="not asked")
        if part.gate is not None
        and family.role == "primary"
        and found.verdict != "not testable"
        and by_name[part.gate] not in ("supported", "contradicted")
        else found
        for part, found in zip(claim.parts, parts, strict=True)
    )
