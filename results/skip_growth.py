"""The quoted numbers of docs/skip-growth.md, from the records of the study skip-growth.

optnas study export skip-growth --out RUNS --to results/skip-growth
python results/skip_growth.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from documents import as_table, built, spread
from torch import Tensor

from optnas.base.files import write_text
from optnas.base.records import find_runs
from optnas.spaces import build_space

RECORDS = Path(__file__).parent / "skip-growth"
DOCUMENT = Path(__file__).parent.parent / "docs" / "skip-growth.md"
ARMS = ("darts", "sdarts-rs")
SHOWN = (0, 5, 10, 15)


class Run(NamedTuple):
    """What a run says of skips.

    Attributes:
        name: its folder, the beginning of its hash.
        weight_T: mean operation weight of the skip over all edges, by epoch.
        normal_T: the same over the edges of the normal cell.
        skips: edges of the derived cell that carry one.
        accuracy: of the supernet on the validation half after the last epoch, percent.
    """

    name: str
    weight_T: Tensor
    normal_T: Tensor
    skips: int
    accuracy: float


Runs = Mapping[str, Mapping[int, Run]]  # by algorithm and seed


def read() -> Runs:
    """The records."""
    runs: dict[str, dict[int, Run]] = {arm: {} for arm in ARMS}
    for folder in find_runs(RECORDS):
        config, records = folder.read_config(), folder.read_some_epochs()
        space = build_space(config["space"])
        column, normal = space.skip_column("it is counted"), len(space.wirings[0].edges)
        A_TEO = torch.tensor([r["op_weights"] for r in records], dtype=torch.float64)
        skip_TE, last = A_TEO[:, :, column], records[-1]
        runs[config["algorithm"]["name"]][config["search"]["seed"]] = Run(
            folder.path.name,
            skip_TE.mean(1),
            skip_TE[:, :normal].mean(1),
            last["skips"],
            last["valid_accuracy"],
        )
    return runs


def of(runs: Runs, arm: str, number: Callable[[Run], object]) -> Tensor:
    """A number of each run of an arm, in the order of the seeds."""
    values = [number(run) for _, run in sorted(runs[arm].items())]
    return torch.tensor(values, dtype=torch.float64)


# In words, how it is written, and the number.
NUMBERS: tuple[tuple[str, str, Callable[[Run], object]], ...] = (
    (
        "growth of the skip weight, all 28 edges",
        "+.3f",
        lambda run: run.weight_T[-1] - run.weight_T[0],
    ),
    (
        "growth, the 14 edges of the normal cell",
        "+.3f",
        lambda run: run.normal_T[-1] - run.normal_T[0],
    ),
    ("skips among the 16 edges of the derived cells", ".1f", lambda run: run.skips),
    ("supernet's validation accuracy, %", ".1f", lambda run: run.accuracy),
)


def growth(runs: Runs) -> str:
    """Each number by arm, and the difference by seed."""
    rows = []
    for what, form, number in NUMBERS:
        first, second = (of(runs, arm, number) for arm in ARMS)
        told = (spread(each.tolist(), form) for each in (first, second, first - second))
        rows.append([what, *told])
    return as_table(["mean over seeds", *ARMS, "difference by seed"], rows)


def by_epoch(runs: Runs) -> str:
    """The skip weight after some epochs."""
    rows = []
    for arm in ARMS:
        means = [float(of(runs, arm, lambda run, t=t: run.weight_T[t]).mean()) for t in SHOWN]
        rows.append([arm, *(f"{mean:.3f}" for mean in means)])
    return as_table(["skip weight after epoch", *map(str, SHOWN)], rows)


def by_run(runs: Runs) -> str:
    """What each run says."""
    rows = [
        [
            f"`{run.name}`",
            arm,
            str(seed),
            f"{float(run.weight_T[-1] - run.weight_T[0]):+.3f}",
            str(run.skips),
        ]
        for arm in ARMS
        for seed, run in sorted(runs[arm].items())
    ]
    return as_table(["run", "algorithm", "seed", "growth, all edges", "skips"], rows)


PARTS = {"growth": growth, "epochs": by_epoch, "runs": by_run}


def page() -> str:
    """The document as the records have it."""
    return built(DOCUMENT.read_text(), PARTS, read())


if __name__ == "__main__":
    write_text(DOCUMENT, page())
