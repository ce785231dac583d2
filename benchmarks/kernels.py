"""What kernels of one's own for the mixed cell are worth on a CPU, beside oneDNN and the peak.

    python benchmarks/kernels.py [--rounds N] [--avx2] [--json FILE]
    python benchmarks/kernels.py --pairs N [--epochs N] [--json FILE]     whole runs of protocol cpu

Needs gcc (Linux); numba is timed too where it is installed. One thread; everything that is compared
takes turns in one process. Times are CPU time of the thread, median (and minimum) over rounds.

- *Convolutions* of a node with three outgoing edges, C to 3C channels, 3x3 and 1x1, batch 64: in
  torch (oneDNN, channels-last), in C (kernels.c) and in numba (kernels_numba.py), with what brings
  the images into the kernels' layout, without the repacking of filters, which a step does once.
- *Step*: that of benchmarks/step.py, published-style, by `Supernet`, by kernels that take the cells
  alone, and by kernels that take all of the supernet but its head (kernels_network.py). All must
  agree in double precision first.
- *Search step*: the steps of an epoch of protocol cpu in two searches that take turns.
- *Start*: compiling all that a run of protocol cpu needs into an empty folder, and loading it.
- *Run*: CPU seconds of a run by its shares, and what they become with the search step's ratio.

With ``--pairs`` whole searches take turns in processes of their own; the first one compiles.
``--avx2`` allows torch, numba and the kernels no AVX-512. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import step
import torch
import torch.nn.functional as F  # noqa: N812
from kernels_network import Fused, Size, buffer, library, narrow, pointer
from measures import settings_of
from torch import Tensor

from optnas.search.draws import draw_epoch
from optnas.search.session import Session
from optnas.search.state import build_state
from optnas.spaces.network import Output, Supernet

NUMBA = importlib.util.find_spec("numba") is not None
SIZES = ((8, 16), (16, 8), (32, 4), (8, 32), (16, 16), (32, 8))
STEPS = (step.Setting(8, 1, 16, 0, 0, 0), step.Setting(8, 1, 32, 0, 0, 0))
AVX2 = {
    **{"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    **{"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
}
BATCH = step.BATCH
AGREE = 1e-10
# What the search was asked to gain to be worth 700 lines.
GOAL = 1.5


Work = Callable[[], Any]
Times = dict[str, list[float]]


def in_turns(work: Mapping[str, Work], rounds: int) -> Times:
    """CPU seconds of each, in turns, after two rounds that do not count."""
    times: Times = {name: [] for name in work}
    for number in range(rounds + 2):
        for name, call in work.items():
            start = time.thread_time()
            call()
            if number > 1:
                times[name].append(time.thread_time() - start)
    return times


def told(times: Times, of: str) -> dict[str, Any]:
    """Milliseconds, and how many times as fast as one of them each is."""
    return {
        name: {
            "median_ms": 1e3 * statistics.median(here),
            "min_ms": 1e3 * min(here),
            "times_as_fast": statistics.median(a / b for a, b in zip(times[of], here, strict=True)),
            "times_as_fast_min": min(times[of]) / min(here),
        }
        for name, here in times.items()
    }


def peak(folder: Path) -> float:
    """GFLOP/s of fused multiply-adds that wait for nothing."""
    kernels, found = library(Size(32, 4, 32, 1, False), folder), []
    count, lanes = 200_000, 8 if narrow() else 16
    for _ in range(15):
        start = time.thread_time()
        kernels.peak(ctypes.c_long(count))
        found.append(2 * 12 * lanes * count / (time.thread_time() - start) / 1e9)
    return max(found)


def bandwidth(megabytes: int) -> float:
    """GB/s that a sum of two vectors reads and writes, three vectors of so many MB together."""
    a, b, out = torch.ones(3, megabytes * 250_000 // 3)
    found = []
    for _ in range(15):
        start = time.thread_time()
        torch.add(a, b, out=out)
        found.append(3 * a.nbytes / (time.thread_time() - start) / 1e9)
    return max(found)


# ---- convolutions


class Case:
    """One node: input, filters, gradients, and what each side makes of them."""

    def __init__(self, channels: int, side: int):
        generator = torch.Generator().manual_seed(0)

        def drawn(*shape: int) -> Tensor:
            out = buffer(*shape, dtype=torch.float32)
            return out.copy_(torch.randn(shape, generator=generator))

        self.channels, self.side, self.outputs = channels, side, 3 * channels
        self.x, self.g = drawn(BATCH, channels, side, side), drawn(BATCH, 6 * channels, side, side)
        self.w3 = drawn(self.outputs, channels, 3, 3)
        self.w1 = drawn(self.outputs, channels, 1, 1)
        self.y, self.dx = torch.zeros_like(self.g), torch.zeros_like(self.x)
        self.d3, self.d1 = torch.zeros_like(self.w3), torch.zeros_like(self.w1)

    def flops(self, work: str) -> float:
        """Of one call."""
        taps = {"forward 3x3": 9, "forward 1x1": 1}.get(work, 10)
        return 2.0 * BATCH * self.side**2 * self.channels * self.outputs * taps

    def torch_side(self) -> dict[str, Work]:
        """By oneDNN, channels-last; ReLU is not part of it."""
        k = self.outputs
        x, w3, w1, g3, g1 = (
            each.contiguous(memory_format=torch.channels_last)
            for each in (self.x.relu(), self.w3, self.w1, self.g[:, :k], self.g[:, k:])
        )

        def back(mask: list[bool]) -> None:
            for g, w, pad in ((g3, w3, [1, 1]), (g1, w1, [0, 0])):
                torch.ops.aten.convolution_backward(
                    g, x, w, None, [1, 1], pad, [1, 1], False, [0, 0], 1, mask
                )

        return {
            "forward 3x3": lambda: F.conv2d(x, w3, padding=1),
            "forward 1x1": lambda: F.conv2d(x, w1),
            "input gradient": lambda: back([True, False, False]),
            "weight gradient": lambda: back([False, True, False]),
        }

    def c_side(self, folder: Path) -> dict[str, Work]:
        """By kernels.c."""
        size = Size(self.channels, self.side, self.channels, 1, False)
        kernels, k, c = library(size, folder), self.outputs, self.channels
        a3, a1 = tiled(self.w3), tiled(self.w1)
        b3 = self.w3.flip(2, 3).view(k, c // 2, 2, 3, 3).permute(1, 0, 3, 2, 4).contiguous()
        b1 = self.w1.view(k, c // 2, 2).permute(1, 0, 2).contiguous()
        sums = torch.zeros(2, 2 * k, dtype=torch.float64)
        x, y, g = pointer(self.x), pointer(self.y), pointer(self.g)

        def forward(three: int, one: int, normed: bool = False) -> None:
            at = pointer(sums[0] if normed else None), pointer(sums[1] if normed else None)
            kernels.bare_forward(BATCH, x, pointer(a3), pointer(a1), y, three, one, *at)

        return {
            "forward 3x3": lambda: forward(1, 0),
            "forward 1x1": lambda: forward(0, 1),
            "forward, both, and batch-norm sums": lambda: forward(1, 1, normed=True),
            "input gradient": lambda: kernels.bare_input(
                BATCH, g, pointer(b3), pointer(b1), pointer(self.dx)
            ),
            "weight gradient": lambda: kernels.bare_weight(
                BATCH, x, g, pointer(self.d3), pointer(self.d1)
            ),
        }

    def numba_side(self) -> dict[str, Work]:
        """By kernels_numba.py."""
        from kernels_numba import LANES, kernels

        c, k, side = self.channels, self.outputs, self.side
        pixels, stride = side**2, side**2 + side
        group, back = max(1, 4 * LANES // pixels), max(1, 64 * LANES // pixels)
        small, large = (kernels(side, pixels, stride, each) for each in (group, back))
        places = torch.arange(pixels) % side
        self.masks = [-(each.int()) for each in (places > 0, places < side - 1)]
        xs, xb = (buffer(3 * c * each * stride, dtype=torch.float32) for each in (group, back))
        gs = buffer(3 * k * group * stride, dtype=torch.float32)
        gb = buffer(2 * k * back * stride, dtype=torch.float32)
        a3, a1 = tiled(self.w3), tiled(self.w1)
        b3 = tiled(self.w3.flip(2, 3).transpose(0, 1))
        b1 = tiled(self.w1.transpose(0, 1))
        sums, more = torch.zeros(2, 2 * k), torch.zeros_like(self.dx)
        masks = [mask.data_ptr() for mask in self.masks]

        x, y, g, dx = (each.data_ptr() for each in (self.x, self.y, self.g, self.dx))

        def forward(three: int, one: int, normed: bool = False) -> None:
            to = sums.data_ptr() if normed else 0
            given = x, xs.data_ptr(), a3.data_ptr(), a1.data_ptr(), c, k, three, one
            small.forward(*given, y, BATCH, *masks, to)

        def input_gradient() -> None:
            given = g, gs.data_ptr(), b3.data_ptr(), b1.data_ptr(), k, c
            small.input_gradient(*given, dx, more.data_ptr(), BATCH, *masks)
            self.dx.add_(more)

        def weight_gradient() -> None:
            given = x, g, xb.data_ptr(), gb.data_ptr(), c, k, BATCH
            large.weight_gradient(*given, self.d3.data_ptr(), self.d1.data_ptr(), *masks)

        return {
            "forward 3x3": lambda: forward(1, 0),
            "forward 1x1": lambda: forward(0, 1),
            "forward, both, and batch-norm sums": lambda: forward(1, 1, normed=True),
            "input gradient": input_gradient,
            "weight gradient": weight_gradient,
        }

    def check(self, label: str, side: Mapping[str, Work]) -> None:
        """Refuse kernels that compute something else."""
        x, w3, w1 = (each.clone().requires_grad_() for each in (self.x.relu(), self.w3, self.w1))
        want = torch.cat([F.conv2d(x, w3, padding=1), F.conv2d(x, w1)], 1)
        want.backward(self.g)
        self.d3.zero_(), self.d1.zero_()
        for work in side.values():
            work()
        for name, got, expected in (
            *(("forward", self.y, want), ("input", self.dx, x.grad)),
            *(("3x3 filters", self.d3, w3.grad), ("1x1 filters", self.d1, w1.grad)),
        ):
            assert expected is not None
            off = float((got - expected.detach()).abs().max() / expected.detach().abs().max())
            if not off < 1e-5:
                size = f"{self.channels} channels, {self.side}x{self.side}"
                sys.exit(f"{size}: {label} computes another gradient or value: {name} off by {off}")


def tiled(w: Tensor) -> Tensor:
    """Filters as a tile of four outputs reads them."""
    k, c, *taps = w.shape
    return w.reshape(k // 4, 4, c, *taps).permute(0, 2, 4, 3, 1).contiguous()


def convolutions(sizes: tuple[tuple[int, int], ...], rounds: int, folder: Path) -> list[Any]:
    """GFLOP/s per size, work and side."""
    rows = []
    for channels, side in sizes:
        case = Case(channels, side)
        sides = {"oneDNN": case.torch_side(), "C": case.c_side(folder)}
        sides |= {"numba": case.numba_side()} if NUMBA else {}
        for name in set(sides) - {"oneDNN"}:
            case.check(name, sides[name])
        times = in_turns({f"{s}: {w}": f for s in sides for w, f in sides[s].items()}, rounds)
        for label, here in times.items():
            name, work = label.split(": ")
            row = {
                **{"channels": channels, "side": side, "work": work, "by": name},
                "gflops": case.flops(work) / statistics.median(here) / 1e9,
                "gflops_best": case.flops(work) / min(here) / 1e9,
            }
            rows.append(row)
            print(
                f"  {channels:3} channels {side:2}x{side:<2} {work:<36}{name:<8}"
                f"{row['gflops']:6.0f} GFLOP/s, best {row['gflops_best']:4.0f}",
                flush=True,
            )
    return rows


# ---- steps


def taken_by(setting: step.Setting, make: Callable[[Supernet], Any]) -> step.Step:
    """`step.fast_side` with another way to compute the supernet."""
    net = step.fast_supernet(setting, torch.float32)
    network, alpha = make(net), step.first_alpha(torch.float32)
    leaves, running = list(net.weights.values()), net.initial_statistics()
    alpha_optimizer, weight_optimizer = step.optimizers(alpha, leaves)

    def one(train: step.Batch, validation: step.Batch) -> None:
        nonlocal running
        alpha_optimizer.zero_grad()
        frozen = {name: weight.detach() for name, weight in net.weights.items()}
        logits, running = network(
            validation[0], alpha.softmax(-1), weights=frozen, statistics=running, update=True
        )
        F.cross_entropy(logits, validation[1]).backward()
        alpha_optimizer.step()
        weight_optimizer.zero_grad()
        logits, running = network(
            train[0], alpha.detach().softmax(-1), statistics=running, update=True
        )
        F.cross_entropy(logits, train[1]).backward()
        torch.nn.utils.clip_grad_norm_(leaves, 5.0)
        weight_optimizer.step()

    return one


def disagreement(setting: step.Setting, images: int, folder: Path) -> float:
    """Largest relative difference of logits, gradients and statistics in double precision."""
    net = step.fast_supernet(setting, torch.float64)
    alpha = step.first_alpha(torch.float64, scale=1.0)
    x_BCHW, labels_B = step.batch(4, images, setting.side, torch.float64)
    statistics_ = net.initial_statistics()
    frozen = {name: weight.detach() for name, weight in net.weights.items()}
    found = []
    for network in (net, Fused(net, folder, cells_alone=True), Fused(net, folder)):
        logits, after = network(x_BCHW, alpha.softmax(-1), statistics=statistics_, update=True)
        loss = F.cross_entropy(logits, labels_B)
        both = torch.autograd.grad(loss, [alpha, *net.weights.values()])
        again = network(
            x_BCHW, alpha.softmax(-1), weights=frozen, statistics=statistics_, update=True
        )
        alone = torch.autograd.grad(F.cross_entropy(again[0], labels_B), [alpha])
        assert after is not None
        found.append([logits, after.mean_S, after.variance_S, *both, *alone])
    want, *got = [[tensor.detach() for tensor in each] for each in found]
    return max(
        float((a - b).abs().max() / b.abs().max())
        for each in got
        for a, b in zip(each, want, strict=True)
    )


def steps(rounds: int, speed: float, folder: Path) -> list[dict[str, Any]]:
    """A step of benchmarks/step.py three ways."""
    rows = []
    for setting in STEPS:
        off = disagreement(setting, 5, folder)
        if not off < AGREE:
            sys.exit(f"{setting.name}: kernels and torch disagree by {off:.1e}: nothing is timed")
        sides = {
            "published": step.naive_side(setting),
            "torch": taken_by(setting, lambda net: net),
            "cells": taken_by(setting, lambda net: Fused(net, folder, cells_alone=True)),
            "kernels": taken_by(setting, lambda net: Fused(net, folder)),
        }
        data = {s: step.batches("naive" if s == "published" else "fast", setting) for s in sides}

        def work(side: str, sides: Any = sides, data: Any = data) -> Work:
            return lambda: sides[side](*data[side])

        times = told(in_turns({side: work(side) for side in sides}, rounds), "published")
        least = step.limit_ms(setting, 1e9 * speed)
        rows.append({"setting": setting.name, "disagreement": off, "limit_ms": least, **times})
        print(f"  {setting.name}: its arithmetic at the peak takes {least:.1f} ms")
        for side, row in times.items():
            print(
                f"  {setting.name} {side:<10}{row['median_ms']:8.1f} ms, least {row['min_ms']:.1f};"
                f" {row['times_as_fast']:.2f} times published (of least "
                f"{row['times_as_fast_min']:.2f}); off by {off:.0e}",
                flush=True,
            )
    return rows


def by_kernels(folder: Path, of_all: str = "kernels") -> None:
    """From here on supernets take passes that move statistics and are differentiated by kernels.

    Args:
        folder: where compiled kernels are kept.
        of_all: who takes those of a supernet without an attribute ``by``: "torch", "cells" (stem
            and reductions by torch) or "kernels".
    """
    plain, made = Supernet.__call__, dict[int, Fused]()

    def call(net: Supernet, x: Tensor, a: Tensor, **modes: Any) -> Output:
        by = net.__dict__.get("by", of_all)
        if by == "torch" or not (modes.get("update") and torch.is_grad_enabled() and a.ndim == 2):
            return plain(net, x, a, **modes)
        if id(net) not in made:
            made[id(net)] = Fused(net, folder, cells_alone=by == "cells")
        return made[id(net)](x, a, **modes)

    Supernet.__call__ = Supernet.forward = call


def search_steps(rounds: int, folder: Path) -> dict[str, Any]:
    """Steps of protocol cpu on CIFAR-10 images, of two searches in turns."""
    by_kernels(folder, "torch")
    sides = {}
    for side in ("torch", "cells", "kernels"):
        state = build_state(settings_of([]).model_copy(update={"measures": {}}))
        state.supernet.__dict__["by"] = side
        session = Session(state)
        session.train_epoch()
        session.begin_epoch()
        sides[side] = (session, iter(draw_epoch(state)))

    def work(side: str) -> Work:
        session, draws = sides[side]
        return lambda: session.step(next(draws))

    times = told(in_turns({side: work(side) for side in sides}, min(rounds, 76)), "torch")
    for side, row in times.items():
        print(
            f"  search step, {side:<8}{row['median_ms']:7.1f} ms, least {row['min_ms']:.1f}; "
            f"{row['times_as_fast']:.2f} times torch (of least {row['times_as_fast_min']:.2f})"
        )
    return times


# ---- start and whole runs


def start_seconds() -> dict[str, float]:
    """CPU seconds, with those of the compiler, until the kernels of protocol cpu are there."""
    sizes = [Size(8, 16, 3, 1, False), Size(16, 8, 8, 2, False), Size(32, 4, 16, 2, False)]
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for name in ("compiled", "loaded"):
            library.cache_clear()
            before = os.times()
            for size in sizes:
                library(size, Path(place))
            after = os.times()
            found[name] = sum(after[:4]) - sum(before[:4])
    print(f"  start: compiled {found['compiled']:.1f} CPU s, loaded {found['loaded']:.3f} CPU s")
    return found


def estimate(ratios: dict[str, float]) -> dict[str, Any]:
    """A run of protocol cpu by its parts, and its ratio for some ratios of its steps."""
    from run import shares

    parts = shares([])
    whole = sum(parts.values())
    for name, seconds in parts.items():
        print(f"  {name:<20} {seconds:8.2f} s {100 * seconds / whole:5.1f} %")
    found = {
        name: whole / (whole - parts["steps"] + parts["steps"] / ratio)
        for name, ratio in ratios.items()
    }
    for name, ratio in found.items():
        print(f"  a run, by the {name}: {ratio:.2f} times (goal {GOAL})")
    return {"parts": parts, "ratios": found}


def run_seconds(side: str, out: Path, epochs: int, folder: Path) -> float:
    """CPU seconds of one search in a process of its own, its compiler's too."""
    words = ["protocol=cpu", "data.name=cifar10", f"search.epochs={epochs}", "--out", str(out)]
    command = [sys.executable, __file__, "--search", side, "--folder", str(folder), *words]
    with out.with_suffix(".log").open("wb") as log:
        actions = [(os.POSIX_SPAWN_DUP2, log.fileno(), number) for number in (1, 2)]
        process = os.posix_spawn(sys.executable, command, dict(os.environ), file_actions=actions)
        _, status, used = os.wait4(process, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{out.with_suffix('.log').read_text()}")
    return used.ru_utime + used.ru_stime


def runs(pairs: int, epochs: int) -> dict[str, Any]:
    """Whole searches in turns."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for pair in range(pairs):
            row = {
                side: run_seconds(side, Path(place) / f"{side}-{pair}", epochs, Path(place))
                for side in ("torch", "kernels")
            }
            rows.append({**row, "ratio": row["torch"] / row["kernels"], "compiled": pair == 0})
            print(
                f"  {epochs} epochs: torch {row['torch']:.1f} CPU s, kernels {row['kernels']:.1f}, "
                f"ratio {rows[-1]['ratio']:.3f}",
                flush=True,
            )
    ratio = statistics.median(row["ratio"] for row in rows)
    print(f"  ratio {ratio:.3f}, goal {GOAL}")
    return {"epochs": epochs, "pairs": rows, "ratio": ratio}


def search_only(side: str, folder: Path, words: list[str]) -> int:
    """One search, as ``optnas search`` makes it."""
    from optnas.cli import main as optnas

    if side == "kernels":
        by_kernels(folder)
    sys.argv = ["optnas", "search", *words]
    return optnas()


def parsed() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--avx2", action="store_true", help="no AVX-512, for none of them")
    parser.add_argument("--pairs", type=int, default=0, help="only whole runs, so many of each")
    parser.add_argument("--epochs", type=int, default=40, help="of a whole run")
    parser.add_argument("--quick", action="store_true", help="one small convolution, one step")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--search", choices=("torch", "kernels"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_known_args()


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All that was asked for."""
    if given.pairs:
        return {"runs": runs(given.pairs, given.epochs)}
    if not NUMBA:
        print("numba is not installed: C and torch alone (pip install numba)")
    print(
        f"torch {torch.__version__}, 1 thread, batch {BATCH}, {'AVX2' if narrow() else 'AVX-512'}"
    )
    found: dict[str, Any] = {"isa": "AVX2" if narrow() else "AVX-512", "numba": NUMBA}
    found["peak_gflops"] = peak(folder)
    found["gigabytes_per_second"] = {str(size): bandwidth(size) for size in (12, 600)}
    print(
        f"  peak {found['peak_gflops']:.0f} GFLOP/s; GB/s of vectors of so many MB together: "
        + ", ".join(f"{n}: {speed:.0f}" for n, speed in found["gigabytes_per_second"].items())
    )
    found["load"] = os.getloadavg()
    sizes = SIZES[2:3] if given.quick else SIZES
    found["convolutions"] = convolutions(sizes, given.rounds, folder)
    if given.quick:
        return found
    found["start"] = start_seconds()
    found["steps"] = steps(given.rounds, found["peak_gflops"], folder)
    found["search_step"] = search_steps(2 * given.rounds, folder)
    ratios = {
        f"{side}, {words} of the search step": found["search_step"][side][key]
        for side in ("cells", "kernels")
        for words, key in (("median", "times_as_fast"), ("least", "times_as_fast_min"))
    }
    return found | {"run": estimate(ratios)}


def main() -> int:
    """Measure, and end with a line of JSON."""
    given, words = parsed()
    if shutil.which("gcc") is None:
        print(f"{sys.argv[0]}: needs gcc, which is not there", file=sys.stderr)
        return 2
    if given.avx2 and os.environ.get("ATEN_CPU_CAPABILITY") != "avx2":
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ) | AVX2)
    torch.set_num_threads(1)
    if given.search:
        return search_only(given.search, given.folder, words)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(given, Path(folder)) | step.machine()
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
