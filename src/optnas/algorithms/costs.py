"""What a step of each algorithm costs, as it was measured once; see docs/algorithms.md."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Mapping


@functools.cache
def step_costs() -> Mapping[str, float]:
    """CPU time of a step of both levels over that of DARTS, by name of those measured.

    `results/algorithms.py` writes them from what `benchmarks/algorithms.py` stored.
    """
    file = importlib.resources.files("optnas.algorithms") / "costs.json"
    costs: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return costs
