"""Numbers of the architecture parameters. Shapes: E edges, O operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optnas.spaces.base import Space

if TYPE_CHECKING:
    from torch import Tensor


def describe_alpha(
    alpha_EO: Tensor, alpha_start_EO: Tensor, op_weights_EO: Tensor, choice: list[int], space: Space
) -> dict[str, Any]:
    """Where alpha stands, and the architecture it stands for.

    - ``alpha_entropy``: mean over edges of -sum_o p log p with p = softmax(alpha), in nats.
    - ``alpha_margin``: mean over edges of the largest minus the second largest p.
    - ``alpha_displacement``: Euclidean norm of alpha minus its initial value.
    - ``skips``, ``nones``: edges of the architecture that carry the identity, or nothing.

    Args:
        alpha_EO: architecture parameters.
        alpha_start_EO: their initial value.
        op_weights_EO: clean operation weights.
        choice: the discretization, an operation an edge.
        space: the search space.

    Returns:
        Values for the epoch's record.
    """
    import torch

    probabilities_EO = alpha_EO.double().softmax(-1)
    entropy_E = torch.special.entr(probabilities_EO).sum(-1)  # 0 log 0 = 0
    top_E2 = probabilities_EO.topk(2, dim=-1).values
    return {
        "alpha": alpha_EO.tolist(),
        "op_weights": op_weights_EO.tolist(),
        "architecture": space.architecture(choice).string,
        "skips": choice.count(space.skip),
        "nones": choice.count(space.none),
        "alpha_entropy": float(entropy_E.mean()),
        "alpha_margin": float((top_E2[:, 0] - top_E2[:, 1]).mean()),
        "alpha_displacement": float((alpha_EO.double() - alpha_start_EO.double()).norm()),
    }
