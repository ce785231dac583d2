"""Exponentiated gradient: an architecture optimizer made for rows on the simplex."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from optnas.algorithms.parts import log_floored
from optnas.base.registry import register
from optnas.base.schema import NotNegative


@register("optimizer", "exponentiated-gradient", on_simplex=True)
class ExponentiatedGradient(torch.optim.Optimizer):
    """theta' is proportional to theta exp(-lr g), with theta = softmax(alpha) per row.

    g = (d L / d alpha) / theta is d L / d theta up to a number per row, which a sum of 1 takes out
    again. Then theta' = u / sum_o u with u = max(theta', floor). Alpha moves by log theta' - log
    theta: a row keeps the logarithm of its sum of exponentials.

    Args:
        params: the leaves.
        lr: learning rate.
        floor: least u.

    Reference: Li, Khodak, Balcan and Talwalkar, ICLR 2021. Deviation: published code, which
    holds theta, takes the floor before it divides by the sum, as does the algorithm ``gaea``.
    """

    def __init__(self, params: Iterable[Tensor], lr: NotNegative = 0.1, floor: float = 1e-5):
        if not 0 < floor < 1:
            raise ValueError(f"floor must be above 0 and below 1, not {floor}")
        super().__init__(params, {"lr": lr, "floor": floor})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every leaf that has a gradient."""
        del closure
        for group in self.param_groups:
            for alpha_EO in group["params"]:
                if alpha_EO.grad is None:
                    continue
                log_EO = alpha_EO.log_softmax(-1)
                # A weight of 0 has a gradient of 0.
                g_EO = alpha_EO.grad / log_EO.exp().clamp(min=torch.finfo(log_EO.dtype).tiny)
                there_EO = (log_EO - group["lr"] * g_EO).log_softmax(-1)
                alpha_EO.add_(log_floored(there_EO, group["floor"]) - log_EO)
