"""What a record says of a search after an epoch. Shapes: E edges, O operations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from optnas.base.records import Record
from optnas.spaces.base import Space

if TYPE_CHECKING:
    from torch import Tensor

    from optnas.measures.snapshot import Snapshot


class DivergedError(Exception):
    """A loss stopped being a finite number."""


def finite(name: str, value: float) -> float:
    """The value, if it is a finite number.

    Args:
        name: what it is, in words.
        value: the value.

    Raises:
        DivergedError: it is not.
    """
    if not math.isfinite(value):
        raise DivergedError(f"{name} is {value}")
    return value


def centred(alpha_EO: Tensor, space: Space) -> Tensor:
    """Alpha of the operations without each row's mean, float64: what their softmax sees of it."""
    alpha_EO = alpha_EO[:, : space.operation_count].double()
    return alpha_EO - alpha_EO.mean(-1, keepdim=True)


def describe_search(snapshot: Snapshot, alpha_start_EO: Tensor, path_lengths: Tensor) -> Record:
    """The columns of `optnas.base.columns.RECORD` that training does not tell.

    Args:
        snapshot: the search after an epoch.
        alpha_start_EO: initial alpha.
        path_lengths: sums of the lengths of alpha's steps so far: as they are, and centred.

    Returns:
        Values for the epoch's record; those of recorded measures are not among them.

    Raises:
        DivergedError: the validation loss or alpha is not finite.
    """
    import torch

    alpha_EO, op_weights_EO = snapshot.alpha_EO, snapshot.op_weights_EO
    loss, accuracy = snapshot.evaluate(op_weights_EO, snapshot.statistics)
    record: Record = {
        "valid_loss": finite("validation loss", loss),
        "valid_accuracy": accuracy,
    }
    for name, relax in snapshot.algorithm.also_validate.items():
        further_EO = relax(alpha_EO, snapshot.progress)
        record[f"valid_accuracy_{name}"] = snapshot.evaluate(further_EO, snapshot.statistics)[1]
    finite("the norm of alpha", float(alpha_EO.norm()))
    choice, space = snapshot.choice, snapshot.space
    record |= describe_alpha(alpha_EO, alpha_start_EO, op_weights_EO, choice, space)
    record["alpha_path_length"], record["alpha_path_length_centred"] = path_lengths.tolist()
    norms = [weight.double().norm() for weight in snapshot.supernet.weights.values()]
    record["weight_norm"] = float(torch.stack(norms).norm())
    record["benchmark"] = snapshot.benchmark(space.architecture(choice))
    return record


def describe_alpha(
    alpha_EO: Tensor, alpha_start_EO: Tensor, op_weights_EO: Tensor, choice: list[int], space: Space
) -> dict[str, Any]:
    """Where alpha stands, and the architecture it stands for.

    - ``alpha_entropy``: mean over edges of -sum_o p log p with p = softmax(alpha), in nats; of the
      operations, where alpha has further columns.
    - ``alpha_margin``: mean over edges of the largest minus the second largest p.
    - ``alpha_displacement``: Euclidean norm of alpha minus its initial value;
      ``alpha_displacement_centred``: of the same without the mean of each row.
    - ``skips``, ``nones``: edges of the architecture whose operation is skip, or none.

    Args:
        alpha_EO: architecture parameters.
        alpha_start_EO: their initial value.
        op_weights_EO: clean operation weights.
        choice: the discretization, one operation per edge.
        space: the search space.

    Returns:
        Values for the epoch's record.
    """
    import torch

    probabilities_EO = alpha_EO[:, : space.operation_count].double().softmax(-1)
    entropy_E = torch.special.entr(probabilities_EO).sum(-1)  # 0 log 0 = 0
    top_E2 = probabilities_EO.topk(2, dim=-1).values
    return {
        "alpha": alpha_EO.tolist(),
        "op_weights": op_weights_EO.tolist(),
        "architecture": space.architecture(choice).string,
        "skips": sum(operation == space.skip for operation in choice),
        "nones": sum(operation == space.none for operation in choice),
        "alpha_entropy": float(entropy_E.mean()),
        "alpha_margin": float((top_E2[:, 0] - top_E2[:, 1]).mean()),
        "alpha_displacement": float((alpha_EO.double() - alpha_start_EO.double()).norm()),
        "alpha_displacement_centred": float(
            (centred(alpha_EO, space) - centred(alpha_start_EO, space)).norm()
        ),
    }
