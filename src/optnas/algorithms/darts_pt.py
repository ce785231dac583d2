"""DARTS-PT: DARTS whose cell is chosen at the end by what removing an operation costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Memory, Selection, Trial
from optnas.algorithms.chosen import (
    CHOSEN,
    LEFT_OUT,
    OPEN,
    chosen_or_usual,
    columns_of_cells,
    projected,
    softmax_or_chosen,
    softmax_unless_left_out,
    thinned,
)
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register(
    "algorithm",
    "darts-pt",
    paper="Rethinking Architecture Selection in Differentiable NAS",
    year=2021,
)
def darts_pt(
    share: float = 0.2,
    rate: float = 0.1,
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> Algorithm:
    """DARTS, then perturbation-based selection in the last epochs, which go on training.

    For an edge e, drawn at random among the open ones, and each operation o the supernet is
    validated with A[e, o] set to 0; e gets the operation whose removal leaves the lowest accuracy,
    the first of equals. Its row is one-hot from then on, in both steps and wherever A is judged.
    Then, where derived cells keep m of the edges into a node, one such node after the other, drawn
    at random: the supernet is validated without each of its edges, and those m stay whose removal
    leaves the lowest accuracies, the first of equals; the rows of the others are 0.
    With n epochs of selection and D decisions, on E edges and then on nodes,
    1 + floor(k (D - 1) / n) are made at the beginning of the k-th of them, k = 0, 1, ..., and all
    in the last.

    Args:
        share: of the run's epochs that are the selection's, at least one of them.
        rate: learning rate of the network weights meanwhile, as a share of ``weight_optimizer.lr``.
        hypergradient: the gradient that moves alpha.
        space: the search space; the program supplies it, for its edges.

    Raises:
        UserError: the share is no share, or the rate is negative.

    Reference: Wang et al., ICLR 2021, and its published code; deviations in
    docs/algorithms/darts-pt.md.
    """
    if not 0 < share <= 1:
        raise UserError(
            "a share of the epochs is above 0 and at most 1",
            key="share",
            value=share,
            remedy="change its value",
        )
    if rate < 0:
        raise UserError("is not negative", key="rate", value=rate, remedy="raise it")

    def begins(epochs: int) -> int:
        return epochs - max(round(share * epochs), 1) + 1

    def choose(trial: Trial) -> Memory:
        epoch, epochs = trial.progress.epoch, trial.progress.epochs
        first, nodes = begins(epochs), thinned(space)
        k, n, decisions = epoch - first, epochs - first + 1, space.edge_count + len(nodes)
        wanted = decisions if epoch == epochs else 1 + k * (decisions - 1) // n
        chosen_E = trial.progress.memory[CHOSEN].clone()
        op_weights_EO, generator = trial.op_weights_EO.clone(), trial.generator()

        def drawn(places: list[int]) -> int:
            return places[int(torch.randint(len(places), (), generator=generator))]

        while True:
            chosen = chosen_E.tolist()
            edges = [e for e, each in enumerate(chosen) if each == OPEN]
            open_nodes = [i for i, (into, _) in enumerate(nodes) if LEFT_OUT not in chosen[into]]
            if decisions - len(edges) - len(open_nodes) >= wanted:
                return {CHOSEN: chosen_E}
            if edges:
                edge = drawn(edges)
                chosen_E[edge] = _least_dispensable(trial, op_weights_EO, edge, space)
            else:
                into, kept = nodes[drawn(open_nodes)]
                for edge in _most_dispensable(trial, op_weights_EO, into, kept):
                    chosen_E[edge] = LEFT_OUT
            op_weights_EO = projected(op_weights_EO, chosen_E)

    return Algorithm(
        relax=softmax_or_chosen,
        perturb=parts.unperturbed,
        hypergradient=hypergradient,
        discretize=parts.argmax_per_edge,
        start=lambda: {CHOSEN: torch.full((space.edge_count,), OPEN)},
        select=Selection(begins=begins, choose=choose, cell=chosen_or_usual, rate=rate),
        strength=softmax_unless_left_out,
    )


def _least_dispensable(trial: Trial, op_weights_EO: Tensor, edge: int, space: Space) -> int:
    """The operation of an edge whose removal leaves the lowest accuracy."""
    accuracies = {}
    for operation in columns_of_cells(space, edge):
        without_EO = op_weights_EO.clone()
        without_EO[edge, operation] = 0.0
        accuracies[operation] = trial.evaluate(without_EO)[1]
    return min(accuracies, key=accuracies.__getitem__)


def _most_dispensable(trial: Trial, op_weights_EO: Tensor, into: slice, kept: int) -> list[int]:
    """All edges into a node but those whose removal leaves the lowest accuracies."""
    accuracies = {}
    for edge in range(into.start, into.stop):
        without_EO = op_weights_EO.clone()
        without_EO[edge] = 0.0
        accuracies[edge] = trial.evaluate(without_EO)[1]
    return sorted(accuracies, key=accuracies.__getitem__)[kept:]
