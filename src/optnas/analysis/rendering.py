"""The ledger of claims as a table, as text and as JSON; computes nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd

from optnas.analysis.claims import Finding
from optnas.analysis.findings import PartFinding

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


def as_frame(findings: Sequence[Finding]) -> pd.DataFrame:
    """One row a finding, without its parts."""
    return pd.DataFrame(
        [[getattr(finding, name) for name in COLUMNS] for finding in findings],
        columns=list(COLUMNS),
    )


def as_json(findings: Sequence[Finding]) -> str:
    """Everything, as strict JSON: what is infinite or not a number is null."""
    plain = [_strict(dataclasses.asdict(finding)) for finding in findings]
    return json.dumps(plain, indent=1, allow_nan=False)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_text(findings: Sequence[Finding], *, details: bool = False) -> str:
    """The ledger for a terminal: a line a finding and why; with details its parts and arms.

    Args:
        findings: of `optnas.analysis.claims.judge`.
        details: also the parts, their arms and the reference lines.

    Returns:
        Text without a final line break.
    """
    head = (
        f"{'claim':<6} {'rates':<8} {'verdict':<13} {'after Holm':<13} {'n':>3} "
        f"{'effect':>10} {'interval':^22} {'p':>7} {'Holm p':>7}"
    )
    lines = [head]
    for finding in findings:
        lines.append(_row(finding))
        lines += _wrapped(finding.text, 7)
        lines += _wrapped(f"because {finding.reason}", 7) if finding.reason else []
        lines += _wrapped(f"to settle it: {finding.settle}", 7) if finding.settle else []
        if details:
            lines += _details(finding)
    if findings:
        lines += _footer(findings[0])
    return "\n".join(lines)


def _row(finding: Finding) -> str:
    return (
        f"{finding.id:<6} {finding.lr_arm:<8} {finding.verdict:<13} {finding.verdict_holm:<13} "
        f"{finding.n or '-':>3} {_number(finding.effect, '+.3g'):>10} "
        f"{_interval(finding):^22} {_number(finding.p, '.3f'):>7} "
        f"{_number(finding.p_holm, '.3f'):>7}"
    )


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _interval(finding: Finding | PartFinding) -> str:
    return "-" if finding.n == 0 else f"[{finding.low:.3g}, {finding.high:.3g}]"


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_on_hyphens=False,
    )


def _details(finding: Finding) -> list[str]:
    lines = _wrapped(f"source: {finding.source}; learning rates: {finding.rates}", 7)
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
        if part.held:
            held = ", ".join(f"{key} = {value}" for key, value in part.held.items())
            lines += _wrapped(f"held: {held}", 11)
    return lines + _wrapped(finding.note, 7)


def _footer(finding: Finding) -> list[str]:
    lines = []
    for name, values in finding.references.items():
        told = ", ".join(f"{column} {value:.2f}" for column, value in values.items())
        lines.append(f"reference: {name}: {told}")
    if finding.unfinished:
        told = ", ".join(f"{count} {state}" for state, count in finding.unfinished.items())
        lines.append(f"left out, not done: {told}")
    return lines
