"""Evidence that may be looked at after every seed: an e-process against symmetry.

A fixed-n test looked at again and again finds something by chance. An e-process does not: where
the contrasts are symmetric about 0, the chance that it *ever* reaches a threshold t is at most
1 / t. So seeds may be added until it is reached, or given up at any time, whatever was seen.

Shapes: N seeds in the order in which they were run, L scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from optnas.analysis.estimates import Floats

# Small ones gather the evidence of weak effects, 2.5 of strong ones, 50 counts signs only.
LAMBDAS = (0.3, 0.6, 1.2, 2.5, 50.0)
MOST = 1000  # further seeds that are looked into
FEWEST = 4  # seeds below which nothing is said of those that are needed


class EProcess(NamedTuple):
    """Evidence after each seed: that the contrasts lie above 0, and that they lie below.

    Their sum is E. Each of the two is half an e-process, so that E is one.
    """

    above_N: Floats
    below_N: Floats

    @property
    def both(self) -> Floats:
        """E after each seed, two-sided: [N]."""
        return self.above_N + self.below_N

    @property
    def reached(self) -> tuple[float, float]:
        """The largest E so far while most of it said above, and while most of it said below."""
        up_N = self.above_N >= self.below_N
        return float(self.both[up_N].max(initial=0.0)), float(self.both[~up_N].max(initial=0.0))

    def first(self, threshold: float, *, above: bool) -> int | None:
        """The place of the seed at which E first reached a threshold while most of it said so."""
        side_N = (self.above_N >= self.below_N) == above
        found = np.flatnonzero(side_N & (self.both >= threshold))
        return int(found[0]) if len(found) else None


def _log_factors(values_N: Floats, scale: float, lambdas: Sequence[float]) -> Floats:
    """[N, L]: log of 2 / (1 + exp(-2 lambda d / s)), at most log 2."""
    steps_NL = np.outer(values_N / scale, 2 * np.asarray(lambdas, float))
    return np.asarray(math.log(2) - np.logaddexp(0.0, -steps_NL))


def _mixed(logs: Floats) -> Floats:
    """Half the mean over scales, from logarithms along the last axis."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(logsumexp(logs, axis=-1) - math.log(2 * logs.shape[-1])))


def e_process(
    values_N: npt.ArrayLike, scale: float, lambdas: Sequence[float] = LAMBDAS
) -> EProcess:
    """E_n = (1/2) mean_lambda prod_{i <= n} 2 / (1 + exp(-2 lambda d_i / s)), and its mirror image.

    2 / (1 + exp(-2x)) is 1 + tanh x: its mean over d and -d is 1. Hence every product is a
    martingale where each contrast, given those before it, is symmetric about 0, whatever its
    spread, its tails or its humps; and P(E_n >= t for any n) <= 1 / t (Ville). The scale and the
    lambdas only matter for power, and must be fixed before the contrasts are seen.

    Args:
        values_N: one contrast per seed, in the order in which the seeds were run.
        scale: s, about the standard deviation of a contrast.
        lambdas: of the mixture.

    Returns:
        Both halves after each seed.

    Reference: Vovk and Wang, Nonparametric e-tests of symmetry, 2024; Ville 1939.

    Example:
        >>> e_process([1.0] * 8, scale=1.0).both.round(1).tolist()[-2:]
        [34.6, 66.5]
    """
    log_NL = _log_factors(np.asarray(values_N, float), scale, lambdas)
    mirrored_NL = _log_factors(-np.asarray(values_N, float), scale, lambdas)
    return EProcess(_mixed(np.cumsum(log_NL, axis=0)), _mixed(np.cumsum(mirrored_NL, axis=0)))


def running_scale(values_N: npt.ArrayLike) -> Floats:
    """s_i = sqrt((d_1^2 + ... + d_i^2) / i): a scale for contrasts of which nothing is known.

    `e_process` of d_i / s_i with scale 1 is an e-process too. Where d_i, given those before it, is
    symmetric about 0, its sign is a fair coin even once |d_i| is known; s_i depends on the
    contrasts before and on |d_i| alone, so that d_i / s_i is symmetric as well. A scale of all
    contrasts would move with every seed that is added, and with it every earlier E.

    Args:
        values_N: one contrast per seed, in the order in which the seeds were run.

    Returns:
        One scale per seed; 1 before the first contrast that is not 0.

    Reference: Vovk and Wang, Nonparametric e-tests of symmetry, 2024 (bets on signs and ranks of
    |d|). Ours: the scale.

    Example:
        >>> running_scale([3.0, -4.0]).round(2).tolist()
        [3.0, 3.54]
    """
    values_N = np.asarray(values_N, float)
    scale_N = np.sqrt(np.cumsum(values_N**2) / np.arange(1, len(values_N) + 1))
    return np.where(scale_N > 0, scale_N, 1.0)


def seeds_to_add(
    values_N: npt.ArrayLike,
    scale: float,
    threshold: float,
    lambdas: Sequence[float] = LAMBDAS,
) -> int | None:
    """About how many further seeds would bring E to a threshold, if they come out as those seen.

    Every further seed multiplies the product of each lambda by the geometric mean of its factors so
    far. What was seen is a noisy estimate of what will be: half the effect takes four times the
    seeds.

    Args:
        values_N: one contrast per seed.
        scale: as for `e_process`.
        threshold: of E, on the side that is asked for: above 0.
        lambdas: of the mixture.

    Returns:
        The number; 0 where the last E is there, None where `MOST` would not do or where fewer than
        `FEWEST` seeds say nothing yet.

    Example:
        >>> seeds_to_add([1.0] * 5, scale=1.0, threshold=60)
        3
    """
    values_N = np.asarray(values_N, float)
    if len(values_N) < FEWEST:
        return None
    log_NL = _log_factors(values_N, scale, lambdas)
    further_K1 = np.arange(MOST + 1)[:, None]
    e_K = _mixed(log_NL.sum(axis=0) + further_K1 * log_NL.mean(axis=0))
    reached = np.flatnonzero(e_K >= threshold)
    return int(reached[0]) if len(reached) else None
