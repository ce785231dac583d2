"""Lambda-DARTS: network weights for which all cells ask for the same operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from optnas.algorithms import parts
from optnas.algorithms.base import (
    Algorithm,
    DerivativeName,
    HypergradientName,
    Progress,
    WeightGradients,
)
from optnas.base.lazy import lazy
from optnas.base.registry import Choice, register
from optnas.base.schema import NotNegative, Positive
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

AlignmentName = Literal["cosine", "sign"]
CAVEAT = (
    "with algorithm.derivative=finite-difference, the published default, ReLUs that change sign"
    " between the two points can outweigh the train loss, so that w is hardly trained;"
    " algorithm.derivative=exact is not affected"
)


@register(
    "algorithm",
    "lambda-darts",
    needs=("inner-step", "several-cells"),
    needs_at={"full-precision": Choice("derivative", "finite-difference", "exact")},
    paper="Λ-DARTS: Mitigating Performance Collapse by Harmonizing Operation Selection among Cells",
    year=2023,
)
def lambda_darts(
    weight: NotNegative = 0.25,
    alignment: AlignmentName = "cosine",
    derivative: DerivativeName = "finite-difference",
    displacement: Positive = 1e-4,
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> Algorithm:
    """DARTS whose network weights descend L_train - lambda_t Lambda, see `aligned`.

    Lambda is the mean alignment of two cells' gradients g_l = d L_train / d A_l, each cell l having
    operation weights A_l = A of its own. With p = d Lambda / d g, gradients of the weights get

        - lambda_t (d/de) d L_train(w, A + e p) / d w  at  e = 0

    by double backward, or as published by a central difference with |e p| = ``displacement``. The
    two are not one number to rounding: ReLUs change sign between the two points, each of which adds
    a jump of the gradient divided by 2 e (docs/algorithms/lambda-darts.md has what that does).
    lambda_t = weight (t - 1) / (T - 1) in epoch t of T.

    Args:
        weight: lambda of the last epoch.
        alignment: ``cosine``, or ``sign`` for the products of entries as far as their signs go.
        derivative: ``finite-difference`` or ``exact``.
        displacement: length of e p in all cells together.
        hypergradient: the gradient that moves alpha.
        space: the search space; the program supplies it, for its kinds of cell.

    Reference: Movahedi et al., ICLR 2023, and its published code; deviations in
    docs/algorithms/lambda-darts.md.
    """
    rows = [len(wiring.edges) for wiring in space.wirings]

    def look(gradients: Mapping[str, Tensor], progress: Progress) -> WeightGradients:
        share = weight * max(progress.epoch - 1, 0) / max(progress.epochs - 1, 1)
        if share == 0:
            return WeightGradients()
        inner = progress.inner
        assert inner is not None
        leaves = [inner.weights[name] for name in gradients]
        A_LEO = inner.op_weights_LEO
        if derivative == "exact":
            leaf_LEO = A_LEO.clone().requires_grad_()
            (g_LEO,) = torch.autograd.grad(inner.train_loss(leaf_LEO), leaf_LEO, create_graph=True)
            value = aligned(g_LEO, rows, alignment)
            slopes = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
        else:
            g_LEO = inner.gradient_LEO.clone().requires_grad_()
            (p_LEO,) = torch.autograd.grad(aligned(g_LEO, rows, alignment), g_LEO)
            e = displacement / p_LEO.norm().clamp(min=torch.finfo(p_LEO.dtype).tiny)
            ahead, back = (
                torch.autograd.grad(inner.train_loss(A_LEO + each * p_LEO), leaves)
                for each in (e, -e)
            )
            slopes = tuple((a - b) / (2 * e) for a, b in zip(ahead, back, strict=True))
        return WeightGradients(
            {
                name: gradients[name] - share * slope
                for name, slope in zip(gradients, slopes, strict=True)
            }
        )

    return Algorithm(
        relax=parts.softmax,
        perturb=parts.unperturbed,
        hypergradient=hypergradient,
        discretize=parts.argmax_per_edge,
        on_weight_gradients=look,
        caveat=CAVEAT if derivative == "finite-difference" else "",
    )


def aligned(g_LEO: Tensor, rows: list[int], alignment: AlignmentName) -> Tensor:
    """Lambda: the mean over pairs of cells of <g_i, g_j> / n_ij.

    n_ij = |g_i| |g_j| (``cosine``) or <|g_i|, |g_j|> (``sign``), of the rows of each kind of cell
    by themselves; kinds are added. A cell is of those kinds for whose rows it has a gradient.

    Args:
        g_LEO: gradients of each cell.
        rows: how many each kind has.
        alignment: ``cosine`` or ``sign``.
    """
    total = g_LEO.new_zeros(())
    for own_LRO in g_LEO.split(rows, dim=1):
        g_LN = own_LRO.flatten(1)
        square_L = g_LN.square().sum(1)
        has_L = square_L > 0
        if alignment == "sign":
            size_LL = g_LN.abs() @ g_LN.abs().T
        else:
            length_L = square_L.masked_fill(~has_L, 1.0).sqrt()
            size_LL = length_L[:, None] * length_L
        pairs_LL = (has_L[:, None] & has_L & (size_LL > 0)).triu(1)
        each_LL = (g_LN @ g_LN.T) / size_LL.masked_fill(~pairs_LL, 1.0)
        mean = each_LL.masked_fill(~pairs_LL, 0.0).sum() / pairs_LL.sum().clamp(min=1)
        total = total + mean
    return total
