"""Panels of a picture: curves, maps and surfaces between the axes of matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optnas.report.data import Chart, Map, Mean, Values, numbers
from optnas.report.places import LEFT, NUMBERS, WIDTH, line_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

NUMBER = LEFT - 0.25  # inches for a number of a vertical axis; a wider one is written smaller
STYLES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (4, 1.5)),
    "dashdot": (0, (5, 1.2, 1, 1.2)),
    "dot": (0, (1, 1.2)),
    "longdash": (0, (8, 2)),
    "longdashdot": (0, (8, 1.5, 1, 1.5, 1, 1.5)),
    "none": "none",
}
GREY = "#666666"
DECADES = 3  # of a logarithmic axis; beyond, 2 and 5 between them leave no room for any number
WAY = "#D55E00"  # of a trajectory in a map


def draw_panel(ax: Axes, panel: Chart) -> None:
    """Draw curves and horizontal lines, or say that nothing was measured."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

    for curve in panel.curves:
        _draw_curve(ax, curve)
    for line in panel.lines:
        if line.band is not None:
            ax.axhspan(*line.band, color=GREY, alpha=0.12, linewidth=0, zorder=0)
        ax.axhline(line.value, color=GREY, linewidth=0.8, linestyle=STYLES[line.dash], zorder=1)
    if panel.log:
        ax.set_yscale("log")
        low, high = panel.range or (1.0, 1.0)
        long = high / low > 10**DECADES
        ax.yaxis.set_major_locator(LogLocator(subs=(1,) if long else (1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    if panel.range is not None:
        ax.set_ylim(*panel.range)
        if panel.range[0] < 0 < panel.range[1]:
            ax.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    if not panel.curves:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", color=GREY)
        ax.set_axis_off()
        return
    ax.set_ylabel(panel.unit)
    ax.set_xlabel(panel.x)
    if panel.ticks:
        ax.set_xticks(range(len(panel.ticks)), panel.ticks, rotation=20, ha="right", fontsize=6)
    elif panel.x == "epoch":
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    if not panel.log:
        ax.yaxis.set_major_locator(MaxNLocator(5))
    labels = ax.yaxis.get_major_formatter().format_ticks(ax.get_yticks().tolist())
    wide = max((line_width(each, NUMBERS) for each in labels), default=0.0)
    if wide > NUMBER:  # it would lie on the panel to the left, or push the unit out
        ax.tick_params(axis="y", labelsize=NUMBERS * NUMBER / wide)
    ax.grid(alpha=0.2, linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_curve(ax: Axes, curve: Mean) -> None:
    from matplotlib.collections import LineCollection

    x = [each + curve.shift for each in curve.x]
    style, colour = STYLES[curve.dash], curve.colour
    low, high = numbers(curve.low), numbers(curve.high)
    if len(x) == 1:
        values = numbers([each.values[0] for each in curve.seeds])
        ax.plot(x * len(values), values, "_", color=colour, alpha=0.5, markersize=4, zorder=2)
    else:
        paths = [_points(x, seed.values) for seed in curve.seeds]
        thin = LineCollection(paths, colors=colour, linewidths=0.4, alpha=0.35, zorder=2)
        ax.add_collection(thin)
    if curve.bars:
        ax.vlines(x, low, high, color=colour, alpha=0.5, linewidth=1.4, zorder=2)
    else:
        ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)
    places, mean = zip(*_points(x, curve.mean), strict=True)
    points = curve.dash == "none"
    many = points and len(places) > 20
    ax.plot(
        places,
        mean,
        color=colour,
        linestyle=style,
        lw=1.4,
        marker=curve.marker or None,
        markersize=2.2 if many else 3,
        markevery=1 if points else max(1, len(places) // 7),
        alpha=0.5 if many else 1.0,
        markeredgewidth=0 if many else None,
        label=curve.label,
        zorder=3,
    )


def _points(x: Sequence[float], values: Values) -> list[tuple[float, float]]:
    return [(e, v) for e, v in zip(x, values, strict=True) if v is not None]


def _norm(panel: Chart) -> Any:
    from matplotlib.colors import Normalize

    return Normalize(*(panel.range or (0.0, 1.0)))


def draw_map(ax: Axes, panel: Chart, grid: Map) -> None:
    """Draw the grid of a panel in colours, with its contours and its trajectory."""
    from matplotlib.patheffects import Normal, Stroke

    axis, values = grid.axis, np.array([numbers(row) for row in grid.values])
    norm = _norm(panel)
    ax.pcolormesh(
        axis, axis, values, cmap=grid.colours, norm=norm, shading="nearest", rasterized=True
    )
    if grid.contours:
        heights = np.array([numbers(row) for row in grid.contours])
        lines = ax.contour(axis, axis, heights, 6, colors="white", linewidths=0.7)
        ax.clabel(lines, fontsize=5, fmt="%g")
    outline = [Stroke(linewidth=2.0, foreground="black"), Normal()]
    if grid.way:
        way = np.array([numbers(point) for point in grid.way])
        thin = [Stroke(linewidth=2.0, foreground="white"), Normal()]
        ax.plot(*way.T, "-o", color=WAY, linewidth=0.9, markersize=1.8, path_effects=thin)
        half = (axis[1] - axis[0]) / 2
        ax.set(xlim=(axis[0] - half, axis[-1] + half), ylim=(axis[0] - half, axis[-1] + half))
    ax.plot(0, 0, "+", color="white", markersize=7, path_effects=outline)
    ax.set_xlabel(panel.x, fontsize=6)
    ax.set_ylabel(panel.unit)
    ax.set_aspect("equal")
    ax.tick_params(labelsize=6)


def draw_surface(ax: Any, panel: Chart, grid: Map) -> None:
    """Draw the grid of a panel as a surface, on axes of three dimensions."""
    x, y = np.meshgrid(grid.axis, grid.axis)
    norm = _norm(panel)
    ax.plot_surface(
        x,
        y,
        np.array([numbers(row) for row in grid.values]),
        cmap=grid.colours,
        norm=norm,
        rcount=len(x),
        ccount=len(x),
        linewidth=0.15,
        edgecolor="#00000055",
        antialiased=True,
    )
    ax.set_zlim(norm.vmin, norm.vmax)
    ax.view_init(elev=28, azim=-55)
    ax.set_box_aspect((1, 1, 0.8), zoom=1.05)
    ax.tick_params(labelsize=5, pad=-3)
    ax.locator_params(nbins=5)
    ax.set_xlabel("x", fontsize=6, labelpad=-10)
    ax.set_ylabel("y", fontsize=6, labelpad=-10)


def draw_scale(drawing: Drawing, beside: Axes, panel: Chart, grid: Map) -> None:
    """Draw the scale of a map's colours to the right of it.

    Args:
        drawing: the picture.
        beside: the axes of the map.
        panel: what it shows.
        grid: its values.
    """
    from matplotlib.cm import ScalarMappable

    beside.apply_aspect()
    place = beside.get_position()
    width = 0.1 / WIDTH
    scale = drawing.add_axes((place.x1 + width, place.y0, width, place.height))
    bar = drawing.colorbar(ScalarMappable(_norm(panel), grid.colours), cax=scale)
    told = f"\nwhite: {grid.contours_unit}" if grid.contours else ""
    bar.set_label("\n".join(textwrap.wrap(grid.unit, 34)) + told, fontsize=6)
    bar.ax.tick_params(labelsize=6)
