"""A search between two epochs, as a measure sees it. Shapes: B images, E edges, O operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from optnas.algorithms.base import Algorithm, Progress
from optnas.algorithms.bilevel import Bilevel
from optnas.base.seeds import named_generator
from optnas.data.augmentation import Augmentation
from optnas.data.images import Images
from optnas.measures.evaluation import (
    Batch,
    augmented_batch,
    clean_batch,
    evaluate_batches,
    fixed_indices,
    in_order,
    recalibrated,
)
from optnas.spaces.base import Architecture, Space
from optnas.spaces.network import FixedNetwork, SearchNetwork, Statistics
from optnas.spaces.tables import Table
from optnas.spaces.tables.told import describe_benchmark

Half = Literal["train", "valid"]


@dataclass(frozen=True)
class Snapshot:
    """What a measure may look at. To be read only: tensors are the search's own memory.

    Nothing here requires gradients; a measure that wants them asks for them on tensors of its own,
    such as ``snapshot.alpha_EO.clone().requires_grad_()``, and takes them with
    ``torch.autograd.grad``.

    Attributes:
        name: of the measure that looks.
        progress: epoch and number of epochs.
        seed: of the run.
        space: the search space.
        algorithm: its four parts.
        supernet: the network; its weights are detached.
        statistics: running batch-norm statistics, None where the run tracks none.
        alpha_EO: architecture parameters, detached.
        op_weights_EO: the clean operation weights, relax(alpha).
        images: the two halves, ``train`` and ``valid``.
        table: the benchmark.
        dataset: name of the data set that is searched on.
        batch_size: of a training step.
        evaluation_size: images of a batch in a pass over a half.
        augmentation: what is done to the images in training.
        augmented: whether it is done to those of a pass over a half too.
        weight_optimizer: the live one, for a measure that reads its rate and state.
        bilevel: a train batch, a validation batch and further train batches -> the bilevel problem
            at this moment, as a hypergradient receives it: at the live weights, with the steps of
            the live weight optimizer, for a measure registered with ``needs=("virtual-step",)``.
        alone: an architecture and a CPU generator of initial weights -> its stand-alone network,
            untrained, of the channels, cells and classes that the supernet has.
    """

    name: str
    progress: Progress
    seed: int
    space: Space
    algorithm: Algorithm
    supernet: SearchNetwork
    statistics: Statistics | None
    alpha_EO: Tensor
    op_weights_EO: Tensor
    images: dict[Half, Images]
    table: Table
    dataset: str
    batch_size: int
    evaluation_size: int
    augmentation: Augmentation
    augmented: bool
    weight_optimizer: torch.optim.Optimizer
    bilevel: Callable[[Batch, Batch, Sequence[Batch]], Bilevel]
    alone: Callable[[Architecture, torch.Generator], FixedNetwork]

    def seen_by(self, name: str) -> Snapshot:
        """The same moment in the eyes of a measure; of one named by path, its own name counts."""
        return replace(self, name=name.rpartition(":")[2])

    @property
    def dtype(self) -> torch.dtype:
        """Of network weights, alpha and images."""
        return self.alpha_EO.dtype

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.alpha_EO.device

    @property
    def choice(self) -> list[int]:
        """The cell of this epoch, one operation per edge."""
        return derived(self.algorithm, self.alpha_EO, self.progress, self.space)

    def relax(self, alpha_EO: Tensor) -> Tensor:
        """Operation weights of an alpha, as in this epoch."""
        return self.algorithm.relax(alpha_EO, self.progress)

    def one_hot(self, choice: Sequence[int]) -> Tensor:
        """Operation weights of one cell: 1 for the operation of each edge, 0 for the others."""
        return torch.tensor(self.space.one_hot(choice), dtype=self.dtype, device=self.device)

    def batches(self, half: Half, count: int, batch_size: int | None = None) -> Iterator[Batch]:
        """The same clean batches in every epoch and every run on these data.

        In stored order from the first image on. They wrap round where a half has fewer than
        ``count * batch_size`` images: images then come twice, though never twice in one batch.

        Args:
            half: ``train`` or ``valid``.
            count: number of batches.
            batch_size: of each; that of a training step by default.

        Yields:
            The batches.
        """
        images = self.images[half]
        for indices_B in fixed_indices(len(images), count, batch_size or self.batch_size):
            yield clean_batch(images, indices_B, self.dtype)

    def augmented_batch(self, half: Half, indices_B: Tensor, generator: torch.Generator) -> Batch:
        """A batch as training would see it.

        Args:
            half: ``train`` or ``valid``.
            indices_B: which images of it.
            generator: of crops, flips and cutouts.
        """
        images = self.images[half]
        return augmented_batch(images, indices_B, self.augmentation, generator, self.dtype)

    def pass_batches(self, half: Half, count: int, *, augmented: bool) -> Iterator[Batch]:
        """The first images of a half, in order.

        Args:
            half: ``train`` or ``valid``.
            count: how many images.
            augmented: as training would see them, by the stream of the epoch's passes: with the
                same crops and flips each time.

        Yields:
            Batches of the size of a pass.
        """
        if not augmented:
            yield from in_order(self.images[half], count, self.evaluation_size, self.dtype)
            return
        generator = named_generator(self.seed, f"evaluation-{self.progress.epoch}")
        for indices_B in torch.arange(count).split(self.evaluation_size):
            yield self.augmented_batch(half, indices_B, generator)

    def evaluate(
        self, op_weights_EO: Tensor, statistics: Statistics | None, *, half: Half = "valid"
    ) -> tuple[float, float]:
        """Loss in nats and accuracy in percent over a whole half, in order.

        Where the settings ask for an augmented pass (``evaluation.augmented``), each call of an
        epoch sees the same crops and flips, whatever the operation weights.

        Args:
            op_weights_EO: the operation weights to judge.
            statistics: ``snapshot.statistics`` for the run's own mode, a value of `recalibrated`,
                or None for those of each batch.
            half: ``train`` or ``valid``.

        Returns:
            Loss and accuracy; with the run's own mode and weights on ``valid`` they are
            ``valid_loss`` and ``valid_accuracy`` of the record.
        """
        batches = self.pass_batches(half, len(self.images[half]), augmented=self.augmented)
        return evaluate_batches(self.supernet, batches, op_weights_EO, statistics=statistics)

    def recalibrated(
        self, op_weights_EO: Tensor, count: int = 50, batch_size: int | None = None
    ) -> Statistics:
        """Batch-norm statistics for other operation weights, from clean training batches.

        Args:
            op_weights_EO: the operation weights.
            count: number of batches.
            batch_size: of each; that of a training step by default.

        Returns:
            A new value; see `optnas.measures.evaluation.recalibrated`.
        """
        return recalibrated(self.supernet, op_weights_EO, self.batches("train", count, batch_size))

    def benchmark(self, architecture: Architecture) -> dict[str, Any]:
        """What the run's table says of a cell, as in the records."""
        return describe_benchmark(self.table, architecture)

    def generator(self) -> torch.Generator:
        """A CPU generator that depends on the run's seed, the measure and the epoch alone."""
        return named_generator(self.seed, f"measure/{self.name}/{self.progress.epoch}")


def without_none(read_EO: Tensor, space: Space) -> Tensor:
    """What a discretization reads where a derived cell has no ``none`` on the edges that it keeps.

    Args:
        read_EO: alpha or operation weights.
        space: what is searched.

    Returns:
        The same; the entries of ``none`` are -inf where derived cells leave edges out.
    """
    barred = space.entries_of(space.none) if space.keeps_some else []
    if barred:
        read_EO = read_EO.clone()
    for rows, column in barred:
        read_EO[rows, column] = -torch.inf
    return read_EO


def derived(algorithm: Algorithm, alpha_EO: Tensor, progress: Progress, space: Space) -> list[int]:
    """The cell that an algorithm derives, with the edges that its space keeps.

    Args:
        algorithm: derives it.
        alpha_EO: architecture parameters.
        progress: where the search stands.
        space: what is searched.

    Returns:
        One operation per edge.

    Raises:
        UserError: see `strongest`.
    """

    def choose(alpha_EO: Tensor) -> list[int]:
        return algorithm.cell(alpha_EO, progress)

    strength_EO = algorithm.strengths(alpha_EO, progress)
    return strongest_of(choose, alpha_EO, strength_EO, algorithm.most_skips, space)


def strongest_of(
    choose: Callable[[Tensor], list[int]],
    read_EO: Tensor,
    strength_EO: Tensor,
    most_skips: int | None,
    space: Space,
) -> list[int]:
    """The cell of what is read, with the edges that its space keeps and no skips beyond a limit.

    Args:
        choose: what is read -> one column per edge.
        read_EO: alpha or operation weights.
        strength_EO: as of `strongest`.
        most_skips: as of `optnas.algorithms.base.Algorithm`.
        space: what is searched.

    Returns:
        One operation per edge.

    Raises:
        UserError: see `strongest`.
    """
    read_EO = without_none(read_EO, space)
    cell = strongest(choose(read_EO), strength_EO, space)
    if most_skips is None:
        return cell
    kind, read_EO = range(len(space.wirings[0].edges)), read_EO.clone()
    while True:
        skips = [(e, space.columns_at(e).index(cell[e])) for e in kind if cell[e] == space.skip]
        finite_EO = read_EO[:, : space.operation_count] > -torch.inf
        # An edge without another candidate keeps its skip, and so does one whose choice is another
        # than what is read.
        may_go = [(e, o) for e, o in skips if finite_EO[e, o] and finite_EO[e].sum() > 1]
        if len(skips) <= most_skips or not may_go:
            return cell
        read_EO[min(may_go, key=lambda at: float(strength_EO[at]))] = -torch.inf
        cell = strongest(choose(read_EO), strength_EO, space)


def strongest(choice: Sequence[int], strength_EO: Tensor, space: Space) -> list[int]:
    """The cell with the edges that its space keeps, by the strength of the operation on each.

    Args:
        choice: one column per edge.
        strength_EO: such as softmax of alpha.
        space: what is searched.

    Returns:
        One operation per edge.

    Raises:
        UserError: the choice has ``none`` on so many edges into a node that too few are left.

    Reference: Liu, Simonyan and Yang, ICLR 2019, section 2.4.
    """
    operations = space.chosen(choice)
    if not space.keeps_some:
        return operations
    strength_E = strength_EO[range(len(choice)), list(choice)]
    return space.kept(operations, strength_E.tolist())
