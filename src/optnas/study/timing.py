"""What runs would cost on this machine, measured on a few real steps of each kind of run."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from optnas.base.errors import UserError
from optnas.search.environment import computing
from optnas.search.settings.model import Settings
from optnas.study.declare import PlannedRun, Study
from optnas.study.progress import cost_key

if TYPE_CHECKING:
    from optnas.search.session import Session
    from optnas.search.steppers import Step

STEPS = 3  # measured
MADE = 2  # steps before them: what is made once, and what a stepper records
SLOW = 3.0  # seconds after which no further step is measured
BUDGET = 45.0  # seconds; with what the command does beside it, a minute
OTHERS = "as of other optimizers"
BATCHES = 2  # of training and of validation images that are loaded for it

# Seconds of a recorded measure by everything that they depend on: hardly on the optimizers.
Known = dict[str, float]
OnKind = Callable[[PlannedRun, int, float | None, str], None]


class _Late(BaseException):
    """The time is over: no error, and nothing that a handler of errors would stop."""


def estimate(
    study: Study, on_kind: OnKind = lambda *told: None, budget: float = BUDGET
) -> dict[str, float]:
    """Seconds that each run of a study would take alone; those of equal `cost_key` measured once.

    Kinds that differ in more than their optimizers come first; each of them may spend its share of
    the time on the recorded measures, after its steps. When the time is over, a kind that was not
    reached takes the seconds of one that differs in its optimizers alone.

    Args:
        study: the study.
        on_kind: called before and after each kind of run is measured: the first run of the kind,
            how many runs are of it, the seconds of each, None before, and what these leave out.
        budget: seconds after which nothing further is measured; what is being measured is given up.

    Returns:
        Seconds by id, of the kinds for which there are any.

    Raises:
        UserError: torch refuses what could be checked by it only.
    """
    kinds: dict[str, list[PlannedRun]] = {}
    for run in study.runs.values():
        kinds.setdefault(cost_key(run.settings), []).append(run)
    groups: dict[str, list[list[PlannedRun]]] = {}
    for runs in kinds.values():
        groups.setdefault(cost_key(runs[0].settings, optimizers=False), []).append(runs)
    deadline = time.monotonic() + budget
    known: Known = {}
    seconds: dict[str, float] = {}
    of_group: dict[str, Cost] = {}
    for turn in itertools.zip_longest(*groups.values()):
        for group, alike in zip(groups, turn, strict=True):
            if alike is None:
                continue
            cost = of_group.get(group)
            if cost is not None:
                cost = Cost(cost.seconds, ", ".join(filter(None, [OTHERS, cost.left_out])))
            if time.monotonic() < deadline:
                on_kind(alike[0], len(alike), None, "")
                try:
                    share = (deadline - time.monotonic()) / max(1, len(groups) - len(of_group))
                    found = seconds_of_run(alike[0].settings, known, deadline, share)
                except UserError as error:
                    raise error.at(f"{study.label}: {alike[0].label}") from error
                cost = found or cost
            if cost is not None:
                seconds |= {run.id: cost.seconds for run in alike}
                of_group.setdefault(group, cost)
                on_kind(alike[0], len(alike), *cost)
    return seconds


class Cost(NamedTuple):
    """Seconds of a run, and what they leave out, in words; mostly empty."""

    seconds: float
    left_out: str


def seconds_of_run(
    settings: Settings,
    known: Known | None = None,
    deadline: float = math.inf,
    share: float = math.inf,
) -> Cost | None:
    """Measure a few steps, a validation batch and the recorded measures, and add up.

        epochs (batches step + validation) + validation + sum over measures of times due * measure

    Loading the images and writing are left out, and measures that are no column of the record, see
    `beside_the_record`: one taking of some of them is longer than the minute that a plan has.

    Args:
        settings: complete settings of a run.
        known: seconds of measures on supernets met before; added to.
        deadline: when to give up, by `time.monotonic`.
        share: seconds after which no further measure is taken.

    Returns:
        Wall seconds with ``run.threads`` threads, without measures for which the time was too
        short; None where it was too short for a step.
    """
    from optnas.search.observe import take
    from optnas.search.session import Session
    from optnas.search.state import build_state
    from optnas.search.steppers import STEPPERS

    known = {} if known is None else known
    search, total = settings.search, None
    missing: list[str] = []
    began = time.monotonic()
    with computing(settings), _until(deadline):
        session = Session(build_state(_smaller(settings)))
        session.train_epoch()
        session.begin_epoch()
        with STEPPERS[settings.run.stepper](session.step, session.state) as taken:
            step = _median(_step(session, taken), STEPS, before=MADE)
        validation = _median(_validation(session), 1)
        # Once at the operation weights of the search, and once at each of those also judged.
        validation *= 1 + len(session.state.algorithm.also_validate)
        batches = math.ceil(settings.data.train_size / search.batch_size)
        validation *= settings.data.valid_size / session.state.settings.data.valid_size
        total = search.epochs * (batches * step + validation) + validation
    if total is None:
        return None
    with computing(settings), _until(min(deadline, began + share)):
        for label, times, key in _due(settings):
            missing.append(f"without {label}, {times} times")
            if key not in known:
                section = settings.measures[label]
                known[key] = take(session.snapshot, section).line["cost"]["seconds"]
            total += times * known[key]
            missing.pop()
    return Cost(total, ", ".join(missing))


@contextlib.contextmanager
def _until(deadline: float) -> Iterator[None]:
    """Leave the block when the time is over, also within a measure of minutes."""
    if deadline == math.inf or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, ring)
    others = signal.setitimer(signal.ITIMER_REAL, max(1e-3, deadline - time.monotonic()))
    try:
        yield
    except _Late:
        return
    finally:
        signal.setitimer(signal.ITIMER_REAL, *others)
        signal.signal(signal.SIGALRM, before)


def beside_the_record(settings: Settings) -> dict[str, int]:
    """The measures that are due beside the record, and how often."""
    from optnas.search.observe import recorded

    columns = recorded(settings)
    due = {
        label: section.cadence.count(settings.search.epochs)
        for label, section in settings.measures.items()
        if label not in columns
    }
    return {label: times for label, times in due.items() if times}


def _due(settings: Settings) -> list[tuple[str, int, str]]:
    """The recorded measures that are due: label, how often, and all that their time depends on."""
    from optnas.search.observe import recorded

    where = settings.model_dump(include={"supernet", "space", "data", "algorithm"})
    found = []
    for label in recorded(settings):
        section = settings.measures[label]
        times = section.cadence.count(settings.search.epochs)
        key = json.dumps([where, section.name, section.settings], sort_keys=True)
        if times:
            found.append((label, times, key))
    return found


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


def _median(work: Callable[[], Any], times: int, before: int = 1) -> float:
    """Seconds of a piece of work, done so often before it is measured; of a slow one the last."""
    seconds: list[float] = []
    for _ in range(before + times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
        if sum(seconds) > SLOW:
            break
    return statistics.median(seconds[before:] or seconds[-1:])


def _step(session: Session, taken: Step) -> Callable[[], Any]:
    from optnas.search.draws import draw_epoch

    draws = draw_epoch(session.state)[0]
    return lambda: float(taken(draws).loss_sum)


def _validation(session: Session) -> Callable[[], Any]:
    snapshot = session.snapshot
    return lambda: snapshot.evaluate(snapshot.op_weights_EO, snapshot.statistics)
