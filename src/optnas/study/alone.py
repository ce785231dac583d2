"""The cells that a study found, each trained alone: data without a table are judged by this.

Equal cells on equal images are one training, in ``OUT/cells/ID``. What came of it is a line of the
measure ``alone`` of each run, so that tables, comparisons and claims have it as
``measure.alone.test`` and ``measure.alone.valid``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optnas.analysis.claims.columns import ALONE
from optnas.base.folder import BusyError
from optnas.base.records import RunFolder
from optnas.search.standalone.cell import OnEpoch, OnStart, carry_out
from optnas.search.standalone.found import DEFAULT_PROTOCOL, Plan, plan
from optnas.study.declare import ID_LENGTH
from optnas.study.states import state_of

CELLS = "cells"
UNIT = "percent"


@dataclass(frozen=True)
class Trained:
    """What came of the cells of a study.

    Attributes:
        runs: runs whose cell is trained now.
        cells: different trainings behind them.
        busy: trainings that another process is at.
        unfinished: runs that have found no cell, by state.
        judged_on: ``test``, or ``valid`` where the data have no test images.
    """

    runs: int
    cells: int
    busy: int
    unfinished: Mapping[str, int]
    judged_on: str = "test"


# A run, its cell, and what came of it.
OnRun = Callable[[RunFolder, Plan, Mapping[str, Any]], None]


def train_cells(
    folders: Mapping[str, RunFolder],
    out: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    protocol: str = DEFAULT_PROTOCOL,
    device: str = "auto",
    threads: int = 1,
    on_run: OnRun = lambda run, planned, result: None,
    on_start: OnStart = lambda found, settings, sizes: None,
    on_epoch: OnEpoch = lambda epoch: None,
    where: object = "settings",
) -> Trained:
    """Train the cell of every run that is done, where it is not trained yet.

    Several processes may share the work: a training that another is at is left to it.

    Args:
        folders: the runs by id.
        out: the study's folder.
        settings: dotted keys over the training protocol.
        protocol: a shipped training protocol or a TOML file.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: of the CPU.
        on_run: called after each run.
        on_start: called before each training, see `optnas.search.standalone.cell.train`.
        on_epoch: called after each epoch of a training.
        where: what to call ``settings`` in errors.

    Raises:
        UserError: a setting is wrong, or a run's files do not fit together.
    """
    unfinished: dict[str, int] = {}
    plans: dict[str, Plan] = {}
    for name, run in folders.items():
        state = state_of(run)
        if state == "done":
            plans[name] = plan(run.path, settings, protocol=protocol, where=where)
        else:
            unfinished[state] = unfinished.get(state, 0) + 1
    results: dict[str, dict[str, Any]] = {}
    busy: set[str] = set()
    for name, planned in plans.items():
        key = planned.hash
        if key not in results and key not in busy:
            place = out / CELLS / key[:ID_LENGTH]
            try:
                results[key] = carry_out(
                    planned,
                    place,
                    device=device,
                    threads=threads,
                    on_start=on_start,
                    on_epoch=on_epoch,
                )
            except BusyError:
                busy.add(key)
        if key in results:
            ended = folders[name].read_result() or {}
            # One line per run: the training that was asked for last.
            line = line_of(planned, results[key], protocol, ended["epochs"])
            folders[name].measures.replace(ALONE, line)
            on_run(folders[name], planned, results[key])
    trained = sum(planned.hash in results for planned in plans.values())
    judged_on = next((each["judged_on"] for each in results.values()), "test")
    return Trained(trained, len(results), len(busy), unfinished, judged_on)


def line_of(planned: Plan, result: Mapping[str, Any], protocol: str, epoch: int) -> dict[str, Any]:
    """The line of the measure: means over seeds in percent, and all that names the training.

    Args:
        planned: the training.
        result: the content of its result.json.
        protocol: its name.
        epoch: the last of the search.
    """
    means = {part: told["mean"] for part, told in result["accuracy"].items()}
    training = planned.settings.training
    return {
        "epoch": epoch,
        "status": "ok",
        "settings": {
            "protocol": protocol,
            "epochs": training.epochs,
            "seeds": training.seeds,
            "manner": planned.settings.manner[:ID_LENGTH],
            "hash": planned.settings.hash[:ID_LENGTH],
        },
        "values": means,
        "units": dict.fromkeys(means, UNIT),
    }
