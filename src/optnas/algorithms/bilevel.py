"""The bilevel problem of one iteration, as functions of network weights and operation weights.

    min_alpha  L_val(w*(alpha), A(alpha))    subject to    w*(alpha) = argmin_w L_train(w, A(alpha))

with A = relax(alpha) the operation weights. Here both losses are those of the two batches at hand.
Shapes: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from optnas.algorithms.progress import Draw, Memory, Progress
from optnas.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from optnas.spaces.network import Statistics

Weights = Mapping[str, "Tensor"]


class VirtualStep(Protocol):
    """The step the weight optimizer would take from its live state; a call leaves no trace."""

    def __call__(
        self, gradients: Sequence[Tensor], weights: Weights | None = None
    ) -> dict[str, Tensor]:
        """The weights after the step.

        Args:
            gradients: in the order of the weights; the step is differentiable in them.
            weights: where the step begins, and the step is differentiable in them too; None is the
                live weights, detached. Buffers, such as a momentum, are the live ones either way.
        """
        ...


# weights -> the gradients there, in the order of the weights
GradientsAt = Callable[[Weights], "Sequence[Tensor]"]


class VirtualSteps(Protocol):
    """The next steps of the weight optimizer, from its live state; a call leaves no trace."""

    def __call__(self, gradients_at: Sequence[GradientsAt]) -> dict[str, Tensor]:
        """The weights after the last step.

        Args:
            gradients_at: one function per step, asked in order: weights -> the gradients there, in
                the order of the weights. The first is asked at the live weights, detached, leaves.
                Buffers, such as a momentum, go on from step to step; the learning rate stays.
        """
        ...


class LossValue(NamedTuple):
    """A loss, and what its forward pass leaves.

    Attributes:
        loss: the mean cross-entropy of the batch in nats.
        statistics: batch-norm statistics, moved if the call said ``update``.
    """

    loss: Tensor
    statistics: Statistics | None


class Loss(Protocol):
    """The loss of one batch under batch statistics."""

    def __call__(
        self, op_weights_EO: Tensor, weights: Weights, *, update: bool = False
    ) -> LossValue:
        """Evaluate; statistics move only in the value handed back, and only with ``update``."""
        ...


class Judged(NamedTuple):
    """A further batch of the validation half.

    Attributes:
        accuracy: operation weights, network weights -> accuracy in percent under batch statistics,
            a float64 scalar where the search computes. No statistics move, and no gradient passes.
        draw: randomness of its own, for what is done with the batch.
    """

    accuracy: Callable[[Tensor, Weights], Tensor]
    draw: Draw


def undeclared(does: str, need: str) -> UserError:
    """A hypergradient does what it was not registered with.

    Args:
        does: what it does, such as ``draws``.
        need: the name that would have allowed it.
    """
    return UserError(
        f"{does} without a word",
        key="algorithm.hypergradient",
        remedy=f'register it, and its algorithm, with needs=("{need}",)',
    )


def no_valid_batches(count: int, images: int) -> list[Judged]:
    """`Bilevel.more_valid_batches` of who does not need any."""
    del count, images
    raise undeclared("asks for further validation batches", "valid-batches")


@dataclass(frozen=True)
class Bilevel:
    """What a hypergradient may ask of the iteration it serves.

    Losses take any weights by name, such as displaced ones, and are differentiable in them.

    Attributes:
        weights: the live network weights, leaves.
        train_loss: on the train batch about to be used; for a part registered with
            ``needs=("train-batch",)``.
        valid_loss: on the validation batch.
        virtual_step: the step the weight optimizer would take; ``needs=("virtual-step",)``.
        update: whether the architecture step's own forward pass moves the running statistics.
        progress: where the search stands, for a schedule, and the memory.
        weight_decay: asks for the inner problem's decay d of each weight by name: that step moves w
            along the gradient g + d w. 0 where the optimizer decays apart from the gradient
            (AdamW). ``needs=("virtual-step",)``.
        more_train_batches: how many -> the losses of as many fresh batches of the training half,
            each augmented and drawn by itself; the same ones each time they are asked for within a
            step, the first k of any larger number. ``needs=("train-batches",)``.
        weight_lr: asks for the learning rate of the virtual step; ``needs=("virtual-step",)``.
        virtual_steps: the steps that the weight optimizer would take one after another, at
            gradients of your own; ``needs=("virtual-step",)``.
        more_valid_batches: how many, of how many images -> as many fresh batches of the validation
            half, drawn and augmented by themselves; the half where that is smaller. The same ones
            each time they are asked for within a step, the first k of any larger number.
            ``needs=("valid-batches",)``.
        cells: L, the number of cells: losses take operation weights ``[L, E, O]`` too, a matrix for
            each cell in the order in which images pass through them.
    """

    weights: Weights
    train_loss: Loss
    valid_loss: Loss
    virtual_step: VirtualStep
    update: bool
    progress: Progress
    weight_decay: Callable[[], dict[str, float]]
    more_train_batches: Callable[[int], list[Loss]]
    weight_lr: Callable[[], float]
    cells: int = 1
    more_valid_batches: Callable[[int, int], list[Judged]] = no_valid_batches
    virtual_steps: VirtualSteps = field(kw_only=True)


class Hypergradient(NamedTuple):
    """What a hypergradient hands back.

    Attributes:
        gradient_EO: for the architecture optimizer; None leaves alpha where it is.
        statistics: batch-norm statistics as they are after the step's forward pass, if it moves
            them.
        penalty: what the part adds to its loss, a scalar whose gradient is in ``gradient_EO``: an
            optimizer that compares losses compares their sum.
        loss: the loss that ``gradient_EO`` descends; None is the last validation loss it asked for.
        memory: what is to be remembered from this step on, by name; the rest of the memory stays.
            Where an optimizer evaluates more than once in a step, each evaluation sees the memory
            from before it, and what the last hands back counts. For a part registered with
            ``needs=("memory",)``.
    """

    gradient_EO: Tensor | None
    statistics: Statistics | None = None
    penalty: Tensor | None = None
    loss: Tensor | None = None
    memory: Memory | None = None

    def plus(self, added_EO: Tensor, penalty: Tensor) -> Hypergradient:
        """The same with a further penalty.

        Args:
            added_EO: its gradient; that of the hypergradient must not be None.
            penalty: its value, a scalar without derivative.
        """
        assert self.gradient_EO is not None
        return self._replace(
            gradient_EO=self.gradient_EO + added_EO,
            penalty=penalty if self.penalty is None else self.penalty + penalty,
        )
