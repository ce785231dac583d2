"""Measures taken of a search, live or from a checkpoint, and written down. Names no measure.

A measure that fails is a status in its line, never the end of the run.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from pathlib import Path
from typing import Any

from optnas.base import registry
from optnas.base.json import dump_json
from optnas.base.measurements import Arrays, Line
from optnas.base.records import RunFolder
from optnas.measures.base import Measure, Values
from optnas.measures.snapshot import Snapshot
from optnas.search.settings.model import MeasureSection
from optnas.search.state import SearchState


def observe(state: SearchState, folder: RunFolder) -> None:
    """Take the measures that are due at the state's epoch, and write their lines.

    Args:
        state: a search after an epoch; unchanged.
        folder: the run's folder.
    """
    for label, section in state.settings.measures.items():
        if section.cadence.due(state.epoch, state.settings.search.epochs):
            take(state, folder, label, section)


def keeps(state: SearchState) -> bool:
    """Whether the settings want the checkpoint of the state's epoch to be kept.

    Args:
        state: a search after an epoch.

    Returns:
        The answer; the last epoch needs none of its own, it is in last.pt.
    """
    settings, epoch = state.settings, state.epoch
    wanted = settings.checkpoints.keep
    if epoch == settings.search.epochs:
        return False
    if wanted == "all":
        return True
    if wanted == "named":
        return epoch == 0 or any(epoch in section.at for section in settings.measures.values())
    return epoch in wanted


def snapshot_of(state: SearchState, name: str) -> Snapshot:
    """The state as a measure sees it.

    Args:
        state: a search after an epoch.
        name: of the measure; of one named by path, only its own name counts.

    Returns:
        The snapshot; it shares the state's memory.
    """
    settings = state.settings
    progress = state.progress(state.epoch)
    alpha_EO = state.alpha_EO.detach()
    supernet = copy.copy(state.supernet)
    supernet.weights = {n: weight.detach() for n, weight in state.supernet.weights.items()}
    return Snapshot(
        name=name.rpartition(":")[2],
        progress=progress,
        seed=settings.search.seed,
        space=state.space,
        algorithm=state.algorithm,
        supernet=supernet,
        statistics=state.statistics,
        alpha_EO=alpha_EO,
        op_weights_EO=state.algorithm.relax(alpha_EO, progress),
        images={"train": state.train, "valid": state.valid},
        table=state.table,
        dataset=settings.data.name,
        batch_size=settings.search.batch_size,
        evaluation_size=settings.evaluation.batch_size,
    )


def described(section: MeasureSection) -> dict[str, Any]:
    """What of a measure's section identifies a line: settings, and a file's SHA-256.

    Args:
        section: the section.

    Returns:
        ``settings``, and ``source`` where the measure is a file named by path.
    """
    file = section.name.rpartition(":")[0]
    source = Path(file).read_bytes() if file.endswith(".py") else None
    return {
        "settings": section.settings,
        **({} if source is None else {"source": hashlib.sha256(source).hexdigest()}),
    }


def take(state: SearchState, folder: RunFolder, label: str, section: MeasureSection) -> Line:
    """Take one measure and write its line.

    Args:
        state: a search after an epoch; unchanged.
        folder: the run's folder.
        label: under which the line is written.
        section: the measure and its settings.

    Returns:
        The line.
    """
    measure: Measure = registry.find("measure", section.name)(**section.settings)
    head = {"epoch": state.epoch, **described(section)}
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        found, arrays = _checked(measure, measure.measure(snapshot_of(state, section.name)))
    except Exception as error:  # whatever it is, the search goes on
        found, arrays = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}, {}
        found |= {"values": {}, "units": {}}
    cost = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    line = {**head, **found, "cost": cost}
    folder.measures.put(label, line, arrays)
    return line


def _checked(measure: Measure, values: Values) -> tuple[dict[str, Any], Arrays]:
    declared, given = set(measure.quantities), set(values.numbers)
    if declared != given:
        raise ValueError(f"declares {sorted(declared - given)}, gave {sorted(given - declared)}")
    for name, array in values.arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"the array {name} holds objects")
    lost: list[str] = []
    numbers = {name: _finite(value, name, lost) for name, value in values.numbers.items()}
    dump_json(numbers)
    found: dict[str, Any] = {"status": "not-finite" if lost else "ok"}
    if lost:
        found["reason"] = f"not a finite number: {', '.join(lost)}"
    units = {name: quantity.unit for name, quantity in measure.quantities.items()}
    return found | {"values": numbers, "units": units}, values.arrays


def _finite(value: Any, name: str, lost: list[str]) -> Any:
    """The value with None for every number that is not finite; their names are noted."""
    if isinstance(value, float) and not math.isfinite(value):
        lost.append(name)
        return None
    if isinstance(value, dict):
        return {key: _finite(each, f"{name}.{key}", lost) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each, f"{name}[{i}]", lost) for i, each in enumerate(value)]
    return value
