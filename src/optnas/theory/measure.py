"""How often the convergence bound fails at the operation weights of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, AtLeastTwo
from optnas.measures.base import Cadence, Measure, Quantity, Values
from optnas.measures.operations.phi import columns_of, holds

if TYPE_CHECKING:
    from optnas.measures.snapshot import Snapshot
    from optnas.theory.cell import Cell

QUANTITIES = {
    "violations": Quantity("1"),
    "violations_by_reading": Quantity("1, by reading"),
    "delta": Quantity("1"),
    "margin": Quantity("1"),
    "lambda_min": Quantity("1"),
    "formula": Quantity("1"),
}


@register("measure", "theory")
def theory(
    channels: AtLeastOne = 16,
    samples: AtLeastTwo = 12,
    draws: AtLeastOne = 24,
    side: AtLeastTwo = 4,
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.05,
) -> Measure:
    """Violations of the bound 1 - eta lambda / 4 in the theorem's cell, at the search's A.

    The cell of `optnas.theory.cell` gets the operation weights of the search: skip, with the
    auxiliary skip in it, and as convolution the root of the sum of squares over all operations with
    weights of their own. Per draw of initial parameters it is trained by gradient descent from a
    residual along the slowest direction. ``violations`` is the part of the draws in which a step
    k >= 1 lowers the loss by less than the factor as printed says, with lambda = lambda_min(G(0));
    ``violations_by_reading`` has the factor with 1 / n and the printed formula lambda_min(K) phi
    too. ``margin``, ``lambda_min`` and ``formula`` are means over draws, as of
    `optnas.theory.convergence.bound`. All but ``delta`` are null in spaces the theorem is not
    about, and under a mixed cell that the algorithm brings.

    Args:
        channels: m.
        samples: n, the first training images.
        draws: of initial parameters.
        side: height and width of the images after shrinking, in pixels.
        delta: the probability of failure that the claim allows.
    """

    def measure(snapshot: Snapshot) -> Values:
        from optnas.theory.convergence import bound_of
        from optnas.theory.descent import Start
        from optnas.theory.inputs import scaled
        from optnas.theory.judged import READINGS, violated

        found: dict[str, Any] = dict.fromkeys(QUANTITIES) | {"delta": delta}
        if not (holds(snapshot.space) and snapshot.algorithm.usual_cell):
            return Values(found)
        half = snapshot.images["train"]
        images, labels = half.images_NCHW[:samples].cpu(), half.labels_N[:samples].cpu()
        classes = int(half.labels_N.max()) + 1
        problem = scaled(images.permute(0, 2, 3, 1), labels, classes, side)
        generator = snapshot.generator()
        seeds = [generator.initial_seed() + draw for draw in range(draws)]
        cell = _cell(snapshot, channels)
        rows = [bound_of(cell, Start(problem, seed), 0) for seed in seeds]
        by_reading = {
            reading: sum(violated(row, "slowest", reading) for row in rows) / draws
            for reading in READINGS
        }
        return Values(
            found
            | {
                "violations": by_reading["printed"],
                "violations_by_reading": by_reading,
                "margin": sum(row["margin"]["slowest"] for row in rows) / draws,
                "lambda_min": sum(row["lambda_min"] for row in rows) / draws,
                "formula": sum(row["formula"] for row in rows) / draws,
            }
        )

    return Measure(
        measure,
        QUANTITIES,
        cost="trains a cell of 16 channels for a few steps per draw; seconds",
        cadence=Cadence(at=("end",)),
        quick={"channels": 2, "samples": 4, "draws": 2},
        images={"train": samples},
    )


def _cell(snapshot: Snapshot, channels: int) -> Cell:
    from optnas.theory.cell import Cell

    space, rows = snapshot.space, snapshot.op_weights_EO.double().tolist()
    by_edge = dict(zip(space.edges, rows, strict=True))
    skip, convolutions = columns_of(space)
    return Cell(
        channels,
        "softplus",
        {edge: row[skip] for edge, row in by_edge.items()},
        {
            edge: sum(row[column] ** 2 for column in convolutions) ** 0.5
            for edge, row in by_edge.items()
        },
    )
