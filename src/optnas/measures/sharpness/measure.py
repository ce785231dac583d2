"""How sharp the validation loss is in alpha, as published searches are judged by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.measures.base import Cadence, Measure, Values
from optnas.measures.record import OF_MEASURES, RECORD

if TYPE_CHECKING:
    from torch import Tensor

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
        from torch.nn.functional import cross_entropy

        from optnas.measures.curvature.hessian import alpha_hessian, extreme_eigenvalues

        (batch,) = snapshot.batches("valid", 1, batch_size)

        def loss(op_weights_EO: Tensor) -> Tensor:
            logits, _ = snapshot.supernet(batch.images_BCHW, op_weights_EO, statistics=None)
            return cross_entropy(logits, batch.labels_B)

        hessian = alpha_hessian(
            loss, snapshot.relax, snapshot.alpha_EO, inert=(snapshot.space.none,)
        )
        return Values(dict(zip(QUANTITIES, extreme_eigenvalues(hessian), strict=True)))

    return Measure(
        measure,
        QUANTITIES,
        cost="one row of double backward for each operation weight that the network reads; seconds",
        cadence=Cadence(every=5),
        quick={"batch_size": 8},
        recorded=True,
        images={"valid": batch_size},
    )
