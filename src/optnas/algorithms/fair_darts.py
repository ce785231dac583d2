"""FairDARTS: a gate of its own for each operation, and a loss that drives gates to 0 or 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from optnas.algorithms import parts
from optnas.algorithms.base import (
    Algorithm,
    ComputeHypergradient,
    Discretize,
    HypergradientName,
    Progress,
)
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import NotNegative
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Distance = Literal["squared", "absolute"]


@register("relaxation", "sigmoid", itself=True)
def sigmoid(alpha_EO: Tensor, progress: Progress) -> Tensor:
    """A[e, o] = 1 / (1 + exp(-alpha[e, o])): no operation gains by the loss of another.

    Reference: Chu et al., ECCV 2020.
    """
    del progress
    return alpha_EO.sigmoid()


@register("hypergradient", "zero-one")
def zero_one(
    weight: NotNegative = 10.0,
    distance: Distance = "squared",
    hypergradient: HypergradientName = "first-order",
) -> ComputeHypergradient:
    """Another hypergradient plus that of -c mean_eo |sigmoid(alpha[e, o]) - 1/2|^p.

    With s = sigmoid(alpha) and n entries the penalty's gradient is -2 c (s - 1/2) s (1 - s) / n for
    p = 2 and -c sign(s - 1/2) s (1 - s) / n for p = 1: gates leave 1/2, and none is pushed at it.

    Args:
        weight: c, in nats.
        distance: ``squared``, p = 2, or ``absolute``, p = 1.
        hypergradient: the gradient it is added to.

    Returns:
        The part. Where the other leaves alpha alone, so does this one.

    Reference: Chu et al., ECCV 2020, and its published code.
    """

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        found = hypergradient(problem, alpha_EO, relax)
        if found.gradient_EO is None:
            return found
        gates_EO = alpha_EO.detach().sigmoid()
        off_EO = gates_EO - 0.5
        far_EO, slope_EO = off_EO.abs(), off_EO.sign()
        if distance == "squared":
            far_EO, slope_EO = off_EO.square(), 2 * off_EO
        penalty = -weight * far_EO.mean()
        added_EO = -weight * slope_EO * gates_EO * (1 - gates_EO) / gates_EO.numel()
        return found.plus(added_EO, penalty)

    return part


@register(
    "algorithm",
    "fair-darts",
    paper="Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture Search",
    year=2020,
)
def fair_darts(
    weight: NotNegative = 10.0,
    distance: Distance = "squared",
    threshold: float = 0.0,
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> Algorithm:
    """DARTS with gates: alpha descends L_val(w, sigmoid(alpha)) - c mean |sigmoid(alpha) - 1/2|^p.

    Alpha starts at 0, where every gate is 1/2.

    Args:
        weight: c, in nats, see `zero_one`.
        distance: ``squared``, p = 2, or ``absolute``, p = 1.
        threshold: gate that an edge's best operation, `none` left out, must reach, else the edge
            gets `none`; 0 is the argmax per edge, `none` included. The published one is 0.85.
        hypergradient: the gradient of L_val.
        space: the search space; the program supplies it, for its `none`.

    Raises:
        UserError: the threshold is no gate; or not every edge has `none`, or derived cells keep a
            number of edges into each node.

    Reference: Chu et al., ECCV 2020. Deviations: one operation per edge, as the benchmark has it,
    see docs/algorithms/fair-darts.md.
    """
    if not 0 <= threshold <= 1:
        raise UserError(
            "a gate is from 0 to 1", key="threshold", value=threshold, remedy="change its value"
        )
    discretize: Discretize = parts.argmax_per_edge
    if threshold:
        if space.keeps_some:
            raise UserError(
                f"derived cells of {space.name} keep a number of edges into each node, and a"
                " threshold would leave out more",
                key="threshold",
                value=threshold,
                remedy="set it to 0",
            )
        none = space.column_of(space.none)
        if none is None:
            raise UserError(
                f"an edge below it gets none, which not every edge of {space.name} has",
                key="threshold",
                value=threshold,
                remedy="set it to 0",
            )
        discretize = _at_least(threshold, none)
    return Algorithm(
        relax=sigmoid,
        perturb=parts.unperturbed,
        hypergradient=zero_one(weight, distance, hypergradient),
        discretize=discretize,
        reads_op_weights=threshold > 0,
        strength=sigmoid,
        initial=lambda space, generator: torch.zeros(
            space.edge_count, space.operation_count, dtype=torch.float64
        ),
    )


def _at_least(threshold: float, none: int) -> Discretize:
    def discretize(gates_EO: Tensor) -> list[int]:
        choice = []
        for gates in gates_EO.tolist():
            others = [operation for operation in range(len(gates)) if operation != none]
            best = max(others, key=gates.__getitem__)
            choice.append(best if gates[best] >= threshold else none)
        return choice

    return discretize
