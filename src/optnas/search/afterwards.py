"""Measures taken of a search after it, from the checkpoints it kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from optnas.base.errors import UserError
from optnas.base.measurements import Line, identity
from optnas.base.records import RunFolder
from optnas.measures.base import Cadence
from optnas.search.checkpoints import restore
from optnas.search.environment import cpu_threads
from optnas.search.observe import described, take
from optnas.search.settings.model import MeasureSection, Settings
from optnas.search.state import build_state

OnLine = Callable[[str, Line], None]
REMEDY = "delete it, or restore the file"


@dataclass(frozen=True)
class Wanted:
    """A measure to take.

    Attributes:
        section: the measure and its settings.
        cadence: only at these epochs; None is every epoch with a checkpoint.
    """

    section: MeasureSection
    cadence: Cadence | None


def measure_run(
    folder: RunFolder,
    settings: Settings,
    wanted: Mapping[str, Wanted],
    *,
    again: bool,
    on_line: OnLine,
) -> None:
    """Take measures at a run's kept checkpoints; what is there with equal settings is left.

    Args:
        folder: the run's folder.
        settings: the run's settings.
        wanted: measures by label.
        again: take them even where their line is there.
        on_line: called with each label and new line.

    Raises:
        UserError: the run keeps no checkpoint, or none of an epoch that is asked for.
    """
    if not folder.checkpoint.exists():
        raise UserError(
            "the run has no checkpoint yet", where=folder.path, remedy="wait for its first epoch"
        )
    with folder.locked(), cpu_threads(settings.run.threads):
        state = build_state(settings)
        restore(state, folder.checkpoint, remedy=REMEDY)
        kept = {epoch: folder.kept(epoch) for epoch in folder.kept_epochs()}
        kept[state.epoch] = folder.checkpoint
        for label, each in wanted.items():
            _check_kept(label, each, kept, settings.search.epochs, folder.path)
        for epoch in sorted(kept):
            pending = list(_pending(folder, wanted, epoch, settings.search.epochs, again))
            if pending:
                restore(state, kept[epoch], remedy=REMEDY)
            for label in pending:
                on_line(label, take(state, folder, label, wanted[label].section))


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
