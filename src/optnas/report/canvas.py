"""A canvas measured in inches, and the boxes, arrows and words put on it.

One unit of the axes is an inch, so that boxes, arrows and type keep their proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]

INK = "#333333"
FAINT = "#777777"
ARCH_COLOUR = "#D55E00"
WEIGHT_COLOUR = "#0072B2"
DATA_COLOUR = "#009E73"


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure and axes that fill it, one unit an inch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.set_axis_off()
    return figure, ax


def box(
    ax: Axes, centre: Point, width: float, height: float, title: str, body: str, colour: str
) -> None:
    """A rounded box with a title and two lines of body, in tints of one colour."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyBboxPatch

    x, y = centre
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=to_rgba(colour, 0.1),
            edgecolor=colour,
            linewidth=1.5,
        )
    )
    say(ax, (x, y + height / 2 - 0.26), title, colour=colour, size=11, weight="bold")
    say(ax, (x, y - 0.16), body, size=10)


def say(
    ax: Axes,
    place: Point,
    text: str,
    *,
    ha: str = "center",
    colour: str = INK,
    size: float = 10,
    weight: str = "normal",
    boxed: bool = False,
) -> None:
    """Words at a place; ``boxed`` clears what lies behind them."""
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    ax.text(
        *place,
        text,
        ha=ha,
        va="center",
        color=colour,
        fontsize=size,
        fontweight=weight,
        linespacing=1.35,
        bbox=box if boxed else None,
        zorder=4,
    )


def arrow(ax: Axes, start: Point, end: Point, *, colour: str = INK, dashed: bool = False) -> None:
    """A straight arrow."""
    ax.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 1.6,
            "linestyle": (0, (4, 3)) if dashed else "solid",
            "mutation_scale": 14,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def route(ax: Axes, points: Sequence[Point], colour: str) -> None:
    """A line with corners that ends in an arrow."""
    ax.plot(*zip(*points[:-1], strict=True), color=colour, linewidth=1.6, solid_joinstyle="round")
    arrow(ax, points[-2], points[-1], colour=colour)


def bow(
    ax: Axes,
    start: Point,
    end: Point,
    rise: float,
    colour: str,
    label: str,
    width: float,
    dashed: bool = False,
) -> None:
    """A labelled arrow whose middle lies ``rise`` above its ends."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    (x0, y0), (x1, y1) = start, end
    reach, level = (x1 - x0) * 0.2, y0 + rise * 4 / 3
    curve = Curve(
        [start, (x0 + reach, level), (x1 - reach, level), end],
        [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4],
    )
    ax.add_patch(
        FancyArrowPatch(
            path=curve,
            arrowstyle="-|>",
            mutation_scale=13,
            linewidth=width,
            linestyle=(0, (4, 2)) if dashed else "solid",
            color=colour,
            fill=False,
            zorder=1,
        )
    )
    say(ax, ((x0 + x1) / 2, (y0 + y1) / 2 + rise), label, colour=colour, boxed=True)
