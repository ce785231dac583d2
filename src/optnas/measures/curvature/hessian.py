"""The exact Hessian of the validation loss in the architecture parameters.

Symbols: a = alpha as a vector, A(a) = relax(alpha), L = L_val(w, A) with w fixed.
Shapes: E edges, O operations, P = E O.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def alpha_hessian(
    loss_of: Callable[[Tensor], Tensor],
    relax: Callable[[Tensor], Tensor],
    alpha_EO: Tensor,
    inert: tuple[int, ...] = (),
) -> Tensor:
    """d2 L(A(a)) / da2 by double backward, w held fixed.

        H_a = J' H_A J + sum_k (dL/dA_k) d2 A_k / da2,    J = dA/da

    H_A takes one row of double backward through the network for each operation weight the network
    reads; the second term and J only pass through the relaxation. The exact second derivative of a
    network with ReLUs leaves out the kinks: see docs/concepts.md.

    Args:
        loss_of: validation loss of one fixed batch as a function of the operation weights.
        relax: alpha -> operation weights.
        alpha_EO: architecture parameters; unchanged.
        inert: columns of the operation weights the network never reads (``none``): their rows of
            H_A are zero and not computed.

    Returns:
        The Hessian in logits, symmetrised, float64, [P, P].

    Source: theory of RobustDARTS (Zela et al., ICLR 2020), section 4. Deviations from its code: no
    weight decay of alpha on the diagonal, a symmetric eigensolver, float64 assembly.
    """
    op_weights_EO = relax(alpha_EO.detach()).detach().requires_grad_()
    gradient_EO, hessian_PP = by_rows(loss_of(op_weights_EO), op_weights_EO, inert)
    return in_logits(gradient_EO.reshape(-1), hessian_PP, relax, alpha_EO)


def by_rows(
    loss: Tensor, op_weights_EO: Tensor, inert: tuple[int, ...] = ()
) -> tuple[Tensor, Tensor]:
    """dL/dA and d2 L/dA2 by double backward, a backward pass for each row.

    Args:
        loss: L, with the graph that leads to the operation weights.
        op_weights_EO: A, a leaf.
        inert: columns whose rows are zero and not computed.

    Returns:
        The gradient, [E, O], and the Hessian, [P, P], float64.
    """
    (gradient_EO,) = torch.autograd.grad(loss, op_weights_EO, create_graph=True)
    rows = []
    for p, entry in enumerate(gradient_EO.reshape(-1)):
        if p % gradient_EO.shape[-1] in inert:
            rows.append(torch.zeros_like(gradient_EO).reshape(-1))
            continue
        (row_EO,) = torch.autograd.grad(entry, op_weights_EO, retain_graph=True)
        rows.append(row_EO.reshape(-1))
    return gradient_EO.detach().double(), torch.stack(rows).double()


def in_logits(
    gradient_P: Tensor, hessian_PP: Tensor, relax: Callable[[Tensor], Tensor], alpha_EO: Tensor
) -> Tensor:
    """A loss's second derivative in alpha, from its first two in the operation weights.

        H_a = J' H_A J + sum_k (dL/dA_k) d2 A_k / da2,    J = dA/da

    Args:
        gradient_P: dL/dA, float64.
        hessian_PP: H_A, float64.
        relax: alpha -> operation weights.
        alpha_EO: architecture parameters; unchanged.

    Returns:
        H_a, symmetrised, float64, [P, P].
    """

    def relaxed(alpha_P: Tensor) -> Tensor:
        return relax(alpha_P.reshape(alpha_EO.shape)).reshape(-1)

    alpha_P = alpha_EO.detach().double().reshape(-1)
    jacobian = torch.autograd.functional.jacobian(relaxed, alpha_P)
    curved = torch.autograd.functional.hessian(lambda a: gradient_P @ relaxed(a), alpha_P)
    hessian: Tensor = jacobian.T @ hessian_PP @ jacobian + curved
    return (hessian + hessian.T) / 2


def on_zero_row_sums(hessian_PP: Tensor, operations: int) -> Tensor:
    """H_A along those changes of A that leave every row's sum as it is.

        Q H_A Q,    Q = I - 1 1' / O in the block of each edge

    Args:
        hessian_PP: H_A.
        operations: O.

    Returns:
        The projected matrix, symmetrised, [P, P]; constant rows are null directions.
    """
    edges = len(hessian_PP) // operations
    eye = torch.eye(operations, dtype=hessian_PP.dtype) - 1 / operations
    projection_PP = torch.block_diag(*[eye] * edges)
    projected = projection_PP @ hessian_PP @ projection_PP
    return (projected + projected.T) / 2


def spectrum(hessian: Tensor) -> Tensor:
    """All eigenvalues of a symmetric matrix.

    Args:
        hessian: the matrix.

    Returns:
        The eigenvalues in ascending order, on the CPU; NaN where the matrix is not finite.
    """
    if not bool(torch.isfinite(hessian).all()):
        return torch.full((len(hessian),), float("nan"), dtype=hessian.dtype)
    return torch.linalg.eigvalsh(hessian.cpu())


def extreme_eigenvalues(hessian: Tensor) -> tuple[float, float]:
    """Algebraically largest and smallest eigenvalue of a symmetric matrix.

    Args:
        hessian: the matrix.

    Returns:
        (largest, smallest); NaN where the matrix is not finite.
    """
    eigenvalues = spectrum(hessian)
    return float(eigenvalues[-1]), float(eigenvalues[0])
