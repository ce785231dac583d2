"""What an exact alpha-Hessian costs: rows of double backward, and tangents of all directions.

    python benchmarks/hessian.py [--quick]
    python benchmarks/hessian.py --differences

The Hessian of the validation loss of one batch in the 30 logits of NAS-Bench-201, batch statistics;
8 channels, 1 cell per stage, batch 64, 32 x 32 images, one thread. The sides:

- naive: as published code does it, a row of double backward for each logit, over one module per
  edge and operation (tests/naive_supernet.py), images as planes. To its advantage its network
  weights require no gradients.
- rows: `alpha_hessian`, which the records use: 24 rows, one per live operation weight, over
  the merged supernet, channels-last.
- tangents: `expansion` and `in_logits`, which the measure `curvature` uses: one forward and
  backward pass and one forward pass that carries the tangents of the 24 live operation weights.

Before anything is timed the sides must agree in double precision. Times are CPU seconds of this
process, the sides interleaved, medians: on a shared machine quote the ratio. The last line printed
is JSON; `ratio` is naive over tangents.

``--differences`` times nothing: relative error, in the Frobenius norm, of central differences of
the gradient against the exact Hessian, by step h in a logit, in double precision; with ReLU, with
ReLU's zeros held where they are at h = 0, and with softplus in its place.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from step import BATCH, SIDE, Setting, batch, fast_supernet, first_alpha, naive_supernet
from torch import Tensor

from optnas.measures.curvature.hessian import alpha_hessian, in_logits
from optnas.measures.curvature.maths import expansion
from optnas.measures.evaluation import Batch
from optnas.spaces.nasbench201 import NAS_BENCH_201
from optnas.spaces.network import Supernet

SETTING = Setting(channels=8, cells=1, repetitions=5, goal_ratio=3.0, goal_mib=0)
SMALL = Setting(channels=4, cells=1, repetitions=0, goal_ratio=0, goal_mib=0)
STEPS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
DISAGREEMENT = 1e-10  # largest tolerated difference in double precision
INERT = (NAS_BENCH_201.none,)

Side = Callable[[], Tensor]


def softmax(alpha_EO: Tensor) -> Tensor:
    return alpha_EO.softmax(-1)


def dense(loss: Callable[[Tensor], Tensor], alpha_EO: Tensor) -> Tensor:
    """A row of double backward for each logit."""
    leaf = alpha_EO.detach().clone().requires_grad_()
    (g_EO,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    rows = [
        torch.autograd.grad(g, leaf, retain_graph=True)[0].reshape(-1) for g in g_EO.reshape(-1)
    ]
    return torch.stack(rows)


def frozen(setting: Setting, dtype: torch.dtype) -> Supernet:
    net = fast_supernet(setting, dtype)
    net.weights = {name: weight.detach() for name, weight in net.weights.items()}
    return net


def sides(setting: Setting, dtype: torch.dtype, size: int, side: int) -> dict[str, Side]:
    """Functions that compute the same Hessian."""
    net, twin = frozen(setting, dtype), naive_supernet(setting, dtype).requires_grad_(False)
    images_BCHW, labels_B = batch(2, size, side, dtype)
    merged_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    alpha_EO = first_alpha(dtype, scale=1.0).detach()

    def naive() -> Tensor:
        return dense(lambda a: F.cross_entropy(twin(images_BCHW, softmax(a)), labels_B), alpha_EO)

    def rows() -> Tensor:
        def loss(A_EO: Tensor) -> Tensor:
            return F.cross_entropy(net(merged_BCHW, A_EO, statistics=None).logits_BK, labels_B)

        return alpha_hessian(loss, softmax, alpha_EO, INERT)

    def tangents() -> Tensor:
        found = expansion(net, Batch(merged_BCHW, labels_B), softmax(alpha_EO), None)
        return in_logits(found.gradient_EO.reshape(-1), found.hessian_PP, softmax, alpha_EO)

    return {"naive": naive, "rows": rows, "tangents": tangents}


def disagreement() -> float:
    """Largest difference between sides, in double precision, over the largest entry."""
    want, *others = [run() for run in sides(SETTING, torch.float64, 8, 16).values()]
    return max(float((want - got).abs().max() / want.abs().max()) for got in others)


def cpu_seconds(repetitions: int) -> dict[str, float]:
    """Median CPU seconds a Hessian, by side; the sides take turns after one untimed round."""
    timed = sides(SETTING, torch.float32, BATCH, SIDE)
    times: dict[str, list[float]] = {name: [] for name in timed}
    for repetition in range(repetitions + 1):
        for name, run in timed.items():
            start = time.process_time()
            run()
            if repetition > 0:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def activations() -> dict[str, Any]:
    path = Path(__file__).resolve().parents[1] / "tests" / "activations.py"
    spec = importlib.util.spec_from_file_location("activations", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.ACTIVATIONS
    return found


def differences() -> dict[str, list[float]]:
    """Relative error of central differences by activation, one per step of `STEPS`."""
    net, alpha_EO = frozen(SMALL, torch.float64), first_alpha(torch.float64, scale=1.0).detach()
    images_BCHW, labels_B = batch(2, BATCH, 16, torch.float64)

    def loss(alpha_EO: Tensor) -> Tensor:
        logits_BK = net(images_BCHW, softmax(alpha_EO), statistics=None).logits_BK
        return F.cross_entropy(logits_BK, labels_B)

    def gradient(alpha_P: Tensor) -> Tensor:
        leaf = alpha_P.clone().requires_grad_()
        return torch.autograd.grad(loss(leaf.reshape(alpha_EO.shape)), leaf)[0]

    def error(exact: Tensor, h: float) -> float:
        base_P, eye = alpha_EO.reshape(-1), torch.eye(alpha_EO.numel(), dtype=torch.float64)
        rows = [(gradient(base_P + h * e) - gradient(base_P - h * e)) / (2 * h) for e in eye]
        return float((torch.stack(rows) - exact).norm() / exact.norm())

    found = {}
    for name, activation in activations().items():
        with activation(lambda: loss(alpha_EO)):
            exact = dense(loss, alpha_EO)
            found[name] = [error(exact, h) for h in STEPS]
    return found


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time of an exact alpha-Hessian.")
    parser.add_argument("--quick", action="store_true", help="one repetition")
    parser.add_argument("--differences", action="store_true", help="finite differences instead")
    return parser.parse_args()


def main() -> None:
    """Check agreement, time, print a table and a line of JSON."""
    torch.set_num_threads(1)
    arguments = parsed()
    if arguments.differences:
        found = differences()
        print(f"{'h in a logit':<18}" + "".join(f"{h:>10.0e}" for h in STEPS))
        for name, errors in found.items():
            print(f"{name:<18}" + "".join(f"{error:10.2g}" for error in errors))
        print(json.dumps({"steps": STEPS, "errors": found}))
        return
    difference = disagreement()
    if not difference < DISAGREEMENT:
        sys.exit(f"the sides disagree by {difference:.1e}: nothing is timed")
    print(f"torch {torch.__version__}, 1 thread, {SETTING.name}, batch {BATCH}, {SIDE} x {SIDE}")
    times = cpu_seconds(1 if arguments.quick else SETTING.repetitions)
    for name, seconds in times.items():
        print(f"{name:<9}{seconds:8.2f} CPU s{times['naive'] / seconds:8.2f} times faster")
    ratio = times["naive"] / times["tangents"]
    print(f"goal {SETTING.goal_ratio}; the sides agree to {difference:.1e} in double precision")
    print(
        json.dumps(
            {
                "ratio": round(ratio, 3),
                "ratio_rows": round(times["rows"] / times["tangents"], 3),
                **{f"{name}_seconds": round(seconds, 3) for name, seconds in times.items()},
                "difference": difference,
            }
        )
    )


if __name__ == "__main__":
    main()
