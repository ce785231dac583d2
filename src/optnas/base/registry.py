"""Names to factories: discovery by folder, by entry point, and by ``module:Object``.

A component registers itself with one decorator in one new file: in the package's folder of its
kind, in an installed distribution that declares it as an entry point, or in a file anywhere,
addressed as ``./file.py:NAME``. What a file addressed by path registers is known by that address
only. The factory's signature is the schema of its settings: every default is spelled out in a run's
``config.toml``, an unknown or ill-typed setting is a `UserError` that names the nearest valid one.
Factories are imported without torch wherever the file itself does not need it, so that bad input is
answered at once.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.resources
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from optnas.base.errors import COMMAND_LINE, Origins, UserError, did_you_mean
from optnas.base.loading import FILES, ITSELF, Factory, Registered, load_entry, load_object
from optnas.base.schema import (
    Component,
    Part,
    complete,
    complete_part,
    hints_of,
    parameters_of,
    part_of,
    settings_of,
)


class Kind(NamedTuple):
    """Where components of one kind are found.

    Attributes:
        rooms: packages below optnas; every file in them, at any depth, that registers one counts.
        groups: entry-point groups of installed distributions; later ones are old names.
        own_needs: its components need something else than `NEEDS`, which the kind defines.
    """

    rooms: tuple[str, ...]
    groups: tuple[str, ...]
    own_needs: bool = False


KINDS = {
    "algorithm": Kind(("algorithms",), ("optnas.algorithms",)),
    "claim": Kind(("analysis.claims",), ("optnas.claims",)),
    "dataset": Kind(("data.sets",), ("optnas.datasets",)),
    "discretization": Kind(("algorithms",), ("optnas.discretizations",)),
    "engine": Kind(("study.engines",), ("optnas.engines",)),
    "figure": Kind(("measures", "report"), ("optnas.figures",), own_needs=True),
    "hypergradient": Kind(("algorithms",), ("optnas.hypergradients",)),
    "measure": Kind(("measures", "theory"), ("optnas.measures", "optnas.metrics")),
    "operation": Kind(("spaces",), ("optnas.operations",)),
    "optimizer": Kind(("optimizers",), ("optnas.optimizers",)),
    "perturbation": Kind(("algorithms",), ("optnas.perturbations",)),
    "relaxation": Kind(("algorithms",), ("optnas.relaxations",)),
    "schedule": Kind(("optimizers.schedules",), ("optnas.schedules",)),
    "space": Kind(("spaces",), ("optnas.spaces",)),
    "stopping": Kind(("measures.stopping",), ("optnas.stopping",), own_needs=True),
    "table": Kind(("spaces.tables",), ("optnas.tables", "optnas.benchmarks")),
    "tracker": Kind(("search.trackers",), ("optnas.trackers",)),
}
# What a kind was called in 0.1.0; files written for it go on working for one release.
OLD_KINDS = {"metric": "measure"}

# What a component may need of a search beyond what every one has; settings are checked for it.
NEEDS = {
    "virtual-step": "a differentiable step of the weight optimizer",
    "train-batch": "the train batch about to be used, so search.step_order=arch-first",
    "train-batches": "further train batches, from `Bilevel.more_train_batches`",
    "valid-batches": "further validation batches, from `Bilevel.more_valid_batches`",
    "memory": "tensors remembered from step to step, in `Progress.memory`",
    "draw": "a random draw per step, in `Progress.draw`",
    "own-cell": "a space whose network takes another mixed cell",
    "usual-cell": "an algorithm without another mixed cell: one-hot operation weights are a cell",
    "several-cells": "a network of more than one cell",
    "off-simplex": "an architecture optimizer that does not step on the simplex, where it is lost",
    "auxiliary-skip": "a skip beside the operations, where edges are strided one of its own",
    "bare-rows": "operation weights of which any entry may be set to 0: no auxiliary skip, where "
    "edges are strided",
    "skip-dropout": "a network whose steps drop parts of the outputs of skips",
    "noise": "a uniform number per operation weight and weight step, in `Progress.noise_EO`",
    "driver": "the operation weights of another run by epoch, in `Progress.memory['driver']`",
    "step-number": "how many steps of the epoch came before, in `Progress.step`",
    "inner-step": "the train loss of a weight step at any operation weights, in `Progress.inner`",
    "full-precision": "gradients with all their digits, for a small difference of them: "
    "supernet.precision=float32",
}


class Choice(NamedTuple):
    """A value of a setting, and another in its stead.

    Attributes:
        setting: its name.
        value: the one.
        instead: the other.
    """

    setting: str
    value: str
    instead: str


# How a component of one's own is written, wherever a name is accepted.
OWN = "./file.py:NAME"

_FACTORIES: Registered = {}
# What was said of a factory when it was registered, by kind and address.
_FACTS: dict[tuple[str, str], Mapping[str, Any]] = {}


def register(
    kind: str,
    name: str,
    *,
    needs: Sequence[str] = (),
    needs_at: Mapping[str, Choice] = MappingProxyType({}),
    itself: bool = False,
    **facts: Any,
) -> Callable[[Factory], Factory]:
    """Register the decorated factory under a name.

    Args:
        kind: one of `KINDS`.
        name: the name users write.
        needs: what the component needs of a search: keys of `NEEDS`, or of a kind of its own.
        needs_at: what it needs at one value of a setting only, by the need.
        itself: the decorated function is the component, not a factory of it: it has no settings.
        **facts: what else others ask of the component instead of its name, see `facts`.

    Returns:
        The decorator; it hands the function back unchanged.

    Raises:
        ValueError: the name is taken by another factory, or there is no such kind or need.
        TypeError: what is decorated is neither a function nor a class.
    """
    kind = OLD_KINDS.get(kind, kind)
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; there are {sorted(KINDS)}")
    unknown = {*needs, *needs_at} - set(NEEDS)
    if unknown and not KINDS[kind].own_needs:
        raise ValueError(f"no needs {sorted(unknown)}; there are {sorted(NEEDS)}")

    def decorate(function: Factory) -> Factory:
        if not hasattr(function, "__qualname__"):  # a partial, or another object with `__call__`
            raise TypeError(f"{name!r} is no function or class, but {type(function).__name__}")
        factory = _constant(function) if itself else function
        table = FILES.get(factory.__module__, _FACTORIES)
        taken = table.setdefault((kind, name), factory)
        if _address(taken) != _address(factory):
            raise ValueError(f"{kind} {name!r} is registered by {taken.__module__} already")
        _FACTS[kind, _address(factory)] = {"needs": tuple(needs), "needs_at": needs_at, **facts}
        return function

    return decorate


def _constant(component: Factory) -> Factory:
    """The factory without settings of a component; it answers to the component's name."""

    def factory() -> Factory:
        return component

    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(factory, attribute, getattr(component, attribute))
    ITSELF[id(component)] = factory
    return factory


def plurals() -> dict[str, str]:
    """Each kind by its plural, as entry-point groups are called."""
    return {kind.groups[0].removeprefix("optnas."): name for name, kind in KINDS.items()}


def kind_of(word: str) -> str | None:
    """The kind that a word means, in singular or plural, also by its name of 0.1.0; else None."""
    groups = {group: name for name, kind in KINDS.items() for group in kind.groups}
    word = OLD_KINDS.get(word, word)
    return word if word in KINDS else groups.get(f"optnas.{word}")


def facts(kind: str, name: str) -> Mapping[str, Any]:
    """What a component said of itself when it was registered.

    Args:
        kind: one of `KINDS`.
        name: as of `find`.

    Returns:
        Facts by name, such as ``needs``; ``expected_failures``, the reason by the title of a check
        of the exam; ``examined_with``, the settings it is examined with where none are given.
    """
    return _FACTS.get((kind, _address(find(kind, name))), {})


class Need(NamedTuple):
    """What a component of a search needs.

    Attributes:
        need: a key of `NEEDS`.
        key: the dotted setting that names the component, such as ``algorithm.hypergradient``; or
            that by whose value it needs it.
        name: of the component, or the value.
        instead: a value of the setting at which it does not, where there is one.
    """

    need: str
    key: str
    name: str
    instead: str = ""


def needs_of(kind: str, factory: Factory) -> tuple[str, ...]:
    """What a factory said that its component needs, as keys of `NEEDS`."""
    needs: tuple[str, ...] = _FACTS.get((kind, _address(factory)), {}).get("needs", ())
    return needs


def needs_in(
    kind: str, name: str, settings: Mapping[str, Any], *, key: str, beside: bool = True
) -> Iterator[Need]:
    """What a component and the components in its settings need.

    Args:
        kind: one of `KINDS`.
        name: of the component.
        settings: as `complete_settings` returns them.
        key: the dotted setting that names it.
        beside: also of parts in a table by name, such as relaxations that are only recorded.

    Yields:
        The needs, those of the component itself first.
    """
    factory = find(kind, name, key=f"{key}.name")
    yield from (Need(each, key, name) for each in needs_of(kind, factory))
    for need, at in _FACTS.get((kind, _address(factory)), {}).get("needs_at", {}).items():
        if settings.get(at.setting) == at.value:
            yield Need(need, f"{key}.{at.setting}", at.value, at.instead)
    hints = hints_of(factory, settings)
    for setting, value in settings.items():
        part = part_of(hints.get(setting))
        if part is None or (part.many and not beside):
            continue
        own = f"{key}.{setting}"
        tables = {f"{own}.{n}": v for n, v in value.items()} if part.many else {own: value}
        for below, table in tables.items():
            rest = {k: v for k, v in table.items() if k != "name"}
            yield from needs_in(part.kind, table["name"], rest, key=below, beside=beside)


def name_of(thing: Factory) -> str | None:
    """The name under which a class or function is registered, if it is."""
    factory = ITSELF.get(id(thing), thing)
    return next((name for (_, name), each in _FACTORIES.items() if each is factory), None)


def _address(factory: Factory) -> str:
    return f"{factory.__module__}:{factory.__qualname__}"


@functools.cache
def _discover(kind: str) -> None:
    """Import the files of a kind's rooms that register one, and no other: some are slow to load."""
    registers = re.compile(rf'\bregister\(\s*"{kind}"')
    for room in KINDS[kind].rooms:
        package = f"optnas.{room}"
        for module, file in _modules(package, importlib.resources.files(package)):
            if registers.search(file.read_text(encoding="utf-8")):
                importlib.import_module(module)


def _modules(package: str, folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _modules(f"{package}.{entry.name}", entry)
        elif entry.name.endswith(".py") and entry.name != "__init__.py":
            yield f"{package}.{entry.name.removesuffix('.py')}", entry


@functools.cache
def _offered(kind: str) -> Mapping[str, Sequence[importlib.metadata.EntryPoint]]:
    """Entry points by name. None is loaded before it is asked for: their modules import torch."""
    offered: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for group in KINDS[kind].groups:
        for entry in importlib.metadata.entry_points(group=group):
            offered.setdefault(entry.name, []).append(entry)
    return offered


def names(kind: str) -> list[str]:
    """All names of a kind, the package's own and those of installed distributions, sorted.

    Args:
        kind: one of `KINDS`.

    Returns:
        The names a user may write.
    """
    _discover(kind)
    return sorted({name for of_kind, name in _FACTORIES if of_kind == kind} | set(_offered(kind)))


def nearest(name: str, valid: Iterable[str], own: str = OWN) -> str:
    """A remedy for the name of a component that is not there.

    Args:
        name: what the user wrote.
        valid: the names that would have been accepted.
        own: how one of the user's own is written.

    Example:
        >>> nearest("dart", ["darts", "random"])
        'did you mean darts? (or write ./file.py:NAME)'
    """
    return f"{did_you_mean(name, valid)} (or write {own})"


def known(kind: str, name: str) -> Factory | None:
    """As `find`, for what only names it: no file or module of somebody's own is loaded for it.

    Args:
        kind: one of `KINDS`.
        name: as a record has it.

    Returns:
        The factory; None where there is none of this name, or its file is not loaded.
    """
    if ":" not in name:
        return find(kind, name) if name in names(kind) else None
    target, _, attribute = name.rpartition(":")
    return FILES.get(str(Path(target).resolve()), {}).get((kind, attribute))


def find(
    kind: str,
    name: str,
    *,
    where: object = COMMAND_LINE,
    key: str | None = None,
    own: str = OWN,
) -> Factory:
    """The factory behind a registered name, a ``module:Object`` or a ``./file.py:Object``.

    Args:
        kind: one of `KINDS`.
        name: what the user wrote.
        where: the file or command line it was written in, for the error.
        key: its dotted key, for the error.
        own: how one of the user's own is written there, for the error.

    Raises:
        UserError: there is no such name, or it cannot be loaded, or two packages offer it.
    """
    refuse = functools.partial(UserError, where=where, key=key or f"{kind}.name", value=name)
    if not isinstance(name, str):
        raise refuse(
            f"a name is due here, and this is of type {type(name).__name__}", remedy=f"write {own}"
        )
    if ":" in name:
        return load_object(kind, name, refuse)
    if name.endswith(".py"):
        raise refuse("names a file, not what is in it", remedy=f"write {name}:NAME")
    _discover(kind)
    ours = _FACTORIES.get((kind, name))
    entries = [
        entry
        for entry in _offered(kind).get(name, ())
        if ours is None or entry.value.replace(" ", "") != _address(ours)
    ]
    homes = ["optnas"] if ours is not None else []
    homes += sorted(f"package {entry.dist.name}" for entry in entries if entry.dist is not None)
    if len(homes) > 1:
        raise refuse(
            f"is offered by {' and by '.join(homes)}",
            remedy="uninstall one, or write module:Object",
        )
    if ours is not None:
        return ours
    if entries:
        return load_entry(entries[0], homes[0], refuse)
    raise refuse(f"there is no {kind} of this name", remedy=nearest(name, names(kind), own))


def complete_settings(
    factory: Factory,
    given: Mapping[str, Any],
    *,
    section: str,
    where: object = COMMAND_LINE,
    skip: tuple[str, ...] = (),
    besides: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Settings checked against a factory's signature, with every default spelled out.

    Args:
        factory: the component's factory; its keyword parameters are the schema.
        given: what the user wrote, without the ``name``.
        section: the dotted prefix for error messages, such as ``algorithm``.
        where: the file or command line, for error messages.
        skip: parameters that the program, not the user, supplies.
        besides: settings of the section that are no parameters, to be named in a remedy.

    Returns:
        All settings by name, as of `schema.complete`.

    Raises:
        UserError: a setting is unknown, missing or of the wrong type.

    Example:
        >>> complete_settings(lambda beta=1.0: beta, {}, section="algorithm")
        {'beta': 1.0}
    """
    label = getattr(factory, "__name__", section).replace("_", "-")
    component = Component(label, settings_of(factory, skip))
    found = functools.partial(describe, skip=skip)
    with Origins(where).told():
        return complete(component, given, section=section, describe=found, besides=besides)


def complete_component(
    kind: str, given: Any, *, section: str, skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The table of a component of a kind, its name and all its settings: `schema.complete_part`."""
    return complete_part(
        Part(kind), given, section=section, describe=functools.partial(describe, skip=skip)
    )


def describe(kind: str, name: str, key: str, skip: tuple[str, ...] = ()) -> Component:
    """The schema of the settings of what a name stands for; arguments and errors as of `find`."""
    return Component(name, settings_of(find(kind, name, key=key), skip))


def supply(
    factory: Factory, settings: Mapping[str, Any], offered: Mapping[str, Any], *, section: str
) -> Any:
    """Call a factory with its settings and with those offered things that it asks for by name.

    Args:
        factory: the component's factory.
        settings: as `complete_settings` returns them; parts are built in the same way first.
        offered: what the program can supply, by parameter name.
        section: the dotted prefix for error messages, such as ``algorithm``.

    Raises:
        UserError: the factory refuses a value; its key is told below the section.
    """
    parameters = parameters_of(factory)
    hints = hints_of(factory, settings)
    built = dict(settings)
    for name, value in settings.items():
        part, key = part_of(hints.get(name)), f"{section}.{name}"
        if part is not None and part.many:
            built[name] = {
                label: build(part.kind, table, offered, section=f"{key}.{label}")
                for label, table in value.items()
            }
        elif part is not None:
            built[name] = build(part.kind, value, offered, section=key)
    try:
        return factory(**built, **{k: v for k, v in offered.items() if k in parameters})
    except UserError as error:
        if error.key not in settings or error.where != COMMAND_LINE:  # a file's keys are its own
            raise
        # A component does not know where it stands: it names its own setting.
        raise error.below(section) from error


def build(
    kind: str,
    table: Mapping[str, Any],
    offered: Mapping[str, Any] = MappingProxyType({}),
    *,
    section: str,
) -> Any:
    """The component that a table stands for, with its parts.

    Args:
        kind: one of `KINDS`.
        table: its name and all its settings, as `complete_component` returns them.
        offered: as of `supply`.
        section: the dotted key of the table, for error messages.

    Returns:
        What the factory makes.

    Raises:
        UserError: there is no such component, or its factory refuses a value; a word that is no
            dotted key, or none, is told below the section.
    """
    settings = dict(table)
    factory = find(kind, settings.pop("name"), key=f"{section}.name")
    try:
        return supply(factory, settings, offered, section=section)
    except UserError as error:
        # Of a file, or with a key of another section, it knows its place.
        if error.where != COMMAND_LINE or "." in (error.key or ""):
            raise
        raise error.below(section) from error
