"""What a supernet must beat: proxies of untrained networks and simple counts, on the same cells.

Shapes: N cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, AtLeastTwo
from optnas.measures.base import Measure, Quantity, Values
from optnas.measures.indicator.measure import (
    asked,
    draw_cells,
    judged_batches,
    places_of_table,
)
from optnas.spaces import is_connected

if TYPE_CHECKING:
    from optnas.measures.snapshot import Snapshot

Floats = npt.NDArray[np.float64]

# What is compared, and the measure whose draws the cells are those of.
ONE_SHOT, DRAWN_BY = "one_shot", "indicator"
PROXIES = ("grad_norm", "snip", "synflow", "naswot")
STREAM = "proxies"  # of initial weights
JUDGED_TOGETHER = 250  # images of a batch that one-shot accuracies are taken on
BY = "1, by what ranks the cells"
ENDS = ("", "_low", "_high")
QUANTITIES = {
    **{
        f"{name}{suffix}{end}": Quantity(by, "higher")
        for name, by in (("tau", BY), ("spearman", BY), ("lead", f"{BY} without the supernet"))
        for suffix in ("", "_top")
        for end in ENDS
    },
    "not_finite": Quantity("cells, by proxy"),
    "uniform": Quantity("cells"),
    "top": Quantity("cells"),
    "disconnected": Quantity("cells of the uniform ones"),
    "images": Quantity("images of the proxies' batch"),
    "judged": Quantity("images of the one-shot accuracies"),
    "asked": Quantity("table, data set, split, epochs of the benchmark accuracies"),
}


@register("measure", "proxies", needs=("usual-cell",))
def proxies(
    uniform: AtLeastTwo = 100,
    top: AtLeastTwo = 100,
    batch_size: AtLeastTwo = 64,
    images: AtLeastTwo = 1000,
    resamples: AtLeastOne = 1000,
    dataset: str = "",
) -> Measure:
    """Rank correlations with the benchmark of one-shot accuracies, proxies and counts of cells.

    A proxy is a number of the cell's stand-alone network at its initial weights, with the channels,
    cells and images of the run: `optnas.measures.proxies.maths`. The initial weights are the run's
    seed's, from a stream of their own, and every cell's network begins at its start.

    Args:
        uniform: cells drawn from all; at the same epoch they are among those of `indicator`.
        top: cells drawn from the tenth that is best by the benchmark, likewise.
        batch_size: images that the proxies are taken on, the first of the validation half.
        images: the first so many of the validation half that one-shot accuracies are taken on.
        resamples: bootstrap resamples of an interval.
        dataset: the table's data set to compare with; empty for that of the search, or the table's
            first where it has none of this name.
    """

    def measure(snapshot: Snapshot) -> Values:
        question = asked(snapshot, dataset)
        truth_of_all = snapshot.table.values_of(snapshot.space, question)
        drawn, best = draw_cells(snapshot.seen_by(DRAWN_BY), truth_of_all, uniform, top)
        places_N = np.union1d(drawn, best)
        live = [is_connected(snapshot.space.architecture_at(int(place))) for place in places_N]
        places_N = places_N[live]
        uniform_N, top_N = np.isin(places_N, drawn), np.isin(places_N, best)
        ranks, used = _ranks(snapshot, places_N, batch_size, images)
        truth_N, seed = truth_of_all[places_N], snapshot.generator().initial_seed()
        numbers: dict[str, Any] = {
            **_compared(ranks, truth_N, uniform_N, "", resamples, seed),
            **_compared(ranks, truth_N, top_N, "_top", resamples, seed),
            "not_finite": {name: int((~np.isfinite(ranks[name])).sum()) for name in PROXIES},
            "uniform": len(drawn),
            "top": int(top_N.sum()),
            "disconnected": len(drawn) - int(uniform_N.sum()),
            **used,
            "asked": {"table": snapshot.table.name, **question._asdict()},
        }
        marks = {"benchmark": truth_N, "uniform": uniform_N, "top": top_N}
        index_N = places_of_table(snapshot.space, places_N)
        return Values(numbers, {"index": index_N, **ranks, **marks})

    def least_batch(size: int, batch: int, untracked: bool) -> int | None:
        count = min(images, size)
        return min(batch_size, size, count // math.ceil(count / JUDGED_TOGETHER))

    return Measure(
        measure,
        QUANTITIES,
        cost="of each cell two forward passes and a backward pass of its stand-alone network over"
        " `batch_size` images, and the forward passes of `indicator` over `images`",
        quick={"uniform": 6, "top": 4, "batch_size": 8, "images": 20, "resamples": 20},
        least_batch=least_batch,
    )


def _ranks(
    snapshot: Snapshot, places_N: npt.NDArray[np.int64], batch_size: int, images: int
) -> tuple[dict[str, Floats], dict[str, int]]:
    """What ranks the cells, by name; and of how many images."""
    import torch

    from optnas.base.seeds import named_generator
    from optnas.measures.evaluation import clean_batch
    from optnas.measures.indicator.costs import BASELINES
    from optnas.measures.indicator.oneshot import score_cells
    from optnas.measures.proxies.maths import proxies_of

    half = snapshot.images["valid"]
    batch = clean_batch(half, torch.arange(min(batch_size, len(half))), snapshot.dtype)
    cells = [snapshot.space.architecture_at(int(place)) for place in places_N]
    judged = judged_batches(snapshot, images, JUDGED_TOGETHER)
    scored = score_cells(snapshot.supernet, cells, judged)
    found = [
        proxies_of(snapshot.alone(cell, named_generator(snapshot.seed, STREAM)), batch)
        for cell in cells
    ]
    ranks = {ONE_SHOT: 100 * scored.correct_NI.double().mean(dim=1).numpy()}
    ranks |= {name: np.array([each[name] for each in found]) for name in PROXIES}
    ranks |= {
        name: np.array([value(cell) for cell in cells], dtype=np.float64)
        for name, value in BASELINES.items()
    }
    return ranks, {"images": len(batch.labels_B), "judged": scored.correct_NI.shape[1]}


def _compared(
    ranks: Mapping[str, Floats],
    truth_N: Floats,
    keep_N: npt.NDArray[np.bool_],
    suffix: str,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, float | None]]:
    """Values of the measure that are by what ranks the cells, of some cells.

    A cell of which a proxy has no finite value is left out for that proxy, on both sides of what it
    is compared with.
    """
    from optnas.measures.indicator.rank_agreement import difference
    from optnas.measures.indicator.ranking import Interval, interval, kendall, resample_counts
    from optnas.measures.indicator.ranking import spearman as rank_correlation

    numbers: dict[str, dict[str, float | None]] = {}
    for name, value_N in ranks.items():
        kept = keep_N & np.isfinite(value_N)
        x_N, one_N, y_N = value_N[kept], ranks[ONE_SHOT][kept], truth_N[kept]
        tau = partial(kendall, x_N, y_N)
        statistics = {"tau": tau, "spearman": partial(rank_correlation, x_N, y_N)}
        if name != ONE_SHOT:
            statistics["lead"] = partial(difference, partial(kendall, one_N, y_N), tau)
        counts_RN = resample_counts(len(x_N), resamples, seed) if len(x_N) > 1 else None
        for statistic, of in statistics.items():
            found = Interval(None, None, None) if counts_RN is None else interval(of, counts_RN)
            for end, value in zip(ENDS, found, strict=True):
                numbers.setdefault(f"{statistic}{suffix}{end}", {})[name] = value
    return numbers
