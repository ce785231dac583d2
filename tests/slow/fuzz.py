"""Kills and damaged input, drawn by a seed: nothing lost, unequal, silent or wrongly told.

    python tests/slow/fuzz.py --seed 0 --cases 500 --kills 300 --json report.json

*lost*: a record that was there before a kill and is not after the resume. *unequal*: records or
checkpoint of a resumed run differ from those of an uninterrupted one. *silent*: damaged input is
taken and changes what is computed or shown. *wrong_exit*: an exit code but 0, 2 (bad input), 1 (a
failed run that is recorded as such), 3 (diverged) and that of a signal; a traceback; a refusal
that leaves changed files; no answer. The exit code is 1 if anything was found.

Half of the kills come inside writes (`moments`), the others after a drawn share of the time that
the run takes. Every command is a process of its own, forked from one that has torch already.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["COLUMNS"] = "200"
sys.path.insert(0, str(Path(__file__).parents[1]))

# What commands would import each for itself.
import matplotlib.pyplot  # noqa: F401
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import scipy.stats  # noqa: F401
import torch
from damage import Damager
from kills import Killer

FAULTS = ("lost", "unequal", "silent", "wrong_exit")


def fuzzed(seed: int, cases: int, kills: int, folder: Path, tell: bool = True) -> dict[str, object]:
    """What was done, and the faults that were found.

    Args:
        seed: of everything that is drawn.
        cases: number of damaged inputs.
        kills: number of kills.
        folder: an empty one.
        tell: print each fault when it is found.
    """
    torch.set_num_threads(1)
    os.environ.pop("OPTNAS_DATA", None)
    os.environ["OPTNAS_HOME"] = str(folder / "home")
    found: dict[str, list[str]] = {fault: [] for fault in FAULTS}

    def report(fault: str, what: str) -> None:
        found[fault].append(what)
        if tell:
            print(f"{fault}: {what}", flush=True)

    began = time.monotonic()
    killer = Killer(folder, random.Random(f"kills {seed}"), report)
    damager = Damager(folder, random.Random(f"cases {seed}"), report)
    if cases:
        damager.prepare()
        damager.run(cases)
    killer.run(kills)
    return {
        "seed": seed,
        "cases": cases,
        "kills": killer.kills,
        "inside_writes": killer.inside,
        **{fault: len(each) for fault, each in found.items()},
        "found": found,
        "answers": dict(sorted(damager.counts.items())),
        "seconds": round(time.monotonic() - began),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--json", type=Path, help="where the report is written")
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = fuzzed(chosen.seed, chosen.cases, chosen.kills, folder.resolve())
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    print({key: value for key, value in report.items() if key != "found"})
    sys.exit(any(report[fault] for fault in FAULTS))


if __name__ == "__main__":
    main()
