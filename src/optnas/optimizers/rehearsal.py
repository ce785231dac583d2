"""A rehearsal of foreign optimizers before the search: what would fail in it is told beforehand."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from optnas.errors import UserError
from optnas.optimizers.stepping import take_step, to_evaluation_point, to_training_point

Optimizer = torch.optim.Optimizer
Make = Callable[[Sequence[Tensor]], Optimizer]
STEPS = 2


def rehearse(make: Make, leaves: Sequence[Tensor]) -> None:
    """Two steps on copies of the leaves, a checkpoint, and a third step with and without it.

    The loss is half the squared norm of the leaves, so that the gradient of a leaf is the leaf.

    Args:
        make: constructs the optimizer over leaves.
        leaves: copied; unchanged.

    Raises:
        UserError: the optimizer cannot take a step, draws global random numbers, or does not keep
            what later steps depend on in its state.
    """
    copies = _copies(leaves)
    optimizer = make(copies)
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        try:
            _advance(optimizer, copies, STEPS)
        # Foreign code may fail in any way.
        except Exception as error:
            raise UserError(
                f"a step fails ({type(error).__name__}: {error})",
                remedy="choose another, or declare what it needs: see docs/optimizers.md",
            ) from error
        again_copies = _copies(copies)
        again = make(again_copies)
        _reload(optimizer, again)
        for each, on in ((optimizer, copies), (again, again_copies)):
            _advance(each, on, 1)
        moved = not torch.equal(before, torch.get_rng_state())
    if moved:
        raise UserError(
            "it draws from torch's global generator, so that a resumed run would differ",
            remedy="choose another, or one with a generator of its own in its state",
        )
    if not all(map(torch.equal, copies, again_copies)):
        raise UserError(
            "its state_dict() does not hold all that its steps depend on: a resumed run would "
            "differ",
            remedy="keep it in self.state or param_groups",
        )


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


def _reload(optimizer: Optimizer, again: Optimizer) -> None:
    """Through the bytes of a checkpoint, as a resumed run reads them."""
    buffer = io.BytesIO()
    try:
        torch.save(optimizer.state_dict(), buffer)
        buffer.seek(0)
        again.load_state_dict(torch.load(buffer, weights_only=True))
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"its state cannot be read back without running code ({reason})",
            remedy="keep tensors, numbers and strings in self.state and param_groups",
        ) from error
