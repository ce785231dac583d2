"""The bilevel problem of one iteration, as functions of network weights and operation weights.

    min_alpha  L_val(w*(alpha), A(alpha))    subject to    w*(alpha) = argmin_w L_train(w, A(alpha))

with A = relax(alpha) the operation weights. Here both losses are those of the two batches at hand.
Shapes: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

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
    """

    weights: Weights
    train_loss: Loss
    valid_loss: Loss
    virtual_step: VirtualStep
    update: bool


class Hypergradient(NamedTuple):
    """The gradient for the architecture optimizer; None leaves alpha where it is."""

    gradient_EO: Tensor | None
    statistics: Statistics | None = None
