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

COLUMNS = (
    "id",
    "lr_arm",
    "verdict",
    "verdict_holm",
    "n",
    "effect",
    "low",
    "high",
    "unit",
    "p",
    "p_holm",
    "reason",
    "settle",
)
WIDTH = 100
KEY = (
    "effect: mean over seeds of the contrast within a seed, in its exact interval; arms: over "
    "their own seeds; p: two-sided, sign flips; Holm: over all claims judged at the same rates"
)


def as_frame(findings: Sequence[Finding]) -> pd.DataFrame:
    """One row per finding, without its parts."""
    return pd.DataFrame(
        [[getattr(finding, name) for name in COLUMNS] for finding in findings],
        columns=list(COLUMNS),
    )


def as_plain(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Everything, ready for strict JSON: what is infinite or not a number is None."""
    return [_strict(dataclasses.asdict(finding)) for finding in findings]


def as_json(findings: Sequence[Finding]) -> str:
    """Everything, as strict JSON: what is infinite or not a number is null."""
    return json.dumps(as_plain(findings), indent=1, allow_nan=False)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_text(findings: Sequence[Finding], *, details: bool = False) -> str:
    """The ledger for a terminal: for each finding a line, its arms, why, and what would settle it.

    Args:
        findings: of `optnas.analysis.claims.judge`.
        details: all parts with their arms, instead of the arms of the part that the line shows.

    Returns:
        Text without a final line break.
    """
    lines = [
        f"{'claim':<6} {'rates':<10} {'verdict':<13} {'after Holm':<13} {'n':>3} "
        f"{'effect':>13} {'interval':^18} {'p':>6} {'Holm p':>6}"
    ]
    for finding in findings:
        lines.append(_row(finding))
        lines += _wrapped(finding.text, 7)
        lines += [] if details else _arms_in_short(finding)
        lines += _wrapped(f"because {finding.reason}", 7) if finding.reason else []
        open_ = finding.verdict in ("inconclusive", "not testable")
        head = "to settle it" if open_ else "but"
        lines += _wrapped(f"{head}: {finding.settle}", 7) if finding.settle else []
        lines += _details(finding) if details else []
    return "\n".join([*lines, *_footer(findings)])


def _row(finding: Finding) -> str:
    # What is there of a claim that is not testable stands in its reason.
    n, effect, interval, p, p_holm = ("-",) * 5
    if finding.verdict != "not testable":
        n, effect = str(finding.n), f"{finding.effect:+.3g} {finding.unit}".rstrip()
        interval, p, p_holm = _interval(finding), f"{finding.p:.3f}", f"{finding.p_holm:.3f}"
    return (
        f"{finding.id:<6} {finding.lr_arm:<10} {finding.verdict:<13} {finding.verdict_holm:<13} "
        f"{n:>3} {effect:>13} {interval:^18} {p:>6} {p_holm:>6}"
    )


def _arms_in_short(finding: Finding) -> list[str]:
    shown = next((part for part in finding.parts if part.primary and part.n), None)
    if shown is None or finding.verdict == "not testable" or not shown.arms:
        return []
    told = [f"{arm.arm} {arm.iqm:.4g} (n = {arm.n})" for arm in shown.arms]
    told += [f"{name} {value:.4g}" for name, value in shown.lines.items()]
    lines = _wrapped(f"{shown.name}, interquartile mean: {'; '.join(told)}", 7)
    if shown.incomplete:
        seeds = ", ".join(map(str, shown.incomplete))
        lines += _wrapped(f"seeds that lack an arm, left out of the contrast: {seeds}", 7)
    return lines


def _interval(finding: Finding | PartFinding) -> str:
    """With too few seeds no finite interval has the level."""
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
        lines += _wrapped(
            f"claim {part.hypothesis}; {part.verdict}: {part.effect:+.4g} {part.unit} "
            f"{_interval(part)}, n = {part.n}, p for {part.p_for:.3f}, against"
            f" {part.p_against:.3f}",
            11,
        )
        lines += [
            f"{'':11}{arm.iqm:10.3f} [{arm.low:.3f}, {arm.high:.3f}] n = {arm.n}  {arm.arm}"
            for arm in part.arms
        ]
        lines += [f"{'':11}{value:10.3f} {name}" for name, value in part.lines.items()]
        if part.held:
            held = ", ".join(f"{key} = {value}" for key, value in part.held.items())
            lines += _wrapped(f"held: {held}", 11)
    return lines + _wrapped(finding.note, 7)


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
