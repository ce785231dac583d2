"""What an algorithm, its parts and measures need of the other settings, and what has it not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from optnas.algorithms.base import Algorithm
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.measures.base import no_usual_cell
from optnas.optimizers import signatures, virtual
from optnas.search.settings.model import Settings
from optnas.spaces import Space


def algorithm_of(settings: Settings, space: Space) -> Algorithm:
    """The algorithm that the settings ask for.

    Args:
        settings: all of them.
        space: what is searched.

    Raises:
        UserError: the algorithm, or a part of it, refuses a value.
    """
    chosen = settings.algorithm
    algorithm: Algorithm = registry.supply(
        registry.find("algorithm", chosen.name),
        chosen.settings,
        {"space": space},
        section="algorithm",
    )
    return algorithm


def check_measure_needs(settings: Settings, space: Space, key: str, name: str) -> None:
    """Refuse a measure of steps that are not known, or of cells where the network has others.

    Args:
        settings: all of them.
        space: of the search.
        key: the dotted section of the measure.
        name: of the measure.

    Raises:
        UserError: the search has not what it needs.
    """
    needs = registry.facts("measure", name).get("needs", ())
    if "virtual-step" in needs:
        _check_step(settings, key, name)
    # Under bfloat16 what is measured is computed in float32, under tf32 it is not.
    if "full-precision" in needs and settings.supernet.precision == "tf32":
        _refuse_digits(settings, key, name, f", or {key}.every=0")
    if "usual-cell" in needs:
        _check_cell(settings, space, key, name)


def _check_step(settings: Settings, key: str, name: str) -> None:
    if settings.weight_optimizer.name not in virtual.RULES:
        raise virtual.not_known(settings.weight_optimizer.name, key, name)


def _check_cell(settings: Settings, space: Space, key: str, name: str) -> None:
    if not algorithm_of(settings, space).usual_cell:
        raise no_usual_cell(key, name)


def _refuse_digits(settings: Settings, key: str, name: str, other: str) -> NoReturn:
    precision = settings.supernet.precision
    raise UserError(
        f"takes a small difference of gradients, of which supernet.precision={precision} leaves"
        " little but rounding",
        key=key,
        value=name,
        remedy=f"set supernet.precision=float32{other}",
    )


def needs_in(settings: Settings, *, beside: bool = True) -> Iterator[registry.Need]:
    """What the algorithm and its parts need; arguments as of `registry.needs_in`."""
    chosen = settings.algorithm
    return registry.needs_in(
        "algorithm", chosen.name, chosen.settings, key="algorithm", beside=beside
    )


def check_needs(settings: Settings, space: Space) -> None:
    """Refuse an algorithm, or a part of it, that needs what the search has not.

    Args:
        settings: all of them.
        space: of the search.

    Raises:
        UserError: it does.
    """
    own = {each.need for each in needs_in(settings, beside=False)}
    for need, key, name, instead in needs_in(settings):
        if need == "full-precision" and settings.supernet.precision != "float32":
            other = f", or {key}={instead}" if instead else ""
            _refuse_digits(settings, key, name, other)
        if need == "virtual-step":
            _check_step(settings, key, name)
        if need == "own-cell":
            space.check_takes("mixed_cell", f"{key}={name} brings one")
        if need == "auxiliary-skip" and space.strided:
            space.check_takes("auxiliary", f"{key}={name} has an auxiliary skip")
            if need not in own:
                raise UserError(
                    f"has an auxiliary skip, which on strided edges of {space.name} has weights of"
                    " its own, and the relaxation that is searched with trains none",
                    key=key,
                    value=name,
                    remedy="leave it out, or search with such a relaxation",
                )
        if need == "bare-rows" and "auxiliary-skip" in own and space.strided:
            raise UserError(
                "sets entries of operation weights to 0, and on strided edges of"
                f" {space.name} what a row sums to is the auxiliary skip",
                key=key,
                value=name,
                remedy="use another hypergradient, or a relaxation without an auxiliary skip",
            )
        if need == "train-batch" and settings.search.step_order != "arch-first":
            raise UserError(
                f"{key}={name} needs {registry.NEEDS[need]}",
                key="search.step_order",
                value=settings.search.step_order,
                remedy="set search.step_order=arch-first",
            )


def check_simplex(settings: Settings) -> None:
    """Refuse an optimizer of the simplex where the algorithm steps there, or is lost there.

    Args:
        settings: all of them.

    Raises:
        UserError: it is one.
    """
    algorithm, optimizer = settings.algorithm, settings.arch_optimizer
    on_it = [
        (key, name)
        for key, name in optimizers_in("arch_optimizer", optimizer.name, optimizer.settings)
        if signatures.facts(name).get("on_simplex")
    ]
    lost = [f"{key}={name}" for need, key, name, _ in needs_in(settings) if need == "off-simplex"]
    for key, name in on_it:
        if registry.facts("algorithm", algorithm.name).get("on_simplex"):
            raise UserError(
                f"steps on the simplex, and {algorithm.name} makes that of every optimizer's step",
                key=key,
                value=name,
                remedy="use SGD with lr=0.1, momentum=0 and weight_decay=0, or"
                " algorithm.name=darts",
            )
        if lost:
            raise UserError(
                f"steps on the simplex, where what {lost[-1]} adds to the gradient is lost: it is"
                " the same for all operations of a row",
                key=key,
                value=name,
                remedy="use another, such as Adam, or leave that part out",
            )


def optimizers_in(
    section: str, name: str, settings: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """An optimizer and those inside it.

    Args:
        section: the dotted section of the outer one.
        name: its name.
        settings: its settings.

    Yields:
        The dotted key that names each, and the name.
    """
    yield f"{section}.name", name
    for key, value in settings.items():
        if isinstance(value, Mapping) and "name" in value:
            yield from optimizers_in(f"{section}.{key}", value["name"], value)
