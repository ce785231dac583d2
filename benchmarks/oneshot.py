"""One-shot accuracies of many cells: `optnas.measures.indicator.oneshot` against plain passes.

Plain is one forward pass per cell.

    python benchmarks/oneshot.py [--quick]

The supernet of the protocol ``cpu`` (8 channels, 1 cell per stage), initial weights, random images
of 16 x 16, 1,000 of them in batches of 250 normalised by their own statistics, one thread.

- twin: tests/naive_supernet.py, one module per edge and operation, as published code runs it, at
  the one-hot operation weights of each cell, without autograd.
- merged: the same of `optnas.spaces.network.Supernet`, which shares what leaves a node;
  without autograd, and as it comes, network weights requiring gradients.
- fast: `score_cells` on the same images.

The cells are those of the measure `indicator`: 500 drawn from all and 500 from the tenth that is
best by the embedded table. The slow sides are timed on a part of them, spread evenly, in rounds
between the fast side's, and have to agree with it: largest difference of the losses, images judged
differently, and in double precision on a few. All cells of the space are not
run: their rate is extrapolated from the CPU seconds that a distinct function took, of which 15,625
cells have 7,810. Times are CPU seconds of this process: on a shared machine quote the ratio. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from step import CLASSES, Setting, fast_supernet, naive_supernet
from torch import Tensor

from optnas.measures.evaluation import Batch
from optnas.measures.indicator.oneshot import Scores, distinct, score_cells
from optnas.spaces import Architecture
from optnas.spaces.nasbench201 import NAS_BENCH_201
from optnas.spaces.tables import load_table

SIZE = Setting(channels=8, cells=1, repetitions=0, goal_ratio=10.0, goal_mib=0)
SIDE = 16

Forward = Callable[[Tensor, Tensor], Tensor]


def random_batches(count: int, size: int, dtype: torch.dtype) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        Batch(
            torch.randn(size, 3, SIDE, SIDE, generator=generator, dtype=dtype),
            torch.randint(CLASSES, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def drawn_cells(uniform: int, top: int) -> list[Architecture]:
    """Uniform cells and cells of the best tenth, without replacement each."""
    table = load_table("analog-nasbench", folder=None)
    order = np.argsort(-table.values(table.coverage.headline[0]), kind="stable")
    draw = np.random.default_rng(0).permutation
    places = np.union1d(draw(order)[:uniform], draw(order[: len(order) // 10])[:top])
    return [NAS_BENCH_201.architecture_at(int(place)) for place in places]


def one_by_one(forward: Forward, cells: Sequence[Architecture], batches: Sequence[Batch]) -> Scores:
    """Loss and correct images of each cell from a mixture at its one-hot operation weights."""
    losses, correct = [], []
    labels_I = torch.cat([batch.labels_B for batch in batches])
    for cell in cells:
        one_hot_EO = F.one_hot(torch.tensor(cell.operations), NAS_BENCH_201.operation_count)
        weights_EO = one_hot_EO.to(batches[0].images_BCHW.dtype)
        logits_IK = torch.cat([forward(batch.images_BCHW, weights_EO) for batch in batches])
        losses.append(F.cross_entropy(logits_IK, labels_I).detach().double())
        correct.append(logits_IK.argmax(dim=1) == labels_I)
    return Scores(torch.stack(losses), torch.stack(correct))


def slow_sides(dtype: torch.dtype) -> dict[str, Forward]:
    """Logits of images at operation weights, each batch normalised by its own statistics."""
    merged = fast_supernet(SIZE, dtype)

    def through_merged(images_BCHW: Tensor, weights_EO: Tensor) -> Tensor:
        return merged(images_BCHW, weights_EO, statistics=None).logits_BK

    def without_autograd(forward: Forward) -> Forward:
        return torch.no_grad()(forward)

    return {
        "twin": without_autograd(naive_supernet(SIZE, dtype).train()),
        "merged": without_autograd(through_merged),
        "merged_autograd": through_merged,
    }


def timed(run: Callable[[], Scores]) -> tuple[float, Scores]:
    start = time.process_time()
    scores = run()
    return time.process_time() - start, scores


def largest(a_N: Tensor, b_N: Tensor) -> float:
    return float((a_N - b_N).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer cells; ratios are lower")
    parser.add_argument("--batch-size", type=int, default=250)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    uniform, rounds, a_round = (60, 2, 4) if chosen.quick else (500, 3, 8)
    cells = drawn_cells(uniform, uniform)
    functions = len(distinct(cells))
    net, slow = fast_supernet(SIZE, torch.float32), slow_sides(torch.float32)
    batches = random_batches(1000 // chosen.batch_size, chosen.batch_size, torch.float32)
    picked = np.linspace(0, len(cells) - 1, rounds * a_round).astype(int)
    parts = picked.reshape(a_round, rounds).T  # each round spread over all cells

    score_cells(net, cells[:2], batches)  # first calls cost more
    seconds: dict[str, list[float]] = {key: [] for key in [*slow, "fast"]}
    differences, flips = [], 0
    for part in parts:
        some = [cells[i] for i in part]
        spent, fast = timed(lambda: score_cells(net, cells, batches))
        seconds["fast"].append(spent / len(cells))
        for key, forward in slow.items():
            spent, scores = timed(partial(one_by_one, forward, some, batches))
            seconds[key].append(spent / len(some))
            differences.append(largest(scores.loss_N, fast.loss_N[torch.from_numpy(part)]))
            flips += int((scores.correct_NI != fast.correct_NI[torch.from_numpy(part)]).sum())
        print({key: round(values[-1], 4) for key, values in seconds.items()}, flush=True)
    exact, few = random_batches(1, 50, torch.float64), [cells[i] for i in parts[0]]
    double = score_cells(fast_supernet(SIZE, torch.float64), few, exact).loss_N
    apart = max(
        largest(one_by_one(forward, few, exact).loss_N, double)
        for forward in slow_sides(torch.float64).values()
    )
    each = {key: float(np.median(values)) for key, values in seconds.items()}
    whole = each["fast"] * len(cells) / functions * len(distinct(list(NAS_BENCH_201.all())))
    ratio = {key: round(each[key] / each["fast"], 2) for key in slow}
    ratio_of_all = {key: round(each[key] * NAS_BENCH_201.size / whole, 2) for key in slow}
    result = {
        "cells": len(cells),
        "functions": functions,
        "images": 1000,
        "batch_size": chosen.batch_size,
        "threads": 1,
        "rounds": rounds,
        "slow_cells_timed": len(picked),
        "cells_per_cpu_second": {key: round(1 / value, 2) for key, value in each.items()},
        "ratio": ratio,
        "goal": SIZE.goal_ratio,
        "all_cells": {
            "cells": NAS_BENCH_201.size,
            "cpu_seconds_extrapolated": round(whole),
            "ratio_extrapolated": ratio_of_all,
        },
        "largest_loss_difference_float32": max(differences),
        "images_judged_differently": flips,
        "largest_loss_difference_float64": apart,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
