"""Pictures of a cell: nodes in a row, one coloured arrow per edge, or one stroke per operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optnas.spaces.base import Architecture, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

# Colours that stay apart for colour-blind readers; the identity and zero have their own.
PALETTE = ("#8E5AA8", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8C6D31")
SKIP_COLOUR = "#0072B2"
NONE_COLOUR = "#BBBBBB"
NODE_SPACING = 2.4
NODE_RADIUS = 0.26
ARC_HEIGHT = 0.85
STROKE_SPACING = 0.14
STROKE_WIDTH = 6.5  # points at an operation weight of 1


def operation_colours(space: Space) -> tuple[str, ...]:
    """The colour of each operation of a space, the same in every figure."""
    special = {space.skip: SKIP_COLOUR, space.none: NONE_COLOUR}
    every = range(len(space.operations))
    others = [index for index in every if index not in special]
    colours = {index: PALETTE[place % len(PALETTE)] for place, index in enumerate(others)}
    return tuple((special | colours)[index] for index in every)


def arc_height(source: int, target: int) -> float:
    """How high the middle of an edge lies above the row of nodes."""
    # Neighbours are joined straight; longer edges bow by their length, up from even sources.
    span = target - source
    return 0.0 if span == 1 else ARC_HEIGHT * (span - 1) * (1 if source % 2 == 0 else -1)


def draw_cell(architecture: Architecture, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw a cell; edges that carry zero are faint dots without a label.

    Args:
        architecture: the cell.
        ax: where to draw; without it a new figure is made, apart from any global state.
        title: text above the cell.

    Returns:
        The axes drawn on; ``axes.figure.savefig(path)`` writes the picture.
    """
    from matplotlib.figure import Figure

    space = architecture.space
    if ax is None:
        low, high = levels(space)
        width = NODE_SPACING * (space.nodes - 1) + 1.0
        figure = Figure(figsize=(width * 0.9, (high - low) * 0.9 + 0.3), layout="constrained")
        ax = figure.add_subplot()
    for (source, target), index in zip(space.edges, architecture.operations, strict=True):
        label = "" if index == space.none else space.operations[index]
        _draw_edge(ax, source, target, operation_colours(space)[index], label)
    _finish(ax, space, title)
    return ax


def draw_mixed_cell(
    op_weights_EO: Sequence[Sequence[float]], space: Space, ax: Axes, title: str | None = None
) -> Axes:
    """Draw a mixed cell: a stroke for every edge and operation, as wide as its weight.

    Args:
        op_weights_EO: operation weights; a negative one has no width.
        space: the space.
        ax: where to draw.
        title: text above the cell.

    Returns:
        The axes drawn on.
    """
    from matplotlib.patches import PathPatch

    middle, colours = (space.operation_count - 1) / 2, operation_colours(space)
    for edge, ((source, target), weights_O) in enumerate(
        zip(space.edges, op_weights_EO, strict=True)
    ):
        own = space.columns_at(edge)
        for index, weight in enumerate(weights_O):
            stroke = PathPatch(
                edge_curve(source, target, (middle - index) * STROKE_SPACING),
                linewidth=STROKE_WIDTH * max(weight, 0.0),
                edgecolor=colours[own[index]],
                facecolor="none",
                capstyle="butt",
                zorder=1,
            )
            ax.add_patch(stroke)
    _finish(ax, space, title)
    return ax


def levels(space: Space) -> tuple[float, float]:
    """The lowest and the highest place of a drawing of a cell.

    Raises:
        UserError: there are cells of several kinds, or of another form.
    """
    edges = space.one_sum().edges
    heights = [0.0, *(arc_height(source, target) for source, target in edges)]
    return min(heights) - 0.55, max(heights) + 0.45


def _finish(ax: Axes, space: Space, title: str | None) -> None:
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set_xlim(-0.5, NODE_SPACING * (space.nodes - 1) + 0.5)
    ax.set_ylim(*levels(space))
    for node in range(space.nodes):
        _draw_node(ax, node, {0: "in", space.nodes - 1: "out"}.get(node, str(node)))
    if title:
        ax.set_title(title, fontsize=10)


def edge_curve(source: int, target: int, spread: float = 0.0) -> Path:
    """The way from node to node; ``spread`` lifts its middle, and a little its ends."""
    from matplotlib.path import Path

    height = arc_height(source, target)
    start, end = source * NODE_SPACING, target * NODE_SPACING
    lean = NODE_RADIUS * 0.7 if height else NODE_RADIUS
    lift = NODE_RADIUS * 0.7 * ((height > 0) - (height < 0))
    first = (start + lean, lift + spread * 0.2)
    last = (end - lean - 0.02, lift * 1.06 + spread * 0.2)
    # Two control points on one level: the curve's middle is three quarters of their height.
    level = lift + (height + spread - lift) * 4 / 3
    reach = (end - start) * 0.22
    if not height and not spread:
        return Path([first, last])
    return Path(
        [first, (start + reach, level), (end - reach, level), last],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )


def _draw_edge(ax: Axes, source: int, target: int, colour: str, label: str) -> None:
    from matplotlib.patches import FancyArrowPatch

    ax.add_patch(
        FancyArrowPatch(
            path=edge_curve(source, target),
            arrowstyle="-|>" if label else "-",
            mutation_scale=13,
            linewidth=2.0 if label else 1.2,
            linestyle="solid" if label else (0, (1, 2.5)),
            color=colour,
            fill=bool(label),
            zorder=1,
        )
    )
    if label:
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
        ax.text(
            (source + target) / 2 * NODE_SPACING,
            arc_height(source, target),
            label,
            color=colour,
            fontsize=9,
            ha="center",
            va="center",
            bbox=box,
            zorder=2,
        )


def _draw_node(ax: Axes, node: int, label: str) -> None:
    from matplotlib.patches import Circle

    centre = (node * NODE_SPACING, 0.0)
    ax.add_patch(Circle(centre, NODE_RADIUS, facecolor="white", edgecolor="#333333", zorder=3))
    ax.text(*centre, label, ha="center", va="center", fontsize=10, color="#333333", zorder=4)
