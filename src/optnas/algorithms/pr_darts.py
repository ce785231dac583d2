"""PR-DARTS: each step switches operations on by stochastic gates; a penalty favours deep paths."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Progress, Relax
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.composed import composed
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, NotNegative, Positive, Share
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

# What a gate is stretched to before it is cut to [0, 1].
LOW, HIGH = -0.1, 1.1
# Binary digits of a draw in front of those that decide on dropout, and on ties.
DROPOUT_DIGITS, TIE_DIGITS = 20, 36
Reading = Literal["published", "paper"]


@register("relaxation", "hard-concrete", needs=("draw",))
def hard_concrete(
    tau_start: Positive = 1.0,
    tau_end: Positive = 0.1,
    active: AtLeastOne = 2,
    dropout: Share = 0.4,
    reading: Reading = "published",
    *,
    space: Space,
) -> Relax:
    """Each edge computes the operations of its k largest gates.

        g[e, o] = min(1, max(0, -0.1 + 1.2 sigmoid((log u - log(1 - u) + alpha[e, o]) / tau)))

    with u ~ U(0, 1). A gate that is dropped loses 1 in rank: it is behind each open one, but at 1
    it ties with one at 0. Ties are broken at random. An operation of these k has the weight 1 with
    the derivative of its gate (``published``) or its gate (``paper``), every other 0. tau moves
    linearly from its start in the first epoch to its end in the last. Where A is judged there is no
    draw: A = k P / sum_o P per edge, P the probability `probability_on` of a gate above 0.

    Args:
        tau_start: temperature of the first epoch.
        tau_end: temperature of the last.
        active: k.
        dropout: probability with which a gate is dropped.
        reading: what a drawn operation weighs.
        space: the search space; the program supplies it.

    Raises:
        UserError: k is larger than the number of operations.

    Reference: Zhou et al., NeurIPS 2020, and its published code.
    """
    if active > space.operation_count:
        raise UserError(
            f"an edge of {space.name} has {space.operation_count} operations",
            key="active",
            value=active,
            remedy="lower it",
        )

    def relax(alpha_EO: Tensor, progress: Progress) -> Tensor:
        tau = _temperature(tau_start, tau_end, progress)
        if progress.draw is None:
            on_EO = probability_on(alpha_EO, tau)
            return active * on_EO / on_EO.sum(-1, keepdim=True)
        u_EO = progress.draw.uniform(alpha_EO)
        noise_EO = (u_EO.log() - (-u_EO).log1p()).to(alpha_EO)
        gate_EO = (LOW + (HIGH - LOW) * ((noise_EO + alpha_EO) / tau).sigmoid()).clamp(0, 1)
        # Later binary digits of a number are further uniform numbers.
        dropped_EO = ((u_EO * 2**DROPOUT_DIGITS).frac() < dropout).double()
        rank_EO = gate_EO.detach() - dropped_EO + 1e-9 * (u_EO * 2**TIE_DIGITS).frac()
        places = rank_EO.topk(active, dim=-1).indices
        drawn_EO = torch.zeros_like(gate_EO).scatter(-1, places, 1.0)
        return drawn_EO * (gate_EO if reading == "paper" else 1 + (gate_EO - gate_EO.detach()))

    return relax


def probability_on(alpha_EO: Tensor, tau: float) -> Tensor:
    """P(g > 0) = sigmoid(alpha - tau log(0.1 / 1.1)) of the gates of `hard_concrete`."""
    return (alpha_EO - tau * math.log(-LOW / HIGH)).sigmoid()


def _temperature(start: float, end: float, progress: Progress) -> float:
    elapsed = max(progress.epoch - 1, 0) / max(progress.epochs - 1, 1)
    return start + (end - start) * elapsed


@register(
    "algorithm",
    "pr-darts",
    needs=("draw",),
    paper="Theory-Inspired Path-Regularized Differential Network Architecture Search",
    year=2020,
)
def pr_darts(
    tau_start: Positive = 1.0,
    tau_end: Positive = 0.1,
    active: AtLeastOne = 2,
    dropout: Share = 0.4,
    skip: NotNegative = 0.01,
    others: NotNegative = 0.005,
    path: NotNegative = 0.005,
    threshold: NotNegative = 0.2,
    reading: Reading = "published",
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> Algorithm:
    """Path-regularized differentiable architecture search.

    Alpha descends L_val + c_s skip + c_o others - c_p path, with P the probability of
    `hard_concrete` that a gate is on. ``paper``: *skip* is the mean of P over the edges' skips,
    *others* that over all other operations, and *path* the product, over the edges from each node
    to the next, of the sum of P over operations with weights. ``published``: means are over the
    operations of the step's draw, pools are a third group with the weight of *others*, each group
    counts only above the threshold, and *path* multiplies means over drawn operations, of the edges
    that have any. Cells of several kinds count by their mean.

    Args:
        tau_start: temperature of the first epoch.
        tau_end: temperature of the last.
        active: operations that an edge computes in a step.
        dropout: probability with which a gate is dropped.
        skip: c_s.
        others: c_o.
        path: c_p.
        threshold: below which a group counts nothing; of ``published``.
        reading: of the weights of drawn operations and of the penalty.
        hypergradient: the gradient of L_val.
        space: the search space; the program supplies it.

    Reference: Zhou et al., NeurIPS 2020, and its published code. Deviations: judged at the
    probabilities, see docs/algorithms/pr-darts.md.
    """
    coefficients, groups = (skip, others, path), _groups(space)

    def penalty(alpha_EO: Tensor, drawn_EO: Tensor, progress: Progress) -> Tensor:
        on_EO = probability_on(alpha_EO, _temperature(tau_start, tau_end, progress))
        if reading == "paper":
            return _as_in_the_paper(on_EO, space, groups, coefficients)
        return _as_published(on_EO, drawn_EO, space, groups, coefficients, threshold)

    def regularized(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        found = hypergradient(problem, alpha_EO, relax)
        if found.gradient_EO is None:
            return found
        leaf_EO = alpha_EO.detach().requires_grad_()
        drawn_EO = (relax(leaf_EO).detach() != 0).to(leaf_EO)
        added = penalty(leaf_EO, drawn_EO, problem.progress)
        (added_EO,) = torch.autograd.grad(added, leaf_EO)
        return found.plus(added_EO, added.detach())

    return composed(
        relaxation=hard_concrete(tau_start, tau_end, active, dropout, reading, space=space),
        perturbation=parts.unperturbed,
        hypergradient=regularized,
        discretization=parts.argmax_per_edge,
    )


Coefficients = tuple[float, float, float]  # of skips, of the others, of the path


class _Groups(NamedTuple):
    """Columns of alpha: of the skip, of operations with weights, of those and none, of pools."""

    skip: int
    weighted: list[int]
    rest: list[int]
    pools: list[int]


def _groups(space: Space) -> _Groups:
    skip = space.skip_column("the penalty counts them")
    if not space.is_uniform:
        raise UserError(
            "its edges have different candidates, and the penalty tells operations by their column",
            **space.of_candidates,
            remedy="give every edge the same, or choose another algorithm",
        )
    columns = [space.column_of(operation) for operation in (space.none, *space.weighted)]
    rest = [column for column in columns if column is not None]
    weighted = [column for column in columns[1:] if column is not None]
    if not weighted:
        raise UserError(
            "no operation has weights, and the penalty counts those that have",
            **space.of_candidates,
            remedy="give the edges a convolution, or choose another algorithm",
        )
    special = {skip, *rest}
    pools = [column for column in range(space.operation_count) if column not in special]
    return _Groups(skip, weighted, rest, pools)


def _as_in_the_paper(
    on_EO: Tensor, space: Space, groups: _Groups, coefficients: Coefficients
) -> Tensor:
    c_skip, c_others, c_path = coefficients
    others = [o for o in range(space.operation_count) if o != groups.skip]
    found = []
    for rows, chain in _cells(space):
        depth = _product(_of(on_EO, chain, groups.weighted).sum(-1))
        skips, rest = on_EO[rows, groups.skip].mean(), _of(on_EO[rows], None, others).mean()
        found.append(c_skip * skips + c_others * rest - c_path * depth)
    return torch.stack(found).mean()


def _as_published(
    on_EO: Tensor,
    drawn_EO: Tensor,
    space: Space,
    groups: _Groups,
    coefficients: Coefficients,
    threshold: float,
) -> Tensor:
    c_skip, c_others, c_path = coefficients
    counted_EO, cells, found = on_EO * drawn_EO, _cells(space), []
    for c, columns in ((c_skip, [groups.skip]), (c_others, groups.rest), (c_others, groups.pools)):
        if not columns:
            continue
        means = []
        for rows, _ in cells:
            count = _of(drawn_EO[rows], None, columns).sum().clamp(min=1)
            means.append(_of(counted_EO[rows], None, columns).sum() / count)
        found.append(c * (torch.stack(means).mean() - threshold).relu())
    depths = []
    for _, chain in cells:
        drawn_P = _of(drawn_EO, chain, groups.weighted).sum(-1)
        on_P = _of(counted_EO, chain, groups.weighted).sum(-1) / drawn_P.clamp(min=1)
        depths.append(_product(torch.where(drawn_P > 0, on_P, 1.0)) * (drawn_P > 0).any())
    return torch.stack(found).sum() - c_path * torch.stack(depths).mean()


def _product(x_P: Tensor) -> Tensor:
    """The product, and d prod / d x_p = prod / x_p, or that of the others where x_p is 0.

    The values and bits of torch's `prod`, whose backward pass looks for zeros and so waits for a
    GPU.
    """
    return cast("Tensor", _function().apply(x_P))


@functools.cache
def _function() -> type[torch.autograd.Function]:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x_P: Tensor) -> Tensor:
            product = x_P.prod()
            ctx.save_for_backward(x_P, product)
            return product

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            (gradient,), (x_P, product) = gradients, ctx.saved_tensors
            values = x_P.unbind()
            one = torch.ones_like(product)
            others_P = torch.stack(
                [
                    functools.reduce(operator.mul, values[:p] + values[p + 1 :], one)
                    for p in range(len(values))
                ]
            )
            return gradient * torch.where(x_P == 0, others_P, product / x_P)

    return Product


def _of(x_EO: Tensor, rows: Sequence[int] | None, columns: Sequence[int]) -> Tensor:
    """Some rows and columns, cut one by one: a list of places would be sent to the device."""
    chosen_EO = x_EO if rows is None else torch.stack([x_EO[row] for row in rows])
    return torch.stack([chosen_EO[:, column] for column in columns], -1)


def _cells(space: Space) -> list[tuple[slice, list[int]]]:
    """Of each kind of cell its rows of alpha, and those of the edges from a node to the next."""
    found, before = [], 0
    for wiring in space.wirings:
        rows = range(before, before + len(wiring.edges))
        chain = [
            row for row, edge in zip(rows, wiring.edges, strict=True) if edge[1] == edge[0] + 1
        ]
        found.append((slice(rows.start, rows.stop), chain))
        before = rows.stop
    return found
