"""Directions in the space of operation weights or logits: zero row sums, orthogonal pairs.

Shapes: E edges, O operations, P = E O.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def without_row_means(direction_EO: Tensor) -> Tensor:
    """The part of a direction along which the operation weights of an edge keep their sum."""
    return direction_EO - direction_EO.mean(-1, keepdim=True)


def orthogonalised(second_EO: Tensor, first_EO: Tensor, *, by_row: bool) -> Tensor:
    """Gram-Schmidt: d2 - (<d1, d2> / <d1, d1>) d1.

    Args:
        second_EO: d2.
        first_EO: d1.
        by_row: make every row orthogonal to its row of d1, which scaling of rows leaves so.

    Returns:
        The part of d2 that is orthogonal to d1; d2 itself where d1 is zero.
    """
    dims = (-1,) if by_row else (-2, -1)
    inner = (first_EO * second_EO).sum(dims, keepdim=True)
    square = (first_EO * first_EO).sum(dims, keepdim=True)
    share = torch.where(square > 0, inner / square, torch.zeros_like(square))
    return second_EO - share * first_EO


def scaled(direction_EO: Tensor, size: Tensor) -> Tensor:
    """The direction divided by its size; zero where that is zero."""
    return torch.where(size > 0, direction_EO / size, torch.zeros_like(direction_EO))


def zero_sum_basis(edges: int, operations: int) -> Tensor:
    """An orthonormal basis of the matrices whose rows sum to zero (Helmert's, an edge at a time).

    Args:
        edges: E.
        operations: O.

    Returns:
        float64, [P, E (O - 1)].
    """
    helmert = torch.zeros(operations, operations - 1, dtype=torch.float64)
    for k in range(1, operations):
        helmert[:k, k - 1], helmert[k, k - 1] = 1.0, -float(k)
        helmert[:, k - 1] /= math.sqrt(k * (k + 1))
    return torch.block_diag(*[helmert] * edges)


def top_eigenvectors(hessian: Tensor, edges: int) -> tuple[Tensor, Tensor]:
    """The two algebraically largest eigenvalues among directions with zero row sums.

    With Q an orthonormal basis of these directions: Q'HQ u = lambda u, v = Q u. The sign is that
    which makes the entry of largest magnitude positive.

    Args:
        hessian: symmetric, [P, P].
        edges: E.

    Returns:
        Eigenvalues [2], largest first, and eigenvectors [2, E, O] of unit length.
    """
    operations = hessian.shape[0] // edges
    basis = zero_sum_basis(edges, operations)
    values, vectors = torch.linalg.eigh(basis.T @ hessian.cpu().double() @ basis)
    top_2P = (basis @ vectors[:, [-1, -2]]).T
    peaks_21 = top_2P.gather(1, top_2P.abs().argmax(1, keepdim=True))
    return values[[-1, -2]], (top_2P * peaks_21.sign()).reshape(2, edges, operations)
