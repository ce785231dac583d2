"""RSPS: random cells trained with shared weights, the best of k of them chosen by validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, Memory, Progress, Selection, Trial
from optnas.algorithms.chosen import CHOSEN, OPEN, chosen_or_usual, softmax_or_chosen
from optnas.algorithms.parts.perturbations import TrainLoss
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.spaces.base import Space

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("perturbation", "drawn-cell", needs=("noise",), itself=True)
def drawn_cell(
    op_weights_EO: Tensor, train_loss: TrainLoss, progress: Progress, generator: torch.Generator
) -> Tensor:
    """A cell in place of A: one-hot rows, each operation with probability 1 / O.

    The largest of O draws of U(0, 1) tells the operation of an edge.
    """
    del train_loss
    draws_EO = progress.noise_EO
    if draws_EO is None:
        draws_EO = torch.rand(op_weights_EO.shape, generator=generator, dtype=torch.float64)
    drawn_E1 = draws_EO.to(op_weights_EO.device).argmax(-1, keepdim=True)
    return torch.zeros_like(op_weights_EO).scatter(-1, drawn_E1, 1.0)


@register(
    "algorithm",
    "rsps",
    paper="Random Search and Reproducibility for Neural Architecture Search",
    year=2019,
    needs=("noise",),
)
def rsps(cells: Annotated[int, Field(ge=1)] = 100, *, space: Space) -> Algorithm:
    """Random search with parameter sharing: alpha stays, each weight step trains a random cell.

    Before the last epoch k cells are drawn uniformly and validated with the shared weights; the
    most accurate one, the first of equals, is the run's. The last epoch moves no weight: it judges
    that cell.

    Args:
        cells: k.
        space: the search space; the program supplies it, for its edges.

    Reference: Li and Talwalkar, UAI 2019, and the code of NAS-Bench-201; deviations in
    docs/algorithms/rsps.md.
    """

    def choose(trial: Trial) -> Memory:
        drawn_KE = torch.randint(
            space.operation_count, (cells, space.edge_count), generator=trial.generator()
        )
        like_EO = trial.op_weights_EO
        one_hot_KEO = torch.nn.functional.one_hot(drawn_KE, space.operation_count).to(like_EO)
        accuracies = [trial.evaluate(one_hot_EO)[1] for one_hot_EO in one_hot_KEO]
        return {CHOSEN: drawn_KE[accuracies.index(max(accuracies))]}

    def perturb(
        op_weights_EO: Tensor, train_loss: TrainLoss, progress: Progress, generator: torch.Generator
    ) -> Tensor:
        cell_EO = drawn_cell(op_weights_EO, train_loss, progress, generator)
        open_E = progress.memory[CHOSEN] == OPEN
        return torch.where(open_E[:, None], cell_EO, op_weights_EO)

    return Algorithm(
        relax=softmax_or_chosen,
        perturb=perturb,
        hypergradient=parts.frozen,
        discretize=parts.argmax_per_edge,
        start=lambda: {CHOSEN: torch.full((space.edge_count,), OPEN)},
        select=Selection(
            begins=lambda epochs: epochs, choose=choose, cell=chosen_or_usual, rate=0.0
        ),
    )
