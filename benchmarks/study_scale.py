"""A study of 1,000 runs of 100 epochs: planned, tabulated, reported; seconds and peak memory.

python benchmarks/study_scale.py [--runs 1000] [--epochs 100] [--keep FOLDER]

The grids are those of the shipped study deck, so that every figure of the report is drawn. The
records are synthetic (alpha walks at random), but written through `RunFolder`, with the same
measures of alpha and the same benchmark table as a search writes. Writing them is not counted.
Plan, table and report together have to stay under 60 s and 2 GiB.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from optnas.algorithms.parts import argmax_per_edge
from optnas.base.records import RunFolder
from optnas.base.toml import dump_toml
from optnas.search.describe import describe_alpha
from optnas.spaces.nasbench201 import NAS_BENCH_201
from optnas.spaces.tables import load_table
from optnas.spaces.tables.told import describe_benchmark
from optnas.study.declare import STUDIES, PlannedRun, load_study

RUNS_A_SEED = 81  # of deck


def write_study(folder: Path, runs: int, epochs: int) -> Path:
    """The grids of deck, with as many seeds as it takes."""
    _, document = STUDIES.load("deck")
    settings = {"data.name": "digits", "benchmark.table": "analog-nasbench"}
    document["study"] = {"name": "scale", "base": {**settings, "search.epochs": epochs}}
    path = folder / "scale.toml"
    document["study"]["seeds"] = list(range(-(-runs // RUNS_A_SEED)))
    path.write_text(dump_toml(document))
    return path


def write_run(run: PlannedRun, folder: RunFolder, epochs: int) -> None:
    """What a search leaves, without the search."""
    space, generator = NAS_BENCH_201, torch.Generator().manual_seed(int(run.id[:8], 16))
    table = load_table("analog-nasbench", folder=None)
    start_EO = 1e-3 * torch.randn(space.edge_count, space.operation_count, generator=generator)
    alpha_EO = start_EO.clone()
    with folder.created(run.settings.document()):
        for epoch in range(epochs + 1):
            choice = argmax_per_edge(alpha_EO)
            noise = torch.rand(3, generator=generator).tolist()
            record = {"epoch": epoch, "train_loss": 2.3 / (epoch + 1), "train_accuracy": 10.0}
            record |= {"weight_lr": 0.025, "arch_lr": 3e-4, "valid_loss": 2.3}
            record |= {"valid_accuracy": 90 - 80 / (1 + epoch / 10) + 2 * noise[0]}
            record |= describe_alpha(alpha_EO, start_EO, alpha_EO.softmax(-1), choice, space)
            record |= {"alpha_path_length": 0.1 * epoch, "weight_norm": 10.0}
            record["benchmark"] = describe_benchmark(table, space.architecture(choice))
            record |= {"alpha_hessian_max": 0.1 + noise[1], "alpha_hessian_min": -noise[2]}
            record["seconds"] = 1.0
            folder.append(record)
            alpha_EO += 0.05 * torch.randn(alpha_EO.shape, generator=generator)
        told = {key: record[key] for key in ("architecture", "benchmark", "valid_accuracy")}
        folder.finish("done", hash=run.settings.hash, epochs=epochs, seconds=float(epochs), **told)


def measured(arguments: list[str], cwd: Path) -> tuple[float, float]:
    """Wall seconds of a command, and the peak memory of all commands so far in MiB."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "optnas", "study", *arguments],
        cwd=cwd,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return time.perf_counter() - began, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="write here, and leave it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        name = str(write_study(folder, asked.runs, asked.epochs))
        runs = list(load_study(name).runs.values())[: asked.runs]
        os.fsync = lambda descriptor: None  # the disk is not what is measured
        for run in runs:
            target = RunFolder(folder / "out" / run.id)
            if not target.config.exists():
                write_run(run, target, asked.epochs)
        outcome: dict[str, float] = {"runs": len(runs), "epochs": asked.epochs}
        for verb, more in {
            "plan": ["--no-timing", "--out", "out"],
            "status": ["--out", "out"],
            "table": ["--out", "out", "-o", "t.parquet"],
            "table to csv": ["--out", "out", "-o", "t.csv"],
            "report": ["--out", "out", "--to", "report"],
        }.items():
            seconds, peak = measured([verb.split()[0], name, *more], folder)
            print(f"{verb:<14} {seconds:6.1f} s   peak so far {peak:6.0f} MiB", flush=True)
            outcome |= {f"{verb} seconds": round(seconds, 2), "peak MiB": round(peak)}
        outcome["report MB"] = round((folder / "report/report.html").stat().st_size / 1e6, 1)
    verbs = ("plan", "table", "report")
    outcome["together seconds"] = round(sum(outcome[f"{verb} seconds"] for verb in verbs), 1)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
