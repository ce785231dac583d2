"""Numbers of a loss surface and of a loss along a path. Shapes: E edges, G points per axis."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Plane = Literal["gradient", "random", "eigenvectors", "optdarts"]
PointSpace = Literal["op-weights", "logits"]
PointStatistics = Literal["run", "recalibrated"]
Grid = npt.NDArray[np.float64]
SMOOTHNESS_UNIT = "nats per squared unit of the plane"


class Surface(NamedTuple):
    """Over a plane, first index along d1: loss, accuracy [G, G], the cells [G, G, E]."""

    loss: Grid
    accuracy: Grid
    cells: npt.NDArray[np.int64]


class Quadratic(NamedTuple):
    """c + b'p + p'Hp / 2 fitted to values at points p: H, and the rms of what is left over."""

    hessian_22: Grid
    residual: float


def fit_quadratic(points_N2: Grid, values_N: Grid) -> Quadratic:
    """Least squares on 1, x, y, x^2 / 2, x y, y^2 / 2.

    Args:
        points_N2: at least six points, on no common conic.
        values_N: their values.

    Returns:
        The curvature of the fit and its residual; NaN where a value is not finite.
    """
    x, y = points_N2.T
    terms = np.stack([np.ones_like(x), x, y, x * x / 2, x * y, y * y / 2], axis=1)
    found = np.linalg.pinv(terms) @ values_N
    left = values_N - terms @ found
    hessian_22 = np.array([[found[3], found[4]], [found[4], found[5]]])
    return Quadratic(hessian_22, float(np.sqrt(np.mean(left**2))))


def smoothness(axis: Grid, loss: Grid) -> float:
    """The largest change of the slope from one point of the disc to the next: how rough L is.

        beta = max over neighbours p, q of  |grad L(p) - grad L(q)| / |p - q|

    An L with Lipschitz constant beta of its gradient is called beta-smooth; the smaller, the
    smoother. Slopes are central differences; neighbours are the eight around a point.

    Args:
        axis: values of x and of y, equally spaced, the centre in the middle.
        loss: L on the grid, [G, G].

    Returns:
        beta over the points with x^2 + y^2 <= r^2; NaN where the loss is not finite.

    Reference: Santurkar et al., NeurIPS 2018, "effective beta-smoothness". Deviation: there along
    the step of the optimizer, here over the plane, and of its two coordinates.

    Example:
        >>> axis = np.linspace(-1, 1, 5)
        >>> round(smoothness(axis, 3 * axis[:, None] ** 2 + axis[None] ** 2), 6)
        6.0
    """
    slope_2GG = np.array(np.gradient(loss, axis[1] - axis[0], edge_order=2))
    inside = _disc(axis)
    rates = []
    for i, j in ((1, 0), (0, 1), (1, 1), (1, -1)):
        here = (slice(i, None), slice(max(j, 0), len(axis) + min(j, 0)))
        there = (slice(len(axis) - i), slice(max(-j, 0), len(axis) - max(j, 0)))
        both = inside[here] & inside[there]
        change = np.linalg.norm(slope_2GG[:, *here] - slope_2GG[:, *there], axis=0)[both]
        rates.append(change.max() / (np.hypot(i, j) * (axis[1] - axis[0])))
    return float(np.max(rates))


def _disc(axis: Grid) -> npt.NDArray[np.bool_]:
    x, y = np.meshgrid(axis, axis, indexing="ij")
    # The axis ends at r; rounding does not lose the four points that lie on the circle.
    return np.asarray(x**2 + y**2 <= axis[-1] ** 2 * (1 + 1e-9))


class Way(NamedTuple):
    """A trajectory in a plane: coordinates of each of T points, and how much of it they show.

    ``share`` is that of the variance of the points around their mean that lies in the plane,
    between 0 and 1; NaN where nothing moves.
    """

    points_T2: Grid
    share: float


def projected(trajectory_TEO: Grid, centre_EO: Grid, directions_2EO: Grid) -> Way:
    """The nearest points of a plane to those of a trajectory.

        (x, y)_t = (B B')^-1 B (a_t - a),    rows of B: d1, d2

    A constant added to a row of alpha, which softmax does not see, is taken out of both first. The
    share is sum_t |P (a_t - mean)|^2 / sum_t |a_t - mean|^2, P the projection on the span of B.

    Args:
        trajectory_TEO: a_t.
        centre_EO: a, the point where x = y = 0.
        directions_2EO: d1 and d2, which need not be orthogonal.

    Reference: Li et al., NeurIPS 2018, section 7, where the directions are principal components of
    the trajectory; directions that were not chosen by it show little of it.

    Example:
        >>> steps = np.array([[[0.0, 0.0]], [[1.0, -1.0]], [[2.0, -2.0]]])
        >>> projected(steps, steps[-1], np.array([[[1.0, -1.0]], [[0.0, 0.0]]])).share
        1.0
    """
    d_TP, b_2P = (
        (each - each.mean(axis=-1, keepdims=True)).reshape(len(each), -1)
        for each in (trajectory_TEO - centre_EO, directions_2EO)
    )
    points_T2 = d_TP @ np.linalg.pinv(b_2P)
    around_TP = d_TP - d_TP.mean(axis=0)
    shown_TP = (points_T2 - points_T2.mean(axis=0)) @ b_2P
    whole = float((around_TP**2).sum())
    return Way(points_T2, float((shown_TP**2).sum()) / whole if whole > 0 else np.nan)


def surface_numbers(axis: Grid, found: Surface) -> dict[str, Any]:
    """Drop of accuracy and rise of loss within the radius, and how far from quadratic they are.

    Over the points of the grid in the disc x^2 + y^2 <= r^2, the centre not counted in the means.

    Args:
        axis: values of x and of y, the centre in the middle.
        found: the grids.

    Returns:
        Quantities by name.
    """
    x, y = np.meshgrid(axis, axis, indexing="ij")
    disc = _disc(axis)
    middle = len(axis) // 2
    around = disc.copy()
    around[middle, middle] = False
    drops = found.accuracy[middle, middle] - found.accuracy[around]
    rises = found.loss[around] - found.loss[middle, middle]
    points_N2 = np.stack([x[disc], y[disc]], axis=1)
    loss, accuracy = (fit_quadratic(points_N2, z[disc]) for z in (found.loss, found.accuracy))
    return {
        "loss": float(found.loss[middle, middle]),
        "accuracy": float(found.accuracy[middle, middle]),
        "mean_accuracy_drop": float(drops.mean()),
        "worst_accuracy_drop": float(drops.max()),
        "mean_loss_rise": float(rises.mean()),
        "worst_loss_rise": float(rises.max()),
        "loss_residual": loss.residual,
        "accuracy_residual": accuracy.residual,
        "curvature_x": float(loss.hessian_22[0, 0]),
        "curvature_y": float(loss.hessian_22[1, 1]),
        "loss_smoothness": smoothness(axis, found.loss),
        "cells": len(np.unique(found.cells[disc], axis=0)),
    }


def path_numbers(shares: Grid, loss: Grid, accuracy: Grid) -> dict[str, float]:
    """Worst drop and rise along a path, and how far the loss bulges above its chord.

        barrier = max_t  L(t) - (1 - t) L(0) - t L(1)

    Args:
        shares: t.
        loss: L(t).
        accuracy: at t.

    Returns:
        Quantities by name.
    """
    chord = (1 - shares) * loss[0] + shares * loss[-1]
    return {
        "path_accuracy_drop": float((accuracy[0] - accuracy).max()),
        "path_loss_rise": float((loss - loss[0]).max()),
        "path_barrier": float((loss - chord).max()),
    }
