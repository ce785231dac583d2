"""What a study varies: its axes, the arms that their values make, and what differs beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optnas.base.errors import UserError, did_you_mean
from optnas.search.settings.model import PLACES
from optnas.study.declare import PAIR, SEED, PlannedRun, Study, describe_settings, shown_value

# Sections that move no number of a run.
UNTOLD = {"fingerprint", "sources"}
IMAGES = tuple(f"data.{place}" for place in PLACES)
IDLE = ("measures", "run", "tracking", "checkpoints")


@dataclass(frozen=True)
class Axis:
    """A setting or a section that the study varies.

    ``values`` are in words, by run; ``named`` are the settings, by value, that the study itself
    says of it.
    """

    key: str
    values: Mapping[str, str]
    named: Mapping[str, frozenset[str]]

    @property
    def levels(self) -> list[str]:
        """The values, in the order in which they are declared."""
        return list(dict.fromkeys(self.values.values()))


@dataclass(frozen=True)
class Beside:
    """Settings in which the values of an axis differ beside what the study says of each.

    ``settings`` is by value of the axis, then by dotted setting; without what the study names.
    """

    axis: str
    settings: Mapping[str, Mapping[str, Any]]


def axes_of(study: Study) -> list[Axis]:
    """The axes along which runs of a study differ, in the order in which they are declared.

    A key below another one, such as ``weight_optimizer.lr`` beside ``weight_optimizer``, is part of
    it.
    """
    keys = list(dict.fromkeys(key for run in study.runs.values() for key in run.point))
    keys = [k for k in keys if k != SEED and k.partition(".")[0] not in IDLE]
    keys = [k for k in keys if not any(k.startswith(f"{other}.") for other in keys)]
    settings = _settings_of(study)
    axes = []
    for key in keys:
        resolved = {name: json.dumps(_below(each, key)) for name, each in settings.items()}
        if len(set(resolved.values())) > 1:
            axes.append(_axis(key, study.runs, settings, resolved))
    return axes


def _settings_of(study: Study) -> dict[str, dict[str, Any]]:
    found = {}
    for name, run in study.runs.items():
        found[name] = describe_settings(run.settings.model_dump(exclude=UNTOLD)) | {SEED: None}
        # Two places of the same images are no two values.
        places = [each for each in run.point if each in IMAGES]
        found[name] |= dict.fromkeys(places, run.settings.fingerprint)
    return found


def _below(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A setting, or all settings of a section."""
    return {k: v for k, v in settings.items() if f"{k}.".startswith(f"{key}.")}


def _axis(
    key: str,
    runs: Mapping[str, PlannedRun],
    settings: Mapping[str, Mapping[str, Any]],
    resolved: Mapping[str, str],
) -> Axis:
    words: dict[str, str] = {}
    named: dict[str, frozenset[str]] = {}

    def untold(name: str) -> list[bool]:
        """A label of one grid holds in all, and then what a grid says at all."""
        return [not _below(each, key) for each in (runs[name].labels, runs[name].point)]

    for name in sorted(runs, key=untold):
        value = resolved[name]
        if value not in words:
            words[value] = _words(key, runs[name], settings[name])
            named[value] = _named(key, runs[name])
    for told in {each for each in words.values() if list(words.values()).count(each) > 1}:
        alike = [value for value in words if words[value] == told]
        words |= dict(zip(alike, _told_apart(told, alike), strict=True))
    return Axis(
        key,
        {name: words[resolved[name]] for name in runs},
        {words[value]: keys for value, keys in named.items()},
    )


def _words(key: str, run: PlannedRun, settings: Mapping[str, Any]) -> str:
    told = [each for each in run.point if f"{each}.".startswith(f"{key}.")]
    if told:
        return ", ".join(run.shown(each) for each in told)
    name = settings.get(f"{key}.name")
    return shown_value(key, settings.get(key)) if name is None else str(name)


def _named(key: str, run: PlannedRun) -> frozenset[str]:
    """The dotted settings that a point of the study writes below an axis."""
    found = set()
    for each, value in run.point.items():
        if f"{each}.".startswith(f"{key}."):
            found |= {f"{each}.{k}" for k in value} if isinstance(value, Mapping) else {each}
    return frozenset(found)


def _told_apart(words: str, values: Sequence[str]) -> list[str]:
    """Values of the same name, each with the settings in which they differ."""
    contents = [json.loads(value) for value in values]
    keys = dict.fromkeys(key for each in contents for key in each)
    differing = [key for key in keys if len({json.dumps(each.get(key)) for each in contents}) > 1]
    short = {key: key.rpartition(".")[2] for key in differing}
    return [
        f"{words} ({', '.join(f'{name} {each.get(key)}' for key, name in short.items())})"
        for each in contents
    ]


def chosen_axes(
    axes: Sequence[Axis], by: Sequence[str], study: Study, option: str = "--by"
) -> list[Axis]:
    """The axes that keys name, those of the study if there are none.

    Args:
        axes: of the study.
        by: keys.
        study: the study, for what an error says.
        option: what gave the keys, likewise.

    Raises:
        UserError: the study varies nothing, or not this key.
    """
    if not axes:
        raise UserError(
            "the study varies nothing but the seed",
            where=study.label,
            key="grid",
            remedy='add an axis below [[grid]], such as "arch_optimizer.name" = ["Adam", "SGD"]',
        )
    found = []
    for key in by:
        near = [a for a in axes if f"{a.key}.".startswith(f"{key}.") or key == f"{a.key}.name"]
        if not near:
            raise UserError(
                "the study does not vary it",
                key=option,
                value=key,
                remedy=did_you_mean(key, [axis.key for axis in axes]),
            )
        found += [axis for axis in near if axis not in found]
    return found or list(axes)


def arms_of(axes: Sequence[Axis], names: Sequence[str]) -> dict[str, str]:
    """The arm of each run: its values along some axes, such as ``darts: SGD + EG``.

    Args:
        axes: the axes; none makes one arm without a name.
        names: the runs.

    Returns:
        By run, in the order given.
    """
    return {name: arm_label({axis.key: axis.values[name] for axis in axes}) for name in names}


def arm_label(values: Mapping[str, str]) -> str:
    """An arm in words: algorithm, optimizer pair, then the rest.

    Args:
        values: in words, by axis.

    Example:
        >>> arm_label({"arch_optimizer": "EG", "weight_optimizer.name": "SGD", "data.name": "x"})
        'SGD + EG, x'
    """
    sections = {key.removesuffix(".name"): value for key, value in values.items()}
    algorithm = sections.pop("algorithm", "")
    pair = [sections.pop(key) for key in PAIR if key in sections]
    told = ", ".join([*filter(None, [" + ".join(pair)]), *sections.values()])
    return ": ".join(filter(None, [algorithm, told]))


def beside(study: Study, axes: Sequence[Axis]) -> list[Beside]:
    """What differs between the values of each axis beside what the study names there.

    An optimizer comes with the rates, decay and schedule of its protocol or of its class: a
    difference between SGD and AdamW is one between all of these.

    Args:
        study: the study.
        axes: its axes.

    Returns:
        One entry per axis with such settings.
    """
    settings = _settings_of(study)
    found = []
    for axis in axes:
        of_level = _alike_but_for(axis, axes, settings)
        keys = dict.fromkeys(key for each in of_level.values() for key in each)
        told: dict[str, dict[str, Any]] = {level: {} for level in of_level}
        for key in keys:
            values = {level: each.get(key) for level, each in of_level.items()}
            several = len({json.dumps(value) for value in values.values()}) > 1
            shared = all(key in each for each in of_level.values())
            for level, value in values.items():
                # One that the others do not have, and that is off, is no difference.
                there = value is not None and (shared or bool(value))
                if several and there and key not in axis.named[level]:
                    told[level][key] = value
        if any(told.values()):
            found.append(Beside(axis.key, {k: each for k, each in told.items() if each}))
    return found


def _alike_but_for(
    axis: Axis, axes: Sequence[Axis], settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The settings of one run per value, at the same values of the other axes if there is one.

    Without those that the other axes say, and without the name of the value.
    """
    others = [each for each in axes if each is not axis]
    place = [each.values[next(iter(axis.values))] for each in others]
    found = {}
    for level in axis.levels:
        runs = [name for name, value in axis.values.items() if value == level]
        alike = [name for name in runs if [each.values[name] for each in others] == place]
        found[level] = {
            key: value
            for key, value in settings[(alike or runs)[0]].items()
            if key not in (axis.key, f"{axis.key}.name")
            and not any(_below({key: 0}, each.key) for each in others)
        }
    return found
