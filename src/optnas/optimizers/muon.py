"""Muon for hidden matrices and filters, a second optimizer for everything else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, NotNegative
from optnas.optimizers.base import RestTable
from optnas.optimizers.composite import Composite, build_rest


@register("optimizer", "muon", examined_with={"rest": {"name": "AdamW", "lr": 1e-3}})
class Muon(Composite):
    """Orthogonalized momentum on matrices; the rest moves by another optimizer.

        b = mu b + g;  O = NS(g + mu b) (Nesterov) or NS(b);  W = (1 - lr wd) W - lr s O

    NS is the Newton-Schulz iteration that replaces the singular values by values near one, and s
    the adjustment of the rate to the matrix' shape: torch.optim.Muon does the step. A convolution
    filter [out, in, kh, kw] is the matrix [out, in kh kw], as its authors treat it. As they
    recommend, Muon moves every filter but the stem's; the stem, the head, biases and batch norms
    move by ``rest``. Alpha is one matrix [edges, operations] and needs no ``rest``.

    Args:
        params: the leaves.
        names: their names.
        lr: learning rate of the matrices.
        weight_decay: wd, decoupled, of the matrices.
        momentum: mu.
        nesterov: Nesterov momentum.
        ns_coefficients: coefficients of the iteration.
        eps: smallest norm divided by.
        ns_steps: iterations.
        adjust_lr_fn: ``original``: s = sqrt(max(1, rows / columns)); ``match_rms_adamw``:
            s = 0.2 sqrt(max(rows, columns)), for rates and decay tuned for AdamW.
        excluded: beginnings of names of leaves that ``rest`` moves whatever their shape.
        rest: name and settings of the second optimizer, its ``lr`` included.

    Reference: Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        names: Sequence[str],
        lr: NotNegative = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: NotNegative = 1e-7,
        ns_steps: AtLeastOne = 5,
        adjust_lr_fn: str = "original",
        excluded: tuple[str, ...] = ("stem.", "head."),
        rest: RestTable | None = None,
    ):
        leaves = list(params)
        matrix = [
            leaf.ndim >= 2 and not name.startswith(tuple(excluded))
            for name, leaf in zip(names, leaves, strict=True)
        ]
        self._filters = [leaf for leaf, yes in zip(leaves, matrix, strict=True) if yes]
        # Views: what moves them moves the leaves.
        self._matrices = [leaf.detach().view(len(leaf), -1) for leaf in self._filters]
        inner: list[torch.optim.Optimizer] = []
        if self._matrices:
            inner.append(
                torch.optim.Muon(
                    self._matrices,
                    lr=lr,
                    weight_decay=weight_decay,
                    momentum=momentum,
                    nesterov=nesterov,
                    ns_coefficients=ns_coefficients,
                    eps=eps,
                    ns_steps=ns_steps,
                    adjust_lr_fn=adjust_lr_fn,
                )
            )
        others = [i for i, yes in enumerate(matrix) if not yes]
        if others:
            inner.append(_rest(rest, [leaves[i] for i in others], [names[i] for i in others], lr))
        super().__init__(leaves, inner)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the matrices by Muon, the rest by the second optimizer."""
        del closure
        for matrix, leaf in zip(self._matrices, self._filters, strict=True):
            matrix.grad = None if leaf.grad is None else leaf.grad.reshape(matrix.shape)
        for each in self.inner:
            each.step()


def _rest(
    table: RestTable | None, leaves: list[Tensor], names: list[str], lr: float
) -> torch.optim.Optimizer:
    if table is None:
        raise UserError(
            f"Muon moves matrices only; {len(leaves)} leaves such as {names[0]} need a second "
            "optimizer",
            key="rest.name",
            remedy="add one, such as rest.name=AdamW rest.lr=3e-4 in the same section",
        )
    return build_rest("rest", table, leaves, names, lr)
