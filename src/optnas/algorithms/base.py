"""What an algorithm is: four parts, as values. The search loop knows no algorithm.

Importable without torch. Shapes: E edges, O operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from optnas.algorithms.progress import Draw, Progress
from optnas.base.schema import Part

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from optnas.algorithms.bilevel import Bilevel, Hypergradient

__all__ = [
    "Algorithm",
    "ComputeHypergradient",
    "DerivativeName",
    "Discretize",
    "Draw",
    "HypergradientName",
    "Perturb",
    "Progress",
    "ProjectionName",
    "Relax",
]

# A setting that is a hypergradient: its name, or a table of its name and settings. The algorithm
# receives the part.
HypergradientName = Annotated[Any, Part("hypergradient")]
DerivativeName = Literal["exact", "finite-difference"]
ProjectionName = Literal["published", "exact"]

Relax = Callable[["Tensor", Progress], "Tensor"]
# operation weights, train loss as a function of them, progress, generator -> operation weights
Perturb = Callable[
    ["Tensor", Callable[["Tensor"], "Tensor"], Progress, "torch.Generator"], "Tensor"
]
ComputeHypergradient = Callable[
    ["Bilevel", "Tensor", Callable[["Tensor"], "Tensor"]], "Hypergradient"
]
Discretize = Callable[["Tensor"], list[int]]


@dataclass(frozen=True)
class Algorithm:
    """A differentiable architecture search, as a choice of parts.

    Attributes:
        relax: alpha_EO and progress -> operation weights, differentiable in alpha.
        perturb: what happens to the operation weights in the weight step, and only there.
        hypergradient: the gradient that drives alpha.
        discretize: alpha_EO -> one operation per edge.
        also_validate: further relaxations under which validation accuracy is recorded, as
            ``valid_accuracy_NAME``.
    """

    relax: Relax
    perturb: Perturb
    hypergradient: ComputeHypergradient
    discretize: Discretize
    also_validate: Mapping[str, Relax] = field(default_factory=dict)
