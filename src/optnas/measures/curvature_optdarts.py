"""The curvature panel of OptDARTS: one eigenvalue of the alpha-Hessian on one augmented batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optnas.base.registry import register
from optnas.base.schema import AtLeastTwo, NotNegative
from optnas.measures.base import Cadence, Measure, Quantity, Values

if TYPE_CHECKING:
    from optnas.measures.snapshot import Snapshot

QUANTITIES = {
    "top_eigenvalue": Quantity(
        "nats", words="top eigenvalue of the alpha-Hessian, as OptDARTS has it"
    )
}


@register("measure", "curvature-optdarts")
def curvature_optdarts(batch_size: AtLeastTwo = 64, weight_decay: NotNegative = 3e-4) -> Measure:
    """|largest signed eigenvalue| of H = d2 L_val(w, relax(alpha)) / d alpha2 + weight_decay I.

    L_val is the loss of one random batch of the validation half, augmented as in training, under
    batch statistics. The decay lies on the diagonal because the program adds that of alpha to the
    gradient before it differentiates again. Under softmax rows of alpha may all be raised by a
    constant without effect, so H has the eigenvalue ``weight_decay`` and the number is never below
    it. Under a relaxation without that symmetry, such as sigmoid, there is no such floor: the
    largest signed eigenvalue may be smaller, or negative, of which the size is told. One batch is
    noise: the measure `curvature` averages over batches.

    Args:
        batch_size: images of the batch; one has no batch statistics.
        weight_decay: what is added to the diagonal.

    Source: sodabori/OptDARTS at f5f0e59. Deviations: the batch is one of the measure's own random
    stream instead of the epoch's last one of the alpha step; the pass moves no running statistics.
    """

    def measure(snapshot: Snapshot) -> Values:
        from optnas.data.batches import fresh_batch
        from optnas.measures.curvature.hessian import extreme_eigenvalues, in_logits
        from optnas.measures.curvature.maths import expansion

        generator = snapshot.generator()
        indices_B = fresh_batch(len(snapshot.images["valid"]), batch_size, generator)
        batch = snapshot.augmented_batch("valid", indices_B, generator)
        found = expansion(snapshot.supernet, batch, snapshot.op_weights_EO, None)
        gradient_P, hessian_PP = found.gradient_EO.reshape(-1), found.hessian_PP
        hessian = in_logits(gradient_P, hessian_PP, snapshot.relax, snapshot.alpha_EO.cpu())
        hessian.diagonal().add_(weight_decay)
        return Values({"top_eigenvalue": abs(extreme_eigenvalues(hessian)[0])})

    return Measure(
        measure,
        QUANTITIES,
        cost="a forward and a backward pass and about 20 forward passes of one batch; a second",
        cadence=Cadence(every=1),
        quick={"batch_size": 8},
        images={"valid": batch_size},
    )
