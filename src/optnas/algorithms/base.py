"""What an algorithm is: four parts, as values. The search loop knows no algorithm.

Importable without torch. Shapes: E edges, O operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol

from optnas.algorithms.progress import Draw, Memory, Progress
from optnas.base.schema import Count, Part

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
    "Turn",
    "Watch",
    "WeightGradients",
]

# A setting that is a hypergradient: its name, or a table of its name and settings. The algorithm
# receives the part.
HypergradientName = Annotated[Any, Part("hypergradient")]
DerivativeName = Literal["exact", "finite-difference"]
ProjectionName = Literal["published", "exact"]
# A length in epochs; 0 is that of the run.
EpochsOrRun = Count

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
    """What a selection, or a watch, may ask of the search it decides.

    Attributes:
        alpha_EO: architecture parameters, detached; to be read only.
        op_weights_EO: the operation weights as they are judged, detached.
        progress: the epoch that begins (a selection) or has ended (a watch), and the memory so far.
        weight_decay: of the network weights, the largest of the optimizer's groups; 0 where it has
            none.
    """

    alpha_EO: Tensor
    op_weights_EO: Tensor
    progress: Progress
    weight_decay: float

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

    def alpha_hessian(self, batches: int, batch_size: int) -> Tensor:
        """d2 L_val(w, relax(alpha)) / d alpha2 with w fixed, ``[E O, E O]``, float64 on the CPU.

        Args:
            batches: it is the mean over so many; the first images of the validation half, without
                augmentation, the same in every epoch, each batch normalised by its own statistics.
            batch_size: images of each; 0 for that of a training step.
        """
        ...


@dataclass(frozen=True)
class Selection:
    """The choice of a cell in the last epochs of a search, which go on training it.

    With its first epoch the weight optimizer begins anew, at a constant rate; the schedules of both
    levels end with the epoch before. Where ``rate`` is None nothing of this is so: the search is
    trained as if nothing were selected.

    Attributes:
        begins: the run's number of epochs -> the first epoch of the selection.
        choose: at the beginning of each of its epochs: what is to be remembered from then on, by
            name; the rest of the memory stays.
        cell: what the discretization chose, and the memory -> one operation per edge.
        rate: learning rate of the network weights meanwhile, as a share of ``weight_optimizer.lr``;
            None leaves rates and weight optimizer as they are.
    """

    begins: Callable[[int], int]
    choose: Callable[[Trial], Memory]
    cell: Callable[[list[int], Memory], list[int]]
    rate: float | None


class Turn(NamedTuple):
    """What a watch decides after an epoch.

    Attributes:
        memory: what is to be remembered from then on, by name; the rest of the memory stays. After
            a way back it joins what was remembered at that epoch.
        back: the epoch to whose end the search goes back; None leaves it where it is. The epochs
            after it are cut from the records and kept in turns.jsonl.
        decay: by what the weight decay of the network weights is multiplied.
        ends: whether the search ends there. Asked again afterwards, the watch says so again.
        reason: of a way back or an end, in one clause.
    """

    memory: Memory = MappingProxyType({})
    back: int | None = None
    decay: float = 1.0
    ends: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Watch:
    """A look at the search after some epochs, which may take it back to an earlier one, or end it.

    Attributes:
        look: what is decided; asked again, as after a kill, it decides the same.
        every: it looks at epochs that are multiples of this, but not after the last.
        back: how many epochs before a look a way back may lead, to epochs that it looked at.
        images: of the validation half that a batch of a look needs.
        first: the first epoch after which it may turn; of a search that has ended by then it is
            said at the start that it cannot.
        raises_decay: whether a turn may raise the weight decay; a weight optimizer without any is
            then refused.
        decay_max: how far a turn raises it; a weight optimizer that begins there or above is
            refused.
    """

    look: Callable[[Trial], Turn]
    every: int
    back: int
    images: int = 0
    first: int = 0
    raises_decay: bool = False
    decay_max: float = math.inf


@dataclass(frozen=True)
class Algorithm:
    """A differentiable architecture search, as a choice of parts.

    Attributes:
        relax: alpha_EO and progress -> operation weights, differentiable in alpha.
        perturb: what happens to the operation weights in the weight step, and only there.
        hypergradient: the gradient that drives alpha.
        discretize: alpha_EO -> one operation per edge; of the operation weights where
            ``reads_op_weights`` says so or alpha has further columns.
        also_validate: further relaxations under which validation accuracy is recorded, as
            ``valid_accuracy_NAME``.
        start: the memory before the first epoch, if anything is in it.
        select: how the last epochs choose the cell; None leaves that to ``discretize``.
        watch: how it looks at the search after an epoch, to take it back or to end it; a run does,
            a `Session` by itself does not.
        initial: space and generator -> alpha before the first step, drawn on the CPU in double
            precision; ``supernet.alpha_scale`` is then not read. None draws all columns from
            N(0, ``alpha_scale``^2), the operations first.
        on_weight_gradients: sees the gradients of each evaluation of a weight step before they are
            clipped.
        columns: further columns of alpha, after those of the operations: alpha is
            [E, O + columns] for ``relax``, optimizers, records and checkpoints.
        mixed_cell: makes another mixed cell than the space's own, for an algorithm that is
            registered with ``needs=("own-cell",)``; measures that are of the space's own, see
            `usual_cell`, are then refused or null.
        project: alpha after each step of its optimizer -> alpha, such as the nearest allowed one.
        reads_op_weights: whether ``discretize`` is given the operation weights.
        strength: alpha and progress -> a matrix whose entry for the operation chosen on an edge
            ranks the edges into a node, where derived cells keep some of them. None is softmax of
            alpha, or the operation weights where ``discretize`` is given these.
        auxiliary_skip: whether what a row of operation weights has over 1 is an auxiliary skip; the
            search says it of one that needs ``auxiliary-skip``, itself or in a part.
        skip_dropout: progress -> share, from 0 to below 1, of the elements of the output of each
            skip that is an identity, on each edge by itself, that a step sets to 0, the others
            divided by one less that share; where A is judged none is. Of an algorithm that needs
            ``skip-dropout``.
        most_skips: of derived cells' first kind: while there are more, that of the smallest
            strength is no longer a candidate of its edge, and the cell is derived anew; a skip that
            ``select`` chose stays. None sets no limit.
        caveat: what these settings may do unnoticed, and the remedy, in one line; a search is
            warned of it once, before its first step.
    """

    relax: Relax
    perturb: Perturb
    hypergradient: ComputeHypergradient
    discretize: Discretize
    also_validate: Mapping[str, Relax] = field(default_factory=dict)
    start: Callable[[], Memory] | None = None
    select: Selection | None = None
    watch: Watch | None = None
    initial: Initial | None = None
    columns: int = 0
    on_weight_gradients: OnWeightGradients | None = None
    mixed_cell: MakeCell | None = None
    project: Project | None = None
    reads_op_weights: bool = False
    strength: Relax | None = None
    auxiliary_skip: bool = False
    skip_dropout: Callable[[Progress], float] | None = None
    most_skips: int | None = None
    caveat: str = ""

    def __post_init__(self) -> None:
        if self.columns:
            object.__setattr__(self, "reads_op_weights", True)

    @property
    def usual_cell(self) -> bool:
        """Whether one-hot operation weights are a cell, and the column of ``none`` is not read.

        So it is in the space's own network; under another mixed cell neither need hold.
        """
        return self.mixed_cell is None

    def cell(self, alpha_EO: Tensor, progress: Progress) -> list[int]:
        """The cell of a moment."""
        read_EO = self.relax(alpha_EO, progress) if self.reads_op_weights else alpha_EO
        return self.chosen(read_EO, progress)

    def strengths(self, alpha_EO: Tensor, progress: Progress) -> Tensor:
        """What ranks the edges into a node by the entry of the operation chosen on each."""
        if self.strength is not None:
            return self.strength(alpha_EO, progress)
        return self.relax(alpha_EO, progress) if self.reads_op_weights else alpha_EO.softmax(-1)

    def chosen(self, read_EO: Tensor, progress: Progress) -> list[int]:
        """The cell of what the discretization reads, as far as nothing else was selected."""
        choice = self.discretize(read_EO)
        return choice if self.select is None else self.select.cell(choice, progress.memory)
