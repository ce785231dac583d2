"""What a search costs on a GPU: seconds per step and per epoch at full size, and memory.

    python benchmarks/gpu.py [--algorithms darts sdarts-adv ...] [--steps N] [--json FILE]

One *step* is a step of each level of `optnas.search.session.Session`, as a search takes it: batches
made from stored images by numbers drawn beforehand, forward, backward, clipping, SGD on the network
weights and Adam on alpha. Protocol `nas-bench-201`: 16 channels, 5 cells per stage, batch 64,
images of 32x32 (the embedded digits, enlarged: what an image shows costs nothing). A published
epoch is 391 steps and a pass over 25,000 validation images, whose time is that of the pass made
here, scaled by the number of images. Loading, checkpoints and measures are left out.

The clock is read with the device idle, after steps that are not timed. Memory is the largest that
torch's allocator held for tensors. The last line printed is JSON. Without a GPU the answer is one
line and exit code 2; so far there has been no other (docs/gpu.md).
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

import torch

from optnas.search.api import settings_of
from optnas.search.draws import StepDraws, draw_epoch
from optnas.search.environment import computing
from optnas.search.session import Session
from optnas.search.settings.model import Settings
from optnas.search.state import build_state

BATCH, IMAGES = 64, 25_000
PRECISIONS = ("float32", "tf32", "bfloat16")
WARM_UP = 10
FULL_SIZE: dict[str, Any] = {
    "protocol": "nas-bench-201",
    "search.batch_size": BATCH,
    "data.name": "digits",
    "data.resolution": 32,
    "data.train_size": 8 * BATCH,
    "data.valid_size": 8 * BATCH,
    "measures.sharpness.every": 0,
    "measures.gap.at": [],
}


def settings_for(algorithm: str, precision: str, device: str, **others: Any) -> Settings:
    """Full size, but for what is said otherwise."""
    asked = {"algorithm.name": algorithm, "supernet.precision": precision, "run.device": device}
    return settings_of({**FULL_SIZE, **asked, **others})


def wait(device: torch.device) -> None:
    """Until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_seconds(session: Session, draws: list[StepDraws], steps: int) -> float:
    """Seconds of one step: the mean over many, as their work overlaps."""
    device = session.state.alpha_EO.device
    for index in range(WARM_UP):
        session.step(draws[index % len(draws)])
    wait(device)
    began = time.perf_counter()
    for index in range(steps):
        session.step(draws[index % len(draws)])
    wait(device)
    return (time.perf_counter() - began) / steps


def pass_seconds(session: Session) -> float:
    """Seconds of a pass over the validation half; it reads its result, and so ends by itself."""
    snapshot = session.snapshot
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        snapshot.evaluate(snapshot.op_weights_EO, snapshot.statistics)
        seconds.append(time.perf_counter() - began)
    return seconds[-1]


def measured(settings: Settings, steps: int) -> dict[str, Any]:
    """A row: what one algorithm costs at one precision."""
    with computing(settings):
        session = Session(build_state(settings))
        device = session.state.alpha_EO.device
        session.train_epoch()
        session.begin_epoch()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        step = step_seconds(session, draw_epoch(session.state), steps)
        memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        judged = pass_seconds(session) * IMAGES / settings.data.valid_size
    batches = -(-IMAGES // settings.search.batch_size)
    return {
        "algorithm": settings.algorithm.name,
        "precision": settings.supernet.precision,
        "step_ms": 1e3 * step,
        "epoch_seconds": batches * step + judged,
        "peak_mib": None if memory is None else memory / 2**20,
    }


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
    parser.add_argument("--steps", type=int, default=100, help="timed steps of each")
    parser.add_argument("--json", type=Path, help="also write the rows, commit and card here")
    return parser.parse_args()


def main() -> None:
    """Time, print a table and a line of JSON."""
    arguments = parsed()
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py: there is no GPU here that torch can use", file=sys.stderr)
        sys.exit(2)
    told = machine()
    print(f"{told['card']}, torch {told['torch']}; published epochs of {IMAGES:,} images")
    print(f"{'algorithm':<14}{'precision':<11}{'ms/step':>10}{'s/epoch':>12}{'MiB':>8}")
    rows = []
    for algorithm in arguments.algorithms:
        for precision in PRECISIONS:
            row = measured(settings_for(algorithm, precision, "cuda"), arguments.steps)
            rows.append(row)
            print(
                f"{algorithm:<14}{precision:<11}{row['step_ms']:10.2f}"
                f"{row['epoch_seconds']:12.2f}{row['peak_mib']:8.0f}",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
