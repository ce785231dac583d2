"""docs/results-ledger.md: every claim, and what its numbers are made of; built by results.py."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from documents import as_table

from optnas.analysis.claims.findings import PartFinding
from optnas.analysis.claims.judge import Finding
from optnas.analysis.claims.reasons import shown_e
from optnas.analysis.claims.render import (
    by_family,
    by_seed,
    ends,
    evidence,
    in_reach,
    p_in_words,
)
from optnas.analysis.paired import smallest_p

if TYPE_CHECKING:
    from results import Results


def ledger(results: Results) -> str:
    """The claims whose arms have runs, and the names of the others."""
    if not results.findings:
        return "No block is whole yet: nothing is judged."
    listed, rest = in_reach(results.findings)
    heads = ("claim", "family", "verdict", "in the family", "part", "n", "effect", "interval")
    rows = [
        (
            f"[{each.id}](#{each.id.lower()})",
            each.family,
            each.verdict,
            each.verdict_holm or "-",
            *_numbers(each),
        )
        for each in listed
    ]
    others = f"\n\nNo run is of the arms of: {', '.join(rest)}." if rest else ""
    return as_table((*heads, "evidence"), rows) + others


def _numbers(finding: Finding) -> tuple[str, ...]:
    if finding.verdict == "not testable":
        return ("-",) * 5
    change = f"{finding.effect:+.3g} {finding.unit}".rstrip()
    return finding.part or "-", str(finding.n), change, ends(finding), evidence(finding)


def corrected(results: Results) -> str:
    """What the number of seeds allows a family with Holm's correction."""
    told = []
    for members in by_family(results.findings):
        tested = [each for each in members if not math.isnan(each.p_holm)]
        if all(each.verdict == "not testable" for each in tested):
            continue
        n, m, alpha = results.blocks, len(tested), tested[0].alpha
        least = next(k for k in itertools.count(1) if m * smallest_p(k) <= alpha)
        reach = min(1.0, m * smallest_p(n))
        beyond = "so that none can be decided in it" if reach > alpha else "which decides"
        told.append(
            f"With n = {n} the smallest p is {p_in_words(smallest_p(n))}, and {p_in_words(reach)} "
            f"after Holm's correction for the {m} claims of the family *{tested[0].family}*, "
            f"{beyond}; the first n that can is {least}."
        )
    if told:
        told.append(
            "The study has ended."
            if results.ended
            else "The study goes on: verdicts with a p are provisional until it ends."
        )
    return "\n".join(told)


def by_hand(results: Results) -> str:
    """Claim by claim what the ledger's numbers are made of: parts, means of arms, seeds."""
    told = []
    for each in in_reach(results.findings)[0]:
        lines = [f"### {each.id}", "", each.text, ""]
        if each.settle and each.role != "computed":
            lines += [f"To settle it: {each.settle}.", ""]
        lines += [_part(part, each) for part in each.parts]
        told.append("\n".join(lines))
    return "\n\n".join(told)


def _part(part: PartFinding, finding: Finding) -> str:
    kind = "" if part.primary else ", decides nothing"
    if not part.n:
        return f"- **{part.name}**{kind}: not testable, {part.missing}."
    evidence = f", p {p_in_words(part.p_for)} for and {p_in_words(part.p_against)} against it"
    if part.scale is not None:
        evidence = f", E {shown_e(part.e, finding.threshold)} now{evidence}"
    judged = part.verdict
    if finding.role == "computed":  # a value of a formula: nothing is tested
        judged, evidence = "computed", ""
    arms = "; ".join(f"**{arm.mean:.4g}** {arm.arm}" for arm in part.arms)
    level = f" ({part.of_level})" if part.of_level else ""
    means = f"\n  Means{level}: {arms}." if arms else ""
    unit = f" {part.unit}" if part.unit else ""
    return (
        f"- **{part.name}**{kind}: {part.effect:+.4g}{unit} {ends(part)}, n = {part.n}, "
        f"claim {part.hypothesis}{evidence}: {judged}.{means}\n  "
        f"Contrasts {by_seed(part)}."
    )
