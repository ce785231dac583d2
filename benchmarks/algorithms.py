"""What a step of each algorithm costs, in time and memory, relative to DARTS.

    python benchmarks/algorithms.py [NAME ...] [--rounds N] [--json FILE]

One *step* is a step of each level of `optnas.search.session.Session`, as a search takes it, of
protocol `cpu`: 8 channels, one cell per stage, batch 64, images of 16x16 (the embedded digits,
enlarged: what an image shows costs nothing), SGD on the network weights and Adam on alpha. Every
registered algorithm at its defaults, and DARTS with the unrolled hypergradient; all in the same
process, with one thread, by turns: a round is one step of each. Searches stand in the middle of
their epochs: warm-ups are over, selections have not begun. Algorithms most of whose steps leave
alpha alone are left out: their pages count what the others take.

Time is CPU time of the process; the relative cost is the median over rounds of the ratio to DARTS'
step of the same round, so what else the machine does falls on both. Memory is what two steps add to
the peak of resident memory, in a fresh process for each, relative to what DARTS' add. Building the
search, validation and selection are left out. The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from step import machine, peak_kib

from optnas.base import registry
from optnas.search.api import settings_of
from optnas.search.draws import StepDraws, draw_epoch
from optnas.search.environment import computing
from optnas.search.session import Session
from optnas.search.state import build_state

REFERENCE, UNROLLED = "darts", "darts, unrolled"
EPOCHS, BATCH = 20, 64
WARM_UP = 2
SELDOM = ("idarts", "shapley-nas", "zarts")  # the median of their steps would tell of others
SIZE: dict[str, Any] = {
    "protocol": "cpu",
    "search.epochs": EPOCHS,
    "search.batch_size": BATCH,
    "data.name": "digits",
    "data.resolution": 16,
    "data.train_size": 8 * BATCH,
    "data.valid_size": 8 * BATCH,
    "measures.sharpness.every": 0,
}


class Search:
    """A search in the middle of its epochs.

    Args:
        label: a registered algorithm, or `UNROLLED`.
        **others: settings that are not those of `SIZE`.
    """

    def __init__(self, label: str, **others: Any):
        name, _, hypergradient = label.partition(", ")
        asked = {"algorithm.hypergradient": hypergradient} if hypergradient else {}
        settings = settings_of({**SIZE, "algorithm.name": name, **asked, **others})
        with computing(settings):
            self.session = Session(build_state(settings))
        self.session.state.epoch = settings.search.epochs // 2 - 1
        self.session.begin_epoch()
        self.draws: list[StepDraws] = []

    def seconds(self) -> float:
        """CPU seconds of the next step; its random numbers are drawn before."""
        self.draws = self.draws or draw_epoch(self.session.state)
        draws = self.draws.pop()
        start = time.process_time()
        self.session.step(draws)
        return time.process_time() - start


def labels() -> list[str]:
    """What is measured."""
    return [*(name for name in registry.names("algorithm") if name not in SELDOM), UNROLLED]


def relative_times(asked: list[str], rounds: int, **others: Any) -> dict[str, dict[str, float]]:
    """Milliseconds of a step, and its cost relative to DARTS."""
    searches = {label: Search(label, **others) for label in dict.fromkeys([REFERENCE, *asked])}
    taken = {label: list[float]() for label in searches}
    for round_ in range(WARM_UP + rounds):
        for label, search in searches.items():
            seconds = search.seconds()
            if round_ >= WARM_UP:
                taken[label].append(seconds)
    return {
        label: {
            "step_ms": 1e3 * statistics.median(taken[label]),
            "step_cost": statistics.median(
                own / reference
                for own, reference in zip(taken[label], taken[REFERENCE], strict=True)
            ),
        }
        for label in asked
    }


def growth_mib(label: str) -> float:
    """What two steps add to this process's peak, after a step on small batches."""
    small = {"search.batch_size": 2, "data.train_size": 4, "data.valid_size": 4}
    Search(label, **small).seconds()
    search = Search(label)
    before = peak_kib()
    for _ in range(2):
        search.seconds()
    return (peak_kib() - before) / 1024


def growth_in_fresh_process(label: str) -> float:
    """The same, by a process of its own."""
    command = [sys.executable, __file__, label, "--memory"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rows(asked: list[str], rounds: int) -> list[dict[str, Any]]:
    """One per algorithm."""
    times = relative_times(asked, rounds)
    growths = {
        label: growth_in_fresh_process(label) for label in dict.fromkeys([REFERENCE, *asked])
    }
    return [
        {
            "algorithm": label,
            **times[label],
            "growth_mib": growths[label],
            "memory": growths[label] / growths[REFERENCE],
        }
        for label in asked
    ]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="registered algorithms (default: all)")
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each")
    parser.add_argument("--json", type=Path, help="also write the rows, commit and machine here")
    parser.add_argument("--memory", action="store_true", help="only print one's growth, MiB")
    return parser.parse_args()


def main() -> None:
    """Time, measure memory, print a table and a line of JSON."""
    arguments = parsed()
    torch.set_num_threads(1)
    if arguments.json and arguments.names:
        sys.exit("--json stores every algorithm's row: leave the names out")
    if arguments.memory:
        print(growth_mib(arguments.names[0]))
        return
    told = machine()  # of now: a checkout may move on meanwhile
    found = rows(arguments.names or labels(), arguments.rounds)
    print(f"{'algorithm':<18}{'ms/step':>9}{'x DARTS':>9}{'MiB':>7}{'x DARTS':>9}")
    for row in found:
        print(
            f"{row['algorithm']:<18}{row['step_ms']:9.1f}{row['step_cost']:9.2f}"
            f"{row['growth_mib']:7.0f}{row['memory']:9.2f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({**told, "rows": found}, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
