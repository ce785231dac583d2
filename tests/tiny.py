"""Settings and states small enough to run in a blink; shared by the suite."""

from __future__ import annotations

from typing import Any

from optnas import registry
from optnas.api import nest
from optnas.benchmarks import default_table
from optnas.config import Settings
from optnas.resolve import Layer, resolve

TINY: dict[str, Any] = {
    "data.name": "digits",
    "data.train_size": 40,
    "data.valid_size": 40,
    "benchmark.table": "analog-nasbench",
    "search.batch_size": 16,
    "search.epochs": 2,
    "supernet.channels": 2,
    "supernet.dtype": "float64",
    "curvature.every": 0,
    "curvature.batch_size": 8,
    "measures.gap.at": [],
}


def tiny_settings(**changes: Any) -> Settings:
    """Complete settings; ``a__b`` stands for the dotted key ``a.b``."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return resolve([Layer("test", nest(TINY | dotted))])


def every_space() -> list[tuple[str, dict[str, Any]]]:
    """Each registered space, with the table a user of it gets who names none."""
    return [
        (name, {"space__name": name, "benchmark__table": default_table(None, name)})
        for name in registry.names("space")
    ]


def every_variant() -> list[tuple[str, dict[str, Any]]]:
    """Each registered algorithm, once for each hypergradient it offers."""
    variants: list[tuple[str, dict[str, Any]]] = []
    for name in registry.names("algorithm"):
        settings = registry.complete_settings(
            registry.find("algorithm", name), {}, section="algorithm", skip=("space",)
        )
        variants.append((name, {"algorithm__name": name}))
        if "hypergradient" in settings:
            unrolled = {"algorithm__name": name, "algorithm__hypergradient": "unrolled"}
            variants.append((f"{name}-unrolled", unrolled))
    return variants
