"""Slides of the method: drawn once, served as they are."""

from __future__ import annotations

import importlib.resources
from importlib.resources.abc import Traversable

from optnas.base.registry import register

IMAGES = importlib.resources.files("optnas").joinpath("report/images")


@register("figure", "nas-triangle")
def nas_triangle() -> Traversable:
    """Search space, search strategy and performance estimation, and what passes between them."""
    return IMAGES.joinpath("nas-triangle.svg")


@register("figure", "alternation")
def alternation() -> Traversable:
    """One iteration: the architecture step, then the weight step."""
    return IMAGES.joinpath("alternation.svg")


@register("figure", "auxiliary-skip")
def auxiliary_skip() -> Traversable:
    """An edge with the auxiliary skip of DARTS-, and the skip's weight over the epochs."""
    return IMAGES.joinpath("auxiliary-skip.svg")
