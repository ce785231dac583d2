"""Where a search stands, and the randomness of a step: values that parts receive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optnas.base.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

# What an algorithm remembers from step to step: tensors by name, in every checkpoint.
Memory = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Draw:
    """The randomness of one step of one level, as a value.

    An optimizer that evaluates more than once within a step (SAM, LBFGS) thus sees one draw, and so
    does whatever differentiates through it. The numbers come from the CPU: they are the same on
    every device, to be drawn in double precision and moved.

    Attributes:
        seed: of the step; where it comes from is the search's business.
        ahead_EO: the first numbers of `uniform`, shaped as alpha, if the search has drawn them
            ahead and sent them to where it computes.
    """

    seed: int
    ahead_EO: Tensor | None = field(default=None, repr=False, compare=False)

    def generator(self) -> torch.Generator:
        """The step's stream from its start: the same numbers each time it is asked for."""
        return torch.Generator().manual_seed(self.seed)

    def uniform(self, like: Tensor) -> Tensor:
        """U(0, 1) in double precision, shaped as a tensor and where that is; the same each time."""
        if self.ahead_EO is not None and self.ahead_EO.shape == like.shape:
            return self.ahead_EO
        draws = torch.rand(like.shape, generator=self.generator(), dtype=torch.float64)
        return draws.to(like.device)


@dataclass(frozen=True)
class InnerStep:
    """What `on_weight_gradients` may ask of the weight step it looks at.

    Attributes:
        weights: the network weights where the gradients were taken, leaves.
        op_weights_LEO: the operation weights they were taken at, perturbed if the algorithm
            perturbs, once for each of the L cells; detached.
        gradient_LEO: the gradient of the loss in them, as if each cell had its own; detached.
        train_loss: operation weights ``[E, O]`` or ``[L, E, O]`` -> the loss of the step's batch
            under batch statistics, differentiable in them and in ``weights``; no statistics move.
    """

    weights: Mapping[str, Tensor]
    op_weights_LEO: Tensor
    gradient_LEO: Tensor
    train_loss: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Progress:
    """Where the search stands. Epochs count from 1; 0 is the state before the first.

    Attributes:
        epoch: the current epoch.
        epochs: how many the run has.
        draw: the randomness of this step, for an algorithm one of whose parts is registered with
            ``needs=("draw",)``. None in every other algorithm, and wherever operation weights are
            judged rather than trained: records, measures, recalibrated statistics.
        memory: what the algorithm remembers: its ``start``, and what its parts have handed back.
        noise_EO: U(0, 1) in double precision, one number per operation weight, drawn ahead for this
            weight step where a perturbation is registered with ``needs=("noise",)``; None
            elsewhere.
        inner: the weight step, in `on_weight_gradients` of an algorithm that is registered with
            ``needs=("inner-step",)``; None elsewhere.
        step: how many steps of this epoch came before, for an algorithm one of whose parts is
            registered with ``needs=("step-number",)``; None elsewhere.
    """

    epoch: int
    epochs: int
    draw: Draw | None = None
    memory: Memory = field(default_factory=dict)
    noise_EO: Tensor | None = None
    inner: InnerStep | None = None
    step: int | None = None

    @property
    def fraction(self) -> float:
        """Elapsed share of the search, (epoch - 1) / epochs: 0 in the first epoch, below 1."""
        return max(self.epoch - 1, 0) / self.epochs
