"""The tables of docs/theory/designs.md, from the records of the studies of the designs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from documents import as_table, spread

from optnas.base.records import RunFolder, find_runs

RECORDS = Path(__file__).parent / "designs"
# In words, how it is written, the measure, its number; of the record where there is no measure.
NUMBERS = (
    ("train loss, nats", "+.3f", "", "train_loss"),
    ("supernet's validation accuracy, %", "+.2f", "", "valid_accuracy"),
    ("rise under ASAM, nats", "+.4f", "noise", "asam"),
    ("top eigenvalue in w, times norm of w squared", "+.3g", "noise", "lambda_max_scaled"),
    ("top eigenvalue in A, nats", "+.3g", "curvature", "op_weights_max"),
    ("trace in A, nats", "+.3g", "curvature", "op_weights_trace"),
    ("discretization gap, points", "+.2f", "gap", "gap"),
    ("Kendall's tau, one-shot and benchmark", "+.3f", "indicator", "tau"),
)


class Arm(NamedTuple):
    """What sets a run apart from others of its seed.

    Attributes:
        design: a key of `DESIGNS`.
        optimizer: of the network weights at the end.
    """

    design: str
    optimizer: str


Runs = Mapping[Arm, Mapping[int, RunFolder]]
# What is compared, SGD minus Adam on w: by the heading of its column.
DESIGNS = {
    "search": "a search each",
    "frozen": "alpha frozen",
    "twins of SGD": "under SGD's alpha",
    "twins of Adam": "under Adam's alpha",
    "after SGD": "from epoch 10, after SGD",
    "after Adam": "from epoch 10, after Adam",
}


def arm_of(config: Mapping[str, Any]) -> Arm:
    """The arm of a run."""
    weight, algorithm = config["weight_optimizer"], config["algorithm"]
    if weight["name"] == "swap":
        return Arm(f"after {weight['first']['name']}", weight["then"]["name"])
    if algorithm["name"] == "replay":
        return Arm(f"twins of {algorithm['driver']['weight_optimizer']['name']}", weight["name"])
    return Arm({"random": "frozen", "darts": "search"}[algorithm["name"]], weight["name"])


@functools.cache
def read() -> Runs:
    """The records, by arm and seed."""
    runs: dict[Arm, dict[int, RunFolder]] = {}
    for folder in find_runs(RECORDS):
        config = folder.read_config()
        of_arm, seed = runs.setdefault(arm_of(config), {}), config["search"]["seed"]
        if seed in of_arm:
            raise ValueError(f"{folder.path} and {of_arm[seed].path} are of one arm and seed")
        of_arm[seed] = folder
    return runs


def number(folder: RunFolder, measure: str, key: str) -> float:
    """A number of a run after its last epoch."""
    if not measure:
        return float(folder.read_some_epochs()[-1][key])
    return float(folder.read_measures(measure)[-1]["values"][key])


def differences(runs: Runs, design: str, measure: str, key: str) -> list[float]:
    """SGD minus Adam by seed, of the seeds that have both."""
    sgd, adam = (runs.get(Arm(design, name), {}) for name in ("SGD", "Adam"))
    return [
        number(sgd[seed], measure, key) - number(adam[seed], measure, key)
        for seed in sorted(sgd.keys() & adam.keys())
    ]


def effects(runs: Runs) -> str:
    """SGD minus Adam on w, by design."""
    counts = {design: len(differences(runs, design, "", "train_loss")) for design in DESIGNS}
    shown = [design for design, count in counts.items() if count > 1]
    rows: list[list[object]] = [["n", *(counts[design] for design in shown)]]
    for name, form, measure, key in NUMBERS:
        found = (differences(runs, design, measure, key) for design in shown)
        rows.append([name, *(spread(values, form) for values in found)])
    return as_table(["SGD - Adam on w", *(DESIGNS[design] for design in shown)], rows)


def levels(runs: Runs) -> str:
    """Means of each arm."""
    rows = []
    for arm in (Arm(design, name) for design in DESIGNS for name in ("SGD", "Adam")):
        folders = runs.get(arm, {}).values()
        if not folders:
            continue
        cells = [
            f"{sum(number(f, measure, key) for f in folders) / len(folders):{form[1:]}}"
            for _, form, measure, key in NUMBERS
        ]
        rows.append([f"{DESIGNS[arm.design]}, {arm.optimizer}", len(folders), *cells])
    return as_table(["arm", "n", *(each[0] for each in NUMBERS)], rows)
