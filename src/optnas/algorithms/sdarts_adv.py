"""SDARTS-ADV: DARTS whose weight step sees adversarially perturbed operation weights."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, ProjectionName
from optnas.algorithms.composed import composed
from optnas.base.registry import register
from optnas.base.schema import Count, NotNegative


@register(
    "algorithm",
    "sdarts-adv",
    needs=("noise",),
    paper="Stabilizing Differentiable Architecture Search via Perturbation-based Regularization",
    year=2020,
)
def sdarts_adv(
    radius_start: NotNegative = 0.03,
    radius_end: NotNegative = 0.3,
    steps: Count = 7,
    projection: ProjectionName = "published",
    hypergradient: HypergradientName = "first-order",
) -> Algorithm:
    """Smooth DARTS by adversarial training.

    w(A) = argmin_w max_{|d|_inf <= r} L_train(w, A + d), the maximum approached by sign-gradient
    ascent from a random start. Radius as in SDARTS-RS; the alpha step is unperturbed.

    Args:
        radius_start: perturbation radius r in the first epoch.
        radius_end: radius that r grows towards.
        steps: ascent steps per weight step, each of size 2 r / steps.
        projection: how a step comes back, see `optnas.algorithms.parts.perturbations`.
        hypergradient: the gradient that moves alpha.

    Reference: Chen and Hsieh, ICML 2020, and its published code. Deviation: none by default.
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.attack(radius_start, radius_end, steps, projection),
        hypergradient=hypergradient,
        discretization=parts.argmax_per_edge,
    )
