"""RSPS: random cells trained with shared weights, the best of k of them chosen by validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from optnas.algorithms import parts
from optnas.algorithms.base import (
    Algorithm,
    ComputeHypergradient,
    Memory,
    Perturb,
    Progress,
    Selection,
    Trial,
)
from optnas.algorithms.chosen import (
    CHOSEN,
    LEFT_OUT,
    OPEN,
    chosen_or_usual,
    columns_of_cells,
    projected,
    softmax_or_chosen,
    softmax_unless_left_out,
    strongest_into_each_node,
)
from optnas.algorithms.parts.perturbations import TrainLoss
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("perturbation", "drawn-cell", needs=("noise",))
def drawn_cell(*, space: Space) -> Perturb:
    """A cell in place of A: one-hot rows, each operation with probability 1 / O.

    The largest of O draws of U(0, 1) tells the operation of an edge. Where derived cells keep some
    of the edges into a node, it is one of the operations other than ``none``, and the edges of the
    largest such draws are kept: how large the largest draw is says nothing of which it is, so that
    edges and operations are independent and uniform. The other rows are 0.

    Args:
        space: the search space; the program supplies it.
    """
    barred = space.entries_of(space.none) if space.keeps_some else []
    counts = [len(columns_of_cells(space, edge)) for edge in range(space.edge_count)]

    def perturb(
        op_weights_EO: Tensor, train_loss: TrainLoss, progress: Progress, generator: torch.Generator
    ) -> Tensor:
        del train_loss
        draws_EO = progress.noise_EO
        if draws_EO is None:
            draws_EO = torch.rand(op_weights_EO.shape, generator=generator, dtype=torch.float64)
        draws_EO = draws_EO.to(op_weights_EO.device)
        if barred:
            draws_EO = draws_EO.clone()
        for rows, column in barred:
            draws_EO[rows, column].fill_(-1)  # an assignment would be sent
        largest_E, drawn_E = draws_EO.max(-1)
        if len(set(counts)) > 1:  # the largest of n draws, to the n, is uniform whatever n is
            pairs = zip(largest_E.unbind(), counts, strict=True)
            largest_E = torch.stack([largest**count for largest, count in pairs])
        kept_E = strongest_into_each_node(largest_E, space)
        zeros_EO = torch.zeros_like(op_weights_EO)
        return zeros_EO.scatter(-1, drawn_E[:, None], kept_E[:, None].to(zeros_EO))

    return perturb


@register(
    "algorithm",
    "rsps",
    paper="Random Search and Reproducibility for Neural Architecture Search",
    year=2019,
    needs=("noise",),
)
def rsps(cells: AtLeastOne = 100, *, space: Space) -> Algorithm:
    """Random search with parameter sharing: alpha stays, each weight step trains a random cell.

    Before the last epoch k cells are drawn uniformly and validated with the shared weights; the
    most accurate one, the first of equals, is the run's. The last epoch moves no weight: it judges
    that cell. Drawn cells are cells of the space: where those keep some of the edges into a node,
    as many are drawn, with operations other than ``none``.

    Args:
        cells: k.
        space: the search space; the program supplies it, for its edges.

    Reference: Li and Talwalkar, UAI 2019, and the code of NAS-Bench-201; deviations in
    docs/algorithms/rsps.md.
    """

    def uniform(trial: Trial) -> Tensor:
        columns = [columns_of_cells(space, edge) for edge in range(space.edge_count)]
        shape, generator = (cells, space.edge_count), trial.generator()
        # Remainders of numbers below a common multiple are uniform on each edge.
        drawn_KE = torch.randint(math.lcm(*map(len, columns)), shape, generator=generator)
        for edge, own in enumerate(columns):
            drawn_KE[:, edge] = torch.tensor(own)[drawn_KE[:, edge] % len(own)]
        if space.keeps_some:
            kept_KE = strongest_into_each_node(torch.rand(shape, generator=generator), space)
            drawn_KE = torch.where(kept_KE, drawn_KE, LEFT_OUT)
        return drawn_KE

    return trained_by_cells(uniform, parts.frozen, space)


def trained_by_cells(
    candidates: Callable[[Trial], Tensor], hypergradient: ComputeHypergradient, space: Space
) -> Algorithm:
    """Each weight step trains a cell of `drawn_cell`; the best of some candidates is the run's.

    Candidates are made and validated with the shared weights before the last epoch; of equally
    accurate ones the first is chosen. The last epoch moves no weight: it judges that cell.

    Args:
        candidates: the search before its last epoch -> of each cell a column of alpha per edge, or
            `LEFT_OUT`, integers on the CPU, ``[cells, edges]``.
        hypergradient: what moves alpha, where A = softmax(alpha) until a cell is chosen.
        space: what is searched.
    """
    draw = drawn_cell(space=space)

    def choose(trial: Trial) -> Memory:
        like_EO, tried_KE = trial.op_weights_EO, candidates(trial)
        accuracies = [trial.evaluate(projected(like_EO, cell_E))[1] for cell_E in tried_KE]
        return {CHOSEN: tried_KE[accuracies.index(max(accuracies))]}

    def perturb(
        op_weights_EO: Tensor, train_loss: TrainLoss, progress: Progress, generator: torch.Generator
    ) -> Tensor:
        cell_EO = draw(op_weights_EO, train_loss, progress, generator)
        open_E = progress.memory[CHOSEN] == OPEN
        return torch.where(open_E[:, None], cell_EO, op_weights_EO)

    return Algorithm(
        relax=softmax_or_chosen,
        perturb=perturb,
        hypergradient=hypergradient,
        discretize=parts.argmax_per_edge,
        start=lambda: {CHOSEN: torch.full((space.edge_count,), OPEN)},
        select=Selection(
            begins=lambda epochs: epochs, choose=choose, cell=chosen_or_usual, rate=0.0
        ),
        strength=softmax_unless_left_out,
    )
