"""A study's TOML file: a base, grids and seeds, expanded into complete settings without torch.

    [study]
    name = "pairs"
    seeds = [0, 1, 2]
    base = { protocol = "cpu", data.name = "cifar10" }
    [[grid]]
    "algorithm.name" = ["darts", "sdarts-rs"]
    weight_optimizer = [{ name = "SGD" }, { name = "Adam", lr = 1e-3, label = "hot Adam" }]

An axis is a dotted key, or a whole section, with a list of values. A grid is the product of its
axes; the study is the union of its grids, each point under every seed. A section that is a value of
an axis may have a ``label``: what it is called in tables and pictures, and no setting. Points that
resolve to the same settings are one run, measured as the first of them says. A grid may have
``seeds`` of its own; grids that follow each other with the same seeds are run together, seed by
seed. ``rates`` of a grid names a learning-rate arm: claims are judged at its rates on their own.
``timeout`` of the study, in seconds, ends an execution of a run that takes longer. A table
``[engine.NAME]`` holds settings of an engine, for whoever runs the study with it. A run may follow
another of the study, as those of the algorithm ``replay`` do; that one is run first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, UserError, did_you_mean
from optnas.base.toml import Shelf, flat, nest
from optnas.search.settings.layers import Layer, driver_of, resolve
from optnas.search.settings.model import PLACES, Settings

STUDIES = Shelf("study", "study/studies")
ID_LENGTH = 16
SEED = "search.seed"
TABLES = ("study", "grid", "engine")
KEYS = ("name", "question", "note", "seeds", "base", "timeout")
OWN_SEEDS = "seeds"  # of a grid
ARM = "rates"  # of a grid
FOUND = ("default", "same", "as run")  # learning-rate arms that no study need name
PAIR = ("weight_optimizer", "arch_optimizer")
LABEL = "label"  # of a section that is a value of an axis
MOST_RUNS = 100_000  # of one grid


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Args:
        id: the first 16 digits of the settings' hash; a new run's folder has this name.
        settings: complete settings.
        point: what the study's axes say of it, by key, as written there; the seed last.
        labels: what the study calls values of the point, by key.
        follows: the id of the run whose operation weights it needs, if it does.
    """

    id: str
    settings: Settings
    point: dict[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    follows: str = ""

    @property
    def label(self) -> str:
        """The values of the axes but measures, such as ``darts, SGD, Adam (lr 0.001), seed 2``."""
        shown = [
            self.shown(key) for key in self.point if key != SEED and not key.startswith("measures.")
        ]
        return ", ".join([*shown, f"seed {self.point[SEED]}"])

    def shown(self, key: str) -> str:
        """The value of one axis in words: its label, if the study gives one."""
        return self.labels.get(key) or shown_value(key, self.point[key])


@dataclass(frozen=True)
class Study:
    """A declared experiment.

    Args:
        name: its name.
        question: what it asks, in one sentence; may be empty.
        note: what who plans or runs it should know, in one line; may be empty.
        label: its file, for messages.
        runs: by id, in the order in which they are run: in each group of grids with the same seeds
            seed by seed, grid by grid.
        declared: number of runs before equal ones were merged.
        timeout: seconds after which an execution of a run is ended, None for never.
        engines: settings of engines by name, as written there.
        rates: by the name of a learning-rate arm its algorithms, optimizers and their rates, one
            row of dotted settings for each combination.
    """

    name: str
    question: str
    note: str
    label: str
    runs: dict[str, PlannedRun]
    declared: int
    timeout: float | None = None
    engines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rates: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)


def load_study(name: str, settings: Mapping[str, Any] | None = None) -> Study:
    """Read a study and resolve all its runs.

    Args:
        name: a shipped name, or the path of a TOML file.
        settings: dotted keys that lie over every run and change no number: ``run.*`` and
            ``data.folder``.

    Raises:
        UserError: anything in the file is unknown, ill-typed, out of range or contradictory.
    """
    label, document = STUDIES.load(name)
    return study_of(document, label, settings)


def study_of(
    document: Mapping[str, Any], label: str, settings: Mapping[str, Any] | None = None
) -> Study:
    """Resolve all runs of a study's document.

    Args:
        document: the content of its file.
        label: what to call it in messages.
        settings: as for `load_study`.

    Raises:
        UserError: anything in it is unknown, ill-typed, out of range or contradictory.
    """
    _refuse_unknown(document, TABLES, label)
    table = document.get("study")
    if not isinstance(table, Mapping):
        raise UserError(
            "a study needs this table", where=label, key="study", remedy="begin with [study]"
        )
    _refuse_unknown(table, KEYS, label, "study.")
    title = _text(table, "name", label)
    question, note = (
        _text(table, key, label) if key in table else "" for key in ("question", "note")
    )
    timeout = _timeout(table, label)
    base = _base(table, label)
    over = Layer(COMMAND_LINE, nest(settings or {}))
    engines = _engines(document, label)
    runs: dict[str, PlannedRun] = {}
    rates: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {}
    declared = 0
    for seed, (where, axes, labels, arm) in _in_order(document, table, label):
        point = {**axes, SEED: seed}
        layers = [Layer(label, base), Layer(where, nest(axes)), Layer(label, nest({SEED: seed}))]
        # What no file wrote (a default, a contradiction) is told of the grid that met it.
        resolved = resolve([*layers, over], default=where)
        driver = driver_of(resolved)
        follows = "" if driver is None else driver.hash[:ID_LENGTH]
        run = PlannedRun(resolved.hash[:ID_LENGTH], resolved, point, labels, follows)
        known = runs.get(run.id)
        if known is None:
            runs[run.id] = run
        elif labels and not known.labels:  # the measures stay those of the first
            runs[run.id] = replace(run, settings=known.settings)
        elif labels:
            runs[run.id] = _labelled_by_both(known, run, where)
        if arm:
            _add_rates(rates.setdefault(arm, {}), resolved, arm, where)
        declared += 1
    _refuse_missing_drivers(runs, label)
    arms = {name: tuple(rows.values()) for name, rows in rates.items()}
    return Study(title, question, note, label, runs, declared, timeout, engines, arms)


def _add_rates(
    rows: dict[tuple[str, ...], dict[str, Any]], settings: Settings, arm: str, where: str
) -> None:
    """The rates of a run, to those of its arm; these are one of each optimizer of a combination."""
    parts = {name: getattr(settings, name) for name in PAIR}
    row = {"algorithm.name": settings.algorithm.name}
    for name, part in parts.items():
        row |= {f"{name}.name": part.name, f"{name}.lr": part.settings.get("lr")}
        if row[f"{name}.lr"] is None:
            raise UserError(
                f"{part.name} has no learning rate",
                where=where,
                key=ARM,
                value=arm,
                remedy=f"name no arm in a grid with this {name}",
            )
    known = rows.setdefault((row["algorithm.name"], *(part.name for part in parts.values())), row)
    if known != row:
        told = [", ".join(f"{each[f'{name}.lr']:g}" for name in PAIR) for each in (known, row)]
        raise UserError(
            f"a pair has one rate of w and one of alpha in an arm, here {told[0]} and {told[1]}",
            where=where,
            key=ARM,
            value=arm,
            remedy="give each set of rates a grid and a name of its own",
        )


def _refuse_missing_drivers(runs: Mapping[str, PlannedRun], label: str) -> None:
    for run in runs.values():
        if run.follows and run.follows not in runs:
            raise UserError(
                f"the run that '{run.label}' follows is none of this study",
                where=label,
                key="algorithm.driver",
                value=run.settings.algorithm.settings["driver"],
                remedy="add a grid that has it",
            )


def _labelled_by_both(known: PlannedRun, run: PlannedRun, where: str) -> PlannedRun:
    """A run that two grids label: it has the labels of both, and what they are labels of."""
    for key in known.labels.keys() & run.labels.keys():
        if known.labels[key] != run.labels[key]:
            raise UserError(
                f"another grid calls the same value '{known.labels[key]}'",
                where=where,
                key=f"{key}.{LABEL}",
                value=run.labels[key],
                remedy="call it the same in both",
            )
    added = {key: run.point[key] for key in run.labels if key not in known.point}
    axes = {key: value for key, value in known.point.items() if key != SEED}
    point = {**axes, **added, SEED: known.point[SEED]}
    return replace(known, point=point, labels={**run.labels, **known.labels})


def shown_value(key: str, value: Any) -> str:
    """A value of an axis in words: a section by its name, with what else it says."""
    if isinstance(value, Mapping):
        others = ", ".join(f"{k} {v}" for k, v in flat(value).items() if k != "name")
        return f"{value.get('name', key)} ({others})" if others else str(value.get("name"))
    return str(value) if key.endswith(".name") else f"{key} {value}"


def _refuse_unknown(
    table: Mapping[str, Any], known: tuple[str, ...], label: str, prefix: str = ""
) -> None:
    elsewhere = dict.fromkeys(KEYS, "write it below [study]")
    if prefix:
        elsewhere = dict.fromkeys(TABLES, "write it outside of [study]")
    for key, value in table.items():
        if key not in known:
            raise UserError(
                "a study has no such key",
                where=label,
                key=f"{prefix}{key}",
                value=value,
                remedy=elsewhere.get(key) or did_you_mean(key, known),
            )


def _text(table: Mapping[str, Any], key: str, label: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            "a study needs a name" if value is None else "must be text",
            where=label,
            key=f"study.{key}",
            value=value,
            remedy=f'write {key} = "TEXT" below [study]',
        )
    return value


def _timeout(table: Mapping[str, Any], label: str) -> float | None:
    value = table.get("timeout")
    if value is not None and (type(value) not in (int, float) or not 0 < value < math.inf):
        raise UserError(
            "must be a number of seconds",
            where=label,
            key="study.timeout",
            value=value,
            remedy="write one such as timeout = 3600, or leave it out",
        )
    return value


def _engines(document: Mapping[str, Any], label: str) -> dict[str, Mapping[str, Any]]:
    tables = document.get("engine", {})
    if not isinstance(tables, Mapping) or not all(isinstance(t, Mapping) for t in tables.values()):
        raise UserError(
            "holds a table of settings for each engine",
            where=label,
            key="engine",
            value=tables,
            remedy="write [engine.NAME], and its settings below",
        )
    for name in tables:
        registry.find("engine", name, where=label, key=f"engine.{name}")
    return dict(tables)


def _seeds(table: Mapping[str, Any], where: str, key: str = "study.seeds") -> list[int]:
    seeds = table.get(OWN_SEEDS)
    numbers = isinstance(seeds, list) and all(type(seed) is int for seed in seeds)
    if not isinstance(seeds, list) or not seeds or not numbers:
        raise UserError(
            "must be a list of whole numbers",
            where=where,
            key=key,
            value=seeds,
            remedy="write it as seeds = [0, 1, 2]",
        )
    if len(set(seeds)) < len(seeds):
        raise UserError(
            "a seed stands here twice",
            where=where,
            key=key,
            value=seeds,
            remedy="name each seed once",
        )
    return seeds


def _base(table: Mapping[str, Any], label: str) -> dict[str, Any]:
    base = table.get("base", {})
    if not isinstance(base, Mapping):
        raise UserError(
            "is a table of settings",
            where=label,
            key="study.base",
            value=base,
            remedy='write it as base = { protocol = "cpu", data.name = "cifar10" }',
        )
    dotted = {key: value for key, value in base.items() if "." in key}
    plain = {key: value for key, value in base.items() if "." not in key}
    for key, value in dotted.items():
        _refuse_overlap([*plain, *(other for other in dotted if other != key)], key, value, label)
    nested = {**plain, **nest(dotted)}
    _refuse_seed(nested, f"{label}: study.base")
    return nested


# What to call its grid in messages, the value of each axis, the labels of those that have one, and
# the learning-rate arm.
Point = tuple[str, dict[str, Any], dict[str, str], str]


def _in_order(
    document: Mapping[str, Any], table: Mapping[str, Any], label: str
) -> Iterator[tuple[int, Point]]:
    """Every point under each of its seeds, as they are run."""
    shared = _seeds(table, label)
    grids = []
    for where, grid in _grids(document, label):
        seeds = _seeds(grid, where, OWN_SEEDS) if OWN_SEEDS in grid else shared
        own = {key: value for key, value in grid.items() if key not in (OWN_SEEDS, ARM)}
        axes = dict(_axes(own, where))
        _refuse_too_many(math.prod(map(len, axes.values())) * len(seeds), where)
        grids.append((seeds, list(_points(axes, where, _arm(grid, where)))))
    for seeds, group in itertools.groupby(grids, key=lambda each: each[0]):
        yield from itertools.product(seeds, [point for _, points in group for point in points])


def _arm(grid: Mapping[str, Any], where: str) -> str:
    """The learning-rate arm that a grid names; empty if none."""
    if ARM not in grid:
        return ""
    name = grid[ARM]
    if not isinstance(name, str) or not name.strip():
        raise UserError(
            "must be text", where=where, key=ARM, value=name, remedy=f'write it as {ARM} = "tuned"'
        )
    if name.strip().startswith(FOUND):
        raise UserError(
            "an arm of this name is found in the runs themselves",
            where=where,
            key=ARM,
            value=name,
            remedy="leave it out, or choose another name",
        )
    return name.strip()


def _refuse_too_many(count: int, where: str) -> None:
    """A grid of more runs than anyone could begin is not expanded: it would never be told."""
    if count > MOST_RUNS:
        raise UserError(
            f"has {count:,} runs, of which a grid may have {MOST_RUNS:,}",
            where=where,
            key="grid",
            remedy="name fewer values, or several grids",
        )


def _grids(document: Mapping[str, Any], label: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every grid, and what to call it in messages."""
    grids = document.get("grid", [{}])
    if not isinstance(grids, list) or not all(isinstance(grid, Mapping) for grid in grids):
        raise UserError(
            "must be an array of tables", where=label, key="grid", remedy="write [[grid]]"
        )
    if not grids:
        raise UserError(
            "holds no grid, so that the study has no run",
            where=label,
            key="grid",
            value=grids,
            remedy="write [[grid]] and its axes, or leave it out for one run a seed",
        )
    for number, grid in enumerate(grids, start=1):
        yield (f"{label}: grid {number}" if len(grids) > 1 else label), grid


def _points(axes: Mapping[str, list[Any]], where: str, arm: str) -> Iterator[Point]:
    """The product of a grid's axes."""
    for key, values in axes.items():
        _refuse_overlap([other for other in axes if other != key], key, values, where)
    named = [_labelled(key, values, where) for key, values in axes.items()]
    for chosen in itertools.product(*named):
        point = {key: value for key, (value, _) in zip(axes, chosen, strict=True)}
        _refuse_seed(nest(point), where)
        labels = {k: each for k, (_, each) in zip(axes, chosen, strict=True) if each}
        yield where, point, labels, arm


def _labelled(key: str, values: list[Any], where: str) -> list[tuple[Any, str]]:
    """The values of an axis without their labels, and these; empty where a value has none."""
    found: list[tuple[Any, str]] = []
    for value in values:
        if not isinstance(value, Mapping) or LABEL not in value:
            found.append((value, ""))
            continue
        label = value[LABEL]
        if not isinstance(label, str) or not label.strip():
            raise UserError(
                "must be text",
                where=where,
                key=f"{key}.{LABEL}",
                value=label,
                remedy=f'write it as {LABEL} = "EG"',
            )
        found.append(({k: v for k, v in value.items() if k != LABEL}, label.strip()))
    shown = [label or shown_value(key, value) for value, label in found]
    for (_, label), words in zip(found, shown, strict=True):
        if label and shown.count(words) > 1:
            raise UserError(
                "another value of this axis is called so",
                where=where,
                key=f"{key}.{LABEL}",
                value=label,
                remedy="give each a label of its own",
            )
    return found


def _axes(grid: Mapping[str, Any], where: str, prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    for key, values in grid.items():
        dotted = f"{prefix}{key}"
        if isinstance(values, Mapping):
            yield from _axes(values, where, f"{dotted}.")
        elif not isinstance(values, list) or not values:
            raise UserError(
                "an axis is a list of one value or more",
                where=where,
                key=dotted,
                value=values,
                remedy="write [VALUE] for a single one" if values != [] else "name its values",
            )
        else:
            yield dotted, values


def _refuse_overlap(others: list[str], key: str, value: Any, where: str) -> None:
    for other in others:
        if f"{key}.".startswith(f"{other}."):
            raise UserError(
                f"is given as a whole too, as {other}",
                where=where,
                key=key,
                value=value,
                remedy="give it one way",
            )


def _refuse_seed(nested: Mapping[str, Any], where: str) -> None:
    search = nested.get("search")
    if isinstance(search, Mapping) and "seed" in search:
        raise UserError(
            "the seeds of a study stand in study.seeds",
            where=where,
            key=SEED,
            value=search["seed"],
            remedy="move it to seeds = [...] below [study]",
        )


def describe_settings(document: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings by dotted key, those that came after it too, without folders of a machine.

    For these stands ``data.fingerprint``, the first 16 digits of the run's: two folders of images
    are two data sets, whatever their names.

    Args:
        document: the content of its config.toml.

    Returns:
        Such as ``{"protocol": "cpu", "search.epochs": 40, ...}``.
    """
    whole = Settings.spelled_out(document)
    dotted = flat({k: v for k, v in whole.items() if k not in ("format", "identity")})
    for key in PLACES:
        dotted.pop(f"data.{key}", None)
    fingerprint = document.get("identity", {}).get("fingerprint")
    if isinstance(fingerprint, str):
        dotted["data.fingerprint"] = fingerprint[:ID_LENGTH]
    return dotted
