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
    (g_EO,) = torch.autograd.grad(loss_of(op_weights_EO), op_weights_EO, create_graph=True)
    flat_P = g_EO.reshape(-1)
    columns = g_EO.shape[-1]
    rows = []
    for p in range(flat_P.numel()):
        if p % columns in inert:
            rows.append(torch.zeros_like(flat_P))
            continue
        (row_EO,) = torch.autograd.grad(flat_P[p], op_weights_EO, retain_graph=True)
        rows.append(row_EO.reshape(-1))
    hessian_A = torch.stack(rows).double()

    def relaxed(alpha_P: Tensor) -> Tensor:
        return relax(alpha_P.reshape(alpha_EO.shape)).reshape(-1)

    alpha_P = alpha_EO.detach().double().reshape(-1)
    g_P = flat_P.detach().double()
    jacobian = torch.autograd.functional.jacobian(relaxed, alpha_P)
    curved = torch.autograd.functional.hessian(lambda a: g_P @ relaxed(a), alpha_P)
    hessian: Tensor = jacobian.T @ hessian_A @ jacobian + curved
    return (hessian + hessian.T) / 2


def extreme_eigenvalues(hessian: Tensor) -> tuple[float, float]:
    """Algebraically largest and smallest eigenvalue of a symmetric matrix.

    Args:
        hessian: the matrix.

    Returns:
        (largest, smallest); NaN where the matrix is not finite.
    """
    if not bool(torch.isfinite(hessian).all()):
        return float("nan"), float("nan")
    eigenvalues = torch.linalg.eigvalsh(hessian.cpu())
    return float(eigenvalues[-1]), float(eigenvalues[0])
