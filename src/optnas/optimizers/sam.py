"""Sharpness-aware minimization around any base optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.base.schema import NotNegative
from optnas.optimizers.base import BaseTable
from optnas.optimizers.composite import Composite, build_inner

# As in the published code: keeps the division finite where every gradient is zero.
SMALLEST_NORM = 1e-12


@register("optimizer", "sam", examined_with={"lr": 0.025, "base": {"name": "SGD"}})
class SAM(Composite):
    """The base optimizer's step from w, with the gradient taken at w + e.

        g = dL/dw at w;    e = rho g / |g|              (SAM)
                           e = rho w^2 g / | |w| g |    (ASAM, adaptive)
        w' = base step from w with dL/dw at w + e

    The norm is Euclidean over all leaves together. On alpha, w is alpha and the gradient the
    hypergradient, so the second one is evaluated at the perturbed alpha. A leaf without gradient
    is not perturbed; if none has one, the base optimizer steps at once.

    Args:
        params: the leaves.
        base: the base optimizer's ``name`` and settings, without ``lr``.
        names: names of the leaves, for a base that asks for them.
        lr: learning rate of the base optimizer.
        rho: radius of the perturbation.
        adaptive: scale the perturbation by the leaves' own size.

    Reference: Foret et al., ICLR 2021, equation 2; ASAM: Kwon et al., ICML 2021. Deviation: none
    in the step; the state of the base optimizer is saved with a checkpoint.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        base: BaseTable,
        names: Sequence[str],
        lr: NotNegative,
        rho: float = 0.05,
        adaptive: bool = False,
    ):
        if rho < 0:
            raise UserError("must not be negative", key="rho", value=rho, remedy="raise it")
        leaves = list(params)
        table = BaseTable({**base, "lr": lr})
        super().__init__(leaves, [build_inner("base", table, leaves, names)])
        self.rho, self.adaptive = rho, adaptive

    # torch declares a closure that may be left out; this one is needed.
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Two evaluations, one step of the base optimizer.

        Args:
            closure: puts gradients into the leaves and returns the loss.

        Returns:
            The loss at w.
        """
        loss = closure()
        moved = [leaf for leaf in self.leaves if leaf.grad is not None]
        if moved:
            before = [leaf.detach().clone() for leaf in moved]
            with torch.no_grad():
                for leaf, e in zip(moved, self._perturbation(moved), strict=True):
                    leaf.add_(e)
            closure()
            with torch.no_grad():
                for leaf, value in zip(moved, before, strict=True):
                    leaf.copy_(value)
        (base,) = self.inner
        base.step()
        return loss

    def _perturbation(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
        pairs = list(zip([leaf.detach() for leaf in leaves], gradients, strict=True))
        scaled = [w.abs() * g if self.adaptive else g for w, g in pairs]
        norm = torch.stack([g.norm() for g in scaled]).norm() + SMALLEST_NORM
        return [(w.square() * g if self.adaptive else g) * (self.rho / norm) for w, g in pairs]


@register("optimizer", "asam", examined_with={"lr": 0.025, "base": {"name": "SGD"}})
def asam(
    params: Iterable[Tensor],
    base: BaseTable,
    names: Sequence[str],
    lr: NotNegative,
    rho: float = 0.5,
) -> SAM:
    """Adaptive SAM: `sam` whose perturbation is scaled by the size of each number.

    A number near zero is hardly perturbed, and so is alpha, which starts there, until it has grown.

    Args:
        params: the leaves.
        base: the base optimizer's ``name`` and settings, without ``lr``.
        names: names of the leaves, for a base that asks for them.
        lr: learning rate of the base optimizer.
        rho: radius of the perturbation, in shares of the leaves; the paper's for CIFAR-10.

    Reference: Kwon et al., ICML 2021. Deviation: no eta is added to the size of a number
    (the paper adds 0.01 to that of weights), as in the package pytorch_optimizer.
    """
    return SAM(params, base, names, lr, rho, adaptive=True)
