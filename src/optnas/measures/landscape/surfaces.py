"""Numbers of a loss surface and of a loss along a path. Shapes: E edges, G points per axis."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Plane = Literal["gradient", "random", "eigenvectors", "optdarts"]
PointSpace = Literal["op-weights", "logits"]
PointStatistics = Literal["run", "recalibrated"]
Grid = npt.NDArray[np.float64]


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
    # The axis ends at r; rounding does not lose the four points that lie on the circle.
    disc = x**2 + y**2 <= axis[-1] ** 2 * (1 + 1e-9)
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
