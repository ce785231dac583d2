"""An optimizer made of others: their groups are its groups, their state is its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from optnas.base.errors import UserError
from optnas.optimizers.adapter import construct
from optnas.optimizers.base import BaseTable, RestTable
from optnas.optimizers.reloading import load_state
from optnas.optimizers.stepping import takes_closure


def build_inner(
    key: str, table: BaseTable | RestTable, leaves: Sequence[Tensor], names: Sequence[str]
) -> torch.optim.Optimizer:
    """Construct an inner optimizer from its table.

    Args:
        key: the table's key in the section, for error messages.
        table: ``name`` and settings.
        leaves: the leaves it moves.
        names: their names.

    Raises:
        UserError: it needs a closure, which only the outermost optimizer is handed.
    """
    settings: dict[str, Any] = dict(table)
    name = settings.pop("name")
    try:
        inner = construct(name, settings, leaves, names)
    except UserError as error:
        raise error.below(key) from error
    if takes_closure(inner):
        raise UserError(
            f"{name} evaluates the loss through a closure, which an inner optimizer is not handed",
            key=f"{key}.name",
            value=name,
            remedy="choose an optimizer that steps on gradients, such as SGD or AdamW",
        )
    return inner


def build_rest(
    key: str, table: RestTable, leaves: Sequence[Tensor], names: Sequence[str], lr: float
) -> torch.optim.Optimizer:
    """Construct a second optimizer, whose own rate is a share of the section's.

    Args:
        key: as of `build_inner`.
        table: as of `build_inner`.
        leaves: the leaves it moves.
        names: their names.
        lr: of the section.

    Raises:
        UserError: as `build_inner`, or the section's rate is not positive.
    """
    if lr <= 0:
        raise UserError(
            "must be positive, as the second optimizer's rate is scheduled in proportion to it",
            key="lr",
            value=lr,
            remedy="raise it",
        )
    optimizer = build_inner(key, table, leaves, names)
    for group in optimizer.param_groups:
        group["lr_share"] = group["lr"] / lr
    return optimizer


class Composite(torch.optim.Optimizer):
    """Common part of optimizers made of others.

    ``param_groups`` are the groups of the inner optimizers, so that a schedule reaches them;
    ``state_dict`` holds those of the inner ones.

    Args:
        leaves: the leaves.
        inner: the optimizers that move them.

    Attributes:
        inner: the same.
        decides: whether the numbers of a step decide, in Python, what the next one does.
    """

    decides: ClassVar[bool] = False

    def __init__(self, leaves: Sequence[Tensor], inner: Sequence[torch.optim.Optimizer]):
        super().__init__(list(leaves), {})
        self.leaves, self.inner = list(leaves), list(inner)
        self._gather()

    def _gather(self) -> None:
        self.param_groups = [group for each in self.inner for group in each.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of the leaves; an inner optimizer may hold views of them."""
        del set_to_none
        for leaf in self.leaves:
            leaf.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The state and groups of each inner optimizer, in order."""
        found = [each.state_dict() for each in self.inner]
        return {key: [each[key] for each in found] for key in ("state", "param_groups")}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Hand each inner optimizer its state and groups back."""
        held = zip(state_dict["state"], state_dict["param_groups"], strict=True)
        for each, (state, groups) in zip(self.inner, held, strict=True):
            load_state(each, {"state": state, "param_groups": groups})
        self._gather()
