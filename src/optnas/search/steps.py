"""One step of each level; it sends nothing to a GPU and waits for none.

A part that asks for further train batches sends them, and one that reads a number waits.

Symbols: w network weights, A operation weights. Shapes: B batch, E edges, O operations.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.algorithms.base import Draw, Progress, WeightGradients
from optnas.algorithms.bilevel import (
    Hypergradient,
    Judged,
    Loss,
    LossValue,
    Weights,
    no_valid_batches,
    undeclared,
)
from optnas.algorithms.progress import InnerStep
from optnas.base.seeds import named_generator
from optnas.data.augmentation import Augmentation
from optnas.data.batches import epoch_batches, fresh_batch
from optnas.data.images import Images
from optnas.measures.curvature.hessian import in_logits
from optnas.measures.curvature.maths import expansion
from optnas.measures.evaluation import (
    Batch,
    Score,
    augmented_batch,
    evaluate,
    recalibrated,
    score_of,
)
from optnas.optimizers.stepping import count_on, take_step
from optnas.search.describe import centred
from optnas.search.draws import dropped, seed_of
from optnas.search.observe import snapshot_of
from optnas.search.problem import batch_accuracy, batch_loss, bilevel_of, forward
from optnas.search.state import (
    DRAWS,
    MORE_BATCHES,
    MORE_VALID,
    OPERATION_NOISE,
    SearchState,
    weight_optimizer_of,
)
from optnas.spaces.network import Statistics

# Batches that batch-norm statistics are collected anew from, as schedulefree's authors advise.
RECALIBRATION_BATCHES = 50


def arch_step(state: SearchState, train: Batch, valid: Batch, progress: Progress) -> None:
    """Move alpha along its hypergradient.

    An optimizer that evaluates more than once does so on the same batches, wherever it has put
    alpha; running statistics move in the first evaluation only.

    Args:
        state: changed: alpha, its optimizer, path length; statistics if the protocol says so; the
            memory, if the hypergradient hands some back.
        train: the train batch about to be used.
        valid: the validation batch.
        progress: where the search stands.
    """
    progress = _with_draw(state, progress)
    before_EO = state.alpha_EO.detach().clone()
    found: list[Hypergradient] = []  # empty until the first evaluation is done
    more_train_batches = _more_batches(state)
    more_valid_batches = _more_valid_batches(state)

    def closure() -> Tensor:
        losses: list[Tensor] = []
        problem = bilevel_of(
            state,
            batch_loss(state, train),
            _remembered(batch_loss(state, valid), losses),
            more_train_batches,
            progress,
            update=state.settings.supernet.arch_step_updates_statistics and not found,
            more_valid=more_valid_batches,
        )
        here = state.algorithm.hypergradient(
            problem, state.alpha_EO, lambda alpha_EO: state.algorithm.relax(alpha_EO, progress)
        )
        found.append(here)
        state.keep(here.statistics)
        state.alpha_EO.grad = here.gradient_EO
        loss = losses[-1] if losses else torch.zeros_like(state.path_lengths[0])
        loss = loss if here.loss is None else here.loss.detach()
        return loss if here.penalty is None else loss + here.penalty

    take_step(state.arch_optimizer, closure)
    state.remember(found[-1].memory)
    if state.algorithm.project is not None:
        here_EO = state.alpha_EO.detach()
        here_EO.copy_(state.algorithm.project(here_EO))
    step_EO = state.alpha_EO.detach().double() - before_EO.double()
    state.path_lengths += torch.stack([step_EO.norm(), centred(step_EO, state.space).norm()])


def remembering(state: SearchState, progress: Progress) -> Progress:
    """Progress with what the algorithm remembers."""
    return dataclasses.replace(progress, memory=state.memory) if state.memory else progress


def _with_draw(state: SearchState, progress: Progress) -> Progress:
    """Progress with the memory, and a draw for a step that needs one and was handed none."""
    progress = remembering(state, progress)
    if progress.draw is not None or "draw" not in state.needs:
        return progress
    return dataclasses.replace(progress, draw=Draw(seed_of(state.generators[DRAWS])))


def _with_inner_step(
    state: SearchState, train: Batch, op_weights_LEO: Tensor, progress: Progress
) -> Progress:
    """Progress with the weight step that is taken, whose gradients are there."""
    weights, loss = state.supernet.weights, batch_loss(state, train)
    assert op_weights_LEO.grad is not None
    inner = InnerStep(
        weights=weights,
        op_weights_LEO=op_weights_LEO.detach(),
        gradient_LEO=op_weights_LEO.grad,
        train_loss=lambda op_weights_EO: loss(op_weights_EO, weights).loss,
    )
    return dataclasses.replace(progress, inner=inner)


def _more_batches(state: SearchState) -> Callable[[int], list[Loss]]:
    """Further train batches of the alpha step that begins, by a stream of their own."""
    stream = state.generators.get(MORE_BATCHES)
    draw = None if stream is None else Draw(seed_of(stream))

    def more(count: int) -> list[Loss]:
        if draw is None:
            raise undeclared("asks for further train batches", "train-batches")
        generator, size = draw.generator(), state.settings.search.batch_size
        drawn = [
            _fresh(state, state.train, state.augmentation, size, generator) for _ in range(count)
        ]
        share = dropped(state)
        return [batch_loss(state, batch._replace(skip_dropout=share)) for batch in drawn]

    return more


def _fresh(
    state: SearchState,
    images: Images,
    augmentation: Augmentation,
    size: int,
    generator: torch.Generator,
) -> Batch:
    """A batch of one half that is drawn, augmented and given its noise by one generator."""
    indices_B = fresh_batch(len(images), size, generator)
    batch = augmented_batch(images, indices_B, augmentation, generator, state.dtype)
    noisy = OPERATION_NOISE in state.generators
    return batch._replace(draw=seed_of(generator)) if noisy else batch


def _more_valid_batches(state: SearchState) -> Callable[[int, int], list[Judged]]:
    """Further validation batches of the alpha step that begins, by a stream of their own.

    It moves in a step that asks for them and in no other: those may be recorded.
    """
    stream = state.generators.get(MORE_VALID)
    if stream is None:
        return no_valid_batches
    seed = functools.cache(lambda: seed_of(stream))

    def more(count: int, images: int) -> list[Judged]:
        generator, found = Draw(seed()).generator(), []
        for _ in range(count):
            batch = _fresh(state, state.valid, state.valid_augmentation, images, generator)
            found.append(Judged(batch_accuracy(state, batch), Draw(seed_of(generator))))
        return found

    return more


def _remembered(loss: Loss, values: list[Tensor]) -> Loss:
    """The same loss; the values it takes are the outer objective that a closure hands back."""

    def remembered(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
        value = loss(op_weights_EO, weights, update=update)
        values.append(value.loss.detach())
        return value

    return remembered


def weight_step(state: SearchState, train: Batch, progress: Progress) -> Score:
    """Move the network weights along the gradient of the train loss at perturbed A.

    An optimizer that evaluates more than once does so on the same batch at the same perturbed
    operation weights, each gradient clipped by the same rule; running statistics move in the first
    evaluation only, whose score is handed back.

    Args:
        state: changed: network weights, their optimizer, statistics, the perturbation stream; the
            memory, if the algorithm looks at weight gradients.
        train: the train batch.
        progress: where the search stands.

    Returns:
        The batch's score at the perturbed operation weights, before the step.
    """
    progress = _with_draw(state, progress)
    alpha_EO = state.alpha_EO.detach().requires_grad_()
    clean_EO = state.algorithm.relax(alpha_EO, progress)
    perturbed_EO = state.algorithm.perturb(
        clean_EO.detach(), _attacked_loss(state, train), progress, state.generators["perturbation"]
    )
    clipping = state.settings.clipping
    counts_arch = clipping.max_norm > 0 and clipping.also_counts != "nothing"
    scores: list[Score] = []  # empty until the first evaluation is done
    look, seen = state.algorithm.on_weight_gradients, WeightGradients()
    by_cell = "inner-step" in state.needs

    def closure() -> Tensor:
        used_EO = op_weights_EO = perturbed_EO.detach().requires_grad_(counts_arch or by_cell)
        if by_cell:
            used_EO = op_weights_EO.expand(state.supernet.cells, -1, -1).clone()
            used_EO.retain_grad()
        moves = state.statistics is not None and not scores
        logits, after = forward(
            state,
            train,
            used_EO,
            statistics=state.statistics if moves else None,
            update=moves,
        )
        loss = F.cross_entropy(logits, train.labels_B)
        state.weight_optimizer.zero_grad()
        loss.backward()
        if moves:
            state.keep(after)
        if look is not None:
            nonlocal seen
            leaves = state.supernet.weights.items()
            now = _with_inner_step(state, train, used_EO, progress) if by_cell else progress
            seen = look({name: w.grad for name, w in leaves if w.grad is not None}, now)
            for name, gradient in seen.gradients.items():
                state.supernet.weights[name].grad = gradient
        counted = list(state.supernet.weights.values())
        if counts_arch:
            counted.append(_counted_arch(state, op_weights_EO, clean_EO, alpha_EO))
        if clipping.max_norm > 0:
            torch.nn.utils.clip_grad_norm_(counted, clipping.max_norm)
        scores.append(score_of(logits.detach(), train.labels_B))
        return loss.detach()

    take_step(state.weight_optimizer, closure)
    state.remember(seen.memory)
    return scores[0]


def _counted_arch(
    state: SearchState, op_weights_EO: Tensor, clean_EO: Tensor, alpha_EO: Tensor
) -> Tensor:
    """What of the architecture counts in the clipping norm, with its gradient."""
    if state.settings.clipping.also_counts == "op-weights":
        return op_weights_EO
    (alpha_EO.grad,) = torch.autograd.grad(
        clean_EO, alpha_EO, op_weights_EO.grad, retain_graph=True
    )
    return alpha_EO


def _attacked_loss(state: SearchState, train: Batch) -> Callable[[Tensor], Tensor]:
    """The train loss an attack ascends: running statistics where the run tracks them."""
    held = {name: weight.detach() for name, weight in state.supernet.weights.items()}

    def loss(op_weights_EO: Tensor) -> Tensor:
        logits, _ = forward(state, train, op_weights_EO, weights=held, statistics=state.statistics)
        return F.cross_entropy(logits, train.labels_B)

    return loss


class SearchTrial:
    """The search in the hands of its algorithm, see `optnas.algorithms.base.Trial`.

    Args:
        state: between two epochs.
        progress: the epoch that is decided about, with the memory.
    """

    def __init__(self, state: SearchState, progress: Progress):
        self._state, self.progress = state, progress
        self.alpha_EO = state.alpha_EO.detach()
        self.op_weights_EO = state.algorithm.relax(self.alpha_EO, progress)
        groups = state.weight_optimizer.param_groups
        self.weight_decay = max(float(group.get("weight_decay", 0.0)) for group in groups)

    def evaluate(self, op_weights_EO: Tensor) -> tuple[float, float]:
        """As of `Trial`."""
        state = self._state
        return evaluate(
            state.supernet,
            state.valid,
            op_weights_EO,
            statistics=None,
            batch_size=state.settings.evaluation.batch_size,
            dtype=state.dtype,
        )

    def alpha_hessian(self, batches: int, batch_size: int) -> Tensor:
        """As of `Trial`."""
        snapshot, found = snapshot_of(self._state), []
        for batch in snapshot.batches("valid", batches, batch_size or None):
            here = expansion(snapshot.supernet, batch, snapshot.op_weights_EO, None)
            gradient_P, alpha_EO = here.gradient_EO.reshape(-1), snapshot.alpha_EO.cpu()
            found.append(in_logits(gradient_P, here.hessian_PP, snapshot.relax, alpha_EO))
        return torch.stack(found).mean(0)

    def generator(self) -> torch.Generator:
        """As of `Trial`."""
        return named_generator(self._state.settings.search.seed, f"selection-{self.progress.epoch}")


def select(state: SearchState, progress: Progress) -> None:
    """What an algorithm that selects its cell does at the beginning of an epoch.

    Args:
        state: changed in the epochs of a selection: its memory; in the first of them the weight
            optimizer is a new one, if the selection has a rate of its own.
        progress: the epoch that begins.
    """
    selection = state.algorithm.select
    if selection is None or progress.epoch < selection.begins(progress.epochs):
        return
    if selection.rate is not None and progress.epoch == selection.begins(progress.epochs):
        former, state.weight_optimizer = (
            state.weight_optimizer,
            weight_optimizer_of(state.settings, state.supernet),
        )
        count_on(state.weight_optimizer, former)
    state.remember(selection.choose(SearchTrial(state, remembering(state, progress))))


def recalibrated_statistics(state: SearchState, progress: Progress) -> Statistics | None:
    """Batch-norm statistics of the network where it stands now.

    Averages over up to 50 batches of the training half, augmented, at clean operation weights. The
    batches come from a random stream of this epoch and purpose: no other stream moves.

    Args:
        state: unchanged.
        progress: where the search stands.

    Returns:
        The statistics, None where the run tracks none.
    """
    if state.statistics is None:
        return None
    progress = remembering(state, progress)
    generator = named_generator(state.settings.search.seed, f"recalibration-{progress.epoch}")
    op_weights_EO = state.algorithm.relax(state.alpha_EO.detach(), progress)
    # A short last batch would count as much as the others, and its variance says less.
    indices = epoch_batches(
        len(state.train), state.settings.search.batch_size, generator, drop_last=True
    )
    batches = (
        augmented_batch(state.train, indices_B, state.augmentation, generator, state.dtype)
        for indices_B in itertools.islice(indices, RECALIBRATION_BATCHES)
    )
    return recalibrated(state.supernet, op_weights_EO, batches)
