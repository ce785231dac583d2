"""Do both halves want the same architecture? First derivatives of their losses, by operation.

Shapes: E edges, O operations, N batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optnas.base.registry import register
from optnas.base.schema import AtLeastTwo, Count
from optnas.measures.base import Cadence, Measure, Quantity, Values

if TYPE_CHECKING:
    from torch import Tensor

    from optnas.measures.snapshot import Snapshot

ENDS = ("", "_low", "_high")
QUANTITIES = {
    "cosine": Quantity("1"),
    "sign_agreement": Quantity("1"),
    "cosine_by_operation": Quantity("1, by operation"),
    "sign_agreement_by_operation": Quantity("1, by operation"),
    "batch_cosine": Quantity("1"),
    "batch_cosine_train": Quantity("1"),
    "batch_cosine_valid": Quantity("1"),
    **{
        f"alpha_gradient_{half}{end}": Quantity("nats, by operation")
        for half in ("train", "valid")
        for end in ENDS
    },
    "train_loss": Quantity("nats", "lower"),
    "valid_loss": Quantity("nats", "lower"),
}


@register("measure", "agreement")
def agreement(batches: AtLeastTwo = 8, batch_size: Count = 0) -> Measure:
    """Agreement of d L_train / dA and d L_valid / dA, and the gradient of alpha, by operation.

    With w fixed, g_n = d L_n / dA of batch n under its own batch-norm statistics, G the mean of g_n
    over the batches of a half, and columns o taken over edges:

        cosine_o = <G_train[:, o], G_valid[:, o]> / (|G_train[:, o]| |G_valid[:, o]|)
        sign_agreement_o = part of the edges in which both have the same sign
        alpha_gradient_o = mean over n and edges of (d L_n / d alpha)[e, o]

    ``cosine`` and ``sign_agreement`` take all entries at once. ``batch_cosine`` is the mean cosine
    of single batches of different halves, ``batch_cosine_train`` and ``_valid`` that of different
    batches of one half: what it would be if both halves had one gradient.

    Args:
        batches: of each half; the first images, the same in every epoch and run.
        batch_size: images of each; 0 for that of a training step.
    """

    def measure(snapshot: Snapshot) -> Values:
        from optnas.measures.agreement.maths import cosine, gradients, mean_cosine, sign_agreement

        train = gradients(snapshot, snapshot.batches("train", batches, batch_size or None))
        valid = gradients(snapshot, snapshot.batches("valid", batches, batch_size or None))
        of_train, of_valid = train.op_weights_NEO, valid.op_weights_NEO
        T_EO, V_EO = of_train.mean(0), of_valid.mean(0)
        named = list(enumerate(snapshot.space.column_names))
        numbers = {
            "cosine": cosine(T_EO, V_EO),
            "sign_agreement": sign_agreement(T_EO, V_EO),
            "cosine_by_operation": {name: cosine(T_EO[:, o], V_EO[:, o]) for o, name in named},
            "sign_agreement_by_operation": {
                name: sign_agreement(T_EO[:, o], V_EO[:, o]) for o, name in named
            },
            "batch_cosine": mean_cosine(of_train, of_valid, distinct=False),
            "batch_cosine_train": mean_cosine(of_train, of_train, distinct=True),
            "batch_cosine_valid": mean_cosine(of_valid, of_valid, distinct=True),
            **_by_operation(snapshot, train.logits_NEO, "alpha_gradient_train"),
            **_by_operation(snapshot, valid.logits_NEO, "alpha_gradient_valid"),
            "train_loss": float(train.loss_N.mean()),
            "valid_loss": float(valid.loss_N.mean()),
        }
        arrays = {
            "op_weights_train": of_train.numpy(),
            "op_weights_valid": of_valid.numpy(),
            "logits_train": train.logits_NEO.numpy(),
            "logits_valid": valid.logits_NEO.numpy(),
        }
        return Values(numbers, arrays)

    return Measure(
        measure,
        QUANTITIES,
        cost="a forward and a backward pass over `batches` batches of each half; seconds",
        cadence=Cadence(at=(0, 1, "end")),
        quick={"batches": 2, "batch_size": 8},
    )


def _by_operation(snapshot: Snapshot, gradients_NEO: Tensor, key: str) -> dict[str, Any]:
    """Mean over edges and batches by operation, and the batches' interval."""
    from optnas.measures.intervals import mean_interval

    found: dict[str, dict[str, float]] = {f"{key}{end}": {} for end in ENDS}
    columns = gradients_NEO.mean(1).unbind(-1)  # those of the operations come first
    for name, values_N in zip(snapshot.space.column_names, columns, strict=False):
        values = (float(values_N.mean()), *mean_interval(values_N))
        for end, value in zip(ENDS, values, strict=True):
            found[f"{key}{end}"][name] = value
    return found
