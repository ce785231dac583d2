"""Lookahead around any base optimizer, from the package ``pytorch_optimizer``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.base.schema import NotNegative
from optnas.optimizers.base import BaseTable
from optnas.optimizers.composite import Composite, build_inner
from optnas.optimizers.reloading import restore_numbers
from optnas.optimizers.signatures import imported
from optnas.optimizers.stepping import to_training_point

PACKAGE = "pytorch_optimizer"


@register(
    "optimizer",
    "lookahead",
    package=PACKAGE,
    # A search of the exam has three steps per epoch.
    examined_with={"lr": 0.025, "base": {"name": "SGD"}, "k": 2},
)
class Lookahead(Composite):
    """The base optimizer's steps, drawn back every k steps towards where they began.

        w: k steps of the base;  s' = s + share (w - s);  w' = s'

    s are the slow weights. The paper's algorithm returns s: at the end of an epoch the leaves stand
    there to be judged, and go back to w for the next one. Steps are counted across epochs.

    Args:
        params: the leaves.
        base: the base optimizer's ``name`` and settings, without ``lr``.
        names: names of the leaves, for a base that asks for them.
        lr: learning rate of the base optimizer.
        k: steps of the base between two moves of s.
        share: of the way that s goes, the paper's alpha.
        pullback_momentum: what becomes of the momentum of the base: ``none`` leaves it, ``reset``
            zeroes it, ``pullback`` moves it as s. The last two want a base whose state has a
            ``momentum_buffer`` of each leaf, such as SGD with momentum; Adam's is another.

    Raises:
        UserError: the base has no such momentum.

    Reference: Zhang et al., *Lookahead optimizer: k steps forward, 1 step back*, NeurIPS 2019.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        base: BaseTable,
        names: Sequence[str],
        lr: NotNegative,
        k: int = 5,
        share: float = 0.5,
        pullback_momentum: str = "none",
    ):
        leaves = list(params)
        table = BaseTable({**base, "lr": lr})
        inner = build_inner("base", table, leaves, names)
        package = imported(PACKAGE, "lookahead")
        self.theirs = package.Lookahead(inner, k, share, pullback_momentum)
        if pullback_momentum in ("reset", "pullback"):
            _require_momentum(table, leaves, names, pullback_momentum)
        # Not the base: a base with two points of its own is refused in its rehearsal.
        super().__init__(leaves, [self.theirs])

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """A step of the base; every k-th also moves the slow weights."""
        del closure
        self.theirs.step()

    def train(self) -> None:
        """Move the leaves to where the base left them, if they are not there."""
        if self._judged:
            self.theirs.clear_and_load_backup()

    def eval(self) -> None:
        """Move the leaves to the slow weights, if they are not there."""
        if not self._judged:
            self.theirs.backup_and_load_cache()

    @property
    def _judged(self) -> bool:
        return any("backup_params" in self.theirs.state[leaf] for leaf in self.leaves)

    def state_dict(self) -> dict[str, Any]:
        """The state of the base and the slow weights, and the groups of the base."""
        held = self.theirs.state_dict()
        base = held["base_optimizer"]
        state = {"base": base["state"], "slow": held["lookahead_state"]}
        return {"state": state, "param_groups": base["param_groups"]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Hand both back."""
        state, groups = state_dict["state"], state_dict["param_groups"]
        base = {"state": state["base"], "param_groups": groups}
        self.theirs.load_state_dict({"base_optimizer": base, "lookahead_state": state["slow"]})
        restore_numbers(self.theirs.optimizer, base)
        self._gather()


def _require_momentum(
    table: BaseTable, leaves: Sequence[Tensor], names: Sequence[str], pullback_momentum: str
) -> None:
    """Refuse a base without the one momentum that the package moves; it shows after a step."""
    copies = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    base = build_inner("base", table, copies, names)
    for leaf in copies:
        leaf.grad = torch.ones_like(leaf)
    to_training_point(base)
    base.step()
    if not all(isinstance(base.state[leaf].get("momentum_buffer"), Tensor) for leaf in copies):
        raise UserError(
            f"moves the momentum_buffer of the base, and {table['name']} as it is set has none",
            key="pullback_momentum",
            value=pullback_momentum,
            remedy="write none, or choose a base with one, such as SGD with momentum=0.9",
        )
