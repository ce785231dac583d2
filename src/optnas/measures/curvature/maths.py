"""The exact Hessian of a loss in the operation weights, from tangents instead of rows of backward.

Symbols: A operation weights as a vector, x_k the output of the network's k-th operation f_k, l_k =
dL / dx_k its adjoint. Shapes: B images, K classes, D live operation weights, E edges, O operations,
P = E O.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.measures.curvature.hessian import by_rows
from optnas.measures.curvature.tangents import Dual, Factors, Walk
from optnas.measures.evaluation import Batch
from optnas.spaces.network.protocol import TANGENTS, SearchNetwork
from optnas.spaces.network.statistics import Statistics


class Expansion(NamedTuple):
    """A loss with its gradient and Hessian in the operation weights, float64 on the CPU."""

    loss: float
    gradient_EO: Tensor
    hessian_PP: Tensor


def expansion(
    supernet: SearchNetwork, batch: Batch, op_weights_EO: Tensor, statistics: Statistics | None
) -> Expansion:
    """L, d L / dA and d2 L / dA2 of the mean cross-entropy of a batch, w held fixed.

        d2 L / dA_i dA_j = sum_k < l_k, d2 f_k [dx / dA_i, dx / dA_j] >

    over the operations that curve: products with an operation weight, batch norms, the
    cross-entropy. One forward and backward pass finds the adjoints l_k, one forward pass carries
    the tangents dx / dA_i of all operation weights. No second backward is needed: in double
    backward each row costs one. A tangent is carried only where its operation weight has an
    influence, so the first cell, the largest, is nearly free; what the network never reads
    (``none``) has none at all. ReLU does not curve: its kinks are left out, as they are by double
    backward; see docs/concepts.md.

    A network that does not offer tangents has its Hessian by rows of double backward: the same
    numbers to rounding, at the cost of a backward pass for each operation weight.

    Args:
        supernet: the network; its weights are used and must not require gradients.
        batch: images and labels.
        op_weights_EO: the operation weights, any real matrix.
        statistics: normalise by these; None normalises by the batch's own.

    Returns:
        Loss, gradient and Hessian; what the network never reads has zeros.

    Source: the chain rule for second derivatives, which autodiff literature knows as the
    second-order adjoint or edge pushing (Gower and Mello, 2012). Its twin is a row of double
    backward each, `optnas.measures.curvature.hessian.alpha_hessian`.
    """
    leaf_EO = op_weights_EO.detach().clone().requires_grad_()
    if TANGENTS not in supernet.offers:
        with torch.enable_grad():
            logits_BK = supernet(batch.images_BCHW, leaf_EO, statistics=statistics).logits_BK
            loss = F.cross_entropy(logits_BK, batch.labels_B)
            gradient_EO, hessian_PP = by_rows(loss, leaf_EO)
        return Expansion(float(loss.detach()), gradient_EO.cpu(), hessian_PP.cpu())
    with torch.enable_grad():
        walk, logits = _pass(supernet, batch, leaf_EO, statistics, None)
        loss = F.cross_entropy(logits.primal, batch.labels_B)
        gradient_EO, *adjoints = torch.autograd.grad(loss, [leaf_EO, *walk.outputs])
    with torch.no_grad():
        walk, logits = _pass(supernet, batch, op_weights_EO.detach(), statistics, adjoints)
        _curve_cross_entropy(logits)
    return Expansion(float(loss.detach()), gradient_EO.double().cpu(), walk.hessian_PP)


def _pass(
    supernet: SearchNetwork,
    batch: Batch,
    op_weights_EO: Tensor,
    statistics: Statistics | None,
    adjoints: list[Tensor] | None,
) -> tuple[Walk, Dual]:
    size = op_weights_EO.numel()
    walk = Walk(size, adjoints)
    positions_EO = torch.arange(size, device=op_weights_EO.device).reshape(op_weights_EO.shape)
    factors = cast(Any, Factors(walk, op_weights_EO, positions_EO))
    logits = supernet(batch.images_BCHW, factors, statistics=statistics).logits_BK
    return walk, cast(Any, logits)


def _curve_cross_entropy(logits: Dual) -> None:
    """Mean over images of z_i' (diag(p) - p p') z_j, p = softmax(logits), z tangents of logits."""
    z_DBK = torch.stack(list(logits.tangents.values())).double()
    p_BK = logits.primal.double().softmax(-1)
    centred_DBK = z_DBK - (z_DBK * p_BK).sum(-1, keepdim=True)
    weighted = (centred_DBK * p_BK).flatten(1) @ centred_DBK.flatten(1).T / len(p_BK)
    positions = list(logits.tangents)
    logits.walk.curve(positions, positions, weighted / 2)
