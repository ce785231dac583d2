"""The discretization gap: what is lost between the supernet at A and its one-hot cell.

Shapes: E edges, O operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, Count
from optnas.measures.base import Measure, Quantity, Values
from optnas.spaces import is_connected

if TYPE_CHECKING:
    from torch import Tensor

    from optnas.measures.snapshot import Snapshot

POINTS = "percentage points"
QUANTITIES = {
    "supernet_accuracy": Quantity("percent", "higher"),
    "supernet_loss": Quantity("nats", "lower"),
    "one_hot_accuracy": Quantity("percent", "higher"),
    "one_hot_loss": Quantity("nats", "lower"),
    "recalibrated_accuracy": Quantity("percent", "higher"),
    "recalibrated_loss": Quantity("nats", "lower"),
    "gap": Quantity(POINTS, "lower"),
    "relative_gap": Quantity("1", "lower"),
    "loss_gap": Quantity("nats", "lower"),
    "partway_accuracy": Quantity("percent", "higher"),
    "partway_gap": Quantity(POINTS, "lower"),
    "gap_without_recalibration": Quantity(POINTS, "lower"),
    "relative_gap_without_recalibration": Quantity("1", "lower"),
    "loss_gap_without_recalibration": Quantity("nats", "lower"),
    "margins": Quantity("1, one number per edge"),
    "architecture": Quantity("architecture string"),
    "connected": Quantity("true or false"),
    "benchmark": Quantity("percent, as in epochs.jsonl", "higher"),
}


@register("measure", "gap")
def gap(
    batches: AtLeastOne = 50,
    batch_size: Count = 0,
    part: Annotated[float, Field(gt=0, lt=1)] = 0.25,
) -> Measure:
    """Supernet accuracy at A, at its one-hot cell, and what the benchmark says of that cell.

    On the whole validation half, w fixed, with s at A in the run's own batch-norm mode, q0 at the
    one-hot cell in the same mode, and q at the one-hot cell with statistics of its own, averaged
    over ``batches`` clean training batches:

        gap = s - q,    relative gap = (s - q) / s,    loss gap = L(one-hot) - L(A)

    A one-hot cell of a mixture's weights is often near chance, where a gap only says how good the
    supernet is. ``partway_gap`` is off that floor: s - accuracy at (1 - t) A + t one-hot, t =
    ``part``, with statistics of its own. It is null under an auxiliary skip where edges are strided
    and ``none`` is no candidate of an edge that is left out.

    ``..._without_recalibration`` are the same with q0 in place of q. A is all that the algorithm
    weights the operations with, an auxiliary skip included; the one-hot cell is the discretization
    of alpha and has none. ``margins``: A of the chosen operation of an edge minus the largest other
    A of that edge, negative where another one, such as the auxiliary skip, weighs more.

    Args:
        batches: training batches that the statistics are averaged over.
        batch_size: images of each; 0 for that of a training step.
        part: t of the partway gap.
    """

    def measure(snapshot: Snapshot) -> Values:
        A_EO, choice = snapshot.op_weights_EO, snapshot.choice
        one_hot_EO = snapshot.one_hot(choice)
        own = snapshot.recalibrated(one_hot_EO, batches, batch_size or None)
        at_A = snapshot.evaluate(A_EO, snapshot.statistics)
        without = snapshot.evaluate(one_hot_EO, snapshot.statistics)
        within = snapshot.evaluate(one_hot_EO, own)
        partway = _partway(snapshot, part, one_hot_EO, batches, batch_size or None)
        chosen_EO = one_hot_EO.bool()
        # An edge that is left out, by no operation of its own, has chosen a weight of 0.
        margins_E = (A_EO * one_hot_EO).sum(-1) - A_EO.masked_fill(chosen_EO, -float("inf")).amax(
            -1
        )
        cell = snapshot.space.architecture(choice)
        return Values(
            {
                "supernet_loss": at_A[0],
                "supernet_accuracy": at_A[1],
                "one_hot_loss": without[0],
                "one_hot_accuracy": without[1],
                "recalibrated_loss": within[0],
                "recalibrated_accuracy": within[1],
                "partway_accuracy": partway,
                "partway_gap": None if partway is None else at_A[1] - partway,
                **_lost(at_A, within, ""),
                **_lost(at_A, without, "_without_recalibration"),
                "margins": margins_E.tolist(),
                "architecture": cell.string,
                "connected": is_connected(cell),
                "benchmark": snapshot.benchmark(cell),
            }
        )

    return Measure(
        measure,
        QUANTITIES,
        cost="four passes over the validation half and twice `batches` training batches, forward "
        "only; about one epoch of the search",
        quick={"batches": 3},
    )


def _partway(
    snapshot: Snapshot, part: float, one_hot_EO: Tensor, batches: int, batch_size: int | None
) -> float | None:
    """Accuracy at (1 - t) A + t one-hot, None where no matrix says what that weighs.

    A network with a branch for an auxiliary skip takes what a row has over 1 for its weight, and a
    row of an edge that is left out, without a column for ``none``, sums to less there.
    """
    branches = snapshot.algorithm.auxiliary_skip and snapshot.space.strided
    if branches and not one_hot_EO.any(-1).all():
        return None
    point_EO = (1 - part) * snapshot.op_weights_EO + part * one_hot_EO
    statistics = snapshot.recalibrated(point_EO, batches, batch_size)
    return snapshot.evaluate(point_EO, statistics)[1]


def _lost(before: tuple[float, float], after: tuple[float, float], suffix: str) -> dict[str, Any]:
    """Gaps between two pairs of loss and accuracy; a share of an accuracy of 0 is none."""
    (loss, accuracy), (loss_after, accuracy_after) = before, after
    lost = accuracy - accuracy_after
    return {
        f"gap{suffix}": lost,
        f"relative_gap{suffix}": lost / accuracy if accuracy else None,
        f"loss_gap{suffix}": loss_after - loss,
    }
