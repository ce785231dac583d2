"""Curvature of a loss in the architecture: exact Hessians in logits and in operation weights.

Shapes: E edges, O operations, P = E O, N batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, AtLeastTwo, Count, NotNegative
from optnas.measures.base import Cadence, Measure, Quantity, Values

if TYPE_CHECKING:
    from torch import Tensor

    from optnas.measures.snapshot import Snapshot

COORDINATES = ("logits", "op_weights")
BOUNDED = ("max", "min", "trace")  # those that have a batch-to-batch interval
QUANTITIES = {
    **{
        f"{coordinates}_{name}": Quantity("nats", "neither")
        for coordinates in COORDINATES
        for name in (
            *("max", "min", "spectral", "frobenius", "trace"),
            *(f"{name}_{end}" for name in BOUNDED for end in ("low", "high")),
        )
    },
    **{f"op_weights_l1{end}": Quantity("nats", "neither") for end in ("", "_low", "_high")},
    "loss": Quantity("nats", "lower"),
    "batches": Quantity("batches"),
    "entropy": Quantity("nats"),
    "saturation": Quantity("1"),
    "entropies": Quantity("nats, one number per edge"),
    "saturations": Quantity("1, one number per edge"),
}


@register("measure", "curvature")
def curvature(
    loss: Literal["valid", "train"] = "valid",
    batches: AtLeastTwo = 4,
    batch_size: Count = 0,
    statistics: Literal["batch", "recalibrated"] = "batch",
    recalibration: AtLeastOne = 50,
    weight_decay: NotNegative = 0.0,
) -> Measure:
    """Exact second derivatives of a loss in alpha and in A, w fixed, averaged over fixed batches.

        H_A = d2 L / dA2,    H_a = J' H_A J + sum_k (dL/dA_k) d2 A_k / da2,    J = dA / d alpha

    In operation weights H_A is projected on zero row sums, Q H_A Q. Eigenvalues, norms and trace
    are those of the mean over the batches; ``..._low`` and ``..._high`` bound the mean of a single
    batch's value, with 95 % confidence if the batches' values are normal (Student's t). ReLU's
    kinks are left out, as by every exact second derivative. ``op_weights_l1`` is |Q dL/dA|_1.

    Args:
        loss: whose: of the validation or of the training half, without augmentation.
        batches: how many; the first images of the half, the same in every epoch and run.
        batch_size: images of each; 0 for that of a training step.
        statistics: batch norm by each batch's own, or by fixed ones recalibrated at A.
        recalibration: training batches that the recalibrated statistics are averaged over.
        weight_decay: added to the diagonal in logits; published codes add theirs, 0.001.
    """

    def measure(snapshot: Snapshot) -> Values:
        import torch

        from optnas.measures.curvature.hessian import in_logits, on_zero_row_sums
        from optnas.measures.curvature.maths import expansion
        from optnas.measures.intervals import mean_interval

        A_EO = snapshot.op_weights_EO
        fixed = (
            snapshot.recalibrated(A_EO, recalibration, batch_size or None)
            if statistics == "recalibrated"
            else None
        )
        losses, logits, op_weights, slopes = [], [], [], []
        for batch in snapshot.batches(loss, batches, batch_size or None):
            found = expansion(snapshot.supernet, batch, A_EO, fixed)
            g_P, H_PP = found.gradient_EO.reshape(-1), found.hessian_PP
            losses.append(found.loss)
            logits.append(in_logits(g_P, H_PP, snapshot.relax, snapshot.alpha_EO.cpu()))
            logits[-1].diagonal().add_(weight_decay)
            op_weights.append(on_zero_row_sums(H_PP, A_EO.shape[1]))
            slopes.append(found.gradient_EO - found.gradient_EO.mean(-1, keepdim=True))
        numbers: dict[str, float] = {}
        arrays: dict[str, Any] = {}
        for name, hessians in zip(COORDINATES, (logits, op_weights), strict=True):
            described, spectra = _described(torch.stack(hessians))
            numbers |= {f"{name}_{key}": value for key, value in described.items()}
            arrays |= {f"{name}_{key}": value.numpy() for key, value in spectra.items()}
        slopes_NEO = torch.stack(slopes)
        numbers["op_weights_l1"] = float(slopes_NEO.mean(0).abs().sum())
        for end, bound in zip(
            ("low", "high"), mean_interval(slopes_NEO.abs().sum((1, 2))), strict=True
        ):
            numbers[f"op_weights_l1_{end}"] = bound
        mean_loss = sum(losses) / len(losses)
        return Values(
            {**numbers, "loss": mean_loss, "batches": batches, **_rows(A_EO)},
            arrays,
        )

    return Measure(
        measure,
        QUANTITIES,
        cost="per batch a forward and a backward pass and about 20 forward passes; seconds",
        cadence=Cadence(every=5),
        quick={"batches": 2, "batch_size": 8, "recalibration": 2},
    )


def _described(hessians_NPP: Tensor) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Numbers of the mean Hessian with the batches' intervals; spectra and Hessians."""
    import torch

    from optnas.measures.curvature.hessian import spectrum
    from optnas.measures.intervals import mean_interval

    mean_PP = hessians_NPP.mean(0)
    spectrum_P = spectrum(mean_PP)
    spectra_NP = torch.stack([spectrum(each) for each in hessians_NPP])
    numbers = {
        "max": float(spectrum_P[-1]),
        "min": float(spectrum_P[0]),
        "spectral": float(spectrum_P.abs().max()),
        "frobenius": float(mean_PP.norm()),
        "trace": float(mean_PP.trace()),
    }
    of_batches = {"max": spectra_NP[:, -1], "min": spectra_NP[:, 0], "trace": spectra_NP.sum(1)}
    for name in BOUNDED:
        numbers[f"{name}_low"], numbers[f"{name}_high"] = mean_interval(of_batches[name])
    arrays = {"spectrum": spectrum_P, "spectra": spectra_NP, "hessians": hessians_NPP}
    return numbers, arrays


def _rows(op_weights_EO: Tensor) -> dict[str, Any]:
    """How far the rows of A are saturated: entropy and largest share of the row's sum.

    A row of zeros, an edge that the cell leaves out, has neither, and none counts in the means.
    """
    import torch

    A_EO = op_weights_EO.double()
    sums_E = A_EO.sum(-1)
    there = (sums_E != 0).tolist()
    shares_KO = A_EO[sums_E != 0] / sums_E[sums_E != 0, None]
    numbers: dict[str, Any] = {}
    for one, every, of_rows_K in (
        ("entropy", "entropies", torch.special.entr(shares_KO).sum(-1)),
        ("saturation", "saturations", shares_KO.amax(-1)),
    ):
        values = iter(of_rows_K.tolist())
        numbers[one] = float(of_rows_K.mean()) if any(there) else None
        numbers[every] = [next(values) if each else None for each in there]
    return numbers
