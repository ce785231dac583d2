"""The bilevel problem of one iteration, as functions of network weights and operation weights.

    min_alpha  L_val(w*(alpha), A(alpha))    subject to    w*(alpha) = argmin_w L_train(w, A(alpha))

with A = relax(alpha) the operation weights. Here both losses are those of the two batches at hand.
Shapes: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from optnas.algorithms.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from optnas.spaces.network import Statistics

Weights = Mapping[str, "Tensor"]
# gradients (in the order of the weights) -> the weights after the virtual optimizer step
VirtualStep = Callable[[Sequence["Tensor"]], dict[str, "Tensor"]]


class LossValue(NamedTuple):
    """A cross-entropy in nats, and the batch-norm statistics as they are after its forward pass."""

    loss: Tensor
    statistics: Statistics | None


class Loss(Protocol):
    """The loss of one batch under batch statistics."""

    def __call__(
        self, op_weights_EO: Tensor, weights: Weights, *, update: bool = False
    ) -> LossValue:
        """Evaluate; statistics move only in the value handed back, and only with ``update``."""
        ...


@dataclass(frozen=True)
class Bilevel:
    """What a hypergradient may ask of the iteration it serves.

    Attributes:
        weights: the live network weights, leaves.
        train_loss: on the train batch about to be used.
        valid_loss: on the validation batch.
        virtual_step: the step the weight optimizer would take from its live state, as a
            differentiable function of the gradients; a call leaves no trace.
        update: whether the architecture step's own forward pass moves the running statistics.
        progress: where the search stands, for a schedule.
    """

    weights: Weights
    train_loss: Loss
    valid_loss: Loss
    virtual_step: VirtualStep
    update: bool
    progress: Progress


class Hypergradient(NamedTuple):
    """What a hypergradient hands back.

    Attributes:
        gradient_EO: for the architecture optimizer; None leaves alpha where it is.
        statistics: batch-norm statistics as they are after the step's forward pass, if it moves
            them.
        penalty: what the part adds to the last validation loss it asked for, a scalar whose
            gradient is in ``gradient_EO``: an optimizer that compares losses compares their sum.
    """

    gradient_EO: Tensor | None
    statistics: Statistics | None = None
    penalty: Tensor | None = None
