"""Shapley-NAS: alpha follows what each operation adds to the supernet's validation accuracy.

Shapes: E edges, O operations, P players, M samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, ComputeHypergradient
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.composed import composed
from optnas.algorithms.parts.hypergradients import RelaxNow
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, AtLeastTwo, Share
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

NEEDS = ("valid-batches", "memory", "bare-rows")
# Memory: as many zeros as the epoch that was estimated in last, whose number would be waited for
# in each step, and a length is not; the accumulated values, where they are.
EPOCHS, SUM = "shapley_epochs", "shapley_EO"


@register("hypergradient", "shapley", needs=NEEDS)
def shapley(
    samples: AtLeastOne = 10,
    threshold: Share = 0.5,
    images: AtLeastTwo = 1024,
    warmup: Share = 0.5,
    momentum: Share = 0.0,
    *,
    space: Space,
) -> ComputeHypergradient:
    """Minus the standardised Shapley value of each operation, in the first alpha step of an epoch.

    The players are all operations of all edges but ``none``. Sample m has a batch of the validation
    half and a random order of the players, in which their entries of A are set to 0 one after the
    other; other entries stay. With acc(S) the accuracy in percent once the players S are removed,

        g_m[p]  = acc(before p) - acc(before p, and p)          as long as acc(before p) is at least
                                                                threshold acc(none removed), else 0
        v[p]    = mean_m g_m[p] - std_m g_m[p]                                the std is that of M
        u[p]    = (v[p] - mean v) / std v                       over the players of a kind of cell
        s_t     = momentum s_(t-1) + (1 - momentum) u,    s_0 = 0

    The gradient is -s, and 0 for ``none`` and further columns of alpha. In an epoch's later steps,
    and in all of the warm-up, alpha stays. Where all v of a kind are equal, u is 0.

    Args:
        samples: M.
        threshold: share of the accuracy below which the rest of an order counts nothing.
        images: of a batch; the whole half where that is smaller.
        warmup: share of the run's epochs, rounded, from the first, in which alpha stays; the last
            epoch moves it.
        momentum: of s; 0 leaves it to the architecture optimizer.
        space: the search space; the program supplies it, for its ``none`` and its kinds of cell.

    Returns:
        The part. It moves no statistics and reads each accuracy, M (P + 1) of them or fewer. Its
        loss is the share of images that all operations together get wrong.

    Reference: Xiao et al., CVPR 2022, and its published code.
    """
    kinds = players_of(space)
    players = [place for kind in kinds for place in kind]

    def part(problem: Bilevel, alpha_EO: Tensor, relax: RelaxNow) -> Hypergradient:
        progress, memory = problem.progress, problem.progress.memory
        if progress.epoch <= min(round(warmup * progress.epochs), progress.epochs - 1):
            return parts.frozen(problem, alpha_EO, relax)
        if EPOCHS in memory and len(memory[EPOCHS]) == progress.epoch:
            return parts.frozen(problem, alpha_EO, relax)
        op_weights_EO = relax(alpha_EO.detach()).detach()
        full, found = [], []
        for batch in problem.more_valid_batches(samples, images):

            def accuracy(op_weights_EO: Tensor, of: Judge = batch.accuracy) -> float:
                return float(of(op_weights_EO, problem.weights))

            order = torch.randperm(len(players), generator=batch.draw.generator()).tolist()
            full.append(accuracy(op_weights_EO))
            removed = [players[each] for each in order]
            found.append(gains(accuracy, op_weights_EO, removed, threshold, full[-1]))
        value_EO = torch.zeros(op_weights_EO.shape, dtype=torch.float64)
        values, gain_MP = value_EO.view(-1), torch.stack(found)
        for kind in kinds:
            values[kind] = standardised(cautious(gain_MP[:, kind]))
        value_EO = value_EO.to(alpha_EO)
        if momentum:
            before_EO = memory.get(SUM, torch.zeros_like(value_EO))
            value_EO = momentum * before_EO + (1 - momentum) * value_EO
        gradient_EO = torch.zeros_like(alpha_EO)
        gradient_EO[:, : value_EO.shape[1]] = -value_EO
        remembered = {EPOCHS: torch.zeros(progress.epoch)} | ({SUM: value_EO} if momentum else {})
        wrong = alpha_EO.new_tensor(1 - sum(full) / len(full) / 100)
        return Hypergradient(gradient_EO, loss=wrong, memory=remembered)

    return part


# operation weights, network weights -> accuracy
Judge = Callable[..., "Tensor"]


def players_of(space: Space) -> list[list[int]]:
    """The players of each kind of cell: places in alpha, row by row, of operations but ``none``."""
    kinds, before = [], 0
    for wiring in space.wirings:
        rows = range(before, before + len(wiring.edges))
        kinds.append(
            [
                row * space.operation_count + column
                for row in rows
                for column, operation in enumerate(space.columns_at(row))
                if operation != space.none
            ]
        )
        before = rows.stop
    return kinds


def gains(
    accuracy: Callable[[Tensor], float],
    op_weights_EO: Tensor,
    removed: Sequence[int],
    threshold: float,
    full: float,
) -> Tensor:
    """What accuracy loses as entries of A are set to 0 one after the other.

    Args:
        accuracy: of operation weights.
        op_weights_EO: A; unchanged.
        removed: places in A, in order.
        threshold: share of the full accuracy below which no more is removed.
        full: the accuracy of A.

    Returns:
        In the order of A, 0 where nothing was removed; float64 on the CPU.
    """
    left_EO, before = op_weights_EO.clone(), full
    lost = torch.zeros(op_weights_EO.numel(), dtype=torch.float64)
    for place in removed:
        left_EO.view(-1)[place].zero_()
        after = accuracy(left_EO)
        lost[place] = before - after
        before = after
        if after < threshold * full:
            break
    return lost


def cautious(gain_MP: Tensor) -> Tensor:
    """The mean over samples minus their standard deviation, that of the samples themselves."""
    return gain_MP.mean(0) - gain_MP.std(0, correction=0)


def standardised(value_P: Tensor) -> Tensor:
    """Of mean 0 and standard deviation 1, with P - 1 in it; 0 where all are equal."""
    spread = value_P.std() if len(value_P) > 1 else value_P.new_zeros(())
    return (value_P - value_P.mean()) / spread if spread > 0 else torch.zeros_like(value_P)


@register(
    "algorithm",
    "shapley-nas",
    needs=NEEDS,
    paper="Shapley-NAS: Discovering Operation Contribution for Neural Architecture Search",
    year=2022,
)
def shapley_nas(
    samples: AtLeastOne = 10,
    threshold: Share = 0.5,
    images: AtLeastTwo = 1024,
    warmup: Share = 0.5,
    momentum: Share = 0.0,
    *,
    space: Space,
) -> Algorithm:
    """DARTS whose alpha moves once per epoch, along the Shapley values of operations.

    Args:
        samples: orders in which operations are removed, each on a batch of its own.
        threshold: share of the accuracy below which the rest of an order counts nothing.
        images: of a batch of the validation half; the whole half where that is smaller.
        warmup: share of the run's epochs, rounded, from the first, in which alpha stays; the last
            epoch moves it.
        momentum: of the values, see `shapley`; 0 leaves it to the architecture optimizer.
        space: the search space; the program supplies it.

    Reference: Xiao et al., CVPR 2022, and its published code; deviations in
    docs/algorithms/shapley-nas.md.
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.unperturbed,
        hypergradient=shapley(samples, threshold, images, warmup, momentum, space=space),
        discretization=parts.argmax_per_edge,
    )
