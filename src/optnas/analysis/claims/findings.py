"""What a judged part says of itself, and the rule that turns p-values into a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from optnas.analysis.claims.families import OWN, Family
from optnas.analysis.references import References

Verdict = Literal[
    "supported", "contradicted", "inconclusive", "not testable", "not asked", "computed"
]


@dataclass(frozen=True)
class Line:
    """An arm of a comparison.

    ``mean`` is over the seeds of the contrast, so that the effect is the contrast of these means;
    ``n`` runs, interquartile mean and bootstrap interval are of all runs of the arm.
    """

    arm: str
    mean: float
    n: int
    iqm: float
    low: float
    high: float


@dataclass(frozen=True)
class PartFinding:
    """What runs say of one contrast.

    ``unit`` is that of the contrast, ``of_level`` that of an arm's own numbers. ``values`` is the
    contrast by seed, ``other`` the one that it is measured against, if there is
    one; ``effect`` its mean between the exact ends ``low`` and ``high``. ``p_for`` and
    ``p_against`` are one-sided: small speaks for the claim, or against it.
    For a curve the effect is its bow: the turning level minus the mean of the two end levels.
    ``gap`` is how far the effect is from the value, or the margin, that it is compared with,
    ``smallest_p`` the smallest two-sided p that n seeds can reach in this test.
    ``arms`` are the arms of the contrast, ``lines`` the references for the same column, where the
    response is a level of it. ``missing`` says what is not there, ``supply`` how to get it.

    In a primary family ``e`` is E after the last seed, ``e_for`` and ``e_against`` the largest so
    far while it spoke for the claim or against it, ``decided_at`` the seed with which either first
    reached the threshold, ``scale`` the s that was fixed beforehand (None elsewhere), and
    ``seeds_to_add`` about how many seeds E still needs. ``waits`` is a seed that
    lacks an arm, where E is that of the seeds before it.
    """

    name: str
    formula: str
    hypothesis: str
    unit: str
    of_level: str
    primary: bool
    verdict: Verdict
    gate: str | None = None
    n: int = 0
    values: Mapping[int, float] = field(default_factory=dict)
    other: Mapping[int, float] = field(default_factory=dict)
    effect: float = math.nan
    low: float = -math.inf
    high: float = math.inf
    gap: float = math.nan
    smallest_p: float = 1.0
    p_for: float = 1.0
    p_against: float = 1.0
    incomplete: tuple[int, ...] = ()
    arms: tuple[Line, ...] = ()
    lines: Mapping[str, float] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    supply: str = ""
    scale: float | None = None
    e: float = math.nan
    e_for: float = 0.0
    e_against: float = 0.0
    waits: int | None = None
    decided_at: int | None = None
    seeds_to_add: int | None = None


@dataclass(frozen=True)
class Setting:
    """What all parts are judged with.

    Args:
        references: by name, then by column.
        alpha: two-sided level of a verdict.
        family: of the claim.
        scales: of a primary family: s by part.
        seeds: of a primary family: those of the claim, in the order in which E takes them.
        diverged: of a primary family: seeds of which a run diverged, so that nothing more comes.
    """

    references: References
    alpha: float
    family: Family = OWN
    scales: Mapping[str, float] = field(default_factory=dict)
    seeds: Sequence[int] = ()
    diverged: frozenset[int] = frozenset()

    def reference(self, name: str, column: str) -> float | None:
        """The value of a reference for a column, if it was given."""
        return self.references.get(name, {}).get(column)

    def level(self, name: str, column: str) -> float:
        """The value of a reference for a column; NaN if it was not given."""
        value = self.reference(name, column)
        return math.nan if value is None else value

    def lines(self, column: str) -> dict[str, float]:
        """All references for a column, by name."""
        return {
            name: values[column] for name, values in self.references.items() if column in values
        }


def decide(p_for: float, p_against: float, n: int, minimum_n: int, alpha: float) -> Verdict:
    """A verdict from two one-sided p-values, each at half the level.

    Args:
        p_for: small speaks for the claim.
        p_against: small speaks against it.
        n: seeds.
        minimum_n: fewest seeds for a verdict.
        alpha: two-sided level.

    Returns:
        Supported, contradicted or inconclusive.

    Example:
        >>> decide(0.01, 1.0, 6, 6, 0.05)
        'supported'
    """
    if n < minimum_n or min(p_for, p_against) > alpha / 2:
        return "inconclusive"
    return "supported" if p_for <= p_against else "contradicted"
