"""The ledger of claims as a table, as text and as JSON; computes nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd

from optnas.analysis.claims.findings import PartFinding
from optnas.analysis.claims.judge import Finding
from optnas.analysis.claims.reasons import shown_e

COLUMNS = (
    *("id", "family", "role", "lr_arm", "verdict", "verdict_holm"),
    *("n", "effect", "low", "high", "unit"),
    *("p", "p_holm", "e", "threshold", "seeds_to_add"),
    *("reason", "settle"),
)
WIDTH = 100
UNIT = 12
KEY = (
    "effect: mean over seeds of the contrast within a seed (for a curve: its bow); interval, and p "
    "(two-sided, sign flips, of all sign vectors up to 20 seeds, beyond of 50,000 drawn ones): for "
    "a number of seeds fixed beforehand; both of the part shown, p of all parts together; Holm: "
    "over the family, at the same rates; E: the largest so far, may be looked at after every seed"
)
ROLES = {
    "primary": "primary; E of {threshold:g} decides, seeds may be added until then",
    "secondary": "secondary; Holm over {m} claims at {alpha:g}",
    "computed": "computed from formulas, not tested",
    "descriptive": "descriptive; each at {alpha:g}, not corrected",
}


def as_frame(findings: Sequence[Finding]) -> pd.DataFrame:
    """One row per finding, without its parts."""
    return pd.DataFrame(
        [[getattr(finding, name) for name in COLUMNS] for finding in findings],
        columns=list(COLUMNS),
    )


def as_plain(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Everything, ready for strict JSON: what is infinite or not a number is None.

    Ends stand together as ``interval``, E as ``E``.
    """
    return [_plain(dataclasses.asdict(finding)) for finding in findings]


def _plain(told: dict[str, Any]) -> dict[str, Any]:
    told["parts"] = [_named(part) for part in told["parts"]]
    told["changes"] = [change.model_dump(mode="json") for change in told["changes"]]
    return dict(_strict(_named(told)))


def _named(told: dict[str, Any]) -> dict[str, Any]:
    named = {"e": "E", "low": "interval"}
    ends = [told["low"], told["high"]]
    return {
        named.get(key, key): ends if key == "low" else value
        for key, value in told.items()
        if key != "high"
    }


def as_json(findings: Sequence[Finding]) -> str:
    """Everything, as strict JSON: what is infinite or not a number is null."""
    return json.dumps(as_plain(findings), indent=1, allow_nan=False)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def by_family(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings by family, in the ledger's order: sorting would scatter the reader's own claims."""
    names = dict.fromkeys(finding.family for finding in findings)
    return [[finding for finding in findings if finding.family == name] for name in names]


def in_reach(findings: Sequence[Finding]) -> tuple[list[Finding], list[str]]:
    """The findings of claims whose arms are there, and the ids of the rest."""
    rest = [each for each in findings if each.absent and each.verdict == "not testable"]
    return [each for each in findings if each not in rest], [each.id for each in rest]


def as_text(findings: Sequence[Finding], *, details: bool = False) -> str:
    """The ledger for a terminal: for each finding a line, its arms, why, and what would settle it.

    Args:
        findings: of `optnas.analysis.claims.judge`.
        details: all parts with their arms, instead of the arms of the part that the line shows;
            and claims of whose arms there is no run, which else are one line.

    Returns:
        Text without a final line break.
    """
    lines: list[str] = []
    listed, rest = (findings, []) if details else in_reach(findings)
    width = max([10, *(len(finding.lr_arm) for finding in listed)])
    for members in by_family(findings):
        shown = [finding for finding in members if finding in listed]
        lines += _head(members, width) if shown else []
        for finding in shown:
            lines += _of(finding, width, details=details)
    if rest:
        lines += _wrapped(f"no run is of their arms (--details says which): {', '.join(rest)}", 0)
    return "\n".join([*lines, *_footer(listed)])


def _head(members: Sequence[Finding], width: int) -> list[str]:
    first = members[0]
    m = len({finding.id for finding in members if not math.isnan(finding.p)})  # Holm: per arm
    told = ROLES[first.role].format(threshold=first.threshold, m=m, alpha=first.alpha)
    return [
        f"--- {first.family} ({told})",
        f"{'claim':<6} {'rates':<{width}} {'verdict':<13} {'in the family':<13} {'n':>3} "
        f"{'effect':>13}  {'interval':<17} evidence",
    ]


def _of(finding: Finding, width: int, *, details: bool) -> list[str]:
    lines = [_row(finding, width), *_wrapped(finding.text, 7)]
    lines += [] if details else _in_short(finding)
    lines += _wrapped(f"because {finding.reason}", 7) if finding.reason else []
    open_ = finding.verdict in ("inconclusive", "not testable")
    lines += (
        _wrapped(f"{'to settle it' if open_ else 'but'}: {finding.settle}", 7)
        if finding.settle
        else []
    )
    lines += [] if details else _beside(finding)
    return lines + (_details(finding) if details else [])


def _row(finding: Finding, width: int) -> str:
    # What is there of a claim that is not testable stands in its reason.
    n, effect, interval, told = "-", "-", "-", "-"
    if finding.verdict != "not testable":
        number, n = f"{finding.effect:+.3g}", str(finding.n)
        # A long unit stands in the reason only.
        effect = f"{number} {finding.unit}".rstrip() if len(finding.unit) < UNIT else number
        interval, told = ends(finding), evidence(finding)
    return (
        f"{finding.id:<6} {finding.lr_arm:<{width}} {finding.verdict:<13} "
        f"{finding.verdict_holm or '-':<13} {n:>3} {effect:>13}  {interval:<17} {told}"
    ).rstrip()


def evidence(finding: Finding) -> str:
    """What a verdict rests on: E of the threshold, or p and what Holm makes of it."""
    if finding.role == "computed":
        return f"computed, {'for' if finding.p_for < finding.p_against else 'against'} the claim"
    told = f"p {p_in_words(finding.p)}"
    if finding.role == "primary":
        e = shown_e(finding.e, finding.threshold)
        # E is that of the part which is named, p of all that must hold.
        of_all = " over all parts" if finding.part else ""
        return f"E {e} of {finding.threshold:g}, {told}{of_all}"
    return told if math.isnan(finding.p_holm) else f"{told}, Holm {p_in_words(finding.p_holm)}"


def p_in_words(p: float) -> str:
    """Three digits after the point."""
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def _in_short(finding: Finding) -> list[str]:
    """What the effect can be computed from by hand: means of the arms, numbers of the seeds."""
    primary = [part for part in finding.parts if part.primary and part.n]
    if not primary:
        return []
    shown = next((part for part in primary if part.name == finding.part), primary[0])
    if finding.verdict == "not testable" or not shown.arms:
        return []
    told = [f"{arm.arm} {arm.mean:.4g}" for arm in shown.arms]
    unit = f" ({shown.of_level})" if shown.of_level else ""
    lines = _wrapped(f"{shown.name}, means over n = {shown.n} seeds{unit}: {'; '.join(told)}", 7)
    lines += _wrapped(by_seed(shown), 7)
    if shown.lines:
        named = "; ".join(f"{name} {value:.4g}" for name, value in shown.lines.items())
        lines += _wrapped(f"to compare with{unit}: {named}", 7)
    if shown.incomplete:
        seeds = ", ".join(map(str, shown.incomplete))
        lines += _wrapped(f"seeds that lack an arm, left out of the contrast: {seeds}", 7)
    return lines


def _beside(finding: Finding) -> list[str]:
    """Secondary parts that are decided, for or against, and those that wait for another."""
    told = [
        f"{part.name}: {part.effect:+.3g} {part.unit}".rstrip()
        + f" {ends(part)}, claim {part.hypothesis} ({part.verdict})"
        for part in finding.parts
        if not part.primary and part.verdict in ("supported", "contradicted")
    ]
    told += [
        f"{part.name}: not asked before '{part.gate}' is decided"
        for part in finding.parts
        if part.verdict == "not asked"
    ]
    return _wrapped(f"beside it, not deciding: {'; '.join(told)}", 7) if told else []


def by_seed(part: PartFinding) -> str:
    """The contrast of each seed."""
    unit = f" ({part.unit})" if part.unit else ""
    return f"by seed{unit}: " + ", ".join(f"{s}: {value:+.4g}" for s, value in part.values.items())


def ends(finding: Finding | PartFinding) -> str:
    """The ends, or that with so few seeds no finite interval has the level."""
    if math.isinf(finding.low):
        return f"none (n = {finding.n})"
    return f"[{finding.low:.3g}, {finding.high:.3g}]"


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_on_hyphens=False,
    )


def _details(finding: Finding) -> list[str]:
    lines = _wrapped(f"source: {finding.source}", 7)
    for part in finding.parts:
        kind = "" if part.primary else " (secondary, does not decide)"
        lines += _wrapped(f"{part.name}{kind}: {part.formula}", 7)
        if part.n == 0:
            lines += _wrapped(f"not testable: {part.missing}", 11)
            continue
        e = f", E {part.e:.3g}" if part.scale is not None else ""
        waits = f" before '{part.gate}' is decided" if part.verdict == "not asked" else ""
        lines += _wrapped(
            f"claim {part.hypothesis}; {part.verdict}{waits}: {part.effect:+.4g} {part.unit} "
            f"{ends(part)}, n = {part.n}, p for {p_in_words(part.p_for)}, against"
            f" {p_in_words(part.p_against)}{e}",
            11,
        )
        lines += _wrapped(by_seed(part), 11)
        lines += [
            f"{'':11}mean {arm.mean:.3f}, interquartile mean {arm.iqm:.3f} [{arm.low:.3f},"
            f" {arm.high:.3f}]{f' {part.of_level}' if part.of_level else ''}, {arm.n} runs "
            f" {arm.arm}"
            for arm in part.arms
        ]
        lines += [f"{'':11}{value:10.3f} {name}" for name, value in part.lines.items()]
        if part.held:
            held = ", ".join(f"{key} = {value}" for key, value in part.held.items())
            lines += _wrapped(f"held: {held}", 11)
    lines += _wrapped(finding.note, 7)
    for change in finding.changes:
        lines += _wrapped(f"changed {change.date}: {change.what} Seen by then: {change.seen}.", 7)
    return lines


def _footer(findings: Sequence[Finding]) -> list[str]:
    lines = _wrapped(KEY, 0)
    rates = {finding.lr_arm: finding.rates for finding in findings if finding.rates}
    for arm, told in rates.items():
        lines += _wrapped(f"rates {arm}: {told}", 0)
    for name, values in findings[0].references.items() if findings else ():
        told = ", ".join(f"{column} {value:.2f}" for column, value in values.items())
        lines.append(f"reference: {name}: {told}")
    if findings and findings[0].unfinished:
        told = ", ".join(f"{count} {state}" for state, count in findings[0].unfinished.items())
        lines.append(f"left out, not done: {told}")
    return lines
