"""GDAS: each step draws one operation per edge, with the gradient of the Gumbel softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Progress, Relax
from optnas.algorithms.composed import composed
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("relaxation", "hard-gumbel", needs=("draw",))
def hard_gumbel(tau_start: float = 10.0, tau_end: float = 0.1) -> Relax:
    """A = one-hot(argmax_o z[e, o]) with the derivative of softmax(z), z = (log p + g) / tau.

    p = softmax(alpha) per edge, g[e, o] = -log(-log u) standard Gumbel with u ~ U(0, 1): each
    operation is drawn with its probability p. tau moves linearly from its start in the first epoch
    to its end in the last. Where A is judged there is no draw: g = 0, the argmax of alpha.

    Args:
        tau_start: temperature of the first epoch.
        tau_end: temperature of the last.

    Raises:
        UserError: a temperature is not positive.

    Reference: Dong and Yang, CVPR 2019, and its published code.
    """
    for key, tau in (("tau_start", tau_start), ("tau_end", tau_end)):
        if tau <= 0:
            raise UserError("a temperature is positive", key=key, value=tau, remedy="raise it")

    def relax(alpha_EO: Tensor, progress: Progress) -> Tensor:
        elapsed = max(progress.epoch - 1, 0) / max(progress.epochs - 1, 1)
        tau = tau_start + (tau_end - tau_start) * elapsed
        z_EO = alpha_EO.log_softmax(-1)
        if progress.draw is not None:
            z_EO = z_EO + parts.gumbel(progress.draw, alpha_EO)
        soft_EO = (z_EO / tau).softmax(-1)
        hard_EO = torch.zeros_like(soft_EO).scatter(-1, soft_EO.argmax(-1, keepdim=True), 1.0)
        # The sum's value is the hard one exactly: the difference is 0 before it is added.
        return hard_EO + (soft_EO - soft_EO.detach())

    return relax


@register(
    "algorithm",
    "gdas",
    needs=("draw",),
    paper="Searching for a Robust Neural Architecture in Four GPU Hours",
    year=2019,
)
def gdas(
    tau_start: float = 10.0,
    tau_end: float = 0.1,
    hypergradient: HypergradientName = "first-order",
) -> Algorithm:
    """Differentiable architecture search by sampling one operation per edge, see `hard_gumbel`.

    Each step of either level draws anew; what is recorded is judged at the argmax of alpha.

    Args:
        tau_start: temperature of the first epoch.
        tau_end: temperature of the last.
        hypergradient: the gradient that moves alpha.

    Reference: Dong and Yang, CVPR 2019. Deviation: every operation is computed and sees the alpha
    gradient (published code runs the drawn one alone), see docs/algorithms/gdas.md.
    """
    return composed(
        relaxation=hard_gumbel(tau_start, tau_end),
        perturbation=parts.unperturbed,
        hypergradient=hypergradient,
        discretization=parts.argmax_per_edge,
    )
