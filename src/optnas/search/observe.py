"""Measures taken of a search, live or from the checkpoints it kept, and written down.

Names no measure. One that fails is a status in its line, never the end of the run.
"""

from __future__ import annotations

import copy
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optnas.algorithms.bilevel import Bilevel
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.json import dump_json
from optnas.base.measurements import Arrays, Line, identity
from optnas.base.records import RunFolder
from optnas.measures.base import Cadence, Measure, Values
from optnas.measures.evaluation import Batch
from optnas.measures.snapshot import Snapshot
from optnas.search.checkpoints import restore
from optnas.search.environment import computing
from optnas.search.problem import batch_loss, bilevel_of
from optnas.search.settings.model import MeasureSection, Settings
from optnas.search.settings.sources import sources
from optnas.search.state import SearchState, build_state

OnLine = Callable[[str, Line], None]
REMEDY = "delete it, or restore the file"


class Taken(NamedTuple):
    """What a measure found: its line, and its arrays by name."""

    line: Line
    arrays: Arrays


@dataclass(frozen=True)
class Wanted:
    """A measure to take afterwards.

    Attributes:
        section: the measure and its settings.
        cadence: only at these epochs; None is every epoch with a checkpoint.
    """

    section: MeasureSection
    cadence: Cadence | None


def keeps(settings: Settings, epoch: int) -> bool:
    """Whether the settings want the checkpoint of an epoch to be kept.

    Args:
        settings: of the search.
        epoch: one of it.

    Returns:
        The answer; the last epoch needs none of its own, it is in last.pt.
    """
    wanted = settings.checkpoints.keep
    if epoch == settings.search.epochs:
        return False
    if wanted == "all":
        return True
    if wanted == "named":
        return epoch == 0 or any(epoch in section.at for section in settings.measures.values())
    return epoch in wanted


def due(state: SearchState, *, ended: bool = False) -> dict[str, MeasureSection]:
    """The measures that the settings want at the state's epoch, by label.

    Args:
        state: a search after an epoch.
        ended: its algorithm has ended it there: what is due at the end, and was not anyway.
    """
    epoch, epochs = state.epoch, state.settings.search.epochs

    def wanted(cadence: Cadence) -> bool:
        usual = cadence.due(epoch, epochs)
        return cadence.due(epoch, epoch) and not usual if ended else usual

    sections = state.settings.measures.items()
    return {label: section for label, section in sections if wanted(section.cadence)}


def recorded(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Columns of the record that measures supply, by the label of the measure."""
    return {
        label: tuple(measure.quantities)
        for label, section in settings.measures.items()
        if label == section.own_name and (measure := build_measure(section)).recorded
    }


def build_measure(section: MeasureSection) -> Measure:
    """The measure of a section, with its settings filled in."""
    key = f"measures.{section.own_name}"
    measure: Measure = registry.build("measure", section.table, section=key)
    return measure


def snapshot_of(state: SearchState, name: str = "record") -> Snapshot:
    """The state as a measure sees it.

    Args:
        state: a search after an epoch.
        name: of the measure.

    Returns:
        The snapshot; it shares the state's memory.
    """
    settings = state.settings
    progress = state.progress(state.epoch)
    alpha_EO = state.alpha_EO.detach()
    supernet = copy.copy(state.supernet)
    supernet.weights = {n: weight.detach() for n, weight in state.supernet.weights.items()}

    def bilevel(train: Batch, valid: Batch, more: Sequence[Batch]) -> Bilevel:
        one, other, *further = (
            batch_loss(state, batch, step=False) for batch in (train, valid, *more)
        )
        return bilevel_of(state, one, other, lambda count: further[:count], progress)

    return Snapshot(
        name=name,
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
        augmentation=state.augmentation,
        augmented=settings.evaluation.augmented,
        weight_optimizer=state.weight_optimizer,
        bilevel=bilevel,
        alone=state.alone,
    )


def described(section: MeasureSection) -> dict[str, Any]:
    """What of a measure's section identifies a line: settings, and a file's SHA-256.

    Returns:
        ``settings``, and ``source`` where the measure is a file named by path.
    """
    source = next(iter(sources([{"name": section.name}]).values()), None)
    return {"settings": section.settings, **({} if source is None else {"source": source})}


def take(snapshot: Snapshot, section: MeasureSection) -> Taken:
    """Take one measure.

    Args:
        snapshot: of a search after an epoch; unchanged.
        section: the measure and its settings.

    Returns:
        What it found, or how it failed.
    """
    head = {"epoch": snapshot.progress.epoch, **described(section)}
    measure = build_measure(section)
    wall, cpu = time.perf_counter(), time.process_time()
    arrays: Arrays = {}
    try:
        found, arrays = _checked(measure, measure.measure(snapshot.seen_by(section.own_name)))
    except Exception as error:  # whatever it is, the search goes on
        reason = f"{type(error).__name__}: {error}{_place(error, section.name)}"
        found = {"status": "failed", "reason": reason, "values": {}, "units": {}}
    cost = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    return Taken({**head, **found, "cost": cost}, arrays)


def _place(error: Exception, name: str) -> str:
    """Where in the file of a measure of one's own it failed: the last line of it that was reached.

    Empty for a measure that is named without its file or module, and for what came from elsewhere.
    """
    home = name.rpartition(":")[0]
    file = home if home.endswith(".py") else getattr(sys.modules.get(home), "__file__", None)
    if not file:
        return ""
    own = Path(file).resolve()
    lines = [
        number
        for frame, number in traceback.walk_tb(error.__traceback__)
        if Path(frame.f_code.co_filename).resolve() == own
    ]
    return f" ({home}, line {lines[-1]})" if lines else ""


def put(folder: RunFolder, label: str, taken: Taken) -> Line:
    """Write what a measure found into a run's folder.

    Args:
        folder: the run's folder.
        label: under which the line is written.
        taken: the line and its arrays.
    """
    folder.measures.put(label, taken.line, taken.arrays)
    return taken.line


def _checked(measure: Measure, values: Values) -> tuple[dict[str, Any], Arrays]:
    check_types(values)
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


def check_types(values: Values) -> None:
    """Refuse what a measure of one's own may hand back by mistake.

    Args:
        values: what it handed back.

    Raises:
        TypeError: it is no `Values`, or an array in it is none.
    """
    if not isinstance(values, Values):
        raise TypeError(f"gave a {type(values).__name__}, not optnas.Values({{NAME: NUMBER}})")
    if not isinstance(values.arrays, Mapping):
        raise TypeError(f"arrays is a {type(values.arrays).__name__}; give a table of them by name")
    for name, array in values.arrays.items():
        if not isinstance(array, (np.ndarray, np.generic)):
            kind = type(array).__name__
            raise TypeError(f"the array {name} is a {kind}; give numpy.asarray(...) of it")


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


def measure_run(
    folder: RunFolder,
    settings: Settings,
    wanted: Mapping[str, Wanted],
    *,
    again: bool,
    on_line: OnLine,
) -> None:
    """Take measures at a run's kept checkpoints; existing lines of equal settings are kept.

    What an earlier version of a measure's file has left is measured once more.

    Args:
        folder: the run's folder.
        settings: the run's settings.
        wanted: measures by label.
        again: take the measures even where a line exists.
        on_line: called with each label and new line.

    Raises:
        UserError: the run keeps no checkpoint, or none of an epoch that is asked for.
    """
    if not folder.checkpoint.exists():
        raise folder.too_young("checkpoint")
    with folder.locked(), computing(settings):
        state = build_state(settings)
        restore(state, folder.checkpoint, remedy=REMEDY)
        kept = {epoch: folder.kept(epoch) for epoch in folder.kept_epochs()}
        kept[state.epoch] = folder.checkpoint
        # An algorithm may have ended its search before the last epoch of the settings.
        done = (folder.read_result() or {}).get("status") == "done"
        epochs = state.epoch if done else settings.search.epochs
        for label, each in wanted.items():
            _check_kept(label, each, kept, epochs, folder.path)
        for epoch in sorted(kept):
            pending = list(_pending(folder, wanted, epoch, epochs, again))
            if not pending:
                continue
            restore(state, kept[epoch], remedy=REMEDY)
            snapshot = snapshot_of(state)
            for label in pending:
                on_line(label, put(folder, label, take(snapshot, wanted[label].section)))


def _pending(
    folder: RunFolder, wanted: Mapping[str, Wanted], epoch: int, epochs: int, again: bool
) -> Iterator[str]:
    for label, each in wanted.items():
        if each.cadence is not None and not each.cadence.due(epoch, epochs):
            continue
        there = {
            identity(line)
            for line in folder.read_measures(label)
            if line["epoch"] == epoch and line["status"] != "failed"
        }
        if again or identity(described(each.section)) not in there:
            yield label


def _check_kept(
    label: str, wanted: Wanted, kept: Mapping[int, Path], epochs: int, where: Path
) -> None:
    asked = () if wanted.cadence is None else wanted.cadence.at
    missing = [each for each in asked if (epochs if each == "end" else each) not in kept]
    if missing:
        raise UserError(
            f"the run keeps no checkpoint of epoch {', '.join(map(str, missing))}",
            where=where,
            key=f"{label}.at",
            value=list(asked),
            remedy=f"choose among {', '.join(map(str, sorted(kept)))}; "
            "checkpoints.keep says what a new run keeps",
        )
