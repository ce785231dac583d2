"""What single precision does to batch norm and to alpha, by the layout of the images in memory.

    python benchmarks/batch_norm.py [--steps N] [--seeds N] [--json FILE]

torch sums a channels-last batch norm in single precision, one in the default layout (planes) in
double. Two questions: how exact is a batch norm, and what does each cost; and how far is alpha
after some steps of protocol ``cpu`` on CIFAR-10 (``OPTNAS_DATA`` names the data) from the same
search in double precision, with the network's batch norms taken in either layout. Times are CPU
milliseconds of one forward and backward pass, one thread, medians. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.search.api import settings_of
from optnas.search.draws import draw_epoch
from optnas.search.environment import processor
from optnas.search.session import Session
from optnas.search.state import build_state

# Input of the batch norm of the last node of a cell of protocol cpu, by stage: images, three edges
# of two convolutions, sides.
SHAPES = [(64, 48, 16, 16), (64, 96, 8, 8), (64, 192, 4, 4)]
BATCH_NORM = F.batch_norm
Norm = Callable[..., Tensor]


def in_planes(y_BCHW: Tensor, *given: Any, **more: Any) -> Tensor:
    """A batch norm in the default layout, its result channels-last again."""
    out = BATCH_NORM(y_BCHW.contiguous(), *given, **more)
    return out.contiguous(memory_format=torch.channels_last)


NORMS: dict[str, Norm] = {"channels-last": BATCH_NORM, "planes": in_planes}


def one_norm(norm: Norm, shape: tuple[int, ...], repetitions: int) -> dict[str, float]:
    """Largest error of a normalised value, relative error of the variance, and CPU time."""
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 1
    x = images.contiguous(memory_format=torch.channels_last)
    wide = x.double()
    exact = BATCH_NORM(wide, None, None, training=True)
    mean_C, variance_C = torch.zeros(shape[1]), torch.ones(shape[1])
    found = norm(x, mean_C, variance_C, training=True, momentum=1.0).double()
    true_C = wide.var((0, 2, 3))
    times = []
    for _ in range(repetitions):
        leaf = x.clone().requires_grad_()
        start = time.process_time()
        norm(leaf, None, None, training=True).backward(x)
        times.append(1000 * (time.process_time() - start))
    return {
        "largest_error": float((found - exact).abs().max()),
        "variance_error": float(((variance_C.double() - true_C) / true_C).abs().max()),
        "milliseconds": statistics.median(times),
    }


@contextlib.contextmanager
def normalised_by(norm: Norm) -> Iterator[None]:
    """All batch norms of the network taken by another function of the same arguments."""
    with mock.patch("optnas.spaces.network.network.F.batch_norm", norm):
        yield


def alpha_after(steps: int, seed: int, dtype: str, norm: Norm) -> tuple[Tensor, Tensor, float]:
    """Alpha after some steps and at the start, and CPU seconds of the steps."""
    chosen = {"data.name": "cifar10", "search.seed": seed, "supernet.dtype": dtype}
    settings = settings_of(chosen).model_copy(update={"measures": {}})
    session = Session(build_state(settings))
    state = session.state
    session.train_epoch()
    session.begin_epoch()
    draws = draw_epoch(state)[:steps]
    start = time.process_time()
    with normalised_by(norm):
        for each in draws:
            session.step(each)
    seconds = time.process_time() - start
    return state.alpha_EO.detach().double(), state.alpha_start_EO.double(), seconds


def of_seed(steps: int, seed: int) -> dict[str, Any]:
    """Distance of alpha from double precision as a share of how far alpha moved, per layout."""
    true_EO, start_EO, _ = alpha_after(steps, seed, "float64", BATCH_NORM)
    moved = float((true_EO - start_EO).norm())
    row: dict[str, Any] = {"seed": seed, "moved": moved}
    for name, norm in NORMS.items():
        alpha_EO, _, seconds = alpha_after(steps, seed, "float32", norm)
        row[name] = {"off": float((alpha_EO - true_EO).norm()) / moved, "seconds": seconds}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    norms = [
        {"shape": list(shape), "layout": name, **one_norm(norm, shape, 15)}
        for shape in SHAPES
        for name, norm in NORMS.items()
    ]
    for each in norms:
        print(
            f"{'x'.join(map(str, each['shape'])):>14} {each['layout']:<14} value off "
            f"{each['largest_error']:.1e}, variance {each['variance_error']:.1e}, "
            f"{each['milliseconds']:.2f} ms"
        )
    rows = []
    for seed in range(given.seeds):
        rows.append(of_seed(given.steps, seed))
        told = ", ".join(f"{name} off by {rows[-1][name]['off']:.1e}" for name in NORMS)
        print(f"seed {seed}: alpha moved by {rows[-1]['moved']:.4f}; {told} of that", flush=True)
    ratio = statistics.median(r["planes"]["seconds"] / r["channels-last"]["seconds"] for r in rows)
    print(f"a step with batch norms in planes costs {ratio:.2f} times one in channels-last")
    found = {
        "steps": given.steps,
        "norms": norms,
        "searches": rows,
        "step_ratio": ratio,
        "machine": processor(),
    }
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
