"""A rehearsal of foreign optimizers before the search: what would fail in it is told beforehand."""

from __future__ import annotations

import io
import logging
import pickle
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.base.seeds import global_states, moved_since, set_global_states
from optnas.optimizers.attributes import unlike
from optnas.optimizers.reloading import load_state
from optnas.optimizers.stepping import take_step, to_evaluation_point, to_training_point

Optimizer = torch.optim.Optimizer
Make = Callable[[Sequence[Tensor]], Optimizer]
STEPS = 2
NEEDS = "docs/optimizers/needs.md"

log = logging.getLogger(__name__)


def rehearse(name: str, make: Make, leaves: Sequence[Tensor]) -> None:
    """Two steps on copies of the leaves, a checkpoint, and a third step with and without it.

    The loss is half the squared norm of the leaves, so that the gradient of a leaf is the leaf.
    Of a rate that the steps change themselves a warning says what becomes of it.

    Args:
        name: the optimizer's name, for error messages.
        make: constructs the optimizer over leaves.
        leaves: copied; unchanged.

    Raises:
        UserError: the optimizer cannot take a step, draws global random numbers, or does not keep
            what later steps depend on in its state.
    """
    reason, remedy, cause = _weakness(name, make, leaves)
    if reason is not None:
        raise UserError(reason, key="name", value=name, remedy=remedy) from cause


Weakness = tuple[str | None, str | None, Exception | None]


def _weakness(name: str, make: Make, leaves: Sequence[Tensor]) -> Weakness:
    """Why the optimizer cannot serve, what to do, and the exception that told, or three None."""
    before = global_states()
    try:
        resumes, lost = _resumes(name, make, leaves)
        drawn = moved_since(before)
    except pickle.PickleError as error:
        held = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"its state holds a {held[1] if held else 'thing'}, which no checkpoint does"
        return reason, "keep tensors, numbers and strings in its state", error
    # Foreign code may fail in any way.
    except Exception as error:
        reason = f"a step fails ({type(error).__name__}: {str(error)[:160]})"
        return reason, f"choose another, or declare what it needs: see {NEEDS}", error
    finally:
        # Whatever was drawn, the caller's generators stay where they are.
        set_global_states(before)
    if drawn is not None:
        reason = f"it draws from {drawn}'s global generator: a resumed run would differ"
        return reason, "choose another, or give it a generator of its own", None
    if not resumes:
        reason = "its state_dict() leaves out what its steps depend on: a resumed run would differ"
        return reason, "choose another, or keep it in self.state or param_groups", None
    if lost:
        told = f"`{lost}` changed in the steps and is in no checkpoint: a resumed run would differ"
        return told, "keep it in self.state or param_groups", None
    return None, None, None


def _resumes(name: str, make: Make, leaves: Sequence[Tensor]) -> tuple[bool, str | None]:
    """Whether the third step is the same from a checkpoint, and an attribute that is not."""
    copies = _copies(leaves)
    optimizer = make(copies)
    before = _rates(optimizer)
    _advance(optimizer, copies, STEPS)
    if _rates(optimizer) != before:
        log.warning(
            "optnas: warning: %s changes the lr of its groups itself, and each epoch begins at the "
            "schedule's again: keep such a factor beside lr",
            for_terminal(name),
        )
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    again_copies = _copies(copies)
    again = make(again_copies)
    load_state(again, torch.load(buffer, weights_only=True))
    _advance(optimizer, copies, 1)
    _advance(again, again_copies, 1)
    return all(map(torch.equal, copies, again_copies)), unlike(optimizer, again)


def _rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]


def _advance(optimizer: Optimizer, leaves: Sequence[Tensor], steps: int) -> None:
    to_training_point(optimizer)
    for _ in range(steps):
        take_step(optimizer, lambda: _evaluate(leaves))
    to_evaluation_point(optimizer)


def _copies(leaves: Sequence[Tensor]) -> list[Tensor]:
    return [leaf.detach().clone().requires_grad_() for leaf in leaves]


def _evaluate(leaves: Sequence[Tensor]) -> Tensor:
    for leaf in leaves:
        leaf.grad = leaf.detach().clone()
    return torch.stack([leaf.detach().square().sum() / 2 for leaf in leaves]).sum()
