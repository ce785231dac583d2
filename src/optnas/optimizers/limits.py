"""What an optimizer needs and where it cannot serve, in words, for lists and documents."""

from __future__ import annotations

import torch

from optnas.base.errors import UserError
from optnas.base.schema import part_of
from optnas.optimizers import signatures, virtual
from optnas.optimizers.adapter import construct
from optnas.optimizers.capture import uncapturable
from optnas.optimizers.stepping import takes_closure

SECTION = "arch_optimizer"  # all can move alpha


def needs(name: str) -> list[str]:
    """What has to be there: the extra of optnas that has its package, an inner optimizer.

    Args:
        name: a class of torch.optim or a registered name.
    """
    package = signatures.facts(name).get("package")
    extras = [f"optnas[{signatures.EXTRAS[package]}]"] if package else []
    settings = signatures.describe("optimizer", name, f"{SECTION}.name").settings
    inner = [key for key, setting in settings.items() if part_of(setting.hint) is not None]
    return [*extras, *(f"{key}.name" for key in inner)]


def refuses(name: str) -> list[str]:
    """Where it cannot serve.

    Args:
        name: a class of torch.optim or a registered name.

    Raises:
        UserError: it cannot be made, as its package is missing.
    """
    found = list[str]()
    if _refused_on_w(name):
        found.append("w")
    elif name not in virtual.RULES:
        found.append("w with a hypergradient that needs virtual-step")
    given = signatures.facts(name).get("examined_with", {})
    settings = signatures.complete_settings(name, given, section=SECTION)
    leaf = torch.zeros(2, 2, requires_grad=True)
    optimizer = construct(name, settings, [leaf], ["alpha"])
    if signatures.facts(name).get("on_simplex"):
        found.append("an algorithm that steps on the simplex itself")
    if signatures.facts(name).get("own_steps"):
        found += ["a schedule that moves the rate", "w with an algorithm that sets its rate"]
    if takes_closure(optimizer):
        found.append("being an inner optimizer")
    if uncapturable(optimizer):
        found.append("run.stepper=graph")
    return found


def _refused_on_w(name: str) -> bool:
    try:
        signatures.describe("optimizer", name, "weight_optimizer.name")
    except UserError:
        return True
    return False
