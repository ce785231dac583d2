"""What every stopping rule must do."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable

from optnas.base import registry
from optnas.measures.stopping import Decision, Evaluations, Trajectory
from optnas.measures.stopping.rules import SEEN
from optnas.search.exam.base import Check, Subject, demand, difference, repeated

EPOCHS = 31


def _made(epochs: int, growth: float, *, asked: bool = True, every: int = 1) -> Trajectory:
    """A run whose eigenvalue grows, whose loss turns, and whose cell fills with identities."""
    at = list(range(epochs))
    counts = [min(6, epoch // 5) for epoch in at]
    return Trajectory(
        epochs=at,
        valid_loss=[None if epoch == 3 else abs(epoch - 9) + 1.0 for epoch in at],
        skips=counts,
        cells=[f"cell {count}" for count in counts],
        accuracy=[90.0 - abs(count - 2) if asked else None for count in counts],
        curvature=Evaluations(at[::every], [0.1 * growth**epoch for epoch in at[::every]]),
    )


RUNS: dict[str, Callable[[], Trajectory]] = {
    "growing": functools.partial(_made, EPOCHS, 1.2),
    "flat": functools.partial(_made, EPOCHS, 1.0, every=2),
    "without curvature and benchmark": lambda: dataclasses.replace(
        _made(EPOCHS, 1.0, asked=False), curvature=Evaluations([], [])
    ),
    "of one epoch": functools.partial(_made, 1, 1.0),
}


def _rule(subject: Subject) -> Callable[[Trajectory], Decision]:
    settings = registry.complete_settings(
        subject.factory, subject.settings, section=subject.kind, skip=("run",)
    )
    return functools.partial(subject.factory, **settings)


def _decides_within(subject: Subject) -> None:
    rule = _rule(subject)
    for name, make in RUNS.items():
        run = make()
        decision = rule(run)
        demand(isinstance(decision, Decision), f"returns a {type(decision).__name__}, no Decision")
        stop, back = decision.stop_epoch, decision.return_epoch
        demand((stop is None) == (back is None), f"{name}: only one of its two epochs is None")
        if stop is not None and back is not None:
            demand(stop in run.epochs, f"{name}: it stops at epoch {stop}, which is not recorded")
            demand(back in run.epochs, f"{name}: it returns epoch {back}, which is not recorded")
            demand(back <= stop, f"{name}: it returns epoch {back} and stops at {stop} before")
        demand(0 <= decision.asked <= len(run.epochs), f"{name}: asked {decision.asked} times")


def _repeatable(subject: Subject) -> None:
    rule = _rule(subject)
    for name, make in RUNS.items():
        run = make()
        before = copy.deepcopy(dataclasses.asdict(run))
        repeated(lambda run=run: tuple(rule(run)))  # type: ignore[misc]
        changed = difference(before, dataclasses.asdict(run), "run")
        demand(changed is None, f"{name}: changes {changed}")


def _cut(run: Trajectory, count: int) -> Trajectory:
    """The first so many epochs of a run."""
    kept = [epoch for epoch in run.curvature.epochs if epoch < count]
    lists = {
        field.name: getattr(run, field.name)[:count]
        for field in dataclasses.fields(run)
        if field.name != "curvature"
    }
    epochs, values = run.curvature
    return Trajectory(**lists, curvature=Evaluations(epochs[: len(kept)], values[: len(kept)]))


def _decides_from_what_it_has_seen(subject: Subject) -> None:
    rule = _rule(subject)
    for name, make in RUNS.items():
        run = make()
        whole = rule(run)[:2]
        for count in range(1, len(run.epochs) + 1):
            seen = whole[0] is not None and whole[0] < count
            expected = whole if seen else (None, None)
            found = rule(_cut(run, count))[:2]
            demand(
                found == expected,
                f"{name}: of {len(run.epochs)} epochs it stops at {whole[0]}, of the first "
                f"{count} at {found[0]}",
            )


STOPPING_CHECKS: dict[str, Check] = {
    "decides within the recorded epochs": _decides_within,
    "repeatable, leaves the run alone": _repeatable,
    SEEN: _decides_from_what_it_has_seen,
}
