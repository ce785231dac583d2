"""Tidy tables for the statistics: synthetic studies with planted effects, and recorded runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optnas.base.records import RunFolder

LR = {
    "weight_optimizer": {"SGD": 0.025, "Adam": 0.001},
    "arch_optimizer": {"SGD": 0.003, "Adam": 0.0003},
}
PAIRS = [
    {"weight_optimizer.name": w, "arch_optimizer.name": a}
    for w, a in itertools.product(("SGD", "Adam"), repeat=2)
]
Arm = dict[str, Any]
# From an arm and a generator of its run: columns, one value per epoch or one for all.
Response = Callable[[Arm, np.random.Generator], Mapping[str, Any]]


def arms(*algorithms: str, **more: Sequence[Any]) -> list[Arm]:
    """Every algorithm under the four pairs; ``a__b=[...]`` multiplies by a setting ``a.b``."""
    rest = [
        dict(zip((key.replace("__", ".") for key in more), values, strict=True))
        for values in itertools.product(*more.values())
    ]
    return [
        {"algorithm.name": algorithm, **pair, **each}
        for algorithm in algorithms
        for pair in PAIRS
        for each in rest
    ]


def study(
    chosen: Sequence[Arm], respond: Response, seeds: int = 6, epochs: int = 8, draw: int = 0
) -> pd.DataFrame:
    """A tidy table of finished runs; the noise of a run depends on draw, arm and seed only."""
    runs = []
    for number, (arm, seed) in enumerate(itertools.product(chosen, range(seeds))):
        settings: Arm = {
            "protocol": "cpu",
            "search.epochs": epochs,
            "data.name": "cifar10",
            "augmentation.cutout": 0,
        }
        for section, rates in LR.items():
            settings[f"{section}.lr"] = rates.get(arm[f"{section}.name"])
        settings |= arm
        facts = {
            "id": f"{number:04d}",
            "state": "done",
            "completed": epochs,
            "search.seed": seed,
            "epoch": np.arange(epochs + 1),
            "train_loss": np.linspace(2.3, 1.0, epochs + 1),
            "alpha_path_length": 4.0,
            "alpha_displacement_centred": 2.0,
        }
        generator = np.random.default_rng([draw, number])
        runs.append(facts | settings | dict(respond({**settings, "search.seed": seed}, generator)))
    columns = dict.fromkeys(key for run in runs for key in run)
    return pd.DataFrame(
        {
            key: np.concatenate([np.broadcast_to(run.get(key, np.nan), epochs + 1) for run in runs])
            for key in columns
        }
    )


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
        )
    return flat


def recorded(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Run folders as a tidy table."""
    rows = []
    for run in runs:
        config, result = run.read_config(), run.read_result()
        assert result is not None
        facts = {"id": config["identity"]["hash"], "state": result["status"]}
        facts |= _flat({k: v for k, v in config.items() if k not in ("format", "identity")})
        for record in run.read_epochs():
            scalars = {k: v for k, v in record.items() if not isinstance(v, (list, dict))}
            accuracy = {f"benchmark.{k}": v for k, v in record["benchmark"]["accuracy"].items()}
            rows.append({**facts, "completed": result["epochs"], **scalars, **accuracy})
    return pd.DataFrame(rows)
