"""RobustDARTS: DARTS that watches its top eigenvalue, and stops or decays more where it grows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Trial, Turn, Watch
from optnas.algorithms.growth import check_rule, growth
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, Count, NotNegative, Positive

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

# Memory: epochs that were looked at, the eigenvalues there; the epoch at which it ended, 0 before.
LOOKED, EIGENVALUES, ENDED = "looked", "eigenvalues", "ended"


@register(
    "algorithm",
    "robust-darts",
    needs=("memory",),
    paper="Understanding and Robustifying Differentiable Architecture Search",
    year=2020,
)
def robust_darts(
    reaction: Literal["stop", "adapt"] = "stop",
    decay_factor: Annotated[float, Field(gt=1)] = 10.0,
    decay_max: Positive = 0.03,
    every: AtLeastOne = 2,
    batches: AtLeastOne = 1,
    batch_size: Count = 0,
    diagonal: NotNegative = 0.0,
    window: AtLeastOne = 5,
    ratio: float = 1.3,
    start: AtLeastOne = 10,
    delta: AtLeastOne = 4,
    hypergradient: HypergradientName = "first-order",
) -> Algorithm:
    """DARTS that goes back to an earlier epoch where the loss gets too sharp in alpha.

    After every so many epochs the largest eigenvalue of d2 L_val / d alpha2, w fixed, is taken.
    Where its local mean grows too fast, by the rule of `growth`, the search goes back to epoch b:
    ``stop`` ends it there (DARTS-ES), ``adapt`` goes on from there with the weight decay of w
    multiplied, until that is at its maximum (DARTS-ADA).

    Args:
        reaction: ``stop`` or ``adapt``.
        decay_factor: what the weight decay is multiplied by; of ``adapt``.
        decay_max: the largest weight decay; of ``adapt``.
        every: epochs between two eigenvalues.
        batches: of the validation half, over which the Hessian is a mean.
        batch_size: images of each; 0 for that of a training step.
        diagonal: added to the Hessian's diagonal; published code adds alpha's weight decay, 0.001.
        window: eigenvalues in a local mean, an odd number.
        ratio: growth of the local mean from which on the search goes back.
        start: the earliest epoch to go back to.
        delta: eigenvalues between the two local means.
        hypergradient: the gradient that moves alpha.

    Raises:
        UserError: the window is even, the ratio no positive number, or a batch of one image.

    Reference: Zela et al., ICLR 2020, and its published code. Deviations: the Hessian is that of
    the same clean images each time, see docs/algorithms/robust-darts.md.
    """
    check_rule(window, ratio)
    if batch_size == 1:
        raise UserError(
            "batch statistics need two images", key="batch_size", value=1, remedy="raise it"
        )

    def look(trial: Trial) -> Turn:
        memory, epoch = trial.progress.memory, trial.progress.epoch
        if int(memory[ENDED]):
            return Turn(ends=True, reason=_told(ratio, int(memory[ENDED])))
        hessian_PP = trial.alpha_hessian(batches, batch_size)
        finite = bool(hessian_PP.isfinite().all())  # else no rule holds
        top = float(torch.linalg.eigvalsh(hessian_PP)[-1]) + diagonal if finite else math.nan
        epochs = [*memory[LOOKED].tolist(), epoch]
        values = [*memory[EIGENVALUES].tolist(), top]
        found = growth(epochs, values, window=window, ratio=ratio, start=start, delta=delta)
        rises = found.at == len(epochs) - 1
        if rises and found.since is not None and reaction == "stop":
            ended = {ENDED: torch.tensor(epoch)}
            return Turn(ended, epochs[found.since], ends=True, reason=_told(ratio, epoch))
        if rises and found.since is not None and trial.weight_decay < decay_max * (1 - 1e-9):
            factor = min(decay_factor, decay_max / trial.weight_decay)
            told = f"{_told(ratio, epoch)}, weight decay {trial.weight_decay * factor:g}"
            return Turn({}, epochs[found.since], factor, reason=told)
        looked = torch.tensor(epochs, dtype=torch.int64)
        return Turn({LOOKED: looked, EIGENVALUES: torch.tensor(values, dtype=torch.float64)})

    def nothing() -> dict[str, torch.Tensor]:
        return {
            LOOKED: torch.zeros(0, dtype=torch.int64),
            EIGENVALUES: torch.zeros(0, dtype=torch.float64),
            ENDED: torch.tensor(0),
        }

    return Algorithm(
        relax=parts.softmax,
        perturb=parts.unperturbed,
        hypergradient=hypergradient,
        discretize=parts.argmax_per_edge,
        start=nothing,
        watch=Watch(
            look,
            every=every,
            back=every * (window // 2 + delta),
            images=batch_size,
            first=every * (math.ceil(start / every) + window // 2 + delta),
            raises_decay=reaction == "adapt",
            decay_max=decay_max if reaction == "adapt" else math.inf,
        ),
    )


def _told(ratio: float, epoch: int) -> str:
    return f"the top eigenvalue's local mean has grown more than {ratio:g}-fold by epoch {epoch}"
