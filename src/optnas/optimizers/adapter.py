"""From checked settings to a live optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optnas import registry
from optnas.errors import UserError


def build(
    name: str, settings: Mapping[str, Any], parameters: Sequence[Tensor], *, section: str
) -> torch.optim.Optimizer:
    """Construct an optimizer over leaves.

    Args:
        name: a class of torch.optim, ``module:Class`` or ``./file.py:Class``.
        settings: as `signatures.complete_settings` returns them.
        parameters: the leaves, in the order of their names.
        section: ``weight_optimizer`` or ``arch_optimizer``, for error messages.

    Returns:
        The optimizer.

    Raises:
        UserError: the optimizer refuses a value.
    """
    factory = (
        registry.find("optimizer", name, key=f"{section}.name")
        if ":" in name
        else getattr(torch.optim, name)
    )
    converted = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    try:
        optimizer: torch.optim.Optimizer = factory(list(parameters), **converted)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{name} refuses its settings ({error})",
            key=section,
            remedy=f"change the values under {section}",
        ) from error
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
