"""Wall time of `study run` against the same `optnas search` commands in a plain shell loop.

python benchmarks/study_overhead.py [--epochs 40] [--seeds 4] [--jobs 2] [--rounds 1]

Both run every search in a process of its own, with the same number of processes at a time (the
loop through `xargs -P`), one after the other in this order: loop, study, study, loop, and so on, so
that a machine that slows down favours neither. The last line is JSON: ``ratio`` is study / loop in
wall time, ``cpu_ratio`` in CPU time of all processes, which is steadier on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = {
    "data.name": "digits",
    "benchmark.table": "analog-nasbench",
    "measures.sharpness.every": 0,
    "weight_optimizer.name": "SGD",
}
OPTNAS = [sys.executable, "-m", "optnas"]


def write_study(folder: Path, seeds: int, epochs: int) -> Path:
    base = ", ".join(f"{key} = {json.dumps(value)}" for key, value in SETTINGS.items())
    path = folder / "overhead.toml"
    path.write_text(
        f'[study]\nname = "overhead"\nseeds = {list(range(seeds))}\n'
        f"base = {{ {base}, search.epochs = {epochs} }}\n"
    )
    return path


def loop(folder: Path, seeds: int, epochs: int, jobs: int) -> tuple[float, float]:
    words = [*OPTNAS, "search", *(f"{key}={value}" for key, value in SETTINGS.items())]
    words += [f"search.epochs={epochs}"]
    line = f"{shlex.join(words)} search.seed=SEED --out {folder}/SEED > /dev/null"
    script = f"seq 0 {seeds - 1} | xargs -P {jobs} -I SEED sh -c {shlex.quote(line)}"
    return seconds_of(["sh", "-c", script])


def study(name: Path, folder: Path, jobs: int) -> tuple[float, float]:
    return seconds_of(
        [*OPTNAS, "study", "run", str(name), "--out", str(folder), "--jobs", str(jobs)]
    )


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def seconds_of(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command and all its processes."""
    began, before = time.perf_counter(), cpu_seconds()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began, cpu_seconds() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option, default in {"epochs": 40, "seeds": 4, "jobs": 2, "rounds": 1}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    asked = parser.parse_args()
    seconds: dict[str, list[tuple[float, float]]] = {"loop": [], "study": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        name = write_study(folder, asked.seeds, asked.epochs)
        order = ["loop", "study", "study", "loop"] * asked.rounds
        for number, kind in enumerate(order):
            out = folder / f"{kind}-{number}"
            if kind == "loop":
                took = loop(out, asked.seeds, asked.epochs, asked.jobs)
            else:
                took = study(name, out, asked.jobs)
            seconds[kind].append(took)
            print(f"{kind:<6} {took[0]:7.1f} s wall {took[1]:7.1f} s CPU", flush=True)
    (wall, cpu), (wall_of_loop, cpu_of_loop) = (
        map(sum, zip(*seconds[kind], strict=True)) for kind in ("study", "loop")
    )
    ratios = {"ratio": round(wall / wall_of_loop, 4), "cpu_ratio": round(cpu / cpu_of_loop, 4)}
    print(json.dumps({**vars(asked), "seconds": seconds, **ratios}))


if __name__ == "__main__":
    main()
