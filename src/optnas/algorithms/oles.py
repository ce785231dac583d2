"""OLES: an operation stops training once its train and validation gradients disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, Progress, WeightGradients
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

ReadingName = Literal["published", "paper"]
# Names of an operation's weights have this in the middle, then edge and operation.
EDGES = ".edges."
# Memory: weight steps so far; by operation or weight: stopped, sum of similarities, gradients.
STEPS, STOPPED, SUM, TRAIN, VALID = "steps", "stopped/", "sum/", "train/", "valid/"


@register(
    "algorithm",
    "oles",
    needs=("memory",),
    paper="Operation-Level Early Stopping for Robustifying Differentiable NAS",
    year=2023,
)
def oles(
    threshold: float = 0.4,
    window: AtLeastOne = 20,
    reading: ReadingName = "published",
) -> Algorithm:
    """First-order DARTS with operation-level early stopping.

    Every ``window`` weight steps, an operation whose mean cosine of train and validation gradient
    is below the threshold is stopped for the rest of the search. The two readings differ in what is
    compared and in what stopping is, see docs/algorithms/oles.md.

    Args:
        threshold: of the mean cosine.
        window: M, steps of the mean.
        reading: ``paper``, or ``published`` for what the published code computes.

    Reference: Jiang et al., NeurIPS 2023, and its published code.
    """

    def look(gradients: Mapping[str, Tensor], progress: Progress) -> WeightGradients:
        memory, remembered = progress.memory, {STEPS: progress.memory[STEPS] + 1}
        changed: dict[str, Tensor | None] = {}
        every = window + 1 if reading == "published" else window
        # The first comparison of the published code is in the second step.
        compared = remembered[STEPS] - (1 if reading == "published" else 0)
        judges = (compared > 0) & (compared % every == 0)
        operations = _by_operation(gradients)
        for operation, names in operations.items():
            zero = torch.zeros_like(gradients[names[0]].flatten()[0])
            stopped = memory.get(STOPPED + operation, zero)
            pairs = [_compared(reading, name, gradients, memory) for name in names]
            known = [pair for pair in pairs if pair is not None]
            total = memory.get(SUM + operation, zero)
            if known:
                total = total + (_per_output(known) if reading == "published" else _whole(known))
            fails = judges & (total / window < threshold)
            stopped = torch.maximum(stopped, fails.to(stopped))
            remembered[STOPPED + operation] = stopped
            remembered[SUM + operation] = torch.where(judges, zero, total)
            if reading == "published":
                for name in names:
                    # A gradient of 0: weight decay and momentum go on. No value is read here.
                    # Remembered is the tensor that is stepped along, which clipping then scales in
                    # place: published code too remembers gradients after clipping.
                    changed[name] = remembered[TRAIN + name] = gradients[name] * (1 - stopped)
        if reading == "paper" and operations:
            # The one wait of a step: which weights stay must be known before the step.
            flags = torch.stack([remembered[STOPPED + each] for each in operations]).tolist()
            for names, flag in zip(operations.values(), flags, strict=True):
                changed |= dict.fromkeys(names, None) if flag else {}
        return WeightGradients(changed, remembered)

    return Algorithm(
        relax=parts.softmax,
        perturb=parts.unperturbed,
        hypergradient=_first_order,
        discretize=parts.argmax_per_edge,
        start=lambda: {STEPS: torch.zeros((), dtype=torch.int64)},
        on_weight_gradients=look,
    )


def _first_order(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
    """The first-order gradient, and those of the operations' weights from the same pass."""
    alpha = alpha_EO.detach().requires_grad_()
    held = {name: w.detach().requires_grad_() for name, w in problem.weights.items()}
    loss, statistics = problem.valid_loss(relax(alpha), held, update=problem.update)
    names = [name for name in held if EDGES in name]
    gradient_EO, *found = torch.autograd.grad(loss, [alpha, *(held[name] for name in names)])
    memory = {VALID + name: g for name, g in zip(names, found, strict=True)}
    return Hypergradient(gradient_EO, statistics if problem.update else None, memory=memory)


def _by_operation(gradients: Mapping[str, Tensor]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in gradients:
        cell, edges, rest = name.partition(EDGES)
        if edges:
            found.setdefault(cell + edges + ".".join(rest.split(".")[:2]), []).append(name)
    return found


def _compared(
    reading: ReadingName, name: str, gradients: Mapping[str, Tensor], memory: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor] | None:
    """The two gradients of a weight, None where there are not two yet."""
    valid = memory.get(VALID + name)
    if reading == "paper":
        return None if valid is None else (valid, gradients[name])
    # Published code clears no gradient before the validation pass, which adds to the last one.
    train = memory.get(TRAIN + name)
    return None if valid is None or train is None else (train + valid, train)


def _whole(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The cosine of an operation's gradients as one vector."""
    one, other = (torch.cat([each.flatten() for each in side]) for side in zip(*pairs, strict=True))
    return torch.cosine_similarity(one, other, dim=0)


def _per_output(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean over weights of the mean over entries of the cosine along the output channels."""
    each = [torch.cosine_similarity(one, other, dim=0).mean() for one, other in pairs]
    return torch.stack(each).mean()
