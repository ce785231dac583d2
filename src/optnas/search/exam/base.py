"""What a check is, and what checks have in common."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from optnas.base import registry
from optnas.base.seeds import global_states, moved_since, set_global_states
from optnas.search.settings.layers import default_space
from optnas.spaces import Space


@functools.cache
def space() -> Space:
    """What parts are built for, and tiny searches run on: that of the default protocol."""
    return default_space()


class FailedError(Exception):
    """What a check found, in one clause."""


class NotExaminedError(Exception):
    """Why a check does not apply here, in one clause."""


@dataclass(frozen=True)
class Subject:
    """A component under examination.

    Attributes:
        kind: one of `optnas.base.registry.KINDS`.
        name: as users write it.
        settings: what they would set beside the name; everything else has its default.
    """

    kind: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def factory(self) -> registry.Factory:
        """What the name stands for."""
        return registry.find(self.kind, self.name, key=f"{self.kind} NAME")

    def completed(self) -> dict[str, Any]:
        """All settings of the factory."""
        return registry.complete_settings(
            self.factory, self.settings, section=self.kind, skip=("space", "folder", "run")
        )

    def build(self, **offered: Any) -> Any:
        """The component, built for `space` and whatever else is offered."""
        return registry.supply(
            self.factory, self.completed(), {"space": space(), **offered}, section=self.kind
        )


Check = Callable[[Subject], None]


def demand(condition: bool, why: str) -> None:
    """Fail the check unless the condition holds.

    Args:
        condition: what has to hold.
        why: what is wrong otherwise.

    Raises:
        FailedError: it does not.
    """
    if not condition:
        raise FailedError(why)


def difference(one: Any, other: Any, where: str = "result") -> str | None:
    """The first place at which two nested values differ in type or in any bit.

    Args:
        one: a value of tensors, arrays, mappings, sequences and scalars.
        other: another.
        where: what to call the value.

    Returns:
        The place, or None.
    """
    if type(one) is not type(other):
        return where
    if isinstance(one, Mapping):
        if one.keys() != other.keys():
            return where
        pairs = [(one[key], other[key], f"{where}.{key}") for key in one]
    elif isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return where
        pairs = [(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return None if same else where
    elif isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and np.array_equal(one, other)
        return None if same else where
    else:
        return None if one == other or (one != one and other != other) else where
    return next((found for pair in pairs if (found := difference(*pair))), None)


def repeated(compute: Callable[[], Any]) -> Any:
    """Compute twice under different seeds of the global generators.

    Args:
        compute: something that has all its randomness from generators of its own.

    Returns:
        The value that both computations returned.

    Raises:
        FailedError: a global generator moved, or the second value is another.
    """
    values, kept = [], global_states()
    try:
        for seed in (1, 99):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            before = global_states()
            values.append(compute())
            moved = moved_since(before)
            demand(moved is None, f"moves the global generator of {moved}")
    finally:
        set_global_states(kept)
    differs = difference(values[0], values[1])
    demand(differs is None, f"gives another {differs} the second time, at another global seed")
    return values[0]


@contextlib.contextmanager
def untouched(**tensors: torch.Tensor) -> Iterator[None]:
    """Fail the check if one of these tensors is changed inside the block, or is left a gradient.

    Args:
        **tensors: by the name they are told under.

    Yields:
        Nothing.

    Raises:
        FailedError: one is another afterwards.
    """
    before = {name: (tensor.detach().clone(), tensor.grad) for name, tensor in tensors.items()}
    flags = {name: tensor.requires_grad for name, tensor in tensors.items()}
    yield
    for name, tensor in tensors.items():
        value, gradient = before[name]
        demand(torch.equal(value, tensor.detach()), f"changes {name}")
        demand(tensor.grad is gradient, f"leaves a gradient on {name}")
        demand(tensor.requires_grad == flags[name], f"switches requires_grad of {name}")


def example(seed: int, *shape: int) -> torch.Tensor:
    """Standard normal numbers in double precision, from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def example_alpha(columns: int = 0) -> torch.Tensor:
    """Architecture parameters well away from uniform, with further columns if there are any."""
    return example(7, space().edge_count, space().operation_count + columns)
