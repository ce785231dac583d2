"""What the pilot showed without having been asked: parts of docs/pilot-exploratory.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from documents import as_table

from optnas.analysis import paired
from optnas.analysis.curves import at_loss, common_loss
from optnas.analysis.estimates import Floats
from optnas.analysis.proportions import collapsed
from optnas.spaces import build_space

if TYPE_CHECKING:
    from pilot import Pilot

ALGORITHMS = ("darts", "sdarts-rs")
ACCURACY = "benchmark.cifar10"
SKIP, CONVOLUTION = "op_weight.skip_connect", "op_weight.nor_conv_3x3"
MOVED = "alpha_displacement_centred"
WEIGHT, SEED = "weight_optimizer.name", "search.seed"


def skips(pilot: Pilot) -> str:
    """Operation weight of skip, SGD minus Adam on w: at the end, and at equal displacement."""
    rows = []
    for algorithm, runs in _by_algorithm(pilot):
        last = runs.groupby("id").last()
        for words, column in (("skip", SKIP), ("3x3 convolution", CONVOLUTION)):
            means = last.groupby([SEED, WEIGHT])[column].mean().unstack()
            gaps = (means["SGD"] - means["Adam"]).to_numpy()
            rows.append((algorithm, words, "last epoch", *_told(gaps, 4)))
        rows.append((algorithm, "skip", "equal displacement", *_told(_equally_far(runs), 4)))
    heads = ("algorithm", "operation weight of", "at", "SGD - Adam", "above 0", "p")
    return as_table(heads, rows)


def _equally_far(runs: pd.DataFrame) -> Floats:
    """By seed: the gap where alpha is as far from its start as both optimizers' runs get.

    `at_loss` finds where a value first falls to a level; a displacement rises.
    """
    gaps: dict[int, list[float]] = {}
    for (seed, _), each in runs.groupby([SEED, "arch_optimizer.name"]):
        by_name = dict(iter(each.groupby(WEIGHT)))
        level = common_loss([-run[MOVED] for run in by_name.values()])
        there = {name: at_loss(-run[MOVED], run[SKIP], level) for name, run in by_name.items()}
        gaps.setdefault(seed, []).append(there["SGD"] - there["Adam"])
    return np.array([np.mean(each) for each in gaps.values()])


def beginning(pilot: Pilot) -> str:
    """The last cell's accuracy minus that of the cell before any step."""
    rows = []
    for algorithm, runs in _by_algorithm(pilot):
        ends = [runs.groupby("id").nth(place) for place in (0, -1)]
        first, last = (end.groupby(SEED)[ACCURACY].mean() for end in ends)
        means = f"{first.mean():.2f}", f"{last.mean():.2f}"
        rows.append((algorithm, *means, *_told((last - first).to_numpy(), 3)))
    heads = ("algorithm", "cell before any step (%)", "last cell (%)", "gain (pp)", "above 0", "p")
    return as_table(heads, rows)


def ranks(pilot: Pilot) -> str:
    """Kendall's tau of one-shot and benchmark accuracy: of all cells, and of the best tenth."""
    rows = []
    for algorithm, runs in _by_algorithm(pilot):
        last = runs.groupby("id").last()
        for words, name in (("drawn among all", "tau"), ("drawn among the best tenth", "tau_top")):
            by_seed = last.groupby(SEED)[f"measure.indicator.{name}"].mean()
            rows.append((algorithm, words, *_told(by_seed.to_numpy(), 3)))
    return as_table(("algorithm", "cells", "tau", "above 0", "p"), rows)


def base_rate(pilot: Pilot) -> str:
    """How many of all cells are a collapse by the rule that runs are judged by."""
    space = build_space({"name": pilot.table.space_name})
    cells = (space.architecture_at(place) for place in range(pilot.table.size))
    counts = [cell.operations.count(space.skip) for cell in cells]
    question = next(q for q in pilot.table.coverage.headline if q.dataset == "cifar10")
    share = float(np.mean(collapsed(counts, pilot.table.values(question), pilot.random_cell)))
    shares = [f"{pilot.collapsed[each]} runs of {each}" for each in ALGORITHMS]
    return (
        f"By the same rule {100 * share:.0f} % of all {pilot.table.size:,} cells are a collapse: "
        f"that is what guessing gives. It was {' and '.join(shares)}."
    )


def _by_algorithm(pilot: Pilot) -> Iterable[tuple[str, pd.DataFrame]]:
    for name in ALGORITHMS:
        yield name, pilot.frame[pilot.frame["algorithm.name"] == name]


def _told(values_N: Floats, digits: int) -> tuple[str, str, str]:
    """Mean over seeds in its exact interval, seeds above 0, exact p."""
    found, test = paired.interval(values_N), paired.sign_flip(values_N)
    numbers = (f"{each:+.{digits}f}" for each in (found.estimate, found.low, found.high))
    mean, low, high = numbers
    above = f"{int((values_N > 0).sum())} of {len(values_N)}"
    return f"{mean} [{low}, {high}]", above, f"{test.p:.3f}"


EXPLORATORY: dict[str, Callable[[Pilot], str]] = {
    "skips": skips,
    "beginning": beginning,
    "ranks": ranks,
    "base-rate": base_rate,
}
