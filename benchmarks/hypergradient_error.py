"""How far first order, second order and others are from a long unroll, in searches.

    python benchmarks/hypergradient_error.py [--epochs 1 3] [--seeds 0 1 2 3] [--json FILE]

The measure ``hypergradient-error`` at moments of searches of protocol ``cpu`` on CIFAR-10
(``OPTNAS_DATA`` names the data), 1,280 + 1,280 images, first order, SGD or Adam on the network
weights, Adam on alpha; and the CPU seconds that each hypergradient took once. The last line printed
is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from optnas.algorithms import parts
from optnas.measures.hypergradient_error import COMPARED, hypergradient_error
from optnas.search.api import settings_of
from optnas.search.environment import processor
from optnas.search.session import Session
from optnas.search.state import build_state

IMAGES, UNROLL, DRAWS, BATCH = 1280, 12, 2, 32


def searched(optimizer: str, seed: int, epochs: list[int]) -> list[dict[str, Any]]:
    """What the measure finds after each of some epochs of one search."""
    settings = settings_of(
        {
            "data.name": "cifar10",
            "data.train_size": IMAGES,
            "data.valid_size": IMAGES,
            "search.seed": seed,
            "search.epochs": max(epochs),
            "weight_optimizer.name": optimizer,
        }
    ).model_copy(update={"measures": {}})
    session, rows = Session(build_state(settings)), []
    measure = hypergradient_error(UNROLL, DRAWS, BATCH)
    while session.state.epoch < max(epochs):
        session.train_epoch()
        if session.state.epoch in epochs:
            numbers = measure.measure(session.snapshot).numbers
            row = {"weight_optimizer": optimizer, "seed": seed, "epoch": session.state.epoch}
            rows.append({**row, **numbers})
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()})
    return rows


def seconds() -> dict[str, float]:
    """CPU seconds of each hypergradient at a fresh search, one of each."""
    sizes = {"data.train_size": BATCH * UNROLL, "search.batch_size": BATCH}
    settings = settings_of({"data.name": "cifar10", **sizes})
    snapshot = Session(build_state(settings)).snapshot
    first, *more = snapshot.batches("train", UNROLL)
    (valid,) = snapshot.batches("valid", 1)
    problem, found = snapshot.bilevel(first, valid, more), {}
    for name, compute in {**COMPARED, "reference": parts.k_step(UNROLL)}.items():
        started = time.process_time()
        compute(problem, snapshot.alpha_EO, snapshot.relax)
        found[name] = time.process_time() - started
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in given.seeds:
        for optimizer in ("SGD", "Adam"):
            rows += searched(optimizer, seed, given.epochs)
    asked = {"unroll": UNROLL, "draws": DRAWS, "images": IMAGES, "batch_size": BATCH}
    found = {**asked, "rows": rows, "seconds": seconds(), "machine": processor()}
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
