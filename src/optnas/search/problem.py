"""The bilevel problem of a search at a moment, as `optnas.algorithms.bilevel` describes it.

Shapes: B batch, E edges, O operations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.algorithms.base import Progress
from optnas.algorithms.bilevel import (
    Bilevel,
    Judged,
    Loss,
    LossValue,
    Weights,
    no_valid_batches,
)
from optnas.measures.evaluation import Batch
from optnas.optimizers.virtual import coupled_decay, virtual_step, virtual_steps
from optnas.search.state import SearchState
from optnas.spaces.network import Output


def forward(
    state: SearchState, batch: Batch, op_weights_EO: Tensor, *, step: bool = True, **modes: Any
) -> Output:
    """The network on a batch; logits are of the search's type.

    Args:
        state: of the search.
        batch: images and labels.
        op_weights_EO: the operation weights.
        step: whether it is a step's, multiplied as the settings say; else in the search's type.
        **modes: further arguments of the network.
    """
    if batch.draw is not None:
        modes["draw"] = batch.draw
    if batch.skip_dropout:
        modes["skip_dropout"] = batch.skip_dropout
    with state.lowered() if step else contextlib.nullcontext():
        logits_BK, statistics = state.supernet(batch.images_BCHW, op_weights_EO, **modes)
    return Output(logits_BK.to(state.dtype), statistics)


def batch_loss(state: SearchState, batch: Batch, *, step: bool = True) -> Loss:
    """The cross-entropy of a batch under batch statistics, as a function of A and w.

    Args:
        state: of the search.
        batch: images and labels.
        step: as of `forward`.
    """

    def loss(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
        logits, statistics = forward(
            state,
            batch,
            op_weights_EO,
            step=step,
            weights=weights,
            statistics=state.statistics if update else None,
            update=update,
        )
        return LossValue(F.cross_entropy(logits, batch.labels_B), statistics)

    return loss


def batch_accuracy(state: SearchState, batch: Batch) -> Callable[[Tensor, Weights], Tensor]:
    """The accuracy of a batch under batch statistics in percent, as a function of A and w.

    Args:
        state: of the search.
        batch: images and labels.
    """

    @torch.no_grad()
    def accuracy(op_weights_EO: Tensor, weights: Weights) -> Tensor:
        logits_BK, _ = forward(state, batch, op_weights_EO, weights=weights, statistics=None)
        return 100 * (logits_BK.argmax(dim=1) == batch.labels_B).double().mean()

    return accuracy


def bilevel_of(
    state: SearchState,
    train: Loss,
    valid: Loss,
    more: Callable[[int], list[Loss]],
    progress: Progress,
    *,
    update: bool = False,
    more_valid: Callable[[int, int], list[Judged]] = no_valid_batches,
) -> Bilevel:
    """What a hypergradient is asked with.

    Args:
        state: unchanged, whatever is asked.
        train: the loss of the train batch about to be used.
        valid: that of the validation batch.
        more: those of further train batches.
        progress: where the search stands.
        update: whether the step's own forward pass moves the running statistics.
        more_valid: further validation batches.
    """
    weights, optimizer = state.supernet.weights, state.weight_optimizer
    return Bilevel(
        weights=weights,
        train_loss=train,
        valid_loss=valid,
        virtual_step=virtual_step(optimizer, weights),
        update=update,
        progress=progress,
        weight_decay=lambda: coupled_decay(optimizer, weights),
        more_train_batches=more,
        weight_lr=lambda: float(optimizer.param_groups[0]["lr"]),
        cells=state.supernet.cells,
        more_valid_batches=more_valid,
        virtual_steps=virtual_steps(optimizer, weights),
    )
