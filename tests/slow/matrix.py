"""Every algorithm under {SGD, Adam} x {SGD, Adam}, killed once and resumed: the same bits?

    python tests/slow/matrix.py --json results/numerics/kills.json

Of each combination a search of two epochs on digits is made twice. One goes through. The other is
ended by SIGKILL, at a drawn moment of epoch 1 or 2, after the record of the epoch before, and
resumed. Both must have all their records, of epochs 0, 1 and 2, and be equal in every bit: records
but for their seconds, weights, alpha, both optimizers, statistics, streams and memory. What is
killed, and what resumes it, are processes of their own, forked from the one that goes through.
The exit code is 1 if a combination failed.

`--sample` takes of each algorithm one pair, by turns, as the slow tier does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from cases import assert_same_run, unwarned
from forked import answered, ended, started

from optnas.base import registry
from optnas.base.columns import RECORD
from optnas.base.records import RunFolder
from optnas.search import api
from optnas.search.environment import processor
from optnas.search.exam.searches import TINY

PAIRS = tuple(itertools.product(("SGD", "Adam"), repeat=2))
EPOCHS = 2
SEARCH: dict[str, Any] = TINY | {
    "search.epochs": EPOCHS,
    "data.train_size": 160,
    "data.valid_size": 160,
    "measures.sharpness.every": 1,
}
ATTEMPTS = 20  # a search may end before the signal comes
Row = dict[str, Any]


def combinations(sample: bool = False) -> list[tuple[str, str, str]]:
    """Algorithm, optimizer of the weights, of alpha; in a sample one pair of each algorithm."""
    return [
        (name, *pair)
        for place, name in enumerate(registry.names("algorithm"))
        for pair in ([PAIRS[place % len(PAIRS)]] if sample else PAIRS)
    ]


def settings_of(algorithm: str, weight: str, arch: str) -> dict[str, Any]:
    """Those of one combination."""
    names = {"weight_optimizer.name": weight, "arch_optimizer.name": arch}
    return SEARCH | {"algorithm.name": algorithm} | names


def recorded(out: Path) -> int:
    """How many lines of records there are by now; the last may be half a line."""
    path = out / "epochs.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill(search: list[str], out: Path, draw: random.Random, pace: float) -> Row:
    """Kill a search once while it trains.

    Args:
        search: the command.
        out: the run's folder, not there yet.
        draw: of the moment: an epoch, and a share of it.
        pace: seconds of an epoch.

    Returns:
        Where it was killed.

    Raises:
        AssertionError: it failed, or every time it had ended before.
    """
    for attempt in range(1, ATTEMPTS + 1):
        epoch, share = draw.randrange(EPOCHS), draw.random()
        process, until = started(search, out.parent, out.parent), time.monotonic() + 60
        while recorded(out) <= epoch and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(share * pace)
        os.kill(process, signal.SIGKILL)
        answer = ended(process, out.parent, 60)
        if answer.code == -signal.SIGKILL and RunFolder(out).read_result() is None:
            return {"records_at_kill": recorded(out), "attempts": attempt}
        assert answer.code == 0, answer  # it was done before
        shutil.rmtree(out)
    raise AssertionError(f"{ATTEMPTS} searches ended before they were killed")


def compare(combination: tuple[str, str, str], folder: Path, draw: random.Random) -> Row:
    """Search twice, once killed and resumed.

    Args:
        combination: algorithm and optimizers.
        folder: an empty one.
        draw: of the moment.

    Returns:
        A row of the matrix; ``equal`` is true, or what differed.
    """
    row = dict(zip(("algorithm", "weight_optimizer", "arch_optimizer"), combination, strict=True))
    whole, out, settings = folder / "whole", folder / "killed", settings_of(*combination)
    search = ["search", "--out", out.name, *(f"{key}={each}" for key, each in settings.items())]
    try:
        began = time.monotonic()
        api.run(settings, out=whole)
        row |= kill(search, out, draw, (time.monotonic() - began) / (EPOCHS + 1))
        resumed = answered(["resume", out.name], folder, folder)
        assert (resumed.code, unwarned(resumed.err.splitlines())) == (0, []), resumed
        for run in (whole, out):
            records = RunFolder(run).read_epochs()  # refuses incomplete ones
            assert [record["epoch"] for record in records] == list(range(EPOCHS + 1))
            assert all(set(RECORD) <= set(record) for record in records)
        assert_same_run(out, whole)
    except Exception as error:
        return {**row, "equal": f"{type(error).__name__}: {str(error)[:300]}"}
    return {**row, "equal": True}


def commit() -> str:
    """Of the checkout, and whether it has changes."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    here = Path(__file__).parent
    return subprocess.run(
        words, cwd=here, capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", action="store_true", help="one pair of each algorithm")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, help="where the rows are written")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    draw, rows, began = random.Random(f"matrix {chosen.seed}"), [], time.monotonic()
    begun_at = commit()  # a checkout may move on meanwhile
    with tempfile.TemporaryDirectory() as work:
        os.environ["OPTNAS_HOME"] = f"{work}/home"
        for number, combination in enumerate(combinations(chosen.sample)):
            folder = Path(work) / str(number)
            folder.mkdir()
            rows.append(compare(combination, folder, draw))
            print(*rows[-1].values(), flush=True)
    equal = sum(row["equal"] is True for row in rows)
    print(f"{equal} of {len(rows)} combinations equal in every bit")
    if chosen.json:
        about = {
            "command": " ".join(["python", "tests/slow/matrix.py", *sys.argv[1:]]),
            "commit": begun_at,
            "torch": torch.__version__,
            "processor": processor(),
            "seconds": round(time.monotonic() - began),
            "equal": equal,
        }
        chosen.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
    sys.exit(equal < len(rows))


if __name__ == "__main__":
    main()
