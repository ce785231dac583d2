"""A supernet under the operation weights of another search: one of twins."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, Progress
from optnas.algorithms.random import random
from optnas.base.errors import UserError
from optnas.base.lazy import lazy
from optnas.base.registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

DRIVER = "driver"  # the setting, the need, and the name in the memory


@register("algorithm", "replay", needs=(DRIVER,), paper=None, year=None)
def replay(driver: Mapping[str, Any] = MappingProxyType({})) -> Algorithm:
    """A supernet trained under the operation weights that another search had.

    In epoch e, from the first step on, and where the epoch is judged,

        A = softmax(log A_e + alpha),   A_e the driver's operation weights after its epoch e

    with alpha = 0 throughout: the value is A_e, derivatives in alpha are those of softmax there.
    The cell is the argmax of A. Two such runs that differ in the weight optimizer alone are twins:
    what differs between them is its doing, and not that of another alpha.

    Args:
        driver: in which settings the run that is followed differs from this one, such as
            ``{ weight_optimizer.name = "SGD" }``; its algorithm is the protocol's unless this says
            another. That run lies beside this one, in the same folder. Without one it is `random`.

    Deviation: within an epoch A does not move.
    """
    if not driver:
        return random()

    def relax(alpha_EO: Tensor, progress: Progress) -> Tensor:
        told = progress.memory.get(DRIVER)
        if told is None:
            raise UserError(
                "the run to follow lies beside this one's folder, and this search has none",
                key=DRIVER,
                value=dict(driver),
                remedy="run it with --out DIR, beside the other",
            )
        return (told[max(progress.epoch, 0)].to(alpha_EO).log() + alpha_EO).softmax(-1)

    return Algorithm(
        relax=relax,
        perturb=parts.unperturbed,
        hypergradient=parts.frozen,
        discretize=parts.argmax_per_edge,
        initial=lambda space, generator: torch.zeros(space.edge_count, space.operation_count),
        reads_op_weights=True,
    )
