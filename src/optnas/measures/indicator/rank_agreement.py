"""How one-shot accuracies and simple baselines agree with a benchmark, on the same cells.

Shapes: N cells, I images, R bootstrap resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from optnas.measures.indicator import ranking
from optnas.measures.indicator.costs import BASELINES
from optnas.measures.indicator.ranking import Counts, Floats, Interval
from optnas.spaces import Architecture

ROUNDING = 1  # decimals of the benchmark accuracy for the sparse tau


@dataclass(frozen=True)
class Sample:
    """Cells and what was found of them.

    Attributes:
        cells: N cells.
        places_N: their places in the official order.
        accuracy_N: one-shot accuracy in percent.
        loss_N: one-shot loss in nats.
        truth_N: benchmark accuracy in percent.
        correct_NI: which images each has right.
    """

    cells: list[Architecture]
    places_N: npt.NDArray[np.int64]
    accuracy_N: Floats
    loss_N: Floats
    truth_N: Floats
    correct_NI: npt.NDArray[np.bool_]

    def where(self, keep_N: npt.NDArray[np.bool_]) -> Sample:
        """Some of the cells."""
        cells = [cell for cell, keep in zip(self.cells, keep_N, strict=True) if keep]
        return Sample(
            cells,
            self.places_N[keep_N],
            self.accuracy_N[keep_N],
            self.loss_N[keep_N],
            self.truth_N[keep_N],
            self.correct_NI[keep_N],
        )


def correlations(
    connected: Sample, all_uniform: Sample, of_top: Sample, resamples: int, seed: int
) -> dict[str, Any]:
    """Correlations with intervals, those of the baselines, and what image noise costs.

    Resamples are shared, so that differences are paired.

    Args:
        connected: the connected ones of the uniform cells.
        all_uniform: all of them.
        of_top: connected cells of the top.
        resamples: of an interval.
        seed: of the resamples.

    Returns:
        Values of the measure `indicator` by name.
    """
    found: dict[str, Interval] = {}
    baselines: dict[str, dict[str, Any]] = {name: {} for name in BASELINES}
    numbers: dict[str, Any] = {"baselines": baselines}
    for suffix, sample in (("", connected), ("_top", of_top)):
        counts = ranking.resample_counts(len(sample.cells), resamples, seed)
        tau = partial(ranking.kendall, sample.accuracy_N, sample.truth_N)
        simple = {
            name: np.array([value(cell) for cell in sample.cells], dtype=np.float64)
            for name, value in BASELINES.items()
        }
        convolutions = partial(ranking.kendall, simple["convolutions_3x3"], sample.truth_N)
        found[f"tau{suffix}"] = ranking.interval(tau, counts)
        found[f"tau{suffix}_minus_convolutions"] = ranking.interval(
            partial(difference, tau, convolutions), counts
        )
        for name, value_N in simple.items():
            other = partial(ranking.kendall, value_N, sample.truth_N)
            baselines[name][f"tau{suffix}"] = list(ranking.interval(other, counts))
        share = ranking.reliability(sample.correct_NI)
        numbers[f"reliability{suffix}"] = share
        numbers[f"tau_without_image_noise{suffix}"] = ranking.without_attenuation(
            found[f"tau{suffix}"].value, share
        )
        if sample is connected:
            found["spearman"] = _spearman(sample.accuracy_N, sample.truth_N, counts)
            for name, value_N in simple.items():
                baselines[name]["spearman"] = list(_spearman(value_N, sample.truth_N, counts))
            rounded_N = np.round(sample.truth_N, ROUNDING)
            sparse = partial(ranking.kendall, sample.accuracy_N, rounded_N)
            found["sparse_tau"] = ranking.interval(sparse, counts)
    counts = ranking.resample_counts(len(all_uniform.cells), resamples, seed)
    tau = partial(ranking.kendall, all_uniform.accuracy_N, all_uniform.truth_N)
    found["tau_all"] = ranking.interval(tau, counts)
    for name, (value, low, high) in found.items():
        numbers |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return numbers


def difference(
    one: Callable[[Counts], Floats], other: Callable[[Counts], Floats], counts_RN: Counts
) -> Floats:
    """One statistic less another in each of several weighted samples.

    Args:
        one: such as `optnas.measures.indicator.ranking.kendall` of two numbers.
        other: of the same cells.
        counts_RN: how often a cell stands in a sample.

    Returns:
        ``[R]``.
    """
    return one(counts_RN) - other(counts_RN)


def _spearman(x_N: Floats, y_N: Floats, counts_RN: Counts) -> Interval:
    return ranking.interval(partial(ranking.spearman, x_N, y_N), counts_RN)
