"""What one search step costs: the supernet against the naive twin that published code amounts to.

    python benchmarks/step.py [--quick] [--peer DIR] [--json FILE]

One *step* is an alpha step (validation batch: forward, backward, Adam on alpha) and a weight step
(train batch: forward, backward, clipping, SGD). Batch 64, one thread, both sides updating running
statistics. Both start from the same network weights and see the same batches.

- naive: one module per edge and operation (tests/naive_supernet.py), images as planes, and
  `loss.backward()` in both steps, so that each step computes the other's gradients and drops them.
- fast: `optnas.spaces.network.Supernet`, channels-last images, only the gradients a step needs:
  detached network weights in the alpha step, detached operation weights in the weight step.

Before anything is timed the sides must agree, in double precision, on logits and gradients. Times
are CPU milliseconds of this process, the sides interleaved, the median over repetitions: on a
shared machine quote the ratio. Memory is what the peak of resident memory grows by during the first
two steps, in a fresh process per side. The *limit* is the arithmetic of the fast side's step
(counted by torch) at the highest speed that this machine reached in a large product or convolution.
With ``--peer`` a checkout of SmoothDARTS (xiangning-chen/SmoothDARTS) takes turns too: its own
NAS-Bench-201 network, stepped as its train_search.py does. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from optnas.search.environment import processor
from optnas.spaces.nasbench201 import NAS_BENCH_201
from optnas.spaces.network import Supernet

TWIN = Path(__file__).resolve().parents[1] / "tests" / "naive_supernet.py"
BATCH, CLASSES = 64, 10
WIDE = 1024
DISAGREEMENT = 1e-8  # largest tolerated difference in double precision

Batch = tuple[Tensor, Tensor]
Step = Callable[[Batch, Batch], None]


@dataclass(frozen=True)
class Setting:
    """One size of supernet, and how often it is timed.

    Attributes:
        channels: of the first stage.
        cells: per stage.
        side: height and width of the images, in pixels.
        repetitions: timed steps per side, after one that is not timed.
        goal_ratio: naive over fast time that is hoped for.
        goal_mib: memory growth of the fast side that is hoped for.
    """

    channels: int
    cells: int
    side: int
    repetitions: int
    goal_ratio: float
    goal_mib: float

    @property
    def name(self) -> str:
        """As printed."""
        return f"C={self.channels} N={self.cells} {self.side}x{self.side}"

    def sizes(self) -> dict[str, int]:
        """Arguments both supernets take."""
        return {
            "channels": self.channels,
            "cells": self.cells,
            "classes": CLASSES,
            "image_channels": 3,
        }


# The first is the size of every study on CPUs, the last that of the published search.
SETTINGS = (
    Setting(8, 1, 16, 15, 2.5, 60),
    Setting(8, 1, 32, 7, 2.5, 180),
    Setting(16, 5, 32, 3, 2.2, 1200),
)


def fast_supernet(setting: Setting, dtype: torch.dtype) -> Supernet:
    generator = torch.Generator().manual_seed(0)
    return Supernet(NAS_BENCH_201, **setting.sizes(), generator=generator, dtype=dtype)


def naive_supernet(setting: Setting, dtype: torch.dtype) -> Any:
    """The twin with the fast supernet's network weights."""
    spec = importlib.util.spec_from_file_location("naive_supernet", TWIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    twin = module.NaiveSupernet(NAS_BENCH_201.edges, NAS_BENCH_201.operations, **setting.sizes())
    twin.to(dtype).load(fast_supernet(setting, dtype).weights)
    return twin


def first_alpha(dtype: torch.dtype, scale: float = 1e-3) -> Tensor:
    shape = (len(NAS_BENCH_201.edges), len(NAS_BENCH_201.operations))
    generator = torch.Generator().manual_seed(1)
    return (scale * torch.randn(shape, generator=generator, dtype=dtype)).requires_grad_()


def batch(seed: int, size: int, side: int, dtype: torch.dtype) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images_BCHW = torch.randn(size, 3, side, side, generator=generator, dtype=dtype)
    return images_BCHW, torch.randint(CLASSES, (size,), generator=generator)


def optimizers(alpha: Tensor, weights: list[Tensor]) -> tuple[Any, Any]:
    """Adam for alpha and SGD for the network weights, as published."""
    return (
        torch.optim.Adam([alpha], lr=3e-4),
        torch.optim.SGD(weights, lr=0.025, momentum=0.9, weight_decay=3e-4),
    )


def naive_side(setting: Setting) -> Step:
    """A step as published code takes it."""
    net = naive_supernet(setting, torch.float32)
    alpha = first_alpha(torch.float32)
    alpha_optimizer, weight_optimizer = optimizers(alpha, list(net.parameters()))

    def step(train: Batch, validation: Batch) -> None:
        alpha_optimizer.zero_grad()
        F.cross_entropy(net(validation[0], alpha.softmax(-1)), validation[1]).backward()
        alpha_optimizer.step()
        weight_optimizer.zero_grad()
        F.cross_entropy(net(train[0], alpha.softmax(-1)), train[1]).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        weight_optimizer.step()

    return step


def fast_side(setting: Setting) -> Step:
    """The same step, asking only for the gradients it needs."""
    net = fast_supernet(setting, torch.float32)
    alpha = first_alpha(torch.float32)
    leaves = list(net.weights.values())
    alpha_optimizer, weight_optimizer = optimizers(alpha, leaves)
    running = net.initial_statistics()

    def step(train: Batch, validation: Batch) -> None:
        nonlocal running
        alpha_optimizer.zero_grad()
        frozen = {name: weight.detach() for name, weight in net.weights.items()}
        logits, running = net.forward(
            validation[0], alpha.softmax(-1), weights=frozen, statistics=running, update=True
        )
        F.cross_entropy(logits, validation[1]).backward()
        alpha_optimizer.step()
        weight_optimizer.zero_grad()
        logits, running = net.forward(
            train[0], alpha.detach().softmax(-1), statistics=running, update=True
        )
        F.cross_entropy(logits, train[1]).backward()
        torch.nn.utils.clip_grad_norm_(leaves, 5.0)
        weight_optimizer.step()

    return step


SIDES = {"naive": naive_side, "fast": fast_side}


def peer_side(checkout: Path, device: str = "cpu") -> Callable[[Setting], Step]:
    """A step of SmoothDARTS, by its own network: alpha holds its softmax in the weight step."""
    if not (checkout / "nasbench201" / "model.py").is_file():
        sys.exit(f"{checkout} is no checkout of SmoothDARTS: it has no nasbench201/model.py")
    sys.path.insert(0, str(checkout))
    model = importlib.import_module("nasbench201.model")

    def side(setting: Setting) -> Step:
        net = model.Network(setting.channels, setting.cells, 4, CLASSES, F.cross_entropy).to(device)
        (alpha,) = net.arch_parameters()
        alpha_optimizer, weight_optimizer = optimizers(alpha, net.get_weights())

        def step(train: Batch, validation: Batch) -> None:
            alpha_optimizer.zero_grad()
            F.cross_entropy(net(validation[0]), validation[1]).backward()
            alpha_optimizer.step()
            weight_optimizer.zero_grad()
            alpha_optimizer.zero_grad()
            net.softmax_arch_parameters()
            F.cross_entropy(net(train[0], updateType="weight"), train[1]).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            weight_optimizer.step()
            net.restore_arch_parameters()

        return step

    return side


def batches(side: str, setting: Setting) -> tuple[Batch, Batch]:
    """Train and validation batch, laid out as a side wants them."""
    layout = torch.channels_last if side == "fast" else torch.contiguous_format
    train, validation = (batch(seed, BATCH, setting.side, torch.float32) for seed in (2, 3))
    return (
        (train[0].contiguous(memory_format=layout), train[1]),
        (validation[0].contiguous(memory_format=layout), validation[1]),
    )


def disagreement(setting: Setting) -> float:
    """Largest difference of logits and of alpha and weight gradients in double precision."""
    net = fast_supernet(setting, torch.float64)
    twin = naive_supernet(setting, torch.float64)
    alpha = first_alpha(torch.float64, scale=1.0)
    images_BCHW, labels_B = batch(4, 8, 16, torch.float64)
    naive_weights = twin.named_weights()

    logits, _ = net.forward(images_BCHW, alpha.softmax(-1), statistics=None)
    got = torch.autograd.grad(F.cross_entropy(logits, labels_B), [alpha, *net.weights.values()])
    expected = twin(images_BCHW, alpha.softmax(-1))
    want = torch.autograd.grad(
        F.cross_entropy(expected, labels_B), [alpha, *(naive_weights[n] for n in net.weights)]
    )
    pairs = zip([logits, *got], [expected, *want], strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def cpu_ms(
    setting: Setting, repetitions: int, sides: Mapping[str, Callable[[Setting], Step]]
) -> dict[str, float]:
    """Median CPU milliseconds of a step, per side; the sides take turns."""
    steps = {side: build(setting) for side, build in sides.items()}
    data = {side: batches(side, setting) for side in sides}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for repetition in range(repetitions + 1):
        for side, step in steps.items():
            start = time.process_time()
            step(*data[side])
            if repetition > 0:
                times[side].append(1000 * (time.process_time() - start))
    return {side: statistics.median(values) for side, values in times.items()}


def flops_per_second() -> float:
    """The highest speed of a large product or convolution, one thread, single precision.

    Libraries differ in the instructions they use on a processor: the better one is the limit.
    """
    a, b = torch.randn(2, WIDE, WIDE)
    images = torch.randn(16, WIDE // 4, 32, 32).contiguous(memory_format=torch.channels_last)
    filters = torch.randn(WIDE // 4, WIDE // 4, 3, 3).contiguous(memory_format=torch.channels_last)
    work: list[tuple[Callable[[], Tensor], float]] = [
        (lambda: torch.mm(a, b), 2.0 * WIDE**3),
        (lambda: F.conv2d(images, filters, padding=1), 2.0 * images.numel() * filters[0].numel()),
    ]
    found = []
    for run, operations in work:
        for _ in range(20):
            start = time.process_time()
            run()
            found.append(operations / (time.process_time() - start))
    return max(found)


def limit_ms(setting: Setting, speed: float) -> float:
    """Milliseconds of the fast side's step at a speed in operations per second."""
    step, data = fast_side(setting), batches("fast", setting)
    with FlopCounterMode(display=False) as counter:
        step(*data)
    return 1000 * counter.get_total_flops() / speed


def peak_kib() -> int:
    """Peak resident memory of this process so far."""
    # Not getrusage: on Linux the ru_maxrss of a new process starts at its parent's peak.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0])


def growth_mib(side: str, setting: Setting) -> float:
    """What a step adds to this process's peak, with optimizer state and the second step's graph.

    A step on two small images goes before, so that loading the library's code is not counted.

    Returns:
        Growth of the peak resident memory, in MiB.
    """
    step, data = SIDES[side](setting), batches(side, setting)
    step(*[(images[:2, :, :8, :8], labels[:2]) for images, labels in data])
    before = peak_kib()
    for _ in range(2):
        step(*data)
    return (peak_kib() - before) / 1024


def growth_in_fresh_process(side: str, index: int) -> float:
    command = [sys.executable, __file__, "--memory", side, "--setting", str(index)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def machine() -> dict[str, str]:
    """What the times belong to."""
    commit = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    return {
        "command": " ".join(sys.argv),
        "commit": subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip(),
        "torch": torch.__version__,
        "processor": processor(),
        "system": platform.platform(),
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of one search step.")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--peer", type=Path, metavar="DIR", help="a checkout of SmoothDARTS")
    parser.add_argument("--json", type=Path, help="also write the rows, commit and machine here")
    parser.add_argument("--memory", choices=SIDES, help="only print one side's memory growth, MiB")
    parser.add_argument("--setting", type=int, default=0, help="which setting --memory measures")
    return parser.parse_args()


def main() -> None:
    """Check agreement, time, measure memory, print a table and a line of JSON."""
    torch.set_num_threads(1)
    arguments = parsed()
    if arguments.memory:
        print(growth_mib(arguments.memory, SETTINGS[arguments.setting]))
        return
    speed = flops_per_second()
    print(
        f"torch {torch.__version__}, 1 thread, batch {BATCH}; CPU ms per step; "
        f"limit at {speed / 1e9:.0f} GFLOP/s"
    )
    print(
        f"{'setting':<18}{'naive':>9}{'fast':>9}{'limit':>8}{'ratio':>8}{'goal':>6}"
        f"{'naive MiB':>11}{'fast MiB':>10}{'goal':>6}{'difference':>12}"
    )
    sides = SIDES | ({"peer": peer_side(arguments.peer)} if arguments.peer else {})
    rows = []
    for index, setting in enumerate(SETTINGS):
        difference = disagreement(setting)
        if not difference < DISAGREEMENT:
            sys.exit(f"{setting.name}: the sides disagree by {difference:.1e}: nothing is timed")
        memory = {side: growth_in_fresh_process(side, index) for side in SIDES}
        times = cpu_ms(setting, 1 if arguments.quick else setting.repetitions, sides)
        ratio, limit = times["naive"] / times["fast"], limit_ms(setting, speed)
        print(
            f"{setting.name:<18}{times['naive']:9.1f}{times['fast']:9.1f}{limit:8.1f}{ratio:8.2f}"
            f"{setting.goal_ratio:6.1f}{memory['naive']:11.0f}{memory['fast']:10.0f}"
            f"{setting.goal_mib:6.0f}{difference:12.1e}",
            flush=True,
        )
        peer = {}
        if arguments.peer:
            peer = {"peer_ms": times["peer"], "peer_ratio": times["peer"] / times["fast"]}
            print(
                f"{'':<18}SmoothDARTS {times['peer']:.1f} ms, {peer['peer_ratio']:.2f} times fast"
            )
        rows.append(
            {
                "setting": setting.name,
                "naive_ms": round(times["naive"], 1),
                "fast_ms": round(times["fast"], 1),
                "limit_ms": round(limit, 1),
                "ratio": round(ratio, 3),
                "peak_mib": round(memory["fast"], 1),
                **{key: round(value, 3) for key, value in peer.items()},
            }
        )
    print(json.dumps(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, **machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
