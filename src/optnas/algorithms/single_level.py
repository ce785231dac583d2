"""Single level: alpha descends the train loss, on the batch the weights descend it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.composed import composed
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.lazy import lazy
from optnas.base.registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("hypergradient", "single-level", needs=("train-batch",), itself=True)
def train_gradient(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
    """Gradient d L_train(w, relax(alpha)) / d alpha at fixed w, on the step's train batch.

    Args:
        problem: the iteration's losses and weights.
        alpha_EO: architecture parameters; unchanged.
        relax: alpha -> operation weights at the current progress.

    Returns:
        The gradient, its loss, and the statistics after the forward pass if the protocol updates
        them.
    """
    alpha = alpha_EO.detach().requires_grad_()
    held = {name: weight.detach() for name, weight in problem.weights.items()}
    loss, statistics = problem.train_loss(relax(alpha), held, update=problem.update)
    (gradient_EO,) = torch.autograd.grad(loss, alpha)
    return Hypergradient(gradient_EO, statistics if problem.update else None, loss=loss.detach())


@register(
    "algorithm",
    "single-level",
    needs=("train-batch",),
    paper="Single-DARTS: Towards Stable Architecture Search",
    year=2021,
)
def single_level() -> Algorithm:
    """DARTS with min over w and alpha of L_train(w, softmax(alpha)): no validation half is seen.

    Both levels step on the same train batch, alpha first; the weight step sees the new alpha.

    Reference: Hou et al., arXiv 2108.08128 (Single-DARTS), and the joint optimization of Liu et
    al., ICLR 2019, section 3.3. Deviation: one level after the other, see
    docs/algorithms/single-level.md.
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.unperturbed,
        hypergradient=train_gradient,
        discretization=parts.argmax_per_edge,
    )
