"""NASP: alpha moves in [0, 1] along the gradient that is taken at its one-hot cell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from optnas.algorithms import parts
from optnas.algorithms.base import (
    Algorithm,
    ComputeHypergradient,
    HypergradientName,
    Progress,
    Relax,
)
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.chosen import strongest_into_each_node
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import NotNegative
from optnas.spaces.base import Space
from optnas.spaces.operations.base import Site

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Edges = Literal["published", "trained"]
# Channels at which the published table counts the weights of operations.
CHANNELS = 12


@register("relaxation", "straight-through")
def straight_through(*, space: Space) -> Relax:
    """A = one-hot(argmax_o alpha[e, o]) with d A / d alpha := 1, the identity.

    The gradient in alpha is that in A at the cell, in every entry: also of operations that the cell
    does not have. Where derived cells keep some of the edges into a node, it is the argmax but
    ``none``, those edges of the largest such alpha are kept, and the others' rows are 0; their
    entries have gradients all the same. Of equals the first operation, and the first edge, is
    taken.

    Args:
        space: the search space; the program supplies it, for `none` and the edges that are kept.

    Reference: Bengio, Leonard and Courville, arXiv 1308.3432, 2013; with edges left out the
    published code of Yao et al., AAAI 2020.
    """
    return cell_of(space, none=not space.keeps_some)


def cell_of(space: Space, none: bool) -> Relax:
    """The relaxation `straight_through`, with ``none`` among the operations or without it."""
    barred = [] if none else space.entries_of(space.none)

    def relax(alpha_EO: Tensor, progress: Progress) -> Tensor:
        del progress
        value_EO = alpha_EO.detach()
        if barred:
            value_EO = value_EO.clone()
        for rows, column in barred:
            value_EO[rows, column].fill_(-math.inf)  # an assignment would be sent
        largest_E, chosen_E = value_EO.max(-1)
        kept_E = strongest_into_each_node(largest_E, space)
        zeros_EO = torch.zeros_like(value_EO)
        hard_EO = zeros_EO.scatter(-1, chosen_E[:, None], kept_E[:, None].to(zeros_EO))
        # The sum's value is the hard one exactly: the difference is 0 before it is added.
        return hard_EO + (alpha_EO - alpha_EO.detach())

    return relax


@register("hypergradient", "complexity")
def complexity(
    weight: NotNegative = 0.1,
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> ComputeHypergradient:
    """Another hypergradient plus that of eta sum_eo (p_o / sum_o' p_o') A[e, o]^2.

    p_o is the number of weights of operation o at 12 channels and stride 1, batch norms not
    counted; the sum of p is over the operations of the space.

    Args:
        weight: eta, in nats.
        hypergradient: the gradient it is added to.
        space: the search space; the program supplies it, for its operations.

    Returns:
        The part. Where the other leaves alpha alone, so does this one.

    Raises:
        UserError: no operation of the space has weights.

    Reference: Yao et al., AAAI 2020, and its published code.
    """
    shares = sizes_of(space)

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        found = hypergradient(problem, alpha_EO, relax)
        if found.gradient_EO is None:
            return found
        leaf_EO = alpha_EO.detach().requires_grad_()
        share_EO = torch.zeros_like(alpha_EO)
        for operation, share in enumerate(shares):
            for rows, column in space.entries_of(operation):
                share_EO[rows, column].fill_(share)
        penalty = weight * (share_EO * relax(leaf_EO).square()).sum()
        (added_EO,) = torch.autograd.grad(penalty, leaf_EO)
        return found.plus(added_EO, penalty.detach())

    return part


@register(
    "algorithm",
    "nasp",
    paper="Efficient Neural Architecture Search via Proximal Iterations",
    year=2020,
)
def nasp(
    edges: Edges = "published",
    complexity_weight: NotNegative = 0.0,
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> Algorithm:
    """Both levels see the cell of the moment; alpha, in [0, 1], steps along the gradient there.

        A     = cell(alpha)                                    `straight_through`, without ``none``
        alpha <- clamp(alpha - step(d [L_val(w, A) + eta R(A)] / d A), 0, 1)
        w     <- weight optimizer, along d L_train(w, cell(alpha)) / d w

    R is that of `complexity`. Alpha starts at 1/2 everywhere.

    Args:
        edges: of the run's cell, where derived cells keep some of those into a node: those of the
            largest softmax of alpha, or of the largest alpha, which are the trained ones.
        complexity_weight: eta, in nats.
        hypergradient: the gradient of L_val.
        space: the search space; the program supplies it.

    Reference: Yao, Xu, Tu and Zhu, AAAI 2020, and its published code. Deviations: every operation
    is computed in both steps, see docs/algorithms/nasp.md.
    """
    if complexity_weight:
        hypergradient = complexity(complexity_weight, hypergradient, space=space)
    return Algorithm(
        relax=cell_of(space, none=False),
        perturb=parts.unperturbed,
        hypergradient=hypergradient,
        discretize=parts.argmax_per_edge,
        # The argmax of alpha may be ``none``; where edges are left out that is masked before it.
        reads_op_weights=not space.keeps_some,
        initial=lambda space, generator: torch.full(
            (space.edge_count, space.operation_count), 0.5, dtype=torch.float64
        ),
        project=lambda alpha_EO: alpha_EO.clamp(0, 1),
        strength=None if edges == "published" else lambda alpha_EO, progress: alpha_EO,
    )


def sizes_of(space: Space) -> list[float]:
    """The share of each operation of a space in the number of weights of all of them.

    Args:
        space: what is searched.

    Returns:
        By operation; their sum is 1.

    Raises:
        UserError: no operation has weights.
    """
    site = Site(CHANNELS, CHANNELS)
    counts = [
        sum(math.prod(shape) for shape in operation.filters(site).values())
        for operation in space.candidates()
    ]
    if not sum(counts):
        raise UserError(
            f"a penalty on the number of weights, of which no operation of {space.name} has any",
            key="space.name",
            value=space.name,
            remedy="choose another space, or leave the penalty out",
        )
    return [count / sum(counts) for count in counts]
