"""Validation loss and accuracy around the current operation weights, and towards the derived cell.

Shapes: E edges, O operations, G points per axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, AtLeastTwo, Count, NotNegative
from optnas.measures.base import Measure, Quantity, Values
from optnas.measures.landscape.surfaces import SMOOTHNESS_UNIT, Plane, PointSpace, PointStatistics

if TYPE_CHECKING:
    from optnas.measures.base import Arrays
    from optnas.measures.landscape.surfaces import Surface
    from optnas.measures.snapshot import Snapshot

POINTS = "percentage points"
RADIUS = {"op-weights": 0.3, "logits": 3.0}
OPTDARTS_RADIUS = 1.0
QUANTITIES = {
    "images": Quantity("images"),
    "loss": Quantity("nats", "lower"),
    "accuracy": Quantity("percent", "higher"),
    "mean_accuracy_drop": Quantity(POINTS, "lower"),
    "worst_accuracy_drop": Quantity(POINTS, "lower"),
    "mean_loss_rise": Quantity("nats", "lower"),
    "worst_loss_rise": Quantity("nats", "lower"),
    "loss_residual": Quantity("nats", "lower"),
    "accuracy_residual": Quantity(POINTS, "lower"),
    "curvature_x": Quantity("nats per squared unit of x"),
    "curvature_y": Quantity("nats per squared unit of y"),
    "loss_smoothness": Quantity(SMOOTHNESS_UNIT, "lower"),
    "cells": Quantity("cells"),
    **{
        f"path_{name}{mode}": Quantity(unit, "lower")
        for mode in ("", "_recalibrated")
        for name, unit in (("accuracy_drop", POINTS), ("loss_rise", "nats"), ("barrier", "nats"))
    },
    "architecture": Quantity("architecture string"),
    "benchmark": Quantity("percent, as in epochs.jsonl", "higher"),
}


@register("measure", "landscape")
def landscape(
    plane: Plane = "gradient",
    space: PointSpace = "op-weights",
    radius: NotNegative = 0.0,
    points: Annotated[int, Field(ge=5)] = 21,
    images: Count = 1000,
    statistics: PointStatistics = "run",
    batches: AtLeastOne = 10,
    path_points: AtLeastTwo = 21,
) -> Measure:
    """Validation loss and accuracy on a plane through A, and on the segment to the derived cell.

    With w fixed and two orthogonal directions of zero row sums,

        z(x, y) = loss, accuracy at clip(A + x d1 + y d2),    |x|, |y| <= radius

    or, in logits, at relax(alpha + x d1 + y d2); the path is (1 - t) A + t one-hot, 0 <= t <= 1.
    clip is that of SDARTS. Scalars are over the disc x^2 + y^2 <= radius^2.

    Args:
        plane: ``gradient`` of the validation loss and a random direction, two ``random`` ones, or
            the top two ``eigenvectors`` of the Hessian; ``optdarts``: the plane of that program,
            neither orthogonal nor of zero row sums, on images augmented as in training.
        space: displace the ``op-weights`` or the ``logits``.
        radius: of the plane, in units of the directions (a row's largest entry, or the length);
            0 is 0.3 in op-weights, the last radius of SDARTS, and 3 in logits; 1 for ``optdarts``.
        points: of each axis, an odd number.
        images: the first images of the validation half; 0 for all.
        statistics: batch norm by those of the ``run``, or ``recalibrated`` at each point.
        batches: training batches that recalibrated statistics are averaged over.
        path_points: of the path.

    Raises:
        UserError: the points are even, or the plane is not one of this space.
    """
    if points % 2 == 0:
        raise UserError(
            "the centre is a point of the grid", key="points", value=points, remedy="make it odd"
        )

    if plane == "optdarts" and space != "logits":
        raise UserError(
            "this plane is one of logits", key="space", value=space, remedy="set space=logits"
        )

    def measure(snapshot: Snapshot) -> Values:
        import numpy as np

        from optnas.measures.landscape import maths as scape
        from optnas.measures.landscape.surfaces import path_numbers, surface_numbers

        judge = scape.Judge.on_first(snapshot, images, batches, augmented=plane == "optdarts")
        chart = scape.Chart(snapshot, space)
        pair_2EO, eigenvalues = scape.directions(judge, chart, plane, statistics)
        reach = radius or (OPTDARTS_RADIUS if plane == "optdarts" else RADIUS[space])
        # Integers over their largest: the middle is exactly zero.
        half = points // 2
        axis = reach * np.arange(-half, half + 1) / half
        found = scape.surface(judge, chart, pair_2EO, axis, statistics)
        shares = np.linspace(0, 1, path_points)
        by_run = scape.path(judge, shares, "run")
        own = scape.path(judge, shares, "recalibrated")
        recalibrated = path_numbers(shares, *own)
        cell = snapshot.space.architecture(snapshot.choice)
        numbers = {
            "images": judge.images,
            **surface_numbers(axis, found),
            **path_numbers(shares, *by_run),
            **{f"{name}_recalibrated": value for name, value in recalibrated.items()},
            "architecture": cell.string,
            "benchmark": snapshot.benchmark(cell),
        }
        arrays: dict[str, Any] = {
            "axis": axis,
            "directions": pair_2EO.numpy(),
            "loss": found.loss,
            "accuracy": found.accuracy,
            "cells": found.cells,
            **_benchmarks(snapshot, found),
            "path_t": shares,
            "path_loss": by_run[0],
            "path_accuracy": by_run[1],
            "path_loss_recalibrated": own[0],
            "path_accuracy_recalibrated": own[1],
        }
        if eigenvalues is not None:
            arrays["eigenvalues"] = eigenvalues.numpy()
        return Values(numbers, arrays)

    def least_batch(size: int, batch: int, untracked: bool) -> int | None:
        count = min(images or size, size)
        return (count % batch or batch) if untracked else None

    return Measure(
        measure,
        QUANTITIES,
        cost="points^2 passes over `images` validation images, forward only, and as many over "
        "`batches` training batches where statistics=recalibrated: minutes",
        quick={"points": 5, "images": 20, "batches": 2, "path_points": 3},
        least_batch=least_batch,
    )


def _benchmarks(snapshot: Snapshot, found: Surface) -> Arrays:
    """Accuracy of each point's cell by the headline questions of the run's table, [G, G] each."""
    import numpy as np

    rows, places = np.unique(
        found.cells.reshape(-1, found.cells.shape[-1]), axis=0, return_inverse=True
    )
    told = [snapshot.benchmark(snapshot.space.architecture(row))["accuracy"] for row in rows]
    shape = found.loss.shape
    return {
        f"benchmark_{dataset}": np.array([each[dataset] for each in told])[places].reshape(shape)
        for dataset in told[0]
    }
