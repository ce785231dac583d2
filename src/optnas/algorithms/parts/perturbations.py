"""What SDARTS does to the operation weights in the weight step.

Two ways back after a move by d with |d|_inf <= r:

- ``published``: clamp to [0, 1], give a row of zeros its argmax, divide each row by its sum. The
  move is inside the box before this and on the simplex after it; the division can leave the box.
- ``exact``: the Euclidean projection on box and simplex together,
  argmin_z |z - y|_2 with |z - A|_inf <= r, z >= 0, sum_o z = 1.

A row of A whose sum is s instead, by an auxiliary skip or gates of its own, keeps that sum: the row
divided by s takes the way back, and is multiplied by s again. A row of zeros stays.

Source: Chen and Hsieh, ICML 2020, and its published code. Shapes: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optnas.algorithms.base import Perturb, Progress, ProjectionName
from optnas.base.lazy import lazy
from optnas.base.registry import register
from optnas.base.schema import Count, NotNegative

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

TrainLoss = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True)
class Radius:
    """r = start + (end - start) (epoch - 1) / epochs: constant within an epoch, never ``end``.

    Attributes:
        start: radius of the first epoch.
        end: the radius it grows towards.
    """

    start: float
    end: float

    def at(self, progress: Progress) -> float:
        """The radius of the current epoch."""
        return self.start + (self.end - self.start) * progress.fraction


@register("perturbation", "none", itself=True)
def unperturbed(
    op_weights_EO: Tensor, train_loss: TrainLoss, progress: Progress, generator: torch.Generator
) -> Tensor:
    """The operation weights themselves; draws nothing."""
    del train_loss, progress, generator
    return op_weights_EO


@register("perturbation", "uniform", needs=("noise",))
def uniform(
    radius_start: NotNegative = 0.03,
    radius_end: NotNegative = 0.3,
    projection: ProjectionName = "published",
) -> Perturb:
    """A + d with d ~ U[-r, r] per entry, brought back by the projection.

    Args:
        radius_start: radius r in the first epoch, see `Radius`.
        radius_end: radius that r grows towards.
        projection: ``published`` or ``exact``.

    Returns:
        The perturbation; one draw per call.
    """
    radius = Radius(radius_start, radius_end)

    def perturb(
        op_weights_EO: Tensor,
        train_loss: TrainLoss,
        progress: Progress,
        generator: torch.Generator,
    ) -> Tensor:
        del train_loss
        r = radius.at(progress)
        return _project(
            op_weights_EO + _noise(op_weights_EO, r, progress, generator),
            op_weights_EO,
            r,
            projection,
        )

    return perturb


@register("perturbation", "attack", needs=("noise",))
def attack(
    radius_start: NotNegative = 0.03,
    radius_end: NotNegative = 0.3,
    steps: Count = 7,
    projection: ProjectionName = "published",
) -> Perturb:
    """Sign-gradient ascent of the train loss inside the box around A.

    A_0 = back(A + d), d ~ U[-r, r]; A_{k+1} = back(clamp(A_k + (2 r / steps) sign(dL/dA_k),
    A - r, A + r)). A_steps is used if its loss is at least that of A; else the attack is undone.

    Args:
        radius_start: radius r in the first epoch, see `Radius`.
        radius_end: radius that r grows towards.
        steps: ascent steps per weight step, each of size 2 r / steps.
        projection: ``published`` or ``exact``.

    Returns:
        The perturbation; it never lowers the train loss it was given.
    """
    radius = Radius(radius_start, radius_end)

    def perturb(
        op_weights_EO: Tensor,
        train_loss: TrainLoss,
        progress: Progress,
        generator: torch.Generator,
    ) -> Tensor:
        r = radius.at(progress)
        centre_EO = op_weights_EO.detach()
        with torch.no_grad():
            before = train_loss(centre_EO)
        start_EO = centre_EO + _noise(centre_EO, r, progress, generator)
        moved_EO = _project(start_EO, centre_EO, r, projection)
        for _ in range(steps):
            moved_EO.requires_grad_()
            (gradient_EO,) = torch.autograd.grad(train_loss(moved_EO), moved_EO)
            stepped_EO = moved_EO.detach() + (2 * r / steps) * gradient_EO.sign()
            boxed_EO = torch.clamp(stepped_EO, centre_EO - r, centre_EO + r)
            moved_EO = _project(boxed_EO, centre_EO, r, projection)
        with torch.no_grad():
            after = train_loss(moved_EO)
        return torch.where(before > after, centre_EO, moved_EO)

    return perturb


def _noise(like: Tensor, r: float, progress: Progress, generator: torch.Generator) -> Tensor:
    draws = progress.noise_EO
    if draws is None:
        draws = torch.rand(like.shape, generator=generator, dtype=torch.float64)
    return ((2 * draws - 1) * r).to(like)


def _project(y_EO: Tensor, centre_EO: Tensor, r: float, projection: ProjectionName) -> Tensor:
    sums_E1 = _sums(centre_EO)
    if projection == "exact":
        return project_on_box_and_simplex(y_EO, centre_EO, r, sums_E1)
    return clip_and_renormalise(y_EO / sums_E1.masked_fill(sums_E1 == 0, 1.0)) * sums_E1


def _sums(op_weights_EO: Tensor) -> Tensor:
    """The sum of each row, 1 exactly where it is 1 but for rounding."""
    sums_E1 = op_weights_EO.sum(-1, keepdim=True)
    rounding = op_weights_EO.shape[-1] * torch.finfo(op_weights_EO.dtype).eps
    return sums_E1.masked_fill((sums_E1 - 1).abs() <= rounding, 1.0)


def clip_and_renormalise(y_EO: Tensor) -> Tensor:
    """Clamp to [0, 1]; a row of zeros gets 1 at its argmax; divide each row by its sum.

    Args:
        y_EO: any matrix.

    Returns:
        Rows on the simplex.
    """
    clamped_EO = y_EO.clamp(0, 1)
    empty_E1 = clamped_EO.sum(-1, keepdim=True) == 0
    one_hot_EO = torch.zeros_like(y_EO).scatter(-1, y_EO.argmax(-1, keepdim=True), 1.0)
    filled_EO = torch.where(empty_E1, one_hot_EO, clamped_EO)
    return filled_EO / filled_EO.sum(-1, keepdim=True)


def project_on_box_and_simplex(
    y_EO: Tensor, centre_EO: Tensor, r: float, sums_E1: Tensor | float = 1.0
) -> Tensor:
    """Euclidean projection of each row on {z: z >= 0, sum z = s, |z - centre|_inf <= r}.

    z = clamp(y - tau, low, high) with low = max(0, centre - r), high = centre + r and tau chosen
    so that the row sums to s. The sum falls piecewise linearly in tau with kinks at y - low and
    y - high: tau lies between two neighbouring kinks, where it is solved for exactly.

    Args:
        y_EO: the points.
        centre_EO: centres of the boxes, rows of the sums s (else the set may be empty).
        r: half the side of the box.
        sums_E1: s; 1 is the simplex.
    """
    low_EO, high_EO = (centre_EO - r).clamp(min=0), centre_EO + r
    kinks_EK = torch.cat([y_EO - low_EO, y_EO - high_EO], dim=-1).sort(dim=-1).values

    def row_sum(tau_EK: Tensor) -> Tensor:
        return torch.clamp(
            y_EO[:, None, :] - tau_EK[..., None], low_EO[:, None], high_EO[:, None]
        ).sum(-1)

    sums_EK = row_sum(kinks_EK)  # falls along K
    right_E1 = (sums_EK >= sums_E1).sum(-1, keepdim=True).clamp(1, kinks_EK.shape[-1] - 1)
    left = kinks_EK.gather(-1, right_E1 - 1), sums_EK.gather(-1, right_E1 - 1)
    right = kinks_EK.gather(-1, right_E1), sums_EK.gather(-1, right_E1)
    fall_E1 = (left[1] - right[1]).clamp(min=torch.finfo(y_EO.dtype).tiny)
    share_E1 = ((left[1] - sums_E1) / fall_E1).clamp(0, 1)
    tau_E1 = left[0] + share_E1 * (right[0] - left[0])
    return torch.clamp(y_EO - tau_E1, low_EO, high_EO)
