"""No perturbation, and those of SDARTS."""

from __future__ import annotations

from optnas.algorithms import parts
from optnas.algorithms.base import Perturb, ProjectionName
from optnas.base.registry import register


@register("perturbation", "none")
def none() -> Perturb:
    """See `optnas.algorithms.parts.perturbations.unperturbed`."""
    return parts.unperturbed


@register("perturbation", "uniform")
def uniform(
    radius_start: float = 0.03, radius_end: float = 0.3, projection: ProjectionName = "published"
) -> Perturb:
    """See `optnas.algorithms.parts.perturbations.uniform`.

    Args:
        radius_start: radius r in the first epoch.
        radius_end: radius that r grows towards.
        projection: how a moved point comes back.

    Returns:
        The perturbation.
    """
    return parts.uniform(parts.Radius(radius_start, radius_end), projection)


@register("perturbation", "attack")
def attack(
    radius_start: float = 0.03,
    radius_end: float = 0.3,
    steps: int = 7,
    projection: ProjectionName = "published",
) -> Perturb:
    """See `optnas.algorithms.parts.perturbations.attack`.

    Args:
        radius_start: radius r in the first epoch.
        radius_end: radius that r grows towards.
        steps: ascent steps a weight step, each of size 2 r / steps.
        projection: how a step comes back.

    Returns:
        The perturbation.
    """
    return parts.attack(parts.Radius(radius_start, radius_end), steps, projection)
