"""Which operations hold the weight, on which edges, and what a theory of skips makes of it.

Shapes: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optnas.base.registry import register
from optnas.measures.auxiliary import without_auxiliary
from optnas.measures.base import Cadence, Measure, Quantity, Values
from optnas.measures.operations.phi import READINGS, Rate, columns_of, holds, rate

if TYPE_CHECKING:
    from optnas.measures.snapshot import Snapshot
    from optnas.spaces.base import Space

RATES = (
    *("phi", "skip_elasticity", "conv_elasticity"),
    *("phi_without_auxiliary", "skip_elasticity_without_auxiliary"),
)
QUANTITIES = {
    "mass": Quantity("1, by operation"),
    "share": Quantity("1, by operation"),
    "mass_by_depth": Quantity("1, by operation and depth"),
    "share_by_depth": Quantity("1, by operation and depth"),
    "auxiliary": Quantity("1"),
    **{name: Quantity("1, by reading") for name in RATES},
}


@register("measure", "operations")
def operations() -> Measure:
    """Mass and argmax share of each operation, and the rate phi with its elasticities.

    With A the operation weights, and, of an algorithm with an auxiliary skip (DARTS-), each row's
    excess over 1 taken off its skip column, and the depth of edge s -> t being t - s:

        mass_o = mean over edges of A[e, o],    share_o = part of the edges whose choice is o

    phi is the sum over edges s -> h - 1 into the last node of the squared convolution weights,
    times what reaches node s through skips; see `optnas.measures.operations.phi` for its three
    readings. Skip is the identity's weight, convolution every operation with weights of its own;
    pooling counts as neither. phi is of one kind of cell whose last node is a sum and whose edges
    keep the size and have the same candidates, a skip among them; in every other space, and under
    a mixed cell that the algorithm brings, it and its elasticities are null.
    """

    def measure(snapshot: Snapshot) -> Values:
        space, choice = snapshot.space, snapshot.choice
        A_EO = snapshot.op_weights_EO.double()
        own_EO, auxiliary_E = without_auxiliary(A_EO, snapshot.algorithm, space)
        chosen_EO = snapshot.one_hot(choice).double()
        rows, chosen = own_EO.tolist(), chosen_EO.tolist()
        numbers = {
            "mass": space.means(rows),
            "share": space.means(chosen),
            "mass_by_depth": _by_depth(space, rows),
            "share_by_depth": _by_depth(space, chosen),
            "auxiliary": float(auxiliary_E.mean()),
            **_rates(snapshot, rows, auxiliary_E.tolist()),
        }
        arrays = {
            "op_weights": A_EO.cpu().numpy(),
            "auxiliary": auxiliary_E.cpu().numpy(),
            "chosen": chosen_EO.cpu().numpy(),
        }
        return Values(numbers, arrays)

    return Measure(measure, QUANTITIES, cost="nothing", cadence=Cadence(every=1))


def _by_depth(space: Space, rows: Sequence[Sequence[float]]) -> dict[str, dict[str, float]]:
    """By operation, then by depth as text, as JSON needs it."""
    by_depth: dict[int, list[int]] = {}
    for edge, (source, target) in enumerate(space.edges):
        by_depth.setdefault(target - source, []).append(edge)
    means = {depth: space.means(rows, edges) for depth, edges in sorted(by_depth.items())}
    return {
        name: {str(depth): of[name] for depth, of in means.items() if name in of}
        for name in space.operations
        if any(name in of for of in means.values())
    }


def _rates(
    snapshot: Snapshot, rows: list[list[float]], auxiliary_E: list[float]
) -> dict[str, dict[str, Any]]:
    space = snapshot.space
    if not (holds(space) and snapshot.algorithm.usual_cell):
        return {name: dict.fromkeys(READINGS) for name in RATES}
    skip, convolutions = columns_of(space)
    skip_E = [row[skip] for row in rows]
    conv_EO = [[row[column] for column in convolutions] for row in rows]

    def read(extra_E: list[float]) -> dict[str, Rate]:
        return {name: rate(space, name, skip_E, conv_EO, extra_E) for name in READINGS}

    with_it, without = read(auxiliary_E), read([0.0] * len(skip_E))
    return {
        "phi": {name: each.phi for name, each in with_it.items()},
        "skip_elasticity": {name: each.skip_elasticity for name, each in with_it.items()},
        "conv_elasticity": {name: each.conv_elasticity for name, each in with_it.items()},
        "phi_without_auxiliary": {name: each.phi for name, each in without.items()},
        "skip_elasticity_without_auxiliary": {
            name: each.skip_elasticity for name, each in without.items()
        },
    }
