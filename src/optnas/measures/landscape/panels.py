"""Pictures of landscapes, with axes, heights and colours in common. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optnas.measures.drawing import COLOURS, NAMES
from optnas.measures.landscape.read import Column, Landscape, Scalar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    Row = list[Axes]

TITLES = {"darts": "DARTS", "sdarts-rs": "SDARTS-RS", "sdarts-adv": "SDARTS-ADV"}
ACCURACY_COLOURS, BENCHMARK_COLOURS = "cividis", "magma"
# In inches: a column, what is left free around the columns, and the heights of rows.
COLUMN, LEFT, RIGHT, TOP, BOTTOM = 3.1, 0.75, 1.15, 1.05, 0.6
SURFACE, MAP, PATH, ROW_GAP, COLUMN_GAP = 2.7, 2.6, 1.4, 0.55, 0.3
TABLE_LINE = 0.22
AXES = {
    "gradient": ("gradient of the loss", "random, orthogonal"),
    "random": ("random", "random, orthogonal"),
    "eigenvectors": ("first eigenvector", "second eigenvector"),
}
MODES = {
    "_recalibrated": ("batch norm by statistics of the point", COLOURS[0], "-"),
    "": ("batch norm by statistics of the run", COLOURS[1], "--"),
}
# Quantities below F4: what each is called, decimals.
TABLE = {
    "accuracy": ("accuracy at the centre", 1),
    "mean_accuracy_drop": ("mean drop within the radius", 1),
    "worst_accuracy_drop": ("worst drop within the radius", 1),
    "accuracy_residual": ("accuracy off its quadratic fit", 2),
    "mean_loss_rise": ("mean rise of the loss", 3),
    "loss_residual": ("loss off its quadratic fit", 3),
    "curvature_x": ("curvature of the loss along x", 2),
    "curvature_y": ("curvature of the loss along y", 2),
    "path_accuracy_drop_recalibrated": ("worst drop towards the cell", 1),
}
UNITS = {"percent": "%", "percentage points": "points"}


def draw_landscapes(found: Sequence[Landscape]) -> Figure:
    """A column a run: accuracy as surface and map, the benchmark on the plane, the path.

    Args:
        found: measured alike.

    Returns:
        The drawing.
    """
    dataset = _dataset(found[0])
    heights = [SURFACE, MAP, *([MAP] if dataset else []), PATH, PATH]
    figure, rows = _frame(len(found), heights)
    _draw_accuracy(figure, rows, found)
    for each, ax in zip(found, rows[0], strict=True):
        title = f"{_algorithm(each)}, {each.pair}\nseed {each.seed}, epoch {each.epoch}"
        ax.set_title(title, fontsize=10)
    if dataset:
        _draw_benchmark(figure, rows[2], found, dataset)
    _draw_paths(rows[-2], found, "accuracy", "accuracy (%)")
    _draw_paths(rows[-1], found, "loss", "loss (nats)")
    for ax in rows[-1]:
        ax.set_xlabel("t, from A (0) to the derived cell (1)", fontsize=8)
    handles, labels = rows[-1][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=2, frameon=False, fontsize=8)
    figure.suptitle(caption(found), fontsize=11, y=1 - 0.15 / figure.get_figheight(), va="top")
    return figure


def draw_f4(columns: Sequence[Column]) -> Figure:
    """A column an algorithm: accuracy as surface and map, and the scalars over its seeds.

    Args:
        columns: of `optnas.measures.landscape.read.f4_data`.

    Returns:
        The drawing.
    """
    found = [column.shown for column in columns]
    table = TABLE_LINE * (len(TABLE) + 1)
    figure, rows = _frame(len(columns), [SURFACE, MAP, table])
    _draw_accuracy(figure, rows, found)
    for position, (column, ax) in enumerate(zip(columns, rows[0], strict=True)):
        name = f"({'abcdefgh'[position]}) {_algorithm(column.shown)}"
        ax.set_title(f"{name}, {column.shown.pair}\nseed {column.shown.seed}", fontsize=10)
    for position, (column, ax) in enumerate(zip(columns, rows[-1], strict=True)):
        _write_scalars(ax, column, named=position == 0)
    figure.suptitle(caption(found), fontsize=11, y=1 - 0.15 / figure.get_figheight(), va="top")
    return figure


# --- the frame --------------------------------------------------------------------------------


def _frame(count: int, heights: Sequence[float]) -> tuple[Figure, list[Row]]:
    """Rows of axes of given heights in inches; the first row is three-dimensional."""
    from matplotlib.figure import Figure

    width = LEFT + count * COLUMN + (count - 1) * COLUMN_GAP + RIGHT
    height = TOP + sum(heights) + (len(heights) - 1) * ROW_GAP + BOTTOM
    figure = Figure(figsize=(width, height))
    rows: list[Row] = []
    below = height - TOP
    for number, inches in enumerate(heights):
        below -= inches
        row: Row = []
        for column in range(count):
            left = LEFT + column * (COLUMN + COLUMN_GAP)
            where = (left / width, below / height, COLUMN / width, inches / height)
            row.append(figure.add_axes(where, projection="rectilinear" if number else "3d"))
        rows.append(row)
        below -= ROW_GAP
    return figure, rows


def caption(found: Sequence[Landscape]) -> str:
    """What is drawn, in two lines."""
    first = found[0]
    data = sorted({NAMES.get(e.config["data"]["name"], e.config["data"]["name"]) for e in found})
    epochs = sorted({each.epoch for each in found})
    where = "operation weights" if first.settings["space"] == "op-weights" else "logits"
    own = "" if first.settings["statistics"] == "run" else ", batch norm recalibrated at each point"
    told = "epoch " if len(epochs) == 1 else "epochs "
    return (
        f"Validation accuracy around the {where} of the search\n{', '.join(data)}, "
        f"{told}{', '.join(map(str, epochs))}, network weights fixed, "
        f"{first.values['images']} validation images{own}"
    )


def _algorithm(found: Landscape) -> str:
    return TITLES.get(found.algorithm, found.algorithm)


def _dataset(found: Landscape) -> str | None:
    """The first of the benchmark's headline data sets; none without a benchmark."""
    return next(iter(found.values["benchmark"]["accuracy"]), None)


# --- panels -----------------------------------------------------------------------------------


def _norm(arrays: Sequence[npt.NDArray[Any]]) -> Normalize:
    """From the lowest to the highest value of all; a little around it where they are one."""
    from matplotlib.colors import Normalize

    low = min(float(np.nanmin(each)) for each in arrays)
    high = max(float(np.nanmax(each)) for each in arrays)
    edge = 0.5 if low == high else 0.0
    return Normalize(low - edge, high + edge)


def _draw_accuracy(figure: Figure, rows: Sequence[Row], found: Sequence[Landscape]) -> None:
    """Surfaces in the first row, maps with contours of the loss in the second, one scale."""
    norm = _norm([each.arrays["accuracy"] for each in found])
    levels = _levels([each.arrays["loss"] for each in found])
    for each, ax in zip(found, rows[0], strict=True):
        _draw_surface(ax, each, norm)
    for each, ax in zip(found, rows[1], strict=True):
        _draw_plane(ax, each, each.arrays["accuracy"], norm, ACCURACY_COLOURS)
        lines = ax.contour(
            each.arrays["axis"],
            each.arrays["axis"],
            each.arrays["loss"].T,
            levels=levels,
            colors="white",
            linewidths=0.8,
        )
        ax.clabel(lines, fontsize=6, fmt="%g")
    _name_axes(rows[1], found[0])
    label = "validation accuracy (%)\nwhite: loss (nats)"
    _add_scale(figure, rows[1][-1], norm, ACCURACY_COLOURS, label)


def _draw_surface(ax: Any, each: Landscape, norm: Normalize) -> None:
    x, y = np.meshgrid(each.arrays["axis"], each.arrays["axis"], indexing="ij")
    ax.plot_surface(
        x,
        y,
        each.arrays["accuracy"],
        cmap=ACCURACY_COLOURS,
        norm=norm,
        rcount=len(x),
        ccount=len(x),
        linewidth=0.15,
        edgecolor="#00000055",
        antialiased=True,
    )
    ax.set_zlim(norm.vmin, norm.vmax)
    ax.view_init(elev=28, azim=-55)
    ax.set_box_aspect((1, 1, 0.8), zoom=1.1)
    ax.tick_params(labelsize=6, pad=-2)
    ax.locator_params(nbins=5)
    ax.set_xlabel("x", fontsize=8, labelpad=-8)
    ax.set_ylabel("y", fontsize=8, labelpad=-8)
    ax.set_zlabel("accuracy (%)", fontsize=8, labelpad=-6)


def _draw_benchmark(figure: Figure, row: Row, found: Sequence[Landscape], dataset: str) -> None:
    key = f"benchmark_{dataset}"
    norm = _norm([each.arrays[key] for each in found])
    for each, ax in zip(found, row, strict=True):
        _draw_plane(ax, each, each.arrays[key], norm, BENCHMARK_COLOURS)
    _name_axes(row, found[0])
    told = found[0].values["benchmark"]
    name = f"{NAMES.get(dataset, dataset)} {told['split']} accuracy (%)\nof the argmax cell"
    _add_scale(figure, row[-1], norm, BENCHMARK_COLOURS, f"{name}, table {told['table']}")


def _draw_plane(
    ax: Axes, each: Landscape, grid: npt.NDArray[Any], norm: Normalize, colours: str
) -> None:
    from matplotlib.patches import Circle
    from matplotlib.patheffects import Normal, Stroke

    axis = each.arrays["axis"]
    ax.pcolormesh(axis, axis, grid.T, cmap=colours, norm=norm, shading="nearest", rasterized=True)
    outline = [Stroke(linewidth=2.4, foreground="black"), Normal()]
    ax.plot(0, 0, "+", color="white", markersize=9, path_effects=outline)
    circle = Circle((0, 0), axis[-1], fill=False, color="white", linestyle=":")
    circle.set_path_effects(outline)
    ax.add_patch(circle)
    ax.tick_params(labelsize=7)
    ax.set_aspect("equal")


def _name_axes(row: Row, first: Landscape) -> None:
    x, y = AXES[first.settings["plane"]]
    for ax in row:
        ax.set_xlabel(f"x, {x}", fontsize=8)
    row[0].set_ylabel(f"y, {y}", fontsize=8)


def _add_scale(figure: Figure, beside: Axes, norm: Normalize, colours: str, label: str) -> None:
    from matplotlib.cm import ScalarMappable

    place = beside.get_position()
    width = 0.13 / figure.get_figwidth()
    scale = figure.add_axes((place.x1 + width, place.y0, width, place.height))
    bar = figure.colorbar(ScalarMappable(norm, colours), cax=scale)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _levels(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    """Contours of the loss: round numbers, closer together where it is low."""
    norm = _norm(arrays)
    steps = np.array([1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0])
    levels = np.concatenate([steps / 10, steps, steps * 10])
    inside: npt.NDArray[np.float64] = levels[(levels > norm.vmin) & (levels < norm.vmax)]
    return inside


def _draw_paths(row: Row, found: Sequence[Landscape], quantity: str, label: str) -> None:
    norm = _norm([each.arrays[f"path_{quantity}{mode}"] for each in found for mode in MODES])
    for each, ax in zip(found, row, strict=True):
        for mode, (name, colour, style) in MODES.items():
            values = each.arrays[f"path_{quantity}{mode}"]
            ax.plot(each.arrays["path_t"], values, style, color=colour, linewidth=1.6, label=name)
        (_scale_loss if quantity == "loss" else _scale_accuracy)(ax, norm)
        ax.grid(alpha=0.25)
        ax.tick_params(labelsize=7, labelleft=ax is row[0])
        ax.spines[["top", "right"]].set_visible(False)
    row[0].set_ylabel(label, fontsize=8)


def _scale_accuracy(ax: Axes, norm: Normalize) -> None:
    low, high = float(norm.vmin or 0), float(norm.vmax or 0)
    edge = 0.05 * (high - low)
    ax.set_ylim(low - edge, high + edge)


def _scale_loss(ax: Axes, norm: Normalize) -> None:
    """Logarithmic, as a loss under statistics that do not fit is tens of nats."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    ax.set_yscale("log")
    ax.set_ylim(float(norm.vmin or 0) / 1.2, float(norm.vmax or 0) * 1.2)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))


# --- the table below F4 -----------------------------------------------------------------------


def _write_scalars(ax: Axes, column: Column, *, named: bool) -> None:
    ax.set_axis_off()
    ax.set_xlim(0, 1)
    ax.set_ylim(len(TABLE) + 1, 0)
    n = len(column.seeds)
    spread = ", mean ± sd" if n > 1 else ""
    ax.text(1, 0.5, f"n = {n} {'seed' if n == 1 else 'seeds'}{spread}", ha="right", fontsize=8)
    for number, (key, (name, digits)) in enumerate(TABLE.items(), start=1):
        scalar = column.scalars[key]
        if named:
            ax.text(-0.2, number + 0.5, f"{name} ({short_unit(scalar.unit)})", fontsize=8)
        ax.text(1, number + 0.5, told(scalar, digits), ha="right", fontsize=8)


def short_unit(unit: str) -> str:
    """A unit as it stands beside a number."""
    return UNITS.get(unit, unit.split(" a ")[0] if unit.endswith((" x", " y")) else unit)


def told(scalar: Scalar, digits: int) -> str:
    """A quantity over seeds in words, such as ``9.3 ± 0.4``."""
    if scalar.mean is None:
        return "not finite"
    spread = "" if scalar.sd is None else f" ± {scalar.sd:.{digits}f}"
    return f"{scalar.mean:.{digits}f}{spread}"
