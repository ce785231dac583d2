"""From checked settings to a live optimizer."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.optimizers.rehearsal import rehearse
from optnas.optimizers.signatures import is_torchs

log = logging.getLogger("optnas")

# What the constructor of an optimizer that is not torch's may have expected otherwise.
OF_LEAVES = " (it is handed a list of tensors; a parameter `names` takes their names)"


def build(
    name: str,
    settings: Mapping[str, Any],
    parameters: Sequence[Tensor],
    *,
    section: str,
    names: Sequence[str] | None = None,
) -> torch.optim.Optimizer:
    """Construct an optimizer over leaves; one that is not torch's rehearses on copies first.

    Args:
        name: a class of torch.optim, a registered name, ``module:Class`` or ``./file.py:Class``.
        settings: as `signatures.complete_settings` returns them.
        parameters: the leaves.
        section: ``weight_optimizer`` or ``arch_optimizer``, for error messages.
        names: the names of the leaves; by default their positions.

    Raises:
        UserError: the optimizer refuses a value, or cannot serve in a search.
    """
    names = [str(i) for i in range(len(parameters))] if names is None else names

    def make(leaves: Sequence[Tensor]) -> torch.optim.Optimizer:
        return construct(name, settings, leaves, names)

    try:
        optimizer = make(parameters)
    except UserError as error:
        raise error.below(section) from error
    # Foreign code may refuse in any way.
    except Exception as error:
        key, value = _culprit(name, settings, parameters, names)
        remedy = "change its value"
        if key == "name":
            remedy = f"change the values under {section}" + OF_LEAVES * (not is_torchs(name))
        raise UserError(
            f"{name} refuses its settings ({error})",
            key=f"{section}.{key}",
            value=value,
            remedy=remedy,
        ) from error
    if not is_torchs(name):
        _tell_of_its_rate(name, optimizer, settings)
        try:
            rehearse(name, make, parameters)
        except UserError as error:
            raise error.below(section) from error
    return optimizer


def _tell_of_its_rate(
    name: str, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]
) -> None:
    """Say that a rate which the optimizer gives all its groups itself does not come to be."""
    lr = settings.get("lr")
    if not isinstance(lr, (int, float)):
        return
    rates = {float(group["lr"]) for group in optimizer.param_groups if "lr" in group}
    if len(rates) == 1 and rates != {float(lr)}:
        log.warning(
            "optnas: warning: %s makes of lr = %g a rate of %g, and each epoch sets the "
            "schedule's, which begins at lr: set lr to the rate that is meant",
            for_terminal(name),
            lr,
            *rates,
        )


def construct(
    name: str, settings: Mapping[str, Any], leaves: Sequence[Tensor], names: Sequence[str]
) -> torch.optim.Optimizer:
    """Call an optimizer's class or factory; whatever it raises is passed on.

    Args:
        name: as for `build`.
        settings: as for `build`.
        leaves: the leaves.
        names: their names.

    Raises:
        UserError: what the factory returns is no optimizer, or its groups have rates of their own
            and ``lr`` is not positive.
    """
    factory = getattr(torch.optim, name) if is_torchs(name) else registry.find("optimizer", name)
    asked = inspect.signature(factory).parameters
    supplied = {"names": list(names)} if "names" in asked else {}
    converted = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    optimizer = factory(list(leaves), **converted, **supplied)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(
            f"it made a {type(optimizer).__name__}, not a torch.optim.Optimizer",
            key="name",
            value=name,
            remedy="name an optimizer, or a function that returns one",
        )
    if "lr" in settings:
        share_rates(optimizer, settings["lr"])
    return optimizer


def share_rates(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Let groups that begin at different rates keep their ratio, whatever the schedule does.

    Where all begin at one rate, that is the section's: a schedule sets it as it is.

    Args:
        optimizer: as it was made.
        lr: of its section, or of the table it is made from.

    Raises:
        UserError: the rate is not positive, so that nothing is a share of it.
    """
    rates = [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]
    if len(set(rates)) < 2 or any("lr_share" in group for group in optimizer.param_groups):
        return
    if lr <= 0:
        raise UserError(
            "must be positive, as the groups' own rates are scheduled in proportion to it",
            key="lr",
            value=lr,
            remedy="raise it",
        )
    for group in optimizer.param_groups:
        if "lr" in group:
            group["lr_share"] = float(group["lr"]) / lr


def _culprit(
    name: str, settings: Mapping[str, Any], leaves: Sequence[Tensor], names: Sequence[str]
) -> tuple[str, Any]:
    """The one setting without which the optimizer can be made, else its name."""
    for path in _paths(settings):
        *parents, last = path
        # dict() at each table on the way down: the settings themselves stay as they are.
        changed = table = dict(settings)
        for parent in parents:
            table[parent] = table = dict(table[parent])
        value = table.pop(last)
        try:
            construct(name, changed, leaves, names)
        except Exception:  # not this one, or not this one alone
            continue
        return ".".join(path), value
    return "name", name


def _paths(settings: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((key, *path) for path in _paths(value))
        else:
            yield (key,)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group, those of inner optimizers included.

    A group with ``lr_share`` moves at that share of the rate.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_share"] if "lr_share" in group else rate
