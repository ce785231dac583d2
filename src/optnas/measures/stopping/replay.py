"""Rules replayed on run folders, and what each would have cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from optnas.base import registry
from optnas.base.columns import TOP_EIGENVALUE
from optnas.base.errors import UserError, did_you_mean
from optnas.base.records import Record, RunFolder
from optnas.base.schema import parameters_of
from optnas.measures.stopping.rules import Decision, Evaluations, Trajectory

KIND, RUN = "stopping", "run"


@dataclass(frozen=True)
class Replay:
    """One rule on one run. Accuracies are None where the run asked no benchmark.

    Attributes:
        rule: its name.
        stop_epoch: where the search would have ended, None if the rule never stops it.
        return_epoch: the epoch whose cell is then returned, None likewise.
        asked: how often the rule had enough before it to decide.
        cell_epoch: the epoch of the cell one is left with: ``return_epoch``, else the last.
        cell: that cell.
        accuracy: its benchmark accuracy in percent.
        regret: accuracy of the best cell from epoch 1 on minus ``accuracy``, percentage points;
            negative only where a setting returns an epoch 0 that is better.
        over_final: ``accuracy`` minus that of the last epoch's cell, percentage points.
    """

    rule: str
    stop_epoch: int | None
    return_epoch: int | None
    asked: int
    cell_epoch: int
    cell: str
    accuracy: float | None
    regret: float | None
    over_final: float | None


@dataclass(frozen=True)
class Rule:
    """A stopping rule with its settings filled in; a call decides on a `Trajectory`.

    Attributes:
        name: of the rule.
        decide: the registered function.
        settings: all settings, checked.
        needs: fields of the trajectory that the rule reads beside its epochs.
    """

    name: str
    decide: registry.Factory
    settings: Mapping[str, Any]
    needs: Sequence[str]

    def __call__(self, run: Trajectory) -> Decision:
        """What the rule decides on a run."""
        decision: Decision = registry.supply(
            self.decide, self.settings, {RUN: run}, section=self.name
        )
        return decision


def choose(names: Iterable[str] = (), given: Mapping[str, Any] | None = None) -> dict[str, Rule]:
    """Rules with their settings filled in.

    Args:
        names: registered ones, ``./file.py:NAME`` or ``module:Object``; none for all registered.
        given: settings, ``RULE.KEY`` of one rule, ``KEY`` of each that has it.

    Returns:
        The rules by name; a rule that is addressed by file or module by what follows the colon.

    Raises:
        UserError: there is no such rule or setting, or a value is of the wrong type.
    """
    written = {name.rpartition(":")[2]: name for name in names or registry.names(KIND)}
    found = {rule: registry.find(KIND, name, key="RULE") for rule, name in written.items()}
    own = _by_rule({rule: parameters_of(each, (RUN,)) for rule, each in found.items()}, given or {})
    return {
        rule: Rule(
            rule,
            each,
            registry.complete_settings(each, own[rule], section=rule, skip=(RUN,)),
            tuple(registry.facts(KIND, written[rule]).get("needs", ())),
        )
        for rule, each in found.items()
    }


def _by_rule(
    keys: Mapping[str, Iterable[str]], given: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The given settings of each rule; ``keys`` are those that each has."""
    own: dict[str, dict[str, Any]] = {rule: {} for rule in keys}
    for key, value in given.items():
        rule, dot, rest = key.partition(".")
        having = [rule] if dot and rule in keys else [each for each in keys if key in keys[each]]
        if not having:
            known = {name for names in keys.values() for name in names}
            raise UserError(
                f"is a setting of no rule that is asked for ({', '.join(keys)})",
                key=key,
                value=value,
                remedy=did_you_mean(key, known) if known else "leave it out",
            )
        for each in having:
            own[each][rest if dot else key] = value
    return own


def trajectory(run: RunFolder, dataset: str | None = None) -> Trajectory:
    """What a run's records tell a rule.

    Args:
        run: the folder.
        dataset: whose benchmark accuracy counts; the first recorded one by default.

    Raises:
        UserError: there are no records, or the benchmark was not asked for the data set.
    """
    records = run.read_some_epochs()
    curved = [(r["epoch"], r[TOP_EIGENVALUE]) for r in records]
    evaluated = [(epoch, value) for epoch, value in curved if value is not None]
    return Trajectory(
        epochs=[r["epoch"] for r in records],
        valid_loss=[r["valid_loss"] for r in records],
        skips=[r["skips"] for r in records],
        cells=[r["architecture"] for r in records],
        accuracy=[_accuracy(r, dataset, run) for r in records],
        curvature=Evaluations([epoch for epoch, _ in evaluated], [v for _, v in evaluated]),
    )


def _accuracy(record: Record, dataset: str | None, run: RunFolder) -> float | None:
    told: dict[str, float] = record["benchmark"]["accuracy"]
    if dataset is None:
        return next(iter(told.values()), None)
    if dataset not in told:
        raise UserError(
            "the run's benchmark was not asked for it",
            where=run.path,
            key="--dataset",
            value=dataset,
            remedy=did_you_mean(dataset, told) if told else "leave it out",
        )
    return told[dataset]


def replay(run: Trajectory, rules: Mapping[str, Rule]) -> list[Replay]:
    """What each rule would have returned, against the best cell and the last one.

    Args:
        run: the trajectory.
        rules: as of `choose`.

    Returns:
        One result per rule.
    """
    return [_judged(run, name, rule(run)) for name, rule in rules.items()]


def _judged(run: Trajectory, name: str, decision: Decision) -> Replay:
    last = run.epochs[-1]
    epoch = last if decision.return_epoch is None else decision.return_epoch
    place = run.epochs.index(epoch)
    accuracy, final = run.accuracy[place], run.accuracy[-1]
    known = [a for place in run.searched if (a := run.accuracy[place]) is not None]
    return Replay(
        name,
        *decision,
        cell_epoch=epoch,
        cell=run.cells[place],
        accuracy=accuracy,
        regret=None if accuracy is None or not known else max(known) - accuracy,
        over_final=None if accuracy is None or final is None else accuracy - final,
    )


def summary(replays: Iterable[Replay]) -> list[dict[str, Any]]:
    """Each rule over all runs.

    Returns:
        By rule: ``runs``, how many of them it ``stopped``, and the means over runs of ``accuracy``,
        ``regret`` and ``over_final``, None where a run has none.
    """
    groups: dict[str, list[Replay]] = {}
    for each in replays:
        groups.setdefault(each.rule, []).append(each)

    def mean(group: list[Replay], key: str) -> float | None:
        values = [getattr(each, key) for each in group]
        return None if None in values else fmean(values)

    return [
        {
            "rule": rule,
            "runs": len(group),
            "stopped": sum(each.stop_epoch is not None for each in group),
            **{key: mean(group, key) for key in ("accuracy", "regret", "over_final")},
        }
        for rule, group in groups.items()
    ]
