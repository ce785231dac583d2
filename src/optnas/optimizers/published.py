"""Lion, SOAP and AdaBelief, from the package ``pytorch_optimizer``, by short names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from optnas.base.registry import register
from optnas.base.schema import Share
from optnas.optimizers.signatures import imported

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

PACKAGE = "pytorch_optimizer"


@register("optimizer", "lion", package=PACKAGE)
def lion(
    params: Iterable[Tensor],
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> Optimizer:
    """Lion: steps of one size, in the direction of the sign of a momentum.

        u = sign(b1 m + (1 - b1) g);  m = b2 m + (1 - b2) g;  w' = (1 - lr wd) w - lr u

    Its authors advise a rate 3 to 10 times smaller than that of AdamW, and a decay as much larger.

    Args:
        params: the leaves.
        lr: learning rate.
        betas: b1 and b2.
        weight_decay: wd, decoupled.

    Reference: Chen et al., *Symbolic discovery of optimization algorithms*, NeurIPS 2023.
    """
    made: Optimizer = imported(PACKAGE, "lion").Lion(params, lr, betas, weight_decay)
    return made


@register(
    "optimizer",
    "soap",
    package=PACKAGE,
    # A search of the exam has six steps.
    examined_with={"precondition_frequency": 2},
)
def soap(
    params: Iterable[Tensor],
    lr: float = 3e-3,
    betas: tuple[float, float] = (0.95, 0.95),
    shampoo_beta: Share | None = None,
    weight_decay: float = 1e-2,
    precondition_frequency: int = 10,
    max_precondition_dim: int = 10000,
    precondition_1d: bool = False,
    eps: float = 1e-8,
) -> Optimizer:
    """SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

    For a matrix with gradient G: L and R average G G' and G' G, Q_L and Q_R are their eigenvectors,
    and Adam's step is taken for Q_L' G Q_R and turned back. The first step only collects L and R.
    Each dimension of a filter [out, in, kh, kw] has a preconditioner of its own.

    Args:
        params: the leaves.
        lr: learning rate.
        betas: decays of the two moments.
        shampoo_beta: decay of L and R; None is the second of ``betas``.
        weight_decay: decoupled.
        precondition_frequency: steps between two turns of the basis.
        max_precondition_dim: a larger dimension keeps its own basis.
        precondition_1d: whether vectors, such as batch-norm scales, are turned too.
        eps: added to the root of the second moment.

    Reference: Vyas et al., *SOAP: improving and stabilizing Shampoo using Adam*, ICLR 2025.
    Deviation of the package: the basis is orthogonalised in single precision.
    """
    made: Optimizer = imported(PACKAGE, "soap").SOAP(
        params,
        lr=lr,
        betas=betas,
        shampoo_beta=shampoo_beta,
        weight_decay=weight_decay,
        precondition_frequency=precondition_frequency,
        max_precondition_dim=max_precondition_dim,
        precondition_1d=precondition_1d,
        eps=eps,
    )
    return made


@register("optimizer", "adabelief", package=PACKAGE)
def adabelief(
    params: Iterable[Tensor],
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
    weight_decouple: bool = True,
    rectify: bool = False,
    eps: float = 1e-16,
) -> Optimizer:
    """AdaBelief: Adam, divided by how far the gradient is from its own average.

        m = b1 m + (1 - b1) g;  s = b2 s + (1 - b2) (g - m)^2 + eps
        w' = w - lr m^ / (sqrt(s^) + eps)

    Args:
        params: the leaves.
        lr: learning rate.
        betas: b1 and b2.
        weight_decay: of the weights.
        weight_decouple: decay apart from the gradient, as AdamW does.
        rectify: as in RAdam.
        eps: see above.

    Reference: Zhuang et al., *AdaBelief optimizer*, NeurIPS 2020.
    """
    made: Optimizer = imported(PACKAGE, "adabelief").AdaBelief(
        params,
        lr=lr,
        betas=betas,
        weight_decay=weight_decay,
        weight_decouple=weight_decouple,
        rectify=rectify,
        eps=eps,
    )
    return made
