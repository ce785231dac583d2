"""What importing the official NATS-Bench archive costs, extrapolated from a part of it.

    python benchmarks/import_archive.py [--cells N] [--archive FOLDER]

Archives of N and N / 4 cells are imported by a fresh process each, once from a folder and once from
a tar. Their cells are written by tests/archive.py, with the epochs of genuine ones and one to three
trials. With ``--archive`` the reading of the genuine cells in a folder is timed as well. Seconds
are CPU seconds; ``megabytes`` is the process's peak of resident memory, which must not grow with
the number of cells; ``minutes`` extrapolates to 15,625 cells. The last line is JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from optnas.spaces import NAS_BENCH_201
from optnas.spaces.tables import nats
from optnas.spaces.tables.nats_archive import read_cell

TESTS = Path(__file__).parent.parent / "tests"
ONE = "--one-import"


def load_writer() -> Any:
    spec = importlib.util.spec_from_file_location("archive", TESTS / "archive.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def import_once(path: Path) -> None:
    start = time.process_time()
    imported = nats.import_archive(path, None, allow_partial=True)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cells": imported.held, "seconds": seconds, "megabytes": peak}))


def measure(path: Path) -> dict[str, float]:
    answer = subprocess.run(
        [sys.executable, __file__, ONE, str(path)], capture_output=True, text=True, check=True
    )
    cost: dict[str, float] = json.loads(answer.stdout)
    each = cost["seconds"] / cost["cells"]
    return {
        "cells": cost["cells"],
        "milliseconds_a_cell": round(1000 * each, 2),
        "megabytes": round(cost["megabytes"], 1),
        "minutes": round(each * NAS_BENCH_201.size / 60, 2),
    }


def genuine(folder: Path, repetitions: int = 20) -> dict[str, float]:
    """Milliseconds to read a genuine cell, the mean over those there."""
    files = [path for path in sorted(folder.glob("*.pbz2")) if path.name[:6].isdigit()]
    contents = [(int(path.name[:6]), path.read_bytes()) for path in files]
    start = time.process_time()
    for _ in range(repetitions):
        for index, data in contents:
            read_cell(data, index, where=folder)
    each = (time.process_time() - start) / repetitions / len(contents)
    return {
        "kilobytes_a_cell": round(sum(len(data) for _, data in contents) / len(contents) / 1000, 1),
        "milliseconds_a_cell": round(1000 * each, 2),
        "minutes": round(each * NAS_BENCH_201.size / 60, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=400)
    parser.add_argument("--archive", type=Path, help="a folder with genuine cells")
    parser.add_argument(ONE, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_import:
        import_once(options.one_import)
        return
    writer, costs = load_writer(), {}
    with tempfile.TemporaryDirectory() as name:
        os.environ["OPTNAS_HOME"] = name
        for cells in (options.cells // 4, options.cells):
            folder = writer.write_archive(Path(name) / str(cells), range(cells))
            size = sum(path.stat().st_size for path in folder.iterdir())
            print(f"{cells} cells, {size / cells / 1000:.0f} kB each", flush=True)
            for kind, path in (("folder", folder), ("tar", writer.tar_of(folder))):
                costs[f"{kind} of {cells}"] = cost = measure(path)
                print(f"{kind:<7} {cost}", flush=True)
    if options.archive:
        costs["genuine cells"] = genuine(options.archive)
    print(json.dumps(costs))


if __name__ == "__main__":
    main()
