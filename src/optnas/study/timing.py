"""What runs would cost on this machine, measured on a few real steps of each kind of run."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.search.environment import computing
from optnas.search.settings.model import Settings
from optnas.study.declare import PlannedRun, Study
from optnas.study.progress import cost_key

if TYPE_CHECKING:
    from optnas.search.session import Session

STEPS = 3  # measured; one more before them is not
BUDGET = 60.0  # seconds
BATCHES = 2  # of training and of validation images that are loaded for it

# Seconds of a recorded measure by everything that they depend on: hardly on the optimizers.
Known = dict[str, float]
OnKind = Callable[[PlannedRun, int, float | None], None]


def estimate(
    study: Study, on_kind: OnKind = lambda *told: None, budget: float = BUDGET
) -> dict[str, float]:
    """Seconds that each run of a study would take alone; those of equal `cost_key` measured once.

    Args:
        study: the study.
        on_kind: called before and after each kind of run is measured: the first run of the kind,
            how many runs are of it, and the seconds of each, None before.
        budget: seconds after which no further kind is begun.

    Returns:
        Seconds by id, of the kinds that were measured.

    Raises:
        UserError: torch refuses what could be checked by it only.
    """
    kinds: dict[str, list[PlannedRun]] = {}
    for run in study.runs.values():
        kinds.setdefault(cost_key(run.settings), []).append(run)
    seconds: dict[str, float] = {}
    known: Known = {}
    began = time.monotonic()
    for alike in kinds.values():
        if seconds and time.monotonic() - began > budget:
            break
        on_kind(alike[0], len(alike), None)
        try:
            each = seconds_of_run(alike[0].settings, known)
        except UserError as error:
            raise error.at(f"{study.label}: {alike[0].label}") from error
        seconds |= {run.id: each for run in alike}
        on_kind(alike[0], len(alike), each)
    return seconds


def seconds_of_run(settings: Settings, known: Known | None = None) -> float:
    """Measure a few steps, a validation batch and the recorded measures, and add up.

        epochs (batches step + validation) + validation + sum over measures of times due * measure

    Loading the images, writing, and measures that are no column of the record are left out.

    Args:
        settings: complete settings of a run.
        known: seconds of measures on supernets met before; added to.

    Returns:
        Wall seconds with ``run.threads`` threads.
    """
    from optnas.search.session import Session
    from optnas.search.state import build_state

    known = {} if known is None else known
    search = settings.search
    with computing(settings):
        session = Session(build_state(_smaller(settings)))
        session.train_epoch()
        measures = _measures(session, settings, known)
        session.begin_epoch()
        step = _median(_step(session), STEPS)
        validation = _median(_validation(session), 1)
    # Once at the operation weights of the search, and once at each of those also judged.
    validation *= 1 + len(session.state.algorithm.also_validate)
    batches = math.ceil(settings.data.train_size / search.batch_size)
    validation *= settings.data.valid_size / session.state.settings.data.valid_size
    return search.epochs * (batches * step + validation) + validation + measures


def _measures(session: Session, settings: Settings, known: Known) -> float:
    """Seconds of the recorded measures in all epochs at which they are due."""
    from optnas.search.observe import recorded, take

    epochs, total = settings.search.epochs, 0.0
    where = settings.model_dump(include={"supernet", "space", "data", "algorithm"})
    for label in recorded(settings):
        section = settings.measures[label]
        times = section.cadence.count(epochs)
        key = json.dumps([where, section.name, section.settings], sort_keys=True)
        if times and key not in known:
            known[key] = take(session.snapshot, section).line["cost"]["seconds"]
        total += times * known.get(key, 0.0)
    return total


def _smaller(settings: Settings) -> Settings:
    """The same run on few images: neither a step nor a batch depends on how many there are."""
    from optnas.search.observe import build_measure

    needed = [n for each in settings.measures.values() for n in build_measure(each).images.values()]
    size = BATCHES * max(settings.search.batch_size, *needed)
    data = settings.data.model_copy(
        update={
            "train_size": min(size, settings.data.train_size),
            "valid_size": min(size, settings.data.valid_size),
        }
    )
    return settings.model_copy(update={"data": data})


def _median(work: Callable[[], Any], times: int) -> float:
    work()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _step(session: Session) -> Callable[[], Any]:
    from optnas.search.draws import draw_epoch

    draws = draw_epoch(session.state)[0]
    return lambda: float(session.step(draws).loss_sum)


def _validation(session: Session) -> Callable[[], Any]:
    snapshot = session.snapshot
    return lambda: snapshot.evaluate(snapshot.op_weights_EO, snapshot.statistics)
