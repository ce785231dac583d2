"""SGAS: DARTS that decides one edge after the other while it searches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, Memory, Progress, Selection, Trial
from optnas.algorithms.chosen import (
    CHOSEN,
    LEFT_OUT,
    OPEN,
    chosen_or_usual,
    softmax_or_chosen,
    softmax_unless_left_out,
)
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, Share
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Criterion = Literal[1, 2]
# Memory beside the chosen operations: alpha of each decided edge as it was then; of criterion 2 the
# distributions of the last K epochs, fewer at first.
HELD, HISTORY = "held_EO", "history_KEO"


@register("algorithm", "sgas", paper="SGAS: Sequential Greedy Architecture Search", year=2020)
def sgas(
    criterion: Criterion = 1,
    history: AtLeastOne = 4,
    warmup: Share = 0.2,
    after: Share = 0.1,
    hypergradient: HypergradientName = "first-order",
    *,
    space: Space,
) -> Algorithm:
    """DARTS that decides the most certain open edge of each kind of cell, again and again.

    Of the T epochs, ``warmup`` T come before the first decision and ``after`` T follow the last;
    the others are evenly between them, see `decided_after`. What decides is told in `scored`. The
    operation is that of the largest alpha but ``none``: the edge's row of operation weights is
    one-hot from then on, in both steps and wherever A is judged. Where derived cells keep m of the
    edges into a node, the others are left out, with a row of 0, once m are decided.

    Args:
        criterion: 1, or 2 for one that also looks at how steady an edge has been.
        history: K, epochs that criterion 2 looks back.
        warmup: share of the run's epochs before the first decision, at least one of them.
        after: share of the run's epochs after the last decision, at least one of them.
        hypergradient: the gradient that moves alpha.
        space: the search space; the program supplies it, for its edges.

    Raises:
        UserError: both shares together are more than the run.

    Reference: Li et al., CVPR 2020, and its published code; deviations in docs/algorithms/sgas.md.
    """
    if warmup + after > 1:
        raise UserError(
            f"this and warmup = {warmup:g} are more than the whole run",
            key="after",
            value=after,
            remedy="lower one of them, so that their sum is at most 1",
        )
    kinds = kinds_of(space)
    decisions = max(kind.decisions for kind in kinds)

    def choose(trial: Trial) -> Memory:
        progress = trial.progress
        chosen, alpha_EO = progress.memory[CHOSEN].tolist(), trial.alpha_EO.double().cpu()
        decided_E1 = torch.tensor([each != OPEN for each in chosen])[:, None]
        held_EO = torch.where(decided_E1, progress.memory[HELD].cpu(), alpha_EO)
        past_KEO = progress.memory[HISTORY].cpu() if criterion == 2 else None
        found = scored(held_EO, space, past_KEO)
        last = decided_after(progress.epochs, decisions, warmup, after)
        due = sum(epoch < progress.epoch for epoch in last)
        for kind in kinds:
            decide(chosen, kind, found, due)
        remembered = {CHOSEN: torch.tensor(chosen), HELD: held_EO}
        if past_KEO is not None:
            remembered[HISTORY] = torch.cat([past_KEO, found.shares_EO[None]])[-history:]
        return remembered

    def start() -> Memory:
        shape = (space.edge_count, space.operation_count)
        memory = {
            CHOSEN: torch.full((space.edge_count,), OPEN),
            HELD: torch.zeros(shape, dtype=torch.float64),
        }
        past = {HISTORY: torch.zeros((0, *shape), dtype=torch.float64)}
        return memory | past if criterion == 2 else memory

    return Algorithm(
        relax=softmax_or_chosen,
        perturb=parts.unperturbed,
        hypergradient=hypergradient,
        discretize=parts.argmax_per_edge,
        start=start,
        select=Selection(
            begins=lambda epochs: min(2, epochs), choose=choose, cell=chosen_or_usual, rate=None
        ),
        strength=decided_first,
    )


class Kind(NamedTuple):
    """The rows of alpha of one kind of cell.

    Attributes:
        rows: all of them.
        nodes: those of the edges into each node, and how many of these are decided.
    """

    rows: range
    nodes: list[tuple[range, int]]

    @property
    def decisions(self) -> int:
        """How many edges are decided."""
        return sum(kept for _, kept in self.nodes)


def kinds_of(space: Space) -> list[Kind]:
    """The kinds of cell of a space."""
    kinds, before = [], 0
    for wiring in space.wirings:
        rows = range(before, before + len(wiring.edges))
        own = [joint.rows for joint in space.joints if joint.rows.start in rows]
        kinds.append(Kind(rows, [(into, min(wiring.kept or len(into), len(into))) for into in own]))
        before = rows.stop
    return kinds


def decided_after(epochs: int, decisions: int, warmup: float, after: float) -> list[int]:
    """The epochs after which an edge of each kind is decided, at the beginning of the next.

    Args:
        epochs: of the run.
        decisions: how many.
        warmup: as of `sgas`.
        after: as of `sgas`.

    Returns:
        Epochs that rise; the same one several times where there are fewer epochs than decisions,
        and 0, before the first, in a run of a single epoch.

    Example:
        >>> decided_after(50, 8, 0.2, 0.1)
        [10, 15, 20, 25, 30, 35, 40, 45]
    """
    least = min(1, epochs - 1)
    last = max(epochs - max(round(after * epochs), 1), least)
    first = min(max(round(warmup * epochs), least), last)
    return [first + i * (last - first) // max(decisions - 1, 1) for i in range(decisions)]


class Scored(NamedTuple):
    """What edges are decided by: their scores, and shares of the operations but ``none``."""

    score_E: Tensor
    shares_EO: Tensor


def scored(alpha_EO: Tensor, space: Space, past_KEO: Tensor | None = None) -> Scored:
    """The score of each edge, the larger the sooner it is decided.

    With A = softmax(alpha), n operations but ``none`` on an edge and o one of them,

        importance  S_EI = sum_o A[o]                     shares  p[o] = A[o] / S_EI
        certainty   S_SC = 1 + sum_o p[o] log p[o] / log n
        stability   S_SS = mean over past epochs of sum_o min(p_past[o], p[o])

    and the score is norm(S_EI) norm(S_SC), times norm(S_SS) where a past is given. norm maps the
    least of a kind of cell to 0 and the largest to 1, or all to 0 where they are equal. S_EI is
    left out where no edge of the kind has ``none`` as a candidate: it is 1, and its rounding would
    decide.

    Args:
        alpha_EO: float64; of decided edges as it was when they were.
        space: what is searched.
        past_KEO: shares of past epochs; of none of them S_SS is 0.

    Returns:
        Scores, and shares with 0 in the place of ``none``.
    """
    columns = [space.columns_at(edge) for edge in range(space.edge_count)]
    none_EO = torch.tensor([[each == space.none for each in row] for row in columns])
    importance_E = alpha_EO.softmax(-1).masked_fill(none_EO, 0).sum(-1)
    shares_EO = alpha_EO.masked_fill(none_EO, -math.inf).softmax(-1)
    entropy_E = torch.special.entr(shares_EO).sum(-1)
    count_E = (~none_EO).sum(-1).double().clamp(min=2)  # of a single one the entropy is 0
    factors = [1 - entropy_E / count_E.log(), importance_E]
    if past_KEO is not None:
        same_KE = torch.minimum(past_KEO, shares_EO).sum(-1)
        factors.append(same_KE.sum(0) / max(len(same_KE), 1))
    score_E = torch.ones_like(entropy_E)
    for kind in kinds_of(space):
        rows = slice(kind.rows.start, kind.rows.stop)
        for factor_E in factors:
            if factor_E is not importance_E or none_EO[rows].any():
                score_E[rows] *= normalised(factor_E[rows])
    return Scored(score_E, shares_EO)


def normalised(values_E: Tensor) -> Tensor:
    """From 0 for the least to 1 for the largest; 0 for all where they are equal."""
    spread = values_E.max() - values_E.min()
    return (values_E - values_E.min()) / spread if spread > 0 else torch.zeros_like(values_E)


def decide(chosen: list[int], kind: Kind, found: Scored, due: int) -> None:
    """Decide edges of one kind of cell until so many of them are, or no one is open.

    Args:
        chosen: by edge, as in the memory; changed.
        kind: of the cell.
        found: by which edges are decided; of equals the first one is.
        due: how many edges are to be decided.
    """
    score = found.score_E.tolist()
    while sum(chosen[edge] >= 0 for edge in kind.rows) < due:
        candidates = [edge for edge in kind.rows if chosen[edge] == OPEN]
        if not candidates:
            return
        edge = max(candidates, key=score.__getitem__)
        chosen[edge] = int(found.shares_EO[edge].argmax())
        for into, kept in kind.nodes:
            if sum(chosen[each] >= 0 for each in into) >= kept:
                for each in into:
                    chosen[each] = LEFT_OUT if chosen[each] == OPEN else chosen[each]


def decided_first(alpha_EO: Tensor, progress: Progress) -> Tensor:
    """What edges are ranked by: decided ones before open ones, those by softmax(alpha)."""
    strength_EO = softmax_unless_left_out(alpha_EO, progress)
    if CHOSEN not in progress.memory:
        return strength_EO
    decided_E1 = progress.memory[CHOSEN].to(strength_EO.device)[:, None] >= 0
    return torch.where(decided_E1, 2 * torch.ones_like(strength_EO), strength_EO)
