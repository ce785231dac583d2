"""How sharp the validation loss is in alpha, as published searches are judged by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.base.columns import OF_MEASURES, RECORD
from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.measures.base import Cadence, Measure, Values

if TYPE_CHECKING:
    from optnas.measures.snapshot import Snapshot

QUANTITIES = {name: RECORD[name] for name in OF_MEASURES}  # the largest first


@register("measure", "sharpness")
def sharpness(batch_size: int = 64) -> Measure:
    """Extreme eigenvalues of H = d2 L_val(w, relax(alpha)) / d alpha2, w fixed, on one batch.

    The batch: the first images of the validation half, without augmentation, under batch
    statistics. No weight decay of alpha is added to the diagonal. The measure `curvature` averages
    over batches, and looks at other losses and coordinates.

    Args:
        batch_size: images of the batch.

    Returns:
        The measure; its numbers are columns of the record.

    Raises:
        UserError: the batch is too small for batch statistics.
    """
    if batch_size < 2:
        raise UserError(
            "batch statistics need two images",
            key="batch_size",
            value=batch_size,
            remedy="raise it",
        )

    def measure(snapshot: Snapshot) -> Values:
        from optnas.measures.curvature.hessian import extreme_eigenvalues, in_logits
        from optnas.measures.curvature.maths import expansion

        (batch,) = snapshot.batches("valid", 1, batch_size)
        found = expansion(snapshot.supernet, batch, snapshot.op_weights_EO, None)
        gradient_P, hessian_PP = found.gradient_EO.reshape(-1), found.hessian_PP
        hessian = in_logits(gradient_P, hessian_PP, snapshot.relax, snapshot.alpha_EO.cpu())
        return Values(dict(zip(QUANTITIES, extreme_eigenvalues(hessian), strict=True)))

    return Measure(
        measure,
        QUANTITIES,
        cost="a forward and a backward pass and about 20 forward passes of one batch; a second",
        cadence=Cadence(every=5),
        quick={"batch_size": 8},
        recorded=True,
        images={"valid": batch_size},
    )
