"""Is the supernet an indicator? One-shot accuracies of many cells against the benchmark.

Shapes: N cells.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, AtLeastTwo
from optnas.measures.base import Measure, Quantity, Values, no_usual_cell
from optnas.spaces import Architecture, Space, is_connected, supernet_string
from optnas.spaces.tables import Question

if TYPE_CHECKING:
    from optnas.measures.evaluation import Batch
    from optnas.measures.indicator.rank_agreement import Sample
    from optnas.measures.snapshot import Snapshot

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

TOP = 0.1  # the share of all cells called the top
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


@register("measure", "indicator", needs=("usual-cell",))
def indicator(
    uniform: AtLeastTwo = 500,
    top: AtLeastTwo = 500,
    images: AtLeastTwo = 1000,
    batch_size: AtLeastTwo = 250,
    statistics: Literal["batch", "recalibrated"] = "batch",
    batches: AtLeastOne = 20,
    everything: bool = False,
    resamples: AtLeastOne = 1000,
    k: list[AtLeastOne] = [1, 5, 10, 50],  # noqa: B006, a default that the settings show
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
    """

    def measure(snapshot: Snapshot) -> Values:
        from optnas.measures.indicator.oneshot import distinct, score_cells
        from optnas.measures.indicator.rank_agreement import Sample

        question = asked(snapshot, dataset)
        truth_of_all = snapshot.table.values_of(snapshot.space, question)
        counts = (None, None) if everything else (uniform, top)
        drawn, best = draw_cells(snapshot, truth_of_all, *counts)
        places_N = np.union1d(drawn, best)
        cells = [snapshot.space.architecture_at(int(place)) for place in places_N]
        recalibrate = statistics == "recalibrated"
        score = partial(
            score_cells,
            snapshot.supernet,
            batches=judged_batches(snapshot, images, batch_size),
            calibration=list(snapshot.batches("train", batches)) if recalibrate else [],
        )
        functions = len(distinct(cells))
        if everything:
            _announce(score, cells, functions)
        found = score(cells)
        accuracy_N = 100 * found.correct_NI.double().mean(dim=1).numpy()
        scored = Sample(
            cells,
            places_N,
            accuracy_N,
            found.loss_N.numpy(),
            truth_of_all[places_N],
            found.correct_NI.numpy(),
        )
        seed = snapshot.generator().initial_seed()
        numbers, arrays = _compared(scored, drawn, best, k, resamples, seed)
        arrays = {"index": places_of_table(snapshot.space, places_N)} | arrays
        told = {
            "functions": functions,
            "images": found.correct_NI.shape[1],
            "asked": {"table": snapshot.table.name, **question._asdict()},
        }
        return Values(numbers | told, arrays)

    def least_batch(size: int, batch: int, untracked: bool) -> int | None:
        count = min(images, size)
        return count // math.ceil(count / batch_size) if statistics == "batch" else None

    return Measure(
        measure,
        QUANTITIES,
        cost="forward passes of a thousand cells over `images`: about a minute of CPU time with"
        " 1,000 images of 16x16, 8 channels and 1 cell per stage; recalibrated, over `batches`"
        " training batches too; everything is ten times that, and tells its time first",
        quick={"uniform": 10, "top": 6, "images": 20, "batch_size": 10, "resamples": 20},
        least_batch=least_batch,
    )


def _compared(
    scored: Sample, drawn: Places, best: Places, k: list[int], resamples: int, seed: int
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Numbers of the measure that come from the scores, and its arrays."""
    from optnas.measures.indicator.rank_agreement import correlations
    from optnas.measures.indicator.ranking import top_k

    connected_N = np.array([is_connected(cell) for cell in scored.cells])
    uniform_N, top_N = np.isin(scored.places_N, drawn), np.isin(scored.places_N, best)
    all_uniform, of_top = scored.where(uniform_N), scored.where(top_N & connected_N)
    connected = scored.where(uniform_N & connected_N)
    lost = scored.where(uniform_N & ~connected_N)
    predicted_best = np.lexsort((connected.loss_N, -connected.accuracy_N))[0]
    numbers = {
        **correlations(connected, all_uniform, of_top, resamples, seed),
        "uniform": len(all_uniform.cells),
        "top": len(of_top.cells),
        "disconnected": len(lost.cells),
        "disconnected_accuracy": float(lost.accuracy_N.mean()) if lost.cells else None,
        "accuracy": float(connected.accuracy_N.mean()),
        "best_accuracy": float(connected.truth_N[predicted_best]),
        "top_k": top_k(connected.accuracy_N, connected.loss_N, connected.truth_N, k),
    }
    arrays = {
        "accuracy": scored.accuracy_N,
        "loss": scored.loss_N,
        "benchmark": scored.truth_N,
        "connected": connected_N,
        "uniform": uniform_N,
        "top": top_N,
    }
    return numbers, arrays


def places_of_table(space: Space, places_N: Places) -> Places:
    """The places of cells in the order of their table, of those in the order of their space."""
    return places_N if space.within is None else np.array(space.places_in_whole())[places_N]


def asked(snapshot: Snapshot, dataset: str) -> Question:
    """The question to the benchmark whose answers cells are ranked by.

    Args:
        snapshot: of a search, in the eyes of the measure that asks.
        dataset: the table's data set; empty for that of the search, or the table's first where it
            has none of this name.

    Returns:
        A question of the table's headline.

    Raises:
        UserError: there is no table, it does not have the data set that is named, or one-hot
            operation weights are no cell.
    """
    _refuse_other_cells(snapshot)
    table = snapshot.table
    headline = table.coverage.headline if table.measurements else ()
    if not headline:
        raise UserError(
            "one-shot accuracies are compared with a benchmark table, and the run has none",
            key="benchmark.table",
            value=table.name,
            remedy="measure a run with a table; `optnas benchmark tables` lists them",
        )
    named = dataset or snapshot.dataset
    found = [question for question in headline if question.dataset == named]
    if not found and dataset:
        raise UserError(
            f"the table {table.name} has {', '.join(q.dataset for q in headline)}",
            key=f"measures.{snapshot.name}.dataset",
            value=dataset,
            remedy="choose one of these",
        )
    return (found or list(headline))[0]


def _refuse_other_cells(snapshot: Snapshot) -> None:
    if not snapshot.algorithm.usual_cell:
        raise no_usual_cell(f"measures.{snapshot.name}", snapshot.name)


def draw_cells(
    snapshot: Snapshot, truth_of_all: Floats, uniform: int | None, top: int | None
) -> tuple[Places, Places]:
    """Cells drawn from all, and from the best tenth; those of fewer are among those of more.

    Args:
        snapshot: whose `generator` draws; that of another measure draws others.
        truth_of_all: the benchmark's accuracy of every cell, in the official order.
        uniform: how many from all; None for every one, as are more than there are.
        top: how many from the best tenth, likewise.

    Returns:
        Places in the official order, ascending.
    """
    import torch

    generator = snapshot.generator()
    order = np.argsort(-truth_of_all, kind="stable")
    best = order[: math.ceil(TOP * len(order))]

    def draw(pool: Places, count: int | None) -> Places:
        chosen = torch.randperm(len(pool), generator=generator)[:count]
        return np.sort(pool[chosen.numpy()])

    return draw(np.arange(len(order)), uniform), draw(best, top)


def judged_batches(snapshot: Snapshot, images: int, batch_size: int) -> list[Batch]:
    """The first images of the validation half, in batches as equal as can be.

    Args:
        snapshot: has the images.
        images: how many; all where the half has no more.
        batch_size: images of a batch, at most.
    """
    import torch

    from optnas.measures.evaluation import clean_batch

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
