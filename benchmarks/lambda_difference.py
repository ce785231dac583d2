"""What `lambda-darts` adds to the gradient of a weight step: exactly, and by a difference.

    python benchmarks/lambda_difference.py [--seeds N ...] [--json FILE]

Published code takes the derivative of dL_train / dw along p in the operation weights by a central
difference with |e p| = 0.0001. Here it is taken beside the exact one, by displacement, in double
precision: on the first weight step of the second epoch of a search as the study `indicator` has it
(protocol ``cpu``, 2,500 CIFAR-10 images a half; ``OPTNAS_DATA`` names the data), at the lambda of
the last epoch. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optnas.algorithms.base import Progress, WeightGradients
from optnas.algorithms.lambda_darts import lambda_darts
from optnas.search.draws import StepDraws, draw_epoch
from optnas.search.environment import processor
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state
from optnas.search.steps import weight_step

DISPLACEMENTS = (1e-4, 1e-5, 1e-6, 1e-7)
SETTINGS = {
    "algorithm.name": "lambda-darts",
    "algorithm.derivative": "exact",
    "data.name": "cifar10",
    "data.train_size": 2500,
    "data.valid_size": 2500,
    "search.epochs": 20,
    "supernet.dtype": "float64",
    "benchmark.table": "none",
}


class TakenError(Exception):
    """The gradients of a step are known, and the step is not taken."""


def added(state: SearchState, draws: StepDraws, **given: Any) -> tuple[Tensor, Tensor]:
    """The gradient of the train loss in w, and what is added to it."""
    algorithm = lambda_darts(
        space=state.space, hypergradient=state.algorithm.hypergradient, **given
    )
    look, found = algorithm.on_weight_gradients, list[Tensor]()
    assert look is not None

    def seen(gradients: Mapping[str, Tensor], progress: Progress) -> WeightGradients:
        last = look(gradients, dataclasses.replace(progress, epoch=progress.epochs)).gradients
        more = {name: last.get(name) for name in gradients}
        plain = [each.flatten().clone() for each in gradients.values()]
        sums = [
            plain[k] if (s := more[n]) is None else s.flatten() for k, n in enumerate(gradients)
        ]
        found.extend((torch.cat(plain), torch.cat(sums) - torch.cat(plain)))
        raise TakenError

    asked = dataclasses.replace(
        state, algorithm=dataclasses.replace(algorithm, on_weight_gradients=seen)
    )
    train, _ = draws.batches(asked)
    with contextlib.suppress(TakenError):
        weight_step(asked, train, draws.weight(asked.progress(asked.epoch + 1)))
    return found[0], found[1]


def compared(seed: int) -> list[dict[str, float]]:
    """A row for each displacement of one search."""
    session = Session(build_state(SETTINGS | {"search.seed": seed}))
    session.train_epoch()
    session.begin_epoch()
    draws = draw_epoch(session.state)[0]
    plain, exact = added(session.state, draws, derivative="exact")
    rows = []
    for displacement in DISPLACEMENTS:
        _, difference = added(session.state, draws, displacement=displacement)
        row = {
            "seed": seed,
            "displacement": displacement,
            "cosine": float(torch.cosine_similarity(exact, difference, dim=0)),
            "times_exact": float(difference.norm() / exact.norm()),
            "times_loss": float(difference.norm() / plain.norm()),
        }
        print(", ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[32, 33, 34])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for seed in given.seeds for row in compared(seed)]
    found = {"settings": SETTINGS, "rows": rows, "machine": processor()}
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
