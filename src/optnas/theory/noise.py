"""The noise of weight gradients and the flatness of the train loss, at one moment of a search.

Shapes: N minibatches, J coordinates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.measures.base import Cadence, Measure, Quantity, Values

if TYPE_CHECKING:
    import numpy as np

    from optnas.measures.snapshot import Snapshot

TAILS = ("pooled", "standardised", "by_coordinate", "kurtosis", "hill")
QUANTITIES = {
    **{f"{name}{suffix}": Quantity("1") for name in TAILS for suffix in ("", "_surrogate")},
    "noise": Quantity("1"),
    "loss": Quantity("nats", "lower"),
    "weight_norm": Quantity("1"),
    "lambda_max": Quantity("nats", "lower"),
    "lambda_max_scaled": Quantity("nats", "lower"),
    "eigenvalues": Quantity("nats"),
    "trace": Quantity("nats", "lower"),
    "trace_scaled": Quantity("nats", "lower"),
    "sam": Quantity("nats", "lower"),
    "asam": Quantity("nats", "lower"),
    "filter": Quantity("nats", "lower"),
}


@register("measure", "noise")
def noise(
    batches: int = 256,
    coordinates: int = 5000,
    images: int = 512,
    eigenvalues: int = 3,
    draws: int = 10,
) -> Measure:
    """Tails of the gradient noise of w, and the sharpness of the train loss in w, A fixed.

    Noise is the gradient of a minibatch of the training size minus the mean over ``batches`` of
    them, augmented as in training, each under its own statistics, on coordinates drawn at random;
    ``noise`` is its root mean square over that of the mean gradient. Tail indices are those of
    `optnas.theory.tails`, each with its Gaussian surrogate.

    Flatness is of L on the first ``images`` training images, see `optnas.theory.flatness`:
    ``lambda_max`` and ``trace`` of the Hessian, and both times |w|^2, which a rescaling of w leaves
    as they are; ``sam``, ``asam`` and ``filter`` are rises of L.

    Args:
        batches: minibatches; at least 16.
        coordinates: of w, at most.
        images: of the batch of L.
        eigenvalues: how many of the largest.
        draws: of directions and of sign vectors.

    Raises:
        UserError: a number is out of range.
    """
    for key, value, least in (
        *(("batches", batches, 16), ("coordinates", coordinates, 1), ("images", images, 2)),
        *(("eigenvalues", eigenvalues, 1), ("draws", draws, 1)),
    ):
        if value < least:
            raise UserError(f"is at least {least}", key=key, value=value, remedy="raise it")

    def measure(snapshot: Snapshot) -> Values:
        from optnas.theory import tails

        noise_NJ, ratio = _noise(snapshot, batches, coordinates)
        seed = snapshot.generator().initial_seed()
        found: dict[str, Any] = {**tails.told(noise_NJ, seed), "noise": ratio}
        return Values(found | _flatness(snapshot, images, eigenvalues, draws))

    return Measure(
        measure,
        QUANTITIES,
        cost="a forward and backward pass over `batches` minibatches, some 50 Hessian products on "
        "`images` images; a minute",
        cadence=Cadence(at=("end",)),
        quick={"batches": 16, "coordinates": 50, "images": 16, "eigenvalues": 1, "draws": 1},
        images={"train": images},
    )


def _noise(snapshot: Snapshot, batches: int, coordinates: int) -> tuple[np.ndarray, float]:
    """The noise on the coordinates that have any, and its size over that of the mean gradient."""
    import torch

    from optnas.theory.flatness import gradient, loss_of

    generator = snapshot.generator()
    weights = snapshot.supernet.weights
    size = sum(each.numel() for each in weights.values())
    chosen = torch.randperm(size, generator=generator)[:coordinates].sort().values
    rows = []
    for _ in range(batches):
        order = torch.randperm(len(snapshot.images["train"]), generator=generator)
        batch = snapshot.augmented_batch("train", order[: snapshot.batch_size], generator)
        by = gradient(loss_of(snapshot, batch), weights)
        flat = torch.cat([each.flatten() for each in by.values()]).double().cpu()
        rows.append(flat[chosen])
    gradients_NJ = torch.stack(rows)
    mean_J = gradients_NJ.mean(0)
    noise_NJ = gradients_NJ - mean_J
    ratio = float(noise_NJ.square().mean().sqrt() / mean_J.square().mean().sqrt())
    # Operations that the cell does not reach have no gradient.
    return noise_NJ[:, noise_NJ.abs().amax(0) > 0].numpy(), ratio


def _flatness(snapshot: Snapshot, images: int, eigenvalues: int, draws: int) -> dict[str, Any]:
    import torch

    from optnas.theory import flatness

    (batch,) = snapshot.batches("train", 1, images)
    generator = snapshot.generator()
    weights = {name: each.detach() for name, each in snapshot.supernet.weights.items()}
    loss = flatness.loss_of(snapshot, batch)
    product, size = flatness.hessian(loss, weights)
    found = flatness.top_eigenvalues(product, size, eigenvalues, generator.initial_seed())
    length, bend = flatness.norm(weights), flatness.trace(product, size, draws, generator)
    with torch.no_grad():
        value = float(loss(weights))
    return {
        "loss": value,
        "weight_norm": length,
        "lambda_max": found[0],
        "lambda_max_scaled": found[0] * length**2,
        "eigenvalues": found,
        "trace": bend,
        "trace_scaled": bend * length**2,
        "sam": flatness.sam_rise(loss, weights),
        "asam": flatness.sam_rise(loss, weights, adaptive=True),
        "filter": flatness.filter_rise(loss, weights, draws, generator),
    }
