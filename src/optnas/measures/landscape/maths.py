"""The validation loss on a plane through the current operation weights, and along a path.

Symbols: A operation weights, a = alpha, d1 and d2 the directions of the plane, w fixed throughout.
Shapes: E edges, O operations, P = E O, G points per axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from optnas.algorithms.parts import argmax_per_edge
from optnas.algorithms.parts.perturbations import clip_and_renormalise
from optnas.base.errors import UserError
from optnas.measures.auxiliary import without_auxiliary
from optnas.measures.curvature.hessian import alpha_hessian
from optnas.measures.evaluation import Batch, evaluate_batches
from optnas.measures.landscape.directions import (
    orthogonalised,
    scaled,
    top_eigenvectors,
    without_row_means,
)
from optnas.measures.landscape.surfaces import Grid, Plane, PointSpace, PointStatistics, Surface
from optnas.measures.snapshot import Snapshot, derived, strongest_of
from optnas.spaces.network import Statistics

# What is added of softmax(alpha) where the largest entry of a row of A is sought: equal ones, such
# as the zeros of a one-hot row, rank as alpha does.
TIES = 1e-12

# --- what judges a point ----------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """Loss and accuracy of operation weights on fixed validation images.

    Attributes:
        snapshot: the search.
        batches: the images.
        recalibration: training batches that statistics of a point's own are averaged over.
    """

    snapshot: Snapshot
    batches: Sequence[Batch]
    recalibration: int

    @classmethod
    def on_first(
        cls, snapshot: Snapshot, images: int, recalibration: int, *, augmented: bool = False
    ) -> Judge:
        """On the first images of the validation half, in stored order; 0 is all of them."""
        size = len(snapshot.images["valid"])
        batches = snapshot.pass_batches("valid", min(images or size, size), augmented=augmented)
        return cls(snapshot, list(batches), recalibration)

    @property
    def images(self) -> int:
        """How many images judge."""
        return sum(len(batch.labels_B) for batch in self.batches)

    def statistics(self, op_weights_EO: Tensor, kind: PointStatistics) -> Statistics | None:
        """The run's batch-norm statistics, or those that fit the operation weights."""
        if kind == "run":
            return self.snapshot.statistics
        return self.snapshot.recalibrated(op_weights_EO, self.recalibration)

    def score(self, op_weights_EO: Tensor, kind: PointStatistics) -> tuple[float, float]:
        """Loss in nats and accuracy in percent."""
        statistics = self.statistics(op_weights_EO, kind)
        return evaluate_batches(
            self.snapshot.supernet, self.batches, op_weights_EO, statistics=statistics
        )

    def losses(self, statistics: Statistics | None) -> list[Callable[[Tensor], Tensor]]:
        """Each batch's share of the mean loss, as a function of the operation weights."""

        def share(batch: Batch) -> Callable[[Tensor], Tensor]:
            def loss(op_weights_EO: Tensor) -> Tensor:
                logits_BK, _ = self.snapshot.supernet(
                    batch.images_BCHW, op_weights_EO, statistics=statistics
                )
                return F.cross_entropy(logits_BK, batch.labels_B, reduction="sum") / self.images

            return loss

        return [share(batch) for batch in self.batches]


# --- the plane --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chart:
    """Points by their coordinates: displacements of A or of alpha.

    Attributes:
        snapshot: the search.
        space: ``op-weights`` displaces A, ``logits`` displaces alpha; where alpha has further
            columns than those of the operations, they stay.
    """

    snapshot: Snapshot
    space: PointSpace

    @property
    def centre(self) -> Tensor:
        """A or alpha."""
        snapshot = self.snapshot
        if self.space == "op-weights":
            return snapshot.op_weights_EO
        return snapshot.alpha_EO[:, : snapshot.space.operation_count]

    def relax(self, point_EO: Tensor) -> Tensor:
        """Operation weights of a point, differentiable, nothing cut off."""
        return (
            point_EO if self.space == "op-weights" else self.snapshot.relax(self._whole(point_EO))
        )

    def _whole(self, logits_EO: Tensor) -> Tensor:
        further = self.snapshot.alpha_EO[:, self.snapshot.space.operation_count :]
        return torch.cat([logits_EO, further.to(logits_EO)], dim=-1)

    def op_weights(self, shift_EO: Tensor) -> Tensor:
        """Operation weights after a displacement, feasible; those of the search at zero.

        In A a row that would leave the simplex is brought back as SDARTS does after its
        perturbation: clamped, then divided by its sum. A row keeps its sum, which need not be 1; of
        an edge that is left out it is 0.

        Args:
            shift_EO: float64.

        Returns:
            Operation weights in the network's dtype.
        """
        moved_EO = self.centre.double() + shift_EO.to(self.snapshot.device)
        if self.space == "logits":
            return self.relax(moved_EO.to(self.snapshot.dtype))
        sums_E1 = self.snapshot.op_weights_EO.double().sum(-1, keepdim=True)
        shares_EO = moved_EO / torch.where(sums_E1 == 0, 1.0, sums_E1)
        back_EO = clip_and_renormalise(shares_EO) * sums_E1
        inside_E1 = (moved_EO >= 0).all(-1, keepdim=True)
        return torch.where(inside_E1, moved_EO, back_EO).to(self.snapshot.dtype)

    def choice(self, shift_EO: Tensor) -> list[int]:
        """The cell that a displaced search would derive.

        In A it is that of the displaced operation weights: what the algorithm's discretization
        makes of them where it is given these, else the largest of each row, as relaxations that
        rise with alpha leave the largest entry where it was. An auxiliary skip is in no cell. What
        ranks edges is displaced as much.

        Args:
            shift_EO: float64.

        Returns:
            One operation per edge; the derived cell at zero.

        Raises:
            UserError: A is displaced, and the algorithm discretizes alpha in a way of its own.
        """
        snapshot, algorithm = self.snapshot, self.snapshot.algorithm
        space, progress = snapshot.space, snapshot.progress
        if self.space == "logits":
            moved_EO = self.centre.double() + shift_EO.to(snapshot.device)
            return derived(algorithm, self._whole(moved_EO), progress, space)
        if not algorithm.reads_op_weights and algorithm.discretize is not argmax_per_edge:
            raise UserError(
                "the algorithm chooses operations by alpha, in a way of its own, and of displaced"
                " operation weights it says nothing",
                key="space",
                value=self.space,
                remedy="set space=logits",
            )
        point_EO = read_EO = self.op_weights(shift_EO).double()
        moved_EO = point_EO - snapshot.op_weights_EO.double()
        if not algorithm.reads_op_weights:
            alpha_EO = snapshot.alpha_EO.double()  # so that no entries become equal by rounding
            own_EO, _ = without_auxiliary(algorithm.relax(alpha_EO, progress), algorithm, space)
            read_EO = own_EO + moved_EO + TIES * alpha_EO.softmax(-1)
        strength_EO = algorithm.strengths(snapshot.alpha_EO, progress).double() + moved_EO

        def choose(read_EO: Tensor) -> list[int]:
            return algorithm.chosen(read_EO, progress)

        return strongest_of(choose, read_EO, strength_EO, algorithm.most_skips, space)


class Directions(NamedTuple):
    """d1 and d2, float64 [2, E, O], and the eigenvalues they belong to, if they do."""

    pair_2EO: Tensor
    eigenvalues: Tensor | None = None


def directions(judge: Judge, chart: Chart, plane: Plane, kind: PointStatistics) -> Directions:
    """Two directions, orthogonal and with zero row sums unless published otherwise.

    ``gradient``: d1 is that of L_val at A (alpha), d2 is random; ``random``: both are;
    ``eigenvectors``: of the Hessian in A (alpha), restricted to zero row sums. In A, gradient and
    random rows have max-norm 1 and are orthogonal row by row, eigenvectors have max-norm 1 over the
    matrix (scaling rows would turn them). In logits the length is 1. ``optdarts``, in logits only:
    d1 is the gradient, d2 = n - d1 <d1, n> / |d1| with n normal draws (not squared: not orthogonal
    in general), row sums as they come, each row rescaled to the length of its row of alpha.

    Args:
        judge: holds the images of gradient and Hessian.
        chart: the space of the points.
        plane: which directions.
        kind: batch-norm statistics, at the centre and held there.
    """
    centre_EO = chart.centre
    losses = judge.losses(judge.statistics(judge.snapshot.op_weights_EO, kind))
    if plane == "eigenvectors":
        space = judge.snapshot.space
        none = space.column_of(space.none) if judge.snapshot.algorithm.usual_cell else None
        inert = () if none is None else (none,)
        parts = [alpha_hessian(each, chart.relax, centre_EO, inert) for each in losses]
        hessian = torch.stack(parts).sum(0)
        values, pair_2EO = top_eigenvectors(hessian, len(centre_EO))
        if chart.space == "op-weights":
            pair_2EO = pair_2EO / pair_2EO.abs().amax((-2, -1), keepdim=True)
        return Directions(pair_2EO, values)
    generator = judge.snapshot.generator()
    drawn_2EO = torch.randn(2, *centre_EO.shape, generator=generator, dtype=torch.float64)
    if plane == "optdarts":
        first_EO = _gradient(losses, chart)
        share = (first_EO * drawn_2EO[1]).sum() / first_EO.norm()
        pair_2EO = torch.stack([first_EO, drawn_2EO[1] - share * first_EO])
        lengths_E1 = centre_EO.double().cpu().norm(dim=-1, keepdim=True)
        return Directions(lengths_E1 * scaled(pair_2EO, pair_2EO.norm(dim=-1, keepdim=True)))
    first_EO, second_EO = without_row_means(drawn_2EO)
    if plane == "gradient":
        first_EO = without_row_means(_gradient(losses, chart))
    by_row = chart.space == "op-weights"
    second_EO = orthogonalised(second_EO, first_EO, by_row=by_row)
    pair_2EO = torch.stack([first_EO, second_EO])
    if by_row:
        return Directions(scaled(pair_2EO, pair_2EO.abs().amax(-1, keepdim=True)))
    return Directions(scaled(pair_2EO, pair_2EO.square().sum((-2, -1), keepdim=True).sqrt()))


def _gradient(losses: Sequence[Callable[[Tensor], Tensor]], chart: Chart) -> Tensor:
    total_EO = torch.zeros(chart.centre.shape, dtype=torch.float64)
    for loss in losses:
        leaf_EO = chart.centre.clone().requires_grad_()
        (part_EO,) = torch.autograd.grad(loss(chart.relax(leaf_EO)), leaf_EO)
        total_EO += part_EO.double().cpu()
    return total_EO


def surface(
    judge: Judge, chart: Chart, pair_2EO: Tensor, axis: Grid, kind: PointStatistics
) -> Surface:
    """Judge every point A + x d1 + y d2 (in logits alpha + x d1 + y d2).

    Args:
        judge: judges a point.
        chart: turns displacements into operation weights and cells.
        pair_2EO: d1 and d2.
        axis: the values of x, and of y.
        kind: batch-norm statistics of a point.
    """
    size = len(axis)
    scores = np.empty((size, size, 2))
    cells = np.empty((size, size, pair_2EO.shape[1]), dtype=np.int64)
    for i, x in enumerate(axis):
        for j, y in enumerate(axis):
            shift_EO = float(x) * pair_2EO[0] + float(y) * pair_2EO[1]
            scores[i, j] = judge.score(chart.op_weights(shift_EO), kind)
            cells[i, j] = chart.choice(shift_EO)
    return Surface(scores[..., 0], scores[..., 1], cells)


def path(judge: Judge, shares: Grid, kind: PointStatistics) -> tuple[Grid, Grid]:
    """Loss and accuracy at (1 - t) A + t one-hot(derived cell).

    Args:
        judge: judges a point.
        shares: the values of t.
        kind: batch-norm statistics of a point.

    Returns:
        Loss and accuracy, one per value of t.
    """
    A_EO = judge.snapshot.op_weights_EO
    one_hot_EO = judge.snapshot.one_hot(judge.snapshot.choice)
    points = [(1 - float(t)) * A_EO + float(t) * one_hot_EO for t in shares]
    scores = np.array([judge.score(point_EO, kind) for point_EO in points])
    return scores[:, 0], scores[:, 1]
