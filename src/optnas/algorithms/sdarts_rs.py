"""SDARTS-RS: DARTS whose weight step sees uniformly perturbed operation weights."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Algorithm, HypergradientName, ProjectionName
from optnas.algorithms.composed import composed
from optnas.base.registry import register
from optnas.base.schema import NotNegative


@register(
    "algorithm",
    "sdarts-rs",
    needs=("noise",),
    paper="Stabilizing Differentiable Architecture Search via Perturbation-based Regularization",
    year=2020,
)
def sdarts_rs(
    radius_start: NotNegative = 0.03,
    radius_end: NotNegative = 0.3,
    projection: ProjectionName = "published",
    hypergradient: HypergradientName = "first-order",
) -> Algorithm:
    """Smooth DARTS by random smoothing.

    min_A L_val(w(A), A) with w(A) = argmin_w E_{d ~ U[-r, r]} L_train(w, A + d). One d per
    weight step; r grows by r = start + (end - start) (epoch - 1) / epochs. The alpha step is
    unperturbed.

    Args:
        radius_start: perturbation radius r in the first epoch.
        radius_end: radius that r grows towards.
        projection: how A + d comes back, see `optnas.algorithms.parts.perturbations`.
        hypergradient: the gradient that moves alpha.

    Reference: Chen and Hsieh, ICML 2020, and its published code. Deviation: none by default.
    """
    return composed(
        relaxation=parts.softmax,
        perturbation=parts.uniform(radius_start, radius_end, projection),
        hypergradient=hypergradient,
        discretization=parts.argmax_per_edge,
    )
