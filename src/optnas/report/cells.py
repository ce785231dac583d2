"""A cell as SVG text, a stroke for every edge and operation: small enough for hundreds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from optnas.spaces import Architecture, Space
from optnas.spaces.drawing import (
    NODE_RADIUS,
    NODE_SPACING,
    STROKE_SPACING,
    arc_height,
    edge_curve,
    levels,
    operation_colours,
)

if TYPE_CHECKING:
    from matplotlib.path import Path

STROKE = 0.15  # width at an operation weight of 1, in units of the drawing
INK = "#333333"


def cell_svg(space: Space, op_weights_EO: Sequence[Sequence[float]], cell: Architecture) -> str:
    """A mixed cell and, in words on its edges, the cell derived from it.

    The strokes carry ``data-edge`` and ``data-operation``, the words ``data-edge``, so that a
    script can show another epoch.

    Args:
        space: the space.
        op_weights_EO: operation weights; a negative one has no width.
        cell: the derived cell.

    Returns:
        An ``svg`` element.
    """
    low, high = levels(space)
    width, height = NODE_SPACING * (space.nodes - 1) + 1.0, high - low
    title = f"mixed cell; derived cell {cell}"
    parts = [
        f'<svg class="cell" viewBox="-0.5 {-high:.2f} {width:.2f} {height:.2f}" role="img" '
        f'data-stroke="{STROKE}" aria-label="{escape(title)}">'
    ]
    middle, colours = (space.operation_count - 1) / 2, operation_colours(space)
    for edge, ((source, target), weights_O) in enumerate(
        zip(space.edges, op_weights_EO, strict=True)
    ):
        own = space.columns_at(edge)
        for index, weight in enumerate(weights_O):
            way = _way(edge_curve(source, target, (middle - index) * STROKE_SPACING))
            parts.append(
                f'<path d="{way}" data-edge="{edge}" data-operation="{index}" fill="none" '
                f'stroke="{colours[own[index]]}" stroke-width="{STROKE * max(weight, 0.0):.3f}"/>'
            )
    for edge, ((source, target), index) in enumerate(
        zip(space.edges, cell.operations, strict=True)
    ):
        x, y = (source + target) / 2 * NODE_SPACING, arc_height(source, target)
        parts.append(
            f'<text x="{x:.2f}" y="{-y:.2f}" data-edge="{edge}" fill="{colours[index]}">'
            f"{escape(space.operations[index])}</text>"
        )
    for node in range(space.nodes):
        label = {0: "in", space.nodes - 1: "out"}.get(node, str(node))
        x = node * NODE_SPACING
        parts.append(f'<circle cx="{x:.2f}" cy="0" r="{NODE_RADIUS}"/>')
        parts.append(f'<text class="node" x="{x:.2f}" y="0" fill="{INK}">{label}</text>')
    return "".join([*parts, "</svg>"])


def _way(path: Path) -> str:
    """The way of a curve, y downwards as SVG has it."""
    points = [f"{x:.3f} {-y:.3f}" for x, y in np.asarray(path.vertices, float)]
    return f"M{points[0]}" + (f"C{' '.join(points[1:])}" if len(points) == 4 else f"L{points[1]}")
