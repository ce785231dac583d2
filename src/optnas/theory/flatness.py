"""How flat a training loss is around network weights, raw and free of their scale.

Every convolution of a supernet is followed by a batch norm: twice a filter, the same function, and
a quarter of the curvature along that filter. So a comparison of optimizers, which leave filters of
different size, needs measures that the scale of no single filter changes: the rise under ASAM
(`sam_rise`), along filter-normalised directions (`filter_rise`), and what `per_filter` makes of the
Hessian. Curvature times the squared norm of w, or of a part of it, stays under one factor common to
all of w, or to that part, and changes where one filter alone is scaled.

All weights are one vector w of float64; L is the mean cross-entropy of a fixed batch, normalised by
its own statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from optnas.measures.evaluation import Batch
from optnas.measures.snapshot import Snapshot

RADIUS = 0.05  # of SAM's step
SHARE = 0.05  # of each filter's norm, in a filter-normalised direction
Weights = dict[str, Tensor]
Loss = Callable[[Mapping[str, Tensor]], Tensor]


def loss_of(snapshot: Snapshot, batch: Batch) -> Loss:
    """The loss of network weights, A fixed, under the batch's own statistics."""

    def loss(weights: Mapping[str, Tensor]) -> Tensor:
        found = snapshot.supernet(
            batch.images_BCHW, snapshot.op_weights_EO, weights=weights, statistics=None
        )
        return F.cross_entropy(found.logits_BK, batch.labels_B)

    return loss


def gradient(loss: Loss, weights: Weights) -> Weights:
    """Of a loss in all weights."""
    leaves = {name: each.detach().requires_grad_() for name, each in weights.items()}
    with torch.enable_grad():
        found = torch.autograd.grad(loss(leaves), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


def moved(weights: Weights, direction: Weights, by: float) -> Weights:
    """The weights, moved along a direction."""
    return {name: each + by * direction[name] for name, each in weights.items()}


def norm(values: Weights) -> float:
    """Euclidean, over all entries."""
    return float(torch.cat([each.flatten() for each in values.values()]).norm())


def sam_rise(loss: Loss, weights: Weights, *, adaptive: bool = False) -> float:
    """L at SAM's worst point, minus L: the rise along the gradient, to first order the steepest.

    SAM moves by rho g / |g|. The adaptive one (ASAM) moves by rho T^2 g / |T g| with T = |w|: every
    weight in proportion to its own size, so that rescaling a filter changes nothing.

    Reference: Foret et al., ICLR 2021; Kwon et al., ICML 2021. Deviation of the second: rho, and no
    constant added to T.
    """
    by = gradient(loss, weights)
    if adaptive:
        scaled = {name: each * weights[name].abs() for name, each in by.items()}
        step = {name: each * weights[name].abs() for name, each in scaled.items()}
        size = norm(scaled)
    else:
        step, size = by, norm(by)
    with torch.no_grad():
        return float(loss(moved(weights, step, RADIUS / size)) - loss(weights))


def filter_rise(loss: Loss, weights: Weights, draws: int, generator: torch.Generator) -> float:
    """Mean rise of L along random directions in which every filter moves by a share of its norm.

    d_f <- share |w_f| d_f / |d_f| for a filter f; weights that are no filters stay.

    Reference: Li et al., NeurIPS 2018.
    """
    rises = []
    with torch.no_grad():
        for _ in range(draws):
            direction = {name: _filtered(each, generator) for name, each in weights.items()}
            rises.append(float(loss(moved(weights, direction, SHARE)) - loss(weights)))
    return sum(rises) / draws


def _filtered(weight: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight)
    if weight.dim() < 2:
        return torch.zeros_like(weight)
    return drawn * _norms(weight) / _norms(drawn)


def _norms(weight: Tensor) -> Tensor:
    return weight.flatten(1).norm(dim=1).view(-1, *(1,) * (weight.dim() - 1))


def hessian(loss: Loss, weights: Weights) -> tuple[Callable[[Tensor], Tensor], int]:
    """Products of the Hessian with a vector, by double backward, and the length of a vector."""
    leaves = {name: each.detach().requires_grad_() for name, each in weights.items()}
    with torch.enable_grad():
        first = torch.autograd.grad(loss(leaves), list(leaves.values()), create_graph=True)
        flat = torch.cat([each.flatten() for each in first])

    def product(vector: Tensor) -> Tensor:
        found = torch.autograd.grad(flat, list(leaves.values()), vector.to(flat), retain_graph=True)
        return torch.cat([each.flatten() for each in found])

    return product, len(flat)


def per_filter(product: Callable[[Tensor], Tensor], weights: Weights) -> Callable[[Tensor], Tensor]:
    """Products of D H D with a vector: the Hessian in shares of each filter's norm.

    D is |w_f| at the entries of a filter f, and 0 at weights that are no filters. Where L does not
    change with the scale of f, no entry of D H D does.

    Args:
        product: H times a vector.
        weights: where.
    """
    sizes_W = torch.cat([_filter_norms(each) for each in weights.values()]).double().cpu()
    return lambda vector: sizes_W * product(sizes_W * vector).double().cpu()


def _filter_norms(weight: Tensor) -> Tensor:
    if weight.dim() < 2:
        return torch.zeros_like(weight).flatten()
    return _norms(weight).expand_as(weight).flatten()


def top_eigenvalues(
    product: Callable[[Tensor], Tensor], size: int, count: int, seed: int
) -> list[float]:
    """The largest algebraic eigenvalues, by Lanczos (scipy's eigsh), to 1 %.

    The subspace is of six vectors more than twice their number. For up to six of them that is less
    than scipy's own choice of 20: fewer products with the matrix, nearly all that this costs.

    Returns:
        Descending.
    """

    def apply(vector: np.ndarray) -> np.ndarray:
        found: np.ndarray = product(torch.from_numpy(vector.ravel())).double().cpu().numpy()
        return found

    operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    start = np.random.default_rng(seed).normal(size=size)
    values = eigsh(
        operator,
        count,
        which="LA",
        tol=1e-2,
        ncv=min(size, 2 * count + 6),
        v0=start,
        return_eigenvectors=False,
    )
    return sorted((float(value) for value in values), reverse=True)


def by_part(loss: Loss, weights: Weights, seed: int) -> dict[str, float]:
    """The largest eigenvalue of each part's block of the Hessian, times the part's squared norm.

    It stays under one factor common to the part, and changes where a filter of it alone is scaled.

    Args:
        loss: of all weights.
        weights: their parts are named by what is before the first dot, of cells with the number.
        seed: of the first vectors.
    """
    parts: dict[str, Weights] = {}
    for name, each in weights.items():
        first, second, *_ = [*name.split("."), ""]
        part = f"{first}.{second}" if second.isdigit() else first
        parts.setdefault(part, {})[name] = each
    found = {}
    for part, own in parts.items():
        product, size = hessian(lambda moved: loss({**weights, **moved}), own)
        (top,) = top_eigenvalues(product, size, 1, seed)
        found[part] = top * norm(own) ** 2
    return found


def trace(
    product: Callable[[Tensor], Tensor], size: int, draws: int, generator: torch.Generator
) -> float:
    """Hutchinson's estimate of the trace: the mean of v' H v over v of fair signs."""
    total = 0.0
    for _ in range(draws):
        signs = torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1
        total += float(signs @ product(signs).double().cpu())
    return total / draws
