"""The noise of weight gradients and the flatness of the train loss, at one moment of a search.

Shapes: N minibatches, J coordinates, W all weights, D draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from optnas.base.registry import register
from optnas.base.schema import AtLeastOne, AtLeastTwo
from optnas.measures.base import Cadence, Measure, Quantity, Values

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

    from optnas.measures.snapshot import Snapshot
    from optnas.theory.flatness import Loss, Weights

TAILS = ("pooled", "standardised", "by_coordinate", "kurtosis", "hill")
QUANTITIES = {
    **{f"{name}{suffix}": Quantity("1") for name in TAILS for suffix in ("", "_surrogate")},
    "standardised_together": Quantity("1"),
    "noise": Quantity("1"),
    "loss": Quantity("nats", "lower"),
    "weight_norm": Quantity("1"),
    "lambda_max": Quantity("nats", "lower"),
    "lambda_max_scaled": Quantity("nats", "lower"),
    "eigenvalues": Quantity("nats"),
    "trace": Quantity("nats", "lower"),
    "trace_scaled": Quantity("nats", "lower"),
    "lambda_max_filters": Quantity("nats", "lower"),
    "trace_filters": Quantity("nats", "lower"),
    "sam": Quantity("nats", "lower"),
    "asam": Quantity("nats", "lower"),
    "filter": Quantity("nats", "lower"),
    "parts": Quantity("nats, by part"),
    "largest_part": Quantity("nats", "lower"),
    "edge": Quantity("1"),
    "escape": Quantity("nats"),
    "escape_random": Quantity("nats"),
    "stationary": Quantity("nats"),
}


@register("measure", "noise")
def noise(
    batches: Annotated[int, Field(ge=16)] = 256,
    coordinates: AtLeastOne = 5000,
    images: AtLeastTwo = 512,
    eigenvalues: AtLeastOne = 3,
    draws: AtLeastOne = 10,
) -> Measure:
    """Tails of the gradient noise of w, and the sharpness of the train loss in w, A fixed.

    Noise is the gradient of a minibatch of the training size minus the mean over ``batches`` of
    them, augmented as in training, each under its own statistics, on coordinates drawn at random;
    ``noise`` is its root mean square over that of the mean gradient. Tail indices are those of
    `optnas.theory.tails`, each with its Gaussian surrogate; minibatches are shuffled within each
    coordinate, as correlation between coordinates looks like a tail, but not of
    ``standardised_together``.

    Flatness is of L on the first ``images`` training images, see `optnas.theory.flatness`:
    ``lambda_max`` and ``trace`` of the Hessian, and both times |w|^2 (``_scaled``), which one
    factor common to all of w leaves as they are; ``sam``, ``asam`` and ``filter`` are rises of L.
    ``parts`` has the largest eigenvalue of the block of each part of the network (stem, a cell, the
    head) times the part's squared norm. A batch norm takes out the scale of each filter by itself:
    that leaves ``asam``, ``filter``, and eigenvalue and trace in shares of each filter's norm
    (``_filters``) as they are, and no other of these.

    Of the weight optimizer at the moment (`optnas.theory.stability`; null of one that is not known
    there): ``edge``, the largest eigenvalue, of P^-1/2 H P^-1/2 under Adam, over the threshold
    beyond which steps grow; ``escape``, the mean rise of L where w moves by 5 % of its norm along
    the optimizer's own noise P^-1 u, u with the covariance of the gradient noise;
    ``escape_random`` the same along white noise;
    ``stationary``, the rise at which that noise holds a quadratic loss.

    Args:
        batches: minibatches; at least 16.
        coordinates: of w, at most.
        images: of the batch of L.
        eigenvalues: how many of the largest.
        draws: of directions and of sign vectors.
    """

    def measure(snapshot: Snapshot) -> Values:
        from optnas.theory import tails

        noise = _noise(snapshot, batches, coordinates, draws)
        seed = snapshot.generator().initial_seed()
        found: dict[str, Any] = {**tails.told(noise.moving_NJ, seed), "noise": noise.ratio}
        return Values(found | _around(snapshot, noise, images, eigenvalues, draws))

    return Measure(
        measure,
        QUANTITIES,
        cost="a forward and backward pass over `batches` minibatches, some 300 Hessian products on "
        "`images` images; a minute",
        cadence=Cadence(at=("end",)),
        quick={"batches": 16, "coordinates": 50, "images": 16, "eigenvalues": 1, "draws": 1},
        images={"train": images},
    )


class Noise(NamedTuple):
    """The noise of the gradient.

    Attributes:
        moving_NJ: on those of the chosen coordinates that have any.
        ratio: its size over that of the mean gradient.
        variance: mean over minibatches of its square, by chosen coordinate, and which those are.
        directions_DW: draws with its covariance.
    """

    moving_NJ: np.ndarray
    ratio: float
    variance: tuple[Tensor, Tensor]
    directions_DW: Tensor


def _noise(snapshot: Snapshot, batches: int, coordinates: int, draws: int) -> Noise:
    import torch

    from optnas.theory.flatness import gradient, loss_of

    generator = snapshot.generator()
    weights = snapshot.supernet.weights
    size = sum(each.numel() for each in weights.values())
    chosen_J = torch.randperm(size, generator=generator)[:coordinates].sort().values
    # Sums of noises with random weights have its covariance; centred weights leave the mean out.
    own = torch.Generator().manual_seed(generator.initial_seed() + 1)
    shares_DN = torch.randn(draws, batches, generator=own, dtype=torch.float64)
    shares_DN -= shares_DN.mean(1, keepdim=True)
    directions_DW = torch.zeros(draws, size, dtype=torch.float64)
    rows = []
    for n in range(batches):
        order = torch.randperm(len(snapshot.images["train"]), generator=generator)
        batch = snapshot.augmented_batch("train", order[: snapshot.batch_size], generator)
        by = gradient(loss_of(snapshot, batch), weights)
        flat_W = torch.cat([each.flatten() for each in by.values()]).double().cpu()
        directions_DW += torch.outer(shares_DN[:, n], flat_W)
        rows.append(flat_W[chosen_J])
    gradients_NJ = torch.stack(rows)
    mean_J = gradients_NJ.mean(0)
    noise_NJ = gradients_NJ - mean_J
    ratio = float(noise_NJ.square().mean().sqrt() / mean_J.square().mean().sqrt())
    # Operations that the cell does not reach have no gradient.
    moving_NJ = noise_NJ[:, noise_NJ.abs().amax(0) > 0].numpy()
    return Noise(moving_NJ, ratio, (noise_NJ.square().mean(0), chosen_J), directions_DW)


def _around(
    snapshot: Snapshot, noise: Noise, images: int, eigenvalues: int, draws: int
) -> dict[str, Any]:
    """Flatness of the loss of some images, and what the weight optimizer makes of it."""
    import torch

    from optnas.theory import flatness

    (batch,) = snapshot.batches("train", 1, images)
    generator = snapshot.generator()
    weights = {name: each.detach() for name, each in snapshot.supernet.weights.items()}
    loss = flatness.loss_of(snapshot, batch)
    product, size = flatness.hessian(loss, weights)
    found = flatness.top_eigenvalues(product, size, eigenvalues, generator.initial_seed())
    length, bend = flatness.norm(weights), flatness.trace(product, size, draws, generator)
    by_filter, own = flatness.per_filter(product, weights), torch.Generator()
    own.manual_seed(generator.initial_seed() + 3)
    (top,) = flatness.top_eigenvalues(by_filter, size, 1, generator.initial_seed())
    with torch.no_grad():
        value = float(loss(weights))
    of_weights = {
        "loss": value,
        "weight_norm": length,
        "lambda_max": found[0],
        "lambda_max_scaled": found[0] * length**2,
        "eigenvalues": found,
        "trace": bend,
        "trace_scaled": bend * length**2,
        "lambda_max_filters": top,
        "trace_filters": flatness.trace(by_filter, size, draws, own),
        "sam": flatness.sam_rise(loss, weights),
        "asam": flatness.sam_rise(loss, weights, adaptive=True),
        "filter": flatness.filter_rise(loss, weights, draws, generator),
    }
    parts = flatness.by_part(loss, weights, generator.initial_seed())
    return {
        **of_weights,
        "parts": parts,
        "largest_part": max(parts.values()),
        **_dynamics(snapshot, noise, loss, weights, product),
    }


def _dynamics(
    snapshot: Snapshot,
    noise: Noise,
    loss: Loss,
    weights: Weights,
    product: Callable[[Tensor], Tensor],
) -> dict[str, float | None]:
    import torch

    from optnas.theory import flatness, stability

    dynamics = stability.dynamics_of(snapshot.weight_optimizer)
    if dynamics is None:
        return dict.fromkeys(("edge", "escape", "escape_random", "stationary"))
    seed, (variance_J, chosen_J) = snapshot.generator().initial_seed(), noise.variance
    scale_W = dynamics.scale_W.double().cpu()
    of_steps = stability.preconditioned(product, scale_W)
    (top,) = flatness.top_eigenvalues(of_steps, len(scale_W), 1, seed)
    own = torch.Generator().manual_seed(seed + 2)
    random_DW = torch.randn(noise.directions_DW.shape, generator=own, dtype=torch.float64)
    held_J = dynamics.gain * variance_J / (4 * scale_W[chosen_J])
    return {
        "edge": top / dynamics.threshold,
        "escape": stability.rise(loss, weights, noise.directions_DW / scale_W),
        "escape_random": stability.rise(loss, weights, random_DW),
        "stationary": float(held_J.mean()) * len(scale_W),
    }
