"""What an optimizer keeps in plain attributes, which no checkpoint holds."""

from __future__ import annotations

import collections
import types
from typing import Any

import torch
from torch import Tensor

from optnas.optimizers.stepping import parts

Optimizer = torch.optim.Optimizer
# What ``state_dict()`` is made of, and what it was made with.
CHECKPOINTED = ("state", "param_groups", "defaults")
DEEPEST = 4  # attributes of attributes that are compared
CODE = (type, types.ModuleType, types.FunctionType, types.MethodType, Optimizer)


def unlike(one: Optimizer, other: Optimizer) -> str | None:
    """The first attribute in which an optimizer differs from one that went on from a checkpoint.

    Compared after further steps of both, so that what each step makes anew, such as a cache, does
    not count. What is neither number, text, tensor, generator nor made of these is passed over.

    Args:
        one: an optimizer.
        other: one that loaded its checkpoint and took the same further steps.
    """
    for part, again in zip(parts(one), parts(other), strict=True):
        held = vars(again)
        for name, value in vars(part).items():
            if name in CHECKPOINTED or held.get(name) is None:  # made when it is asked for
                continue
            if not _alike(value, held[name], DEEPEST):
                return name
    return None


def _alike(one: Any, other: Any, deepest: int) -> bool:
    if deepest == 0 or isinstance(one, CODE):
        return True
    match one:
        case Tensor():
            return isinstance(other, Tensor) and torch.equal(one.nan_to_num(), other.nan_to_num())
        case torch.Generator():
            return isinstance(other, torch.Generator) and torch.equal(
                one.get_state(), other.get_state()
            )
        case bool() | int() | float() | complex() | str() | bytes() | None:
            return bool(one == other) or (one != one and other != other)
        case dict():  # its keys may be the leaves, which are others
            same = isinstance(other, dict) and len(one) == len(other)
            return same and _all_alike(list(one.values()), list(other.values()), deepest)
        case list() | tuple() | collections.deque():
            same = isinstance(other, type(one)) and len(one) == len(other)
            return same and _all_alike(one, other, deepest)
    if hasattr(one, "__dict__") and type(one) is type(other):
        return _all_alike([*vars(one).values()], [*vars(other).values()], deepest)
    return True


def _all_alike(one: Any, other: Any, deepest: int) -> bool:
    return len(one) == len(other) and all(
        _alike(each, of_other, deepest - 1) for each, of_other in zip(one, other, strict=True)
    )
