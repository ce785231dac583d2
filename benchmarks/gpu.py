"""What a search costs on a GPU: an epoch at full size, its steps, its memory; and a peer's step.

    python benchmarks/gpu.py [--algorithms darts ...] [--images N] [--peer DIR] [--json FILE]

Protocol `nas-bench-201`: 16 channels, 5 cells per stage, batch 64, images of 32x32, 25,000 in each
half. The images are noise: what they show costs nothing. A row is the first epoch of a search as
`optnas search` trains it, by `optnas.search.session.Session`: drawing its random numbers, 391 steps
of each level, recording the CUDA graph if there is one, then what the record says (a pass over the
validation half, alpha's Hessian). Loading the images, checkpoints and other measures are left
out. Memory: the largest of all tensors together, the largest that torch's allocator held for them,
and what is then used of the card, as its driver says, by all processes.

With ``--peer`` a checkout of SmoothDARTS (xiangning-chen/SmoothDARTS): its own NAS-Bench-201
network on the same card in the same process, stepped as its train_search.py does, with the cuDNN
settings of that script, on batches that lie on the GPU already.

The clock is read with the GPU idle, after an epoch of a small search that is not timed. The last
line printed is JSON. Without a GPU the answer is one line and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from step import Setting, batches, peer_side

from optnas.base.registry import register
from optnas.data.sets.base import Dataset, Rows
from optnas.search.api import settings_of
from optnas.search.environment import computing
from optnas.search.session import Session
from optnas.search.settings.model import Settings
from optnas.search.state import build_state

BATCH, SIDE = 64, 32
PUBLISHED = 25_000
STEPPERS = ("eager", "graph")
PRECISIONS = ("float32", "tf32", "bfloat16")
PEER_STEPS = 40


@register("dataset", "noise")
def noise(folder: Path | None, size: int = 2 * PUBLISHED) -> Dataset:
    """Random images of 32x32 in ten classes.

    Args:
        folder: not used.
        size: how many.
    """

    def decode(rows_N: np.ndarray) -> Rows:
        numbers = np.random.default_rng(0)
        images = numbers.integers(0, 256, (size, SIDE, SIDE, 3), dtype=np.uint8)
        return images[rows_N], numbers.integers(0, 10, size)[rows_N]

    return Dataset(
        name="noise",
        classes=10,
        channels=3,
        resolution=SIDE,
        size=size,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        crop_padding=4,
        flip=True,
        note="Noise",
        files=(),
        decode=decode,
    )


def settings_for(
    algorithm: str,
    stepper: str,
    precision: str,
    device: str,
    images: int = PUBLISHED,
    **others: Any,
) -> Settings:
    """Full size, but for what is said otherwise."""
    asked = {
        "protocol": "nas-bench-201",
        "search.batch_size": BATCH,
        "data.name": "noise",
        "data.size": 2 * images,
        "data.resolution": SIDE,
        "data.train_size": images,
        "data.valid_size": images,
        "measures.gap.at": [],
        "algorithm.name": algorithm,
        "supernet.precision": precision,
        "run.device": device,
        "run.stepper": stepper,
    }
    return settings_of({**asked, **others})


def wait(device: torch.device) -> None:
    """Until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(settings: Settings) -> dict[str, Any]:
    """A row: what the first epoch of a search costs."""
    with computing(settings):
        session = Session(build_state(settings))
        device = session.state.alpha_EO.device
        session.train_epoch()  # epoch 0: nothing is trained
        session.measure()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        wait(device)
        began = time.perf_counter()
        session.train_epoch()
        wait(device)
        trained = time.perf_counter()
        session.measure()
        ended = time.perf_counter()
        memory = memory_of(device)
    steps = -(-settings.data.train_size // settings.search.batch_size)
    return {
        "algorithm": settings.algorithm.name,
        "stepper": settings.run.stepper,
        "precision": settings.supernet.precision,
        "step_ms": 1e3 * (trained - began) / steps,
        "epoch_seconds": ended - began,
        "record_seconds": ended - trained,
        **memory,
    }


def memory_of(device: torch.device) -> dict[str, float | None]:
    """Three answers in MiB: of tensors, of what torch's allocator held for them, of the card.

    The last is what the driver has given away: to this process (its context and libraries too) and
    to all others.
    """
    told: list[float | None] = [None, None, None]
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        held = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        told = [each / 2**20 for each in (*held, whole - free)]
    return dict(zip(("peak_mib", "reserved_mib", "card_mib"), told, strict=True))


def peer_ms(checkout: Path, channels: int, cells: int, device: str, steps: int) -> float:
    """Milliseconds of a step of SmoothDARTS."""
    setting = Setting(channels, cells, SIDE, steps, 0, 0)
    backends = torch.backends.cudnn
    before = backends.benchmark, backends.allow_tf32, backends.deterministic
    # As its script says, and as torch allows by itself.
    backends.benchmark, backends.allow_tf32, backends.deterministic = True, True, False
    step = peer_side(checkout, device)(setting)
    train, valid = (
        (images_BCHW.to(device), labels_B.to(device))
        for images_BCHW, labels_B in batches("peer", setting)
    )
    for _ in range(5):
        step(train, valid)
    wait(torch.device(device))
    began = time.perf_counter()
    for _ in range(steps):
        step(train, valid)
    wait(torch.device(device))
    seconds = time.perf_counter() - began
    backends.benchmark, backends.allow_tf32, backends.deterministic = before
    return 1e3 * seconds / steps


def machine() -> dict[str, str]:
    """What the times belong to."""
    commit = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    return {
        "command": " ".join(sys.argv),
        "commit": subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip(),
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "system": platform.platform(),
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of a search on a GPU.")
    parser.add_argument("--algorithms", nargs="+", default=["darts", "sdarts-adv", "gdas"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--steppers", nargs="+", choices=STEPPERS, default=STEPPERS)
    parser.add_argument("--images", type=int, default=PUBLISHED, help="in each half")
    parser.add_argument("--peer", type=Path, metavar="DIR", help="a checkout of SmoothDARTS")
    parser.add_argument("--json", type=Path, help="also write the rows, commit and card here")
    return parser.parse_args()


def main() -> None:
    """Time, print a table and a line of JSON."""
    arguments = parsed()
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py: there is no GPU here that torch can use", file=sys.stderr)
        sys.exit(2)
    told = machine()
    print(f"{told['card']}, torch {told['torch']}; {arguments.images:,} images in each half")
    measured(settings_for("darts", "eager", "float32", "cuda", 256))
    result: dict[str, Any] = {**told, "images": arguments.images, "rows": []}
    if arguments.peer:
        result["peer_ms"] = peer_ms(arguments.peer, 16, 5, "cuda", PEER_STEPS)
        print(f"SmoothDARTS' own network: {result['peer_ms']:.1f} ms per step")
    print(
        f"{'algorithm':<14}{'stepper':<9}{'precision':<11}{'ms/step':>9}{'s/epoch':>9}{'MiB':>8}{'held':>8}{'card':>8}"
    )
    for algorithm in arguments.algorithms:
        for stepper in arguments.steppers:
            for precision in arguments.precisions:
                settings = settings_for(algorithm, stepper, precision, "cuda", arguments.images)
                row = measured(settings)
                result["rows"].append(row)
                print(
                    f"{algorithm:<14}{stepper:<9}{precision:<11}{row['step_ms']:9.2f}"
                    f"{row['epoch_seconds']:9.2f}{row['peak_mib']:8.0f}"
                    f"{row['reserved_mib']:8.0f}{row['card_mib']:8.0f}",
                    flush=True,
                )
                if arguments.json:
                    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
