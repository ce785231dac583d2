"""One step of each level, and the pass over the validation half.

Symbols: w network weights, A operation weights. Shapes: B batch, E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.algorithms.base import Progress
from optnas.bilevel import Bilevel, Loss, LossValue, Weights
from optnas.data import Augmentation, Images, fresh_batch
from optnas.instruments.evaluation import Batch, Score, evaluate, score_of
from optnas.optimizers.virtual import virtual_step
from optnas.state import SearchState


def train_batch(state: SearchState, indices_B: Tensor) -> Batch:
    """An augmented batch of the training half."""
    return _batch(
        state, state.train, indices_B, state.augmentation, state.generators["train-augmentation"]
    )


def valid_batch(state: SearchState) -> Batch:
    """The next batch of the validation half, as the protocol draws and augments it."""
    size, count = len(state.valid), state.settings.search.batch_size
    generator = state.generators["valid-order"]
    draw = {
        "fresh-batches": lambda: fresh_batch(size, count, generator),
        "independent-images": lambda: torch.randint(size, (count,), generator=generator),
        "passes": state.passes.next_batch,
    }[state.settings.search.valid_order]
    stream = state.generators["valid-augmentation"]
    return _batch(state, state.valid, draw(), state.valid_augmentation, stream)


def _batch(
    state: SearchState,
    images: Images,
    indices_B: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> Batch:
    pixels, labels_B = images.to_batch(indices_B)
    inputs = augmentation.apply(pixels, images.mean_C, images.std_C, generator, state.dtype)
    return Batch(inputs, labels_B)


def batch_loss(state: SearchState, batch: Batch) -> Loss:
    """The cross-entropy of a batch under batch statistics, as a function of A and w."""

    def loss(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
        logits, statistics = state.supernet(
            batch.images_BCHW,
            op_weights_EO,
            weights=weights,
            statistics=state.statistics if update else None,
            update=update,
        )
        return LossValue(F.cross_entropy(logits, batch.labels_B), statistics)

    return loss


def arch_step(state: SearchState, train: Batch, valid: Batch, progress: Progress) -> None:
    """Move alpha along its hypergradient.

    Args:
        state: changed: alpha, its optimizer, path length; statistics if the protocol says so.
        train: the train batch about to be used.
        valid: the validation batch.
        progress: where the search stands.
    """
    problem = Bilevel(
        weights=state.supernet.weights,
        train_loss=batch_loss(state, train),
        valid_loss=batch_loss(state, valid),
        virtual_step=virtual_step(state.weight_optimizer, state.supernet.weights),
        update=state.settings.supernet.arch_step_updates_statistics,
    )
    found = state.algorithm.hypergradient(
        problem, state.alpha_EO, lambda alpha_EO: state.algorithm.relax(alpha_EO, progress)
    )
    if found.statistics is not None:
        state.statistics = found.statistics
    before_EO = state.alpha_EO.detach().clone()
    state.alpha_EO.grad = found.gradient_EO
    state.arch_optimizer.step()
    state.path_length += (state.alpha_EO.detach().double() - before_EO.double()).norm()


def weight_step(state: SearchState, train: Batch, progress: Progress) -> Score:
    """Move the network weights along the gradient of the train loss at perturbed A.

    Args:
        state: changed: network weights, their optimizer, statistics, the perturbation stream.
        train: the train batch.
        progress: where the search stands.

    Returns:
        The batch's score at the perturbed operation weights, before the step.
    """
    alpha_EO = state.alpha_EO.detach().requires_grad_()
    clean_EO = state.algorithm.relax(alpha_EO, progress)
    perturbed_EO = state.algorithm.perturb(
        clean_EO.detach(), _attacked_loss(state, train), progress, state.generators["perturbation"]
    )
    clipping = state.settings.clipping
    counts_arch = clipping.max_norm > 0 and clipping.also_counts != "nothing"
    op_weights_EO = perturbed_EO.detach().requires_grad_(counts_arch)
    logits, after = state.supernet(
        train.images_BCHW,
        op_weights_EO,
        statistics=state.statistics,
        update=state.statistics is not None,
    )
    loss = F.cross_entropy(logits, train.labels_B)
    state.weight_optimizer.zero_grad()
    loss.backward()
    state.statistics = after
    if clipping.max_norm > 0:
        counted = list(state.supernet.weights.values())
        if clipping.also_counts == "op-weights":
            counted.append(op_weights_EO)
        elif clipping.also_counts == "alpha":
            (alpha_EO.grad,) = torch.autograd.grad(clean_EO, alpha_EO, op_weights_EO.grad)
            counted.append(alpha_EO)
        torch.nn.utils.clip_grad_norm_(counted, clipping.max_norm)
    state.weight_optimizer.step()
    return score_of(logits.detach(), train.labels_B)


def _attacked_loss(state: SearchState, train: Batch) -> Callable[[Tensor], Tensor]:
    """The train loss an attack ascends: running statistics where the run tracks them."""
    held = {name: weight.detach() for name, weight in state.supernet.weights.items()}

    def loss(op_weights_EO: Tensor) -> Tensor:
        logits, _ = state.supernet(
            train.images_BCHW, op_weights_EO, weights=held, statistics=state.statistics
        )
        return F.cross_entropy(logits, train.labels_B)

    return loss


def validate(state: SearchState, op_weights_EO: Tensor) -> tuple[float, float]:
    """Loss and accuracy over the whole validation half, in order, without augmentation.

    Batch-norm mode as the protocol says: the running statistics where it tracks them, else those of
    each evaluation batch.

    Args:
        state: unchanged.
        op_weights_EO: the operation weights to judge.

    Returns:
        Mean cross-entropy in nats, accuracy in percent.
    """
    return evaluate(
        state.supernet,
        state.valid,
        op_weights_EO,
        statistics=state.statistics,
        batch_size=state.settings.evaluation.batch_size,
        dtype=state.dtype,
    )
