"""What an algorithm is: four parts, as values. The search loop knows no algorithm.

Importable without torch. Shapes: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import Field

from optnas.algorithms.progress import Draw, Memory, Progress
from optnas.base.schema import Part

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from optnas.algorithms.bilevel import Bilevel, Hypergradient
    from optnas.spaces.base import Space
    from optnas.spaces.network.cells import MakeCell

__all__ = [
    "Algorithm",
    "ComputeHypergradient",
    "DerivativeName",
    "Discretize",
    "Draw",
    "EpochsOrRun",
    "HypergradientName",
    "Initial",
    "Memory",
    "OnWeightGradients",
    "Perturb",
    "Progress",
    "Project",
    "ProjectionName",
    "Relax",
    "Selection",
    "Trial",
    "WeightGradients",
]

# A setting that is a hypergradient: its name, or a table of its name and settings. The algorithm
# receives the part.
HypergradientName = Annotated[Any, Part("hypergradient")]
DerivativeName = Literal["exact", "finite-difference"]
ProjectionName = Literal["published", "exact"]
# A length in epochs; 0 is that of the run.
EpochsOrRun = Annotated[int, Field(ge=0)]

Relax = Callable[["Tensor", Progress], "Tensor"]
# operation weights, train loss as a function of them, progress, generator -> operation weights
Perturb = Callable[
    ["Tensor", Callable[["Tensor"], "Tensor"], Progress, "torch.Generator"], "Tensor"
]
ComputeHypergradient = Callable[
    ["Bilevel", "Tensor", Callable[["Tensor"], "Tensor"]], "Hypergradient"
]
Discretize = Callable[["Tensor"], list[int]]
# space, generator -> alpha before the first step
Initial = Callable[["Space", "torch.Generator"], "Tensor"]
# alpha after a step of its optimizer -> alpha
Project = Callable[["Tensor"], "Tensor"]


class WeightGradients(NamedTuple):
    """What an algorithm hands back that has looked at the gradients of a weight step.

    Attributes:
        gradients: by name of the weight, in place of its own; None leaves that weight where it is,
            under weight decay and momentum too. Gradients that are not named stay.
        memory: what is to be remembered from this step on, as of `Hypergradient.memory`.
    """

    gradients: Mapping[str, Tensor | None] = MappingProxyType({})
    memory: Memory | None = None


# gradients by name of the weight before clipping, progress -> what becomes of them
OnWeightGradients = Callable[[Mapping[str, "Tensor"], Progress], WeightGradients]


class Trial(Protocol):
    """What a selection may ask of the search it decides, at the beginning of an epoch.

    Attributes:
        alpha_EO: architecture parameters, detached; to be read only.
        op_weights_EO: the operation weights as they are judged, detached.
        progress: the epoch that begins, and the memory so far.
    """

    alpha_EO: Tensor
    op_weights_EO: Tensor
    progress: Progress

    def evaluate(self, op_weights_EO: Tensor) -> tuple[float, float]:
        """Loss in nats and accuracy in percent of operation weights.

        Args:
            op_weights_EO: any.

        Returns:
            Over the whole validation half, in order, each batch normalised by its own statistics.
        """
        ...

    def generator(self) -> torch.Generator:
        """A CPU generator that depends on the run's seed and the epoch alone."""
        ...


@dataclass(frozen=True)
class Selection:
    """The choice of a cell in the last epochs of a search, which go on training it.

    With its first epoch the weight optimizer begins anew, at a constant rate; the schedules of both
    levels end with the epoch before.

    Attributes:
        begins: the run's number of epochs -> the first epoch of the selection.
        choose: at the beginning of each of its epochs: what is to be remembered from then on, by
            name; the rest of the memory stays.
        cell: what the discretization chose, and the memory -> one operation per edge.
        rate: learning rate of the network weights meanwhile, as a share of ``weight_optimizer.lr``.
    """

    begins: Callable[[int], int]
    choose: Callable[[Trial], Memory]
    cell: Callable[[list[int], Memory], list[int]]
    rate: float


@dataclass(frozen=True)
class Algorithm:
    """A differentiable architecture search, as a choice of parts.

    Attributes:
        relax: alpha_EO and progress -> operation weights, differentiable in alpha.
        perturb: what happens to the operation weights in the weight step, and only there.
        hypergradient: the gradient that drives alpha.
        discretize: alpha_EO -> one operation per edge. Where alpha has further columns it reads the
            operation weights instead.
        also_validate: further relaxations under which validation accuracy is recorded, as
            ``valid_accuracy_NAME``.
        start: the memory before the first epoch, if anything is in it.
        select: how the last epochs choose the cell; None leaves that to ``discretize``.
        initial: space and generator -> alpha before the first step, drawn on the CPU in double
            precision; ``supernet.alpha_scale`` is then not read. None draws all columns from
            N(0, ``alpha_scale``^2), the operations first.
        on_weight_gradients: sees the gradients of each evaluation of a weight step before they are
            clipped.
        columns: further columns of alpha, after those of the operations: alpha is
            [E, O + columns] for ``relax``, optimizers, records and checkpoints.
        mixed_cell: makes another mixed cell than the space's own, for an algorithm that is
            registered with ``needs=("own-cell",)``.
        project: alpha after each step of its optimizer -> alpha, such as the nearest allowed one.
    """

    relax: Relax
    perturb: Perturb
    hypergradient: ComputeHypergradient
    discretize: Discretize
    also_validate: Mapping[str, Relax] = field(default_factory=dict)
    start: Callable[[], Memory] | None = None
    select: Selection | None = None
    initial: Initial | None = None
    columns: int = 0
    on_weight_gradients: OnWeightGradients | None = None
    mixed_cell: MakeCell | None = None
    project: Project | None = None

    def cell(self, alpha_EO: Tensor, progress: Progress) -> list[int]:
        """The cell of a moment."""
        read_EO = self.relax(alpha_EO, progress) if self.columns else alpha_EO
        return self.chosen(read_EO, progress)

    def chosen(self, read_EO: Tensor, progress: Progress) -> list[int]:
        """The cell of what the discretization reads, as far as nothing else was selected."""
        choice = self.discretize(read_EO)
        return choice if self.select is None else self.select.cell(choice, progress.memory)
