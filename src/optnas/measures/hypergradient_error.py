"""How far cheap hypergradients are from a long unroll at the search's own state.

Shapes: E edges, O operations, D draws, M hypergradients.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from optnas.algorithms import parts
from optnas.algorithms.base import ComputeHypergradient
from optnas.algorithms.bilevel import Bilevel, Loss, LossValue, Weights
from optnas.base.registry import register
from optnas.base.schema import AtLeastTwo, Count
from optnas.measures.base import Cadence, Measure, Quantity, Values

if TYPE_CHECKING:
    from torch import Tensor

    from optnas.measures.snapshot import Snapshot

COMPARED: dict[str, ComputeHypergradient] = {
    "first_order": parts.first_order,
    "unrolled": parts.unrolled("finite-difference"),
    "unrolled_exact": parts.unrolled("exact"),
    "two_steps": parts.k_step(2),
    "five_steps": parts.k_step(5),
    "value_function": parts.value_function(2),
    "neumann": parts.neumann(3),
    "conjugate_gradient": parts.conjugate_gradient(5),
}
QUANTITIES = {
    **{f"{name}_cosine": Quantity("1", "higher") for name in COMPARED},
    **{f"{name}_other_cosine": Quantity("1", "higher") for name in COMPARED},
    **{f"{name}_norm": Quantity("1") for name in COMPARED},
    **{f"{name}_passes": Quantity("forward passes", "lower") for name in COMPARED},
    "reference_passes": Quantity("forward passes", "lower"),
    "half_cosine": Quantity("1", "higher"),
    "noise_cosine": Quantity("1"),
}


@register("measure", "hypergradient-error", needs=("virtual-step", "full-precision"))
def hypergradient_error(
    unroll: Annotated[int, Field(ge=5)] = 20, draws: AtLeastTwo = 4, batch_size: Count = 0
) -> Measure:
    """Cosine and relative length of hypergradients beside one that unrolls many steps.

    The reference r is `parts.k_step` over ``unroll`` virtual steps of the run's weight optimizer
    from its live state, differentiated exactly, on batches of its own: as many train batches and
    one validation batch, without augmentation. Every hypergradient g is taken at the same w, alpha
    and batches, with its own settings at the values below; its cosine <g, r> / (|g| |r|) and length
    |g| / |r| are means over the draws of batches. On the same batches g and r share the noise of
    these: how far g points along the hypergradient of the loss itself, ``other_cosine`` tells, the
    mean cosine of g with the references of the other draws, whose noise lowers it in turn.

    ``half_cosine`` is that of an unroll half as long: how far the reference has settled.
    ``noise_cosine`` is the mean cosine of the references of two draws: what batches alone do.

    Args:
        unroll: steps of the reference, as many as any other takes or more.
        draws: how many times, on further batches.
        batch_size: images of a batch; 0 for that of a training step.

    Returns:
        The measure; its arrays are the gradients, [D, 1 + M, E, O], the reference first.
    """

    def measure(snapshot: Snapshot) -> Values:
        import torch

        size = batch_size or snapshot.batch_size
        train = snapshot.batches("train", draws * unroll, size)
        found, halves, passes = [], [], dict.fromkeys([*COMPARED, "reference"], 0)
        for valid in snapshot.batches("valid", draws, size):
            first, *more = itertools.islice(train, unroll)
            problem = snapshot.bilevel(first, valid, more)

            def gradient(
                compute: ComputeHypergradient, name: str = "", problem: Bilevel = problem
            ) -> Tensor:
                asked, counter = _counted(problem)
                gradient_EO = compute(asked, snapshot.alpha_EO, snapshot.relax).gradient_EO
                assert gradient_EO is not None
                if name:
                    passes[name] = next(counter)
                return gradient_EO.detach().double().cpu()

            reference_EO = gradient(parts.k_step(unroll), "reference")
            halves.append(_cosine(gradient(parts.k_step(unroll // 2)), reference_EO))
            others = [gradient(compute, name) for name, compute in COMPARED.items()]
            found.append(torch.stack([reference_EO, *others]))
        gradients = torch.stack(found)
        numbers: dict[str, float] = {}
        for place, name in enumerate(COMPARED, 1):
            pairs = [(each[place], each[0]) for each in gradients]
            numbers[f"{name}_cosine"] = sum(_cosine(*pair) for pair in pairs) / draws
            apart = [
                _cosine(one[place], other[0]) for one, other in itertools.permutations(gradients, 2)
            ]
            numbers[f"{name}_other_cosine"] = sum(apart) / len(apart)
            numbers[f"{name}_norm"] = sum(float(g.norm() / r.norm()) for g, r in pairs) / draws
        references = itertools.combinations(gradients[:, 0], 2)
        noise = [_cosine(*pair) for pair in references]
        return Values(
            {
                **numbers,
                **{f"{name}_passes": count for name, count in passes.items()},
                "half_cosine": sum(halves) / draws,
                "noise_cosine": sum(noise) / len(noise),
            },
            {"gradients": gradients.numpy()},
        )

    return Measure(
        measure,
        QUANTITIES,
        cost="per draw about 2.5 `unroll` training steps that are differentiated; the memory of "
        "2 `unroll` passes; seconds to minutes",
        cadence=Cadence(at=(1, "end")),
        quick={"unroll": 5, "draws": 2, "batch_size": 8},
        images={"train": batch_size, "valid": batch_size},
    )


def _cosine(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum() / (one.norm() * other.norm()))


def _counted(problem: Bilevel) -> tuple[Bilevel, Iterator[int]]:
    """The same problem, and a counter of its forward passes: the next value is how many."""
    counter = itertools.count()

    def counting(loss: Loss) -> Loss:
        def counted(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
            next(counter)
            return loss(op_weights_EO, weights, update=update)

        return counted

    return dataclasses.replace(
        problem,
        train_loss=counting(problem.train_loss),
        valid_loss=counting(problem.valid_loss),
        more_train_batches=lambda count: [counting(x) for x in problem.more_train_batches(count)],
    ), counter
