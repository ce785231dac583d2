"""The exam that every component sits, registered or not: what it must do, and must never do.

    for outcome in examine(Subject("relaxation", "./mine.py:sparsemax")):
        print(outcome.check, outcome.why or "ok")

A check says in one clause what it found. A new kind of component is a new entry in `SITTINGS`.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import torch

from optnas.algorithms.base import Algorithm
from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, FEW, UserError, did_you_mean
from optnas.base.loading import Registered, defined_in, loaded_file, registered_by
from optnas.base.schema import Part, hints_of, part_of
from optnas.optimizers import signatures
from optnas.search.exam import data, measures, optimizers, parts, searches, stopping, trackers
from optnas.search.exam.base import Check, FailedError, NotExaminedError, Subject
from optnas.search.state import build_state

__all__ = ["Outcome", "Subject", "examine", "subjects"]

# parts of an algorithm by the name of the attribute
PARTS = {
    "relax": "relaxation",
    "perturb": "perturbation",
    "hypergradient": "hypergradient",
    "discretize": "discretization",
}
DRAWS = "a draw per step if it says so, none where it is judged"
NEEDS = "asks for nothing that it is not registered to need"
LIMIT = "reaches the limit it declares, on a quadratic problem"
LAYERS = {"weight_optimizer": "on w", "arch_optimizer": "on alpha"}
Verdict = Literal["ok", "failed", "expected failure", "not examined"]


@dataclass(frozen=True)
class Outcome:
    """What one check said.

    Attributes:
        subject: the component.
        check: title of the check.
        verdict: ``ok``; ``failed``; ``expected failure``, where the component declared it when it
            was registered, ``expected_failures={TITLE: REASON}``; or ``not examined``.
        why: one line, unless it is ok.
        expected: the declared reason of a check that the component need not pass, else empty.
    """

    subject: Subject
    check: str
    verdict: Verdict
    why: str = ""
    expected: str = ""


def _in_searches(
    use: Callable[[Subject], searches.Sections],
    checks: Mapping[str, Callable[[searches.Sections], None]],
) -> dict[str, Check]:
    def of(check: Callable[[searches.Sections], None]) -> Check:
        return lambda subject: check(use(subject))

    return {title: of(check) for title, check in checks.items()}


def _algorithm(subject: Subject) -> dict[str, Check]:
    def use(subject: Subject) -> dict[str, Any]:
        return {"algorithm": {"name": subject.name, **subject.settings}}

    def of(attribute: str, check: Callable[[Any, parts.Given], None]) -> Check:
        def examined(subject: Subject) -> None:
            algorithm = subject.build()
            check(getattr(algorithm, attribute), _given(algorithm))

        return examined

    own = {
        f"{attribute}: {title}": of(attribute, check)
        for attribute, kind in PARTS.items()
        for title, check in parts.OF_KIND[kind].items()
    }
    if _has(subject, "project"):
        own |= {f"project: {title}": of("project", it) for title, it in parts.PROJECTION.items()}
    own[f"relax: {DRAWS}"] = lambda subject: parts.draws_as_it_says(
        subject.build().relax, _draws(subject), _given(subject.build())
    )
    own[f"hypergradient: {NEEDS}"] = lambda subject: parts.needs_no_more(
        subject.build().hypergradient, _needs(subject), _given(subject.build())
    )
    some = {
        title: check
        for attribute, checks in searches.OF_SOME.items()
        if _has(subject, attribute)
        for title, check in checks.items()
    }
    return {**_in_searches(use, {**searches.OF_AN_ALGORITHM, **some}), **own}


def _given(algorithm: Algorithm) -> parts.Given:
    return parts.Given(algorithm.columns, (algorithm.start or dict)())


def _asked(subject: Subject) -> Iterator[registry.Need]:
    chosen = subject.completed()
    return registry.needs_in(subject.kind, subject.name, chosen, key=subject.kind)


def _needs(subject: Subject) -> set[str]:
    return {each.need for each in _asked(subject)}


def _draws(subject: Subject) -> bool:
    """Whether an algorithm needs a draw for more than its hypergradient."""
    own = (each for each in _asked(subject) if not each.key.endswith(".hypergradient"))
    return any(each.need == "draw" for each in own)


def _has(subject: Subject, attribute: str) -> bool:
    """Whether an algorithm has what few have; of one that cannot be built another check tells."""
    try:
        return getattr(subject.build(), attribute) is not None
    except Exception:
        return False


def _part(subject: Subject) -> dict[str, Check]:
    def use(subject: Subject) -> dict[str, Any]:
        part = {"name": subject.name, **subject.settings}
        return {"algorithm": {"name": "composed", subject.kind: part}}

    def of(check: Callable[[Any, parts.Given], None]) -> Check:
        return lambda subject: check(subject.build(), parts.ALONE)

    own = {title: of(check) for title, check in parts.OF_KIND[subject.kind].items()}
    if subject.kind == "relaxation":
        own[DRAWS] = lambda subject: parts.draws_as_it_says(
            subject.build(), "draw" in _needs(subject), parts.ALONE
        )
    if subject.kind == "hypergradient":
        own[NEEDS] = lambda subject: parts.needs_no_more(
            subject.build(), _needs(subject), parts.ALONE
        )
        if "limit" in _facts(subject):
            own[LIMIT] = _reaches_its_limit
    resumed = {searches.RESUMED: searches.SEARCHES[searches.RESUMED]}
    return {**own, **_in_searches(use, resumed)}


def _reaches_its_limit(subject: Subject) -> None:
    facts = _facts(subject)
    there = {**subject.settings, **facts.get("limit_at", {})}
    parts.reaches(Subject(subject.kind, subject.name, there).build(), facts["limit"])


def _optimizer(subject: Subject) -> dict[str, Check]:
    def on(section: str) -> Callable[[Subject], searches.Sections]:
        def use(subject: Subject) -> dict[str, Any]:
            error = _refusal(subject, section)
            if error is not None:
                raise NotExaminedError(error.reason) from error
            return {section: {"name": subject.name, **subject.settings}}

        return use

    def solving(section: str, name: str) -> Check:
        def check(subject: Subject) -> None:
            on(section)(subject)  # whether the level can have it
            optimizers.solves(subject, section, name)

        return check

    found: dict[str, Check] = {}
    for section, label in LAYERS.items():
        checks = _in_searches(on(section), searches.SEARCHES)
        demanded = [name for name, each in optimizers.TOYS.items() if each.demanded]
        checks |= {f"solves {name}": solving(section, name) for name in demanded}
        found |= {f"{label}: {title}": check for title, check in checks.items()}
    return found


def _refusal(subject: Subject, section: str) -> UserError | None:
    """Why a layer cannot have the optimizer with these settings, if it is because of them."""
    try:
        signatures.complete_settings(subject.name, subject.settings, section=section)
    except UserError as error:
        return error
    try:
        build_state(searches.tiny({section: {"name": subject.name, **subject.settings}}))
    except UserError as error:
        # What names the optimizer instead of a setting was found in its rehearsal: a check tells.
        return None if error.key == f"{section}.name" else error
    except Exception:  # a check tells
        return None
    return None


def _check_settings(subject: Subject) -> None:
    """Bad settings are bad input; an optimizer may be refused for one of the layers."""
    if subject.kind != "optimizer":
        subject.completed()
        return
    refusals = [_refusal(subject, section) for section in LAYERS]
    if refusals[0] is not None and None not in refusals:
        raise refusals[0]


# What they are built with may be missing here, or is no setting: the checks tell.
BUILT_LATER = ("dataset", "optimizer", "stopping", "tracker")


def _check_values(subject: Subject) -> None:
    """Values that its factory refuses are bad input too; however else it fails, a check tells."""
    _check_settings(subject)
    if subject.kind in BUILT_LATER:
        return
    try:
        subject.build()
    except UserError as error:
        if (error.key or "").startswith(f"{subject.kind}."):
            raise
        raise error.below(subject.kind) from error
    except Exception:
        return


SITTINGS: dict[str, Callable[[Subject], Mapping[str, Check]]] = {
    "algorithm": _algorithm,
    "dataset": lambda subject: data.DATASET_CHECKS,
    "discretization": _part,
    "hypergradient": _part,
    "measure": lambda subject: measures.CHECKS,
    "operation": lambda subject: data.OPERATION_CHECKS,
    "optimizer": _optimizer,
    "perturbation": _part,
    "relaxation": _part,
    "schedule": lambda subject: data.SCHEDULE_CHECKS,
    "space": lambda subject: data.SPACE_CHECKS,
    "stopping": lambda subject: stopping.STOPPING_CHECKS,
    "tracker": lambda subject: trackers.TRACKER_CHECKS,
}


def examine(
    subject: Subject, wanted: Callable[[str], bool] = lambda title: True
) -> Iterator[Outcome]:
    """Put a component through the checks of its kind.

    Args:
        subject: the component.
        wanted: which checks, by title; all by default.

    Yields:
        The outcomes, as they come.
    """
    try:
        _check_settings(subject)
    except UserError as error:
        yield Outcome(subject, "has defaults to be examined with", "not examined", str(error))
        return
    declared = _facts(subject).get("expected_failures", {})
    for title, check in SITTINGS[subject.kind](subject).items():
        if not wanted(title):
            continue
        expected = declared.get(title, "")
        failed: Verdict = "expected failure" if expected else "failed"
        try:
            check(subject)
        except FailedError as error:
            yield Outcome(subject, title, failed, str(error), expected)
        except NotExaminedError as error:
            yield Outcome(subject, title, "not examined", str(error), expected)
        except Exception as error:  # whatever the component's code raises is what the check found
            why = " ".join(f"{type(error).__name__}: {error}".split())
            yield Outcome(subject, title, failed, why, expected)
        else:
            yield Outcome(subject, title, "ok", expected=expected)


def _facts(subject: Subject) -> Mapping[str, Any]:
    if subject.kind == "optimizer":
        return signatures.facts(subject.name)
    return registry.facts(subject.kind, subject.name)


def subjects(
    target: str | None, kind: str | None = None, settings: Mapping[str, Any] | None = None
) -> list[Subject]:
    """Whom a target names.

    Args:
        target: a registered name, a file whose registrations all count, ``./file.py:NAME`` or
            ``module:Object``; None is everything that is registered.
        kind: of it; needed where the target alone does not tell.
        settings: of its factory, before its registered ``examined_with`` and its defaults.

    Returns:
        The components, algorithms also with a hypergradient for each set of needs.

    Raises:
        UserError: there is no such component, or its settings are wrong.
    """
    if kind is not None:
        kind = registry.kind_of(kind) or kind
    if kind is not None and kind not in SITTINGS:
        raise UserError(
            "nothing of this kind is examined",
            key="--kind",
            value=kind,
            remedy=did_you_mean(kind, SITTINGS),
        )
    named = _named(target, kind)
    if settings and len(named) != 1:
        raise UserError(
            f"these settings are for one component, and there are {len(named)}",
            key="KEY=VALUE",
            remedy="name one, with --kind",
        )
    found = [
        Subject(each.kind, each.name, {**_facts(each).get("examined_with", {}), **(settings or {})})
        for each in (Subject(*pair) for pair in named)
    ]
    if target is not None:
        for subject in found:
            _check_values(subject)
    return [each for subject in found for each in _variants(subject)]


def _named(target: str | None, kind: str | None) -> list[tuple[str, str]]:
    kinds = [kind] if kind is not None else list(SITTINGS)
    known = [each for each in kinds if each in registry.KINDS]
    if target is None:
        return [(each, name) for each in known for name in registry.names(each)]
    if target.endswith(".py"):
        module, present = loaded_file(target)
        found = [(of_kind, name) for of_kind, name in present if of_kind in kinds]
        if not found:
            raise UserError(
                "the file registers nothing that is examined",
                key="TARGET",
                value=target,
                remedy=_what_there_is(target, module, present),
            )
        return [(of_kind, f"{target}:{name}") for of_kind, name in found]
    if ":" in target:
        return [(kind or _kind_of(target), target)]
    found = [(each, target) for each in known if target in _names(each)]
    if not found:
        everything = {name for each in known for name in _names(each)}
        raise UserError(
            "nothing of this name is examined",
            key="TARGET",
            value=target,
            remedy=registry.nearest(target, everything),
        )
    return found


def _names(kind: str) -> set[str]:
    of_torch = signatures.torch_optimizers() if kind == "optimizer" else ()
    return {*registry.names(kind), *of_torch}


def _what_there_is(target: str, module: ModuleType, present: Registered) -> str:
    """What to write for a file that registers nothing of the kinds that are asked for."""
    if present:
        return f"leave --kind out, or write {' or '.join(sorted({kind for kind, _ in present}))}"
    names = sorted(defined_in(module))
    if names:
        return f"write {' or '.join(f'{target}:{each}' for each in names[:FEW])}"
    return "let it register what it defines, as docs/extending.md says"


def _kind_of(target: str) -> str:
    """The kind a file registers a name as; that of a torch optimizer is told by its class."""
    file, _, name = target.rpartition(":")
    kinds = []
    if file.endswith(".py"):
        kinds = [
            of_kind
            for (of_kind, each), factory in registered_by(file).items()
            if name in (each, getattr(factory, "__name__", ""))
        ]
    if not kinds:
        factory = registry.find("object", target, key="TARGET")
        if inspect.isclass(factory) and issubclass(factory, torch.optim.Optimizer):
            return "optimizer"
    if len(kinds) != 1:
        raise UserError(
            f"is registered as {' and '.join(kinds)}" if kinds else "is not registered",
            where=COMMAND_LINE,
            key="TARGET",
            value=target,
            remedy="say what it is with --kind",
        )
    return kinds[0]


def _variants(subject: Subject) -> Sequence[Subject]:
    """The subject; an algorithm also with one hypergradient for each set of needs there is."""
    if subject.kind != "algorithm":
        return [subject]
    kind, chosen = "hypergradient", subject.completed()
    settings = [
        setting
        for setting, hint in hints_of(subject.factory, chosen).items()
        if part_of(hint) == Part(kind) and setting not in subject.settings
    ]
    by_needs = {}
    for name in reversed(registry.names(kind)):
        with contextlib.suppress(UserError):  # another's, which cannot be loaded
            by_needs[registry.facts(kind, name)["needs"]] = name
    return [
        subject,
        *(
            Subject(subject.kind, subject.name, {**subject.settings, setting: name})
            for setting in settings
            for needs, name in sorted(by_needs.items())
            if needs and chosen[setting]["name"] != name
        ),
    ]
