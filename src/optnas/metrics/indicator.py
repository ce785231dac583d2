"""Is the supernet an indicator? One-shot accuracies of many cells against the benchmark.

Shapes: N cells, I images, R bootstrap resamples, E edges, O operations.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from optnas.benchmarks import Question, Table
from optnas.errors import UserError
from optnas.metrics.base import Measure, Quantity, Values
from optnas.registry import register
from optnas.spaces import Architecture, is_connected, supernet_string

if TYPE_CHECKING:
    from optnas.instruments.evaluation import Batch
    from optnas.instruments.ranking import Counts, Interval
    from optnas.instruments.snapshot import Snapshot

Floats = npt.NDArray[np.float64]

TOP = 0.1  # the share of all cells called the top
ROUNDING = 1  # decimals of the benchmark accuracy for the sparse tau
TRIAL = 24  # cells that an announcement is timed on
INTERVALS = (
    "tau",
    "tau_all",
    "sparse_tau",
    "spearman",
    "tau_top",
    "tau_minus_convolutions",
    "tau_top_minus_convolutions",
)
QUANTITIES = {
    **{
        f"{name}{end}": Quantity("1", "higher")
        for name in INTERVALS
        for end in ("", "_low", "_high")
    },
    "reliability": Quantity("1", "higher"),
    "reliability_top": Quantity("1", "higher"),
    "tau_without_image_noise": Quantity("1", "higher"),
    "tau_without_image_noise_top": Quantity("1", "higher"),
    "uniform": Quantity("cells"),
    "top": Quantity("cells"),
    "functions": Quantity("distinct functions that were evaluated"),
    "disconnected": Quantity("cells of the uniform ones"),
    "disconnected_accuracy": Quantity("percent"),
    "accuracy": Quantity("percent, mean over the connected uniform cells", "higher"),
    "best_accuracy": Quantity("percent, benchmark accuracy of the predicted best", "higher"),
    "top_k": Quantity("by k: precision 1, best_rank of the uniform cells, and both drawn blindly"),
    "baselines": Quantity("1, by baseline: tau, spearman, tau_top with intervals", "higher"),
    "images": Quantity("images"),
    "asked": Quantity("table, data set, split, epochs of the benchmark accuracies"),
}


@dataclass(frozen=True)
class _Sample:
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

    def where(self, keep_N: npt.NDArray[np.bool_]) -> _Sample:
        """Some of the cells."""
        cells = [cell for cell, keep in zip(self.cells, keep_N, strict=True) if keep]
        return _Sample(
            cells,
            self.places_N[keep_N],
            self.accuracy_N[keep_N],
            self.loss_N[keep_N],
            self.truth_N[keep_N],
            self.correct_NI[keep_N],
        )


@register("metric", "indicator")
def indicator(
    uniform: int = 500,
    top: int = 500,
    images: int = 1000,
    batch_size: int = 250,
    statistics: Literal["batch", "recalibrated"] = "batch",
    batches: int = 20,
    everything: bool = False,
    resamples: int = 1000,
    k: list[int] = [1, 5, 10, 50],  # noqa: B006, a default that the settings show
    dataset: str = "",
) -> Measure:
    """How one-shot accuracies of many cells, all with the weights of w, agree with the benchmark.

    Args:
        uniform: cells drawn from all, without replacement; all where the space has no more.
        top: cells drawn from the tenth that is best by the benchmark.
        images: the first so many of the validation half; all where it has no more.
        batch_size: images of a batch, at most.
        statistics: ``batch``: each batch is normalised by the cell's own statistics of it;
            ``recalibrated``: by averages over clean training batches, each cell's own.
        batches: training batches of a recalibration.
        everything: every cell of the space instead of draws; the time it takes is told first.
        resamples: bootstrap resamples of an interval.
        k: sizes of the predicted top.
        dataset: the table's data set to compare with; empty for that of the search, or the table's
            first where it has none of this name.

    Returns:
        The measure.

    Raises:
        UserError: a number is too small.
    """
    least = {"uniform": 2, "top": 2, "images": 2, "batch_size": 2, "batches": 1, "resamples": 1}
    given = {
        "uniform": uniform,
        "top": top,
        "images": images,
        "batch_size": batch_size,
        "batches": batches,
        "resamples": resamples,
    }
    _check({**given, "k": min(k, default=1)}, {**least, "k": 1})

    def measure(snapshot: Snapshot) -> Values:
        from optnas.instruments import ranking
        from optnas.instruments.oneshot import distinct, score_cells

        question = asked(snapshot.table, dataset or snapshot.dataset, bool(dataset))
        truth_of_all = snapshot.table.values(question)
        drawn, best = _draw(
            snapshot, truth_of_all, *((None, None) if everything else (uniform, top))
        )
        places = np.union1d(drawn, best)
        cells = [snapshot.space.architecture_at(int(place)) for place in places]
        judged = _batches(snapshot, images, batch_size)
        calibration = (
            list(snapshot.batches("train", batches)) if statistics == "recalibrated" else []
        )
        score = partial(score_cells, snapshot.supernet, batches=judged, calibration=calibration)
        if everything:
            _announce(score, cells, len(distinct(cells)))
        found = score(cells)
        correct_NI = found.correct_NI.numpy()
        scored = _Sample(
            cells,
            places,
            100 * correct_NI.mean(axis=1),
            found.loss_N.numpy(),
            truth_of_all[places],
            correct_NI,
        )
        connected_N = np.array([is_connected(cell) for cell in cells])
        in_uniform_N = np.isin(places, drawn)
        all_uniform = scored.where(in_uniform_N)
        connected = scored.where(in_uniform_N & connected_N)
        of_top = scored.where(np.isin(places, best) & connected_N)
        lost = scored.where(in_uniform_N & ~connected_N)
        seed = snapshot.generator().initial_seed()
        numbers = {
            **_correlations(connected, all_uniform, of_top, resamples, seed),
            "uniform": len(all_uniform.cells),
            "top": len(of_top.cells),
            "functions": len({supernet_string(cell) for cell in cells}),
            "disconnected": len(lost.cells),
            "disconnected_accuracy": float(lost.accuracy_N.mean()) if lost.cells else None,
            "accuracy": float(connected.accuracy_N.mean()),
            "best_accuracy": float(
                connected.truth_N[np.lexsort((connected.loss_N, -connected.accuracy_N))[0]]
            ),
            "top_k": ranking.top_k(connected.accuracy_N, connected.loss_N, connected.truth_N, k),
            "images": correct_NI.shape[1],
            "asked": {"table": snapshot.table.name, **question._asdict()},
        }
        arrays = {
            "index": scored.places_N,
            "accuracy": scored.accuracy_N,
            "loss": scored.loss_N,
            "benchmark": scored.truth_N,
            "connected": connected_N,
            "uniform": in_uniform_N,
            "top": np.isin(places, best),
        }
        return Values(numbers, arrays)

    return Measure(
        measure,
        QUANTITIES,
        cost="forward passes of a thousand cells over `images`: about a minute of CPU time with"
        " 1,000 images of 16x16, 8 channels and 1 cell a stage; recalibrated, also over `batches`"
        " training batches and again; everything is ten times that, and tells its time first",
        quick={"uniform": 10, "top": 6, "images": 20, "batch_size": 10, "resamples": 20},
    )


def _check(given: dict[str, int], least: dict[str, int]) -> None:
    for key, value in given.items():
        if value < least[key]:
            raise UserError(
                f"is at least {least[key]}",
                key=f"measures.indicator.{key}",
                value=value,
                remedy="raise it",
            )


def asked(table: Table, dataset: str, required: bool) -> Question:
    """The benchmark's question for a search on a data set.

    Args:
        table: the run's table.
        dataset: name of the data set.
        required: refuse a table that does not have it; otherwise its first data set stands in.

    Returns:
        A question of the table's headline.

    Raises:
        UserError: there is no table, or it does not have the data set.
    """
    headline = table.coverage.headline if table.measurements else ()
    if not headline:
        raise UserError(
            "one-shot accuracies are compared with a benchmark table, and the run has none",
            key="benchmark.table",
            value=table.name,
            remedy="measure a run with a table; `optnas benchmark tables` lists them",
        )
    found = [question for question in headline if question.dataset == dataset]
    if not found and required:
        raise UserError(
            f"the table {table.name} has {', '.join(q.dataset for q in headline)}",
            key="measures.indicator.dataset",
            value=dataset,
            remedy="choose one of these",
        )
    return (found or list(headline))[0]


def _draw(
    snapshot: Snapshot, truth_of_all: Floats, uniform: int | None, top: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Places of cells drawn from all and from the best tenth; None draws every one."""
    import torch

    generator = snapshot.generator()
    order = np.argsort(-truth_of_all, kind="stable")
    best = order[: math.ceil(TOP * len(order))]

    def draw(pool: npt.NDArray[np.int64], count: int | None) -> npt.NDArray[np.int64]:
        chosen = torch.randperm(len(pool), generator=generator)[:count]
        return np.sort(pool[chosen.numpy()])

    return draw(np.arange(len(order)), uniform), draw(best, top)


def _batches(snapshot: Snapshot, images: int, batch_size: int) -> list[Batch]:
    """The first images of the validation half, in batches as equal as can be."""
    import torch

    from optnas.instruments.evaluation import clean_batch

    half = snapshot.images["valid"]
    chosen = torch.arange(min(images, len(half)))
    parts = chosen.tensor_split(math.ceil(len(chosen) / batch_size))
    return [clean_batch(half, indices_B, snapshot.dtype) for indices_B in parts]


def _announce(score: Any, cells: Sequence[Architecture], functions: int) -> None:
    """Say on stderr how long all cells will take, from the time that a few distinct ones take."""
    some = {supernet_string(cell): cell for cell in cells[: 4 * TRIAL]}
    trial = list(some.values())[:TRIAL]
    start = time.perf_counter()
    score(trial)
    minutes = (time.perf_counter() - start) / len(trial) * functions / 60
    print(
        f"indicator: {len(cells)} cells, {functions} distinct functions,"
        f" at most about {minutes:.0f} minutes",
        file=sys.stderr,
        flush=True,
    )


def _correlations(
    connected: _Sample, all_uniform: _Sample, of_top: _Sample, resamples: int, seed: int
) -> dict[str, Any]:
    """Correlations with intervals; resamples are shared, so that differences are paired."""
    from optnas.instruments import ranking
    from optnas.instruments.costs import BASELINES

    found: dict[str, ranking.Interval] = {}
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
            partial(_difference, tau, convolutions), counts
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


def _difference(
    one: Callable[[Counts], Floats], other: Callable[[Counts], Floats], counts_RN: Counts
) -> Floats:
    return one(counts_RN) - other(counts_RN)


def _spearman(x_N: Floats, y_N: Floats, counts_RN: Counts) -> Interval:
    from optnas.instruments import ranking

    return ranking.interval(partial(ranking.spearman, x_N, y_N), counts_RN)
