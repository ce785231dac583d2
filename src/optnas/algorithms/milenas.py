"""MiLeNAS: alpha descends the train loss and the validation loss together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, ComputeHypergradient, HypergradientName
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.composed import composed
from optnas.algorithms.parts.hypergradients import RelaxNow, asked
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import NotNegative

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("hypergradient", "mixed-level", needs=("train-batch",))
def mixed_level(
    lambda_train: NotNegative = 1.0,
    lambda_valid: NotNegative = 1.0,
    hypergradient: HypergradientName = "first-order",
) -> ComputeHypergradient:
    """lambda_train G[L_train] + lambda_valid G[L_val], G another hypergradient, as of each loss.

    G[L] is G with L as the outer loss: d L(w, A) / d alpha to first order, and with ``unrolled``
    the gradient of L(w', A), in which w' is the same for both. L_train is that of the batch about
    to be used. A weight of 0 asks G for nothing: lambda_train = 0 leaves lambda_valid G.

    Args:
        lambda_train: weight of the train loss.
        lambda_valid: weight of the validation loss; not both are 0.
        hypergradient: G. A penalty that it adds counts in both terms.

    Returns:
        The part. Its loss is the sum of both losses with these weights. What G remembers, and where
        it moves statistics, is that of the validation loss, unless its weight is 0.

    Raises:
        UserError: both weights are 0.

    Reference: He et al., CVPR 2020, equation 6 and appendix B.
    """
    if not lambda_train and not lambda_valid:
        raise UserError(
            "lambda_train is 0 as well, so that alpha descends nothing",
            key="lambda_valid",
            value=lambda_valid,
            remedy="raise one of them above 0",
        )

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        terms = []
        if lambda_valid:
            terms.append((lambda_valid, asked(hypergradient, problem, alpha_EO, relax)))
        if lambda_train:
            # Each moves the statistics on from where the step found them: the last would count.
            update = problem.update and not terms
            outer = dataclasses.replace(problem, valid_loss=problem.train_loss, update=update)
            terms.append((lambda_train, asked(hypergradient, outer, alpha_EO, relax)))
        return terms[0][1]._replace(
            gradient_EO=weighted([(each, found.gradient_EO) for each, found in terms]),
            penalty=weighted([(each, found.penalty) for each, found in terms]),
            loss=weighted([(each, found.loss) for each, found in terms]),
        )

    return part


def weighted(terms: Sequence[tuple[float, Tensor | None]]) -> Tensor | None:
    """The sum of weights times values, over the values that there are; None if there are none."""
    there = [weight * value for weight, value in terms if value is not None]
    return torch.stack(there).sum(0) if there else None


@register(
    "algorithm",
    "milenas",
    needs=("train-batch",),
    paper="MiLeNAS: Efficient Neural Architecture Search via Mixed-Level Reformulation",
    year=2020,
)
def milenas(
    lambda_train: NotNegative = 1.0,
    lambda_valid: NotNegative = 1.0,
    hypergradient: HypergradientName = "first-order",
) -> Algorithm:
    """DARTS whose alpha descends lambda_train L_train(w, A) + lambda_valid L_val(w, A).

    A = softmax(alpha). Both losses are taken at the same alpha and w, L_train on the batch that w
    then descends it on. lambda_train = 0 is DARTS, lambda_valid = 0 single level.

    Args:
        lambda_train: weight of the train loss.
        lambda_valid: weight of the validation loss; not both are 0.
        hypergradient: of which the gradient of each loss is taken, see `mixed_level`.

    Raises:
        UserError: both weights are 0.

    Reference: He et al., CVPR 2020, and its published code; deviations in
    docs/algorithms/milenas.md.
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.unperturbed,
        hypergradient=mixed_level(lambda_train, lambda_valid, hypergradient),
        discretization=parts.argmax_per_edge,
    )
