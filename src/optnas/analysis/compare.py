"""Every pair of arms: difference within seeds, exact interval and p, E, who wins how often.

A plain function of records: one number per arm, context and seed. A context is what else a run was
at; an arm that was run in several is averaged over those that it shares with the other arm.

    from optnas.analysis.compare import Value, compare
    compare([Value("Adam", "", 0, 91.0), Value("EG", "", 0, 92.0)], ["Adam", "EG"])

Shapes: N seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from optnas.analysis import paired, power
from optnas.analysis.effects import probability_of_improvement
from optnas.analysis.estimates import Floats, iqm
from optnas.analysis.multiplicity import holm
from optnas.analysis.sequential import e_process, running_scale
from optnas.base.columns import Better

ALPHA = 0.05


class Value(NamedTuple):
    """One run's number."""

    arm: str
    context: str
    seed: int
    value: float


@dataclass(frozen=True)
class Pair:
    """What runs say of two arms.

    ``difference`` is the mean over seeds of the first arm's number minus the second's, between the
    exact ends ``low`` and ``high``, which are infinite where so few seeds have no interval of that
    level. ``p`` is two-sided, of sign flips, for a number of seeds fixed beforehand; ``p_holm`` is
    corrected over the pairs. ``e`` is the largest E so far, which may be looked at after every
    seed, and ``threshold`` the E that decides one of all pairs. ``improvement`` is the probability
    that a run of the first arm is better than one of the second (above it, where neither direction
    is). ``seeds`` has the differences by seed, ``contexts`` the number of those averaged over,
    ``means`` the arms' means over these seeds and contexts, of which ``difference`` is the
    difference. NaN stands where no seed has both arms. ``group`` is that of both arms, where only
    arms of one group are compared, and ``short`` are their names without it, if they have such.
    """

    arms: tuple[str, str]
    seeds: Mapping[int, float]
    contexts: int
    means: tuple[float, float] = (math.nan, math.nan)
    difference: float = math.nan
    low: float = -math.inf
    high: float = math.inf
    p: float = math.nan
    p_holm: float = math.nan
    e: float = math.nan
    threshold: float = math.nan
    improvement: float = math.nan
    alpha: float = ALPHA
    group: str = ""
    short: tuple[str, str] | None = None

    @property
    def n(self) -> int:
        """The number of seeds that have both arms."""
        return len(self.seeds)

    @property
    def evidence(self) -> tuple[str, ...]:
        """By what the two arms are told apart: ``p`` after Holm, ``E``, both, or neither."""
        by_p, by_e = self.p_holm <= self.alpha, self.e >= self.threshold
        return (*(("p",) if by_p else ()), *(("E",) if by_e else ()))


class Centre(NamedTuple):
    """One arm: its number of runs, and the mean and interquartile mean over them."""

    arm: str
    n: int
    mean: float
    iqm: float


def compare(
    values: Iterable[Value],
    arms: Sequence[str],
    better: Better = "neither",
    alpha: float = ALPHA,
    groups: Mapping[str, str] | None = None,
) -> list[Pair]:
    """Every pair of arms, the later one minus the earlier one.

        d_s = mean over shared contexts c of value(later, c, s) - value(earlier, c, s)

    A seed counts where every shared context has both. With m pairs in which anything could be
    tested, p is corrected by Holm's method over these, and an E of m / alpha decides: either way
    the chance that any pair without a difference is said to have one is at most alpha. The two
    are alternatives: p where the number of seeds was fixed, E where seeds are added.

    Args:
        values: one per run, seeds in the order in which they were run; NaN where a run has none.
        arms: the arms in order; those without a value are compared with nobody.
        better: the direction in which a run is better by this number.
        alpha: two-sided level; intervals have coverage 1 - alpha each, not corrected.
        groups: the group of each arm, where only arms of the same one are compared. The correction
            runs over the pairs of all groups together.

    Returns:
        One entry for each pair that shares a context, in the order of the arms.

    Example:
        >>> values = [Value(arm, "", s, s + 2.0 * (arm == "b")) for arm in "ab" for s in range(6)]
        >>> [(pair.arms, pair.difference, pair.p) for pair in compare(values, ["a", "b"])]
        [(('b', 'a'), 2.0, 0.03125)]
    """
    by_arm: dict[str, dict[str, dict[int, float]]] = {arm: {} for arm in arms}
    for each in values:
        of_context = by_arm[each.arm].setdefault(each.context, {})
        if math.isfinite(each.value):
            of_context[each.seed] = each.value
    pairs = [
        _pair((later, earlier), by_arm, better, alpha)
        for earlier, later in itertools.combinations(arms, 2)
        if by_arm[earlier].keys() & by_arm[later].keys()
        and (groups is None or groups[earlier] == groups[later])
    ]
    adjusted = holm([pair.p for pair in pairs])
    tested = sum(pair.n > 0 for pair in pairs)
    return [
        replace(pair, p_holm=float(p), threshold=tested / alpha) if pair.n else pair
        for pair, p in zip(pairs, adjusted, strict=True)
    ]


def _pair(
    arms: tuple[str, str],
    by_arm: Mapping[str, Mapping[str, Mapping[int, float]]],
    better: Better,
    alpha: float,
) -> Pair:
    first, second = (by_arm[arm] for arm in arms)
    shared = [context for context in first if context in second]
    every = [cell for context in shared for cell in (first[context], second[context])]
    seeds = [seed for seed in every[0] if all(seed in cell for cell in every)]
    pair = Pair(arms, {}, len(shared), alpha=alpha)
    if not seeds:
        return pair
    x_N, y_N = (_averaged(arm, shared, seeds) for arm in (first, second))
    d_N = x_N - y_N
    mean, low, high = paired.interval(d_N, 1 - alpha)
    sides = (y_N, x_N) if better == "lower" else (x_N, y_N)
    return replace(
        pair,
        seeds=dict(zip(seeds, d_N.tolist(), strict=True)),
        means=(float(x_N.mean()), float(y_N.mean())),
        difference=mean,
        low=low,
        high=high,
        p=paired.sign_flip(d_N).p,
        e=float(e_process(d_N / running_scale(d_N), 1.0).both.max()),
        improvement=probability_of_improvement(*sides),
    )


def _averaged(
    arm: Mapping[str, Mapping[int, float]], contexts: Sequence[str], seeds: Sequence[int]
) -> Floats:
    return np.mean([[arm[context][seed] for seed in seeds] for context in contexts], axis=0)


def centres(values: Iterable[Value], arms: Sequence[str]) -> list[Centre]:
    """Mean and interquartile mean of each arm over all of its runs that have a number."""
    found: dict[str, list[float]] = {arm: [] for arm in arms}
    for each in values:
        if math.isfinite(each.value):
            found[each.arm].append(each.value)
    return [
        Centre(arm, len(x), float(np.mean(x)), float(iqm(x)))
        if x
        else Centre(arm, 0, math.nan, math.nan)
        for arm, x in found.items()
    ]


def too_few(n: int, pairs: int, alpha: float = ALPHA) -> list[str]:
    """What a number of seeds cannot decide, whatever comes out; empty where it can.

    Args:
        n: seeds.
        pairs: of arms, over which p is corrected.
        alpha: two-sided level.

    Example:
        >>> too_few(3, 1)
        ['3 seeds: no interval; 6 are the fewest for p < .05']
        >>> too_few(1, 6)
        ['1 seed: no interval; 8 are the fewest for p < .05 over 6 pairs']
        >>> too_few(6, 6)
        ['6 seeds: Holm over 6 pairs leaves the smallest p at .19; 8 are the fewest for p < .05']
    """
    plural = "s" if n != 1 else ""
    least = f"are the fewest for p < {_short(alpha)}"
    if paired.smallest_p(n) > alpha:
        over = f" over {pairs} pairs" if pairs > 1 else ""
        needed = power.fewest_seeds(alpha / max(pairs, 1))
        return [f"{n} seed{plural}: no interval; {needed} {least}{over}"]
    if pairs * paired.smallest_p(n) > alpha:
        smallest = _short(min(1.0, pairs * paired.smallest_p(n)))
        return [
            f"{n} seed{plural}: Holm over {pairs} pairs leaves the smallest p at {smallest}; "
            f"{power.fewest_seeds(alpha / pairs)} {least}"
        ]
    return []


def _short(p: float) -> str:
    return f"{p:.2g}".removeprefix("0")
