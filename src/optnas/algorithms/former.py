"""How 0.1.0 wrote an algorithm's settings; its spelling is accepted for one release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.schema import hints_of, parameters_of, part_of

# A setting that stood beside the part it now belongs to: its name, its default, the part's kind.
DERIVATIVE, EXACT, KIND = "derivative", "exact", "hypergradient"


def respelled(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``algorithm`` as it is written today.

    ``{hypergradient = "unrolled", derivative = X}`` becomes
    ``{hypergradient = {name = "unrolled", derivative = X}}``. 0.1.0 wrote the default
    ``derivative = "exact"`` beside every hypergradient: it says nothing of one without a choice.

    Args:
        section: with the algorithm's ``name``.

    Returns:
        The section; a copy of it where nothing of it is old.

    Raises:
        UserError: another derivative stands beside a hypergradient that has no choice of one, or
            that says another.
    """
    today = dict(section)
    factory = registry.find("algorithm", today["name"])
    parameters = parameters_of(factory)
    part = part_of(hints_of(factory, [each for each in (KIND,) if each in parameters]).get(KIND))
    if DERIVATIVE not in today or DERIVATIVE in parameters or part is None:
        return today
    derivative = today.pop(DERIVATIVE)
    chosen = today.get(KIND, parameters[KIND].default)
    table = dict(chosen) if isinstance(chosen, Mapping) else {"name": chosen}
    name = table.setdefault("name", parameters[KIND].default)
    if not isinstance(name, str):  # refused as no name later
        return today
    offered = parameters_of(registry.find(part.kind, name, key=f"algorithm.{KIND}.name"))
    if derivative == EXACT and DERIVATIVE not in offered:
        return today
    if DERIVATIVE not in offered or table.setdefault(DERIVATIVE, derivative) != derivative:
        raise UserError(
            f"the hypergradient {name} has no such choice"
            if DERIVATIVE not in offered
            else f"algorithm.{KIND}.{DERIVATIVE} says {table[DERIVATIVE]}",
            key=f"algorithm.{DERIVATIVE}",
            value=derivative,
            remedy=f"remove it, or set algorithm.{KIND} to one that has",
        )
    return today | {KIND: table}
