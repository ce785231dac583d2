"""One optimizer for the first steps, another from then on: what the optimizer alone changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.base.schema import NotNegative
from optnas.optimizers.base import BaseTable, RestTable
from optnas.optimizers.composite import Composite, build_inner, build_rest
from optnas.optimizers.stepping import averaging


# A search of the exam has three steps per epoch.
@register(
    "optimizer",
    "swap",
    examined_with={
        "lr": 0.025,
        "first": {"name": "SGD"},
        "then": {"name": "Adam", "lr": 1e-3},
        "after": 4,
    },
)
class Swap(Composite):
    """So many steps of ``first``, then those of ``then``, which begins without a state.

    To exchange after epoch k of a search, ``after`` is k ceil(train_size / batch_size). With equal
    seeds everything is, up to that step, the run of ``first`` alone: same batches, weights, alpha.

    Args:
        params: the leaves.
        names: their names.
        lr: learning rate of ``first``.
        first: the first optimizer's ``name`` and settings, without ``lr``.
        then: the second's, its ``lr`` included; the section's schedule moves both rates by the same
            factor.
        after: steps of ``first``; 0 is ``then`` from the beginning. Counted from the beginning of
            the search, also where a selection of cells begins with optimizers without a state.

    Raises:
        UserError: ``after`` is negative, or one of the two is judged at another point than it is
            trained at, as ``lookahead`` is.
    """

    decides = True

    def __init__(
        self,
        params: Iterable[Tensor],
        names: Sequence[str],
        lr: NotNegative,
        first: BaseTable,
        then: RestTable,
        after: int,
    ):
        if after < 0:
            raise UserError("is a number of steps", key="after", value=after, remedy="raise it")
        leaves = list(params)
        one = build_inner("first", BaseTable({**first, "lr": lr}), leaves, names)
        other = build_rest("then", then, leaves, names, lr)
        for key, table, made in (("first", first, one), ("then", then, other)):
            # Both are asked to move the leaves there, whosever turn it is: one whose turn is over
            # knows a stale point, lookahead before its turn that of the initial weights.
            if averaging(made):
                raise UserError(
                    "is judged at a point of its own, and would move the weights outside its turn",
                    key=f"{key}.name",
                    value=table["name"],
                    remedy="choose an optimizer such as SGD or Adam",
                )
        super().__init__(leaves, [one, other])
        self.after, self.steps = after, 0

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """A step of the optimizer whose turn it is."""
        del closure
        self.inner[self.steps >= self.after].step()
        self.steps += 1

    def count_on(self, former: Swap) -> None:
        """Count on from a former one: whose turn it is does not change where it begins anew."""
        self.steps = former.steps

    def state_dict(self) -> dict[str, Any]:
        """The state and groups of both, and how many steps were taken."""
        return {**super().state_dict(), "steps": self.steps}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Hand both their state and groups back."""
        super().load_state_dict(state_dict)
        self.steps = state_dict["steps"]
