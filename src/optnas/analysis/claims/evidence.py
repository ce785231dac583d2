"""Primary claims: decided by an e-process, so that seeds may be added until it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from optnas.analysis.claims.declare import Claim, Part
from optnas.analysis.claims.families import Family
from optnas.analysis.claims.findings import PartFinding, Setting, Verdict
from optnas.analysis.estimates import Floats
from optnas.analysis.sequential import EProcess, e_process, seeds_to_add


class Evidence(NamedTuple):
    """A claim's verdict, the E behind it, and about how many seeds E still needs.

    ``part`` is the place of the primary part that E is of, ``decided_at`` the seed with which the
    claim was decided. ``adds_for`` tells whether those further seeds would decide for it.
    """

    verdict: Verdict
    e: float
    seeds_to_add: int | None
    part: int
    decided_at: int | None
    adds_for: bool = True


def decided(for_at: float, against_at: float) -> Verdict:
    """A verdict from the seeds at which E was reached for and against, infinite where it was not.

    The first counts: what is decided stays decided, whatever later seeds say.

    Example:
        >>> decided(15, math.inf)
        'supported'
    """
    if min(for_at, against_at) == math.inf:
        return "inconclusive"
    return "supported" if for_at < against_at else "contradicted"


def with_evidence(part: Part, found: PartFinding, setting: Setting) -> PartFinding:
    """A part of a primary family with its E and the verdict by it; any other as it is.

    E runs over the seeds as they are numbered. One that lacks an arm, or every run, holds up those
    after it: come late, it would change an E at which the claim was decided. One with a run that
    diverged has ended, and is passed over.
    """
    endpoint = setting.family.endpoint
    if endpoint is None or not found.n:
        return found
    scale, threshold = setting.scales[part.name], setting.family.threshold
    ended = found.values.keys() | setting.diverged
    numbered = itertools.takewhile(max(found.values).__gt__, setting.seeds)
    waits = next((seed for seed in numbered if seed not in ended), None)
    found = replace(found, waits=waits)
    process = _process(found, part, setting)
    e_for, e_against = process.reached
    seeds = [_reached_at(found, part, setting, threshold, side) for side in (1, -1)]
    verdict = decided(*seeds)
    found = replace(
        found,
        verdict=verdict,
        scale=scale,
        e=float(process.both[-1]) if len(process.both) else 1.0,
        e_for=e_for,
        e_against=e_against,
        decided_at=_seed(min(seeds)),
    )
    ways = [to_reach(found, part, setting, side, threshold) for side in (1, -1)]
    return replace(found, seeds_to_add=0 if verdict != "inconclusive" else _fewest(ways))


def counted(found: PartFinding) -> Floats:
    """The contrasts that E is of, in order: [N]."""
    last = math.inf if found.waits is None else found.waits
    return np.array([value for seed, value in found.values.items() if seed < last])


def _process(found: PartFinding, part: Part, setting: Setting) -> EProcess:
    """E of the seeds that count; above 0 is for the part."""
    assert setting.family.endpoint is not None
    sign = 1.0 if part.direction == "greater" else -1.0
    lambdas = setting.family.endpoint.lambdas
    return e_process(sign * counted(found), setting.scales[part.name], lambdas)


def _reached_at(
    found: PartFinding, part: Part, setting: Setting, threshold: float, side: int
) -> float:
    """The seed at which E first reached a threshold for the part (side 1) or against it (-1)."""
    if not found.n:
        return math.inf
    place = _process(found, part, setting).first(threshold, above=side > 0)
    return math.inf if place is None else list(found.values)[place]


def _seed(reached_at: float) -> int | None:
    return None if math.isinf(reached_at) else int(reached_at)


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
    for_at = [_reached_at(found, part, setting, threshold, 1) for part, found in deciding]
    against_at = [_reached_at(found, part, setting, k * threshold, -1) for part, found in deciding]
    verdict = decided(max(for_at), min(against_at))
    e_for = [found.e_for for _, found in deciding]
    e_against = [found.e_against / k for _, found in deciding]
    tested = [place for place, (_, found) in enumerate(deciding) if found.n] or [0]
    least = min(tested, key=e_for.__getitem__)
    most = max(tested, key=e_against.__getitem__)
    if verdict == "contradicted":
        first = int(np.argmin(against_at))
        return Evidence(verdict, e_against[first], 0, first, _seed(against_at[first]))
    if verdict == "supported":
        return Evidence(verdict, e_for[least], 0, least, _seed(max(for_at)))
    needed = [to_reach(found, part, setting, 1, threshold) for part, found in deciding if found.n]
    whole = len(needed) == k and None not in needed
    support = max((n for n in needed if n is not None), default=None) if whole else None
    contradict = [
        to_reach(found, part, setting, -1, k * threshold) for part, found in deciding if found.n
    ]
    e = max(min(e_for), max(e_against))
    place = least if e_for[least] >= e_against[most] else most
    fewest = _fewest([support, *contradict])
    return Evidence(
        verdict, e, fewest, place, None, adds_for=support is not None and fewest == support
    )


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
