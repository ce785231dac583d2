"""The mixed cell and its edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from optnas.algorithms.base import Progress
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.drawing import NAMES
from optnas.report.arguments import at_most
from optnas.report.canvas import FAINT, INK, WEIGHT_COLOUR, bow, say
from optnas.search.settings.layers import default_space
from optnas.spaces import Architecture, Space, build_space, draw_cell
from optnas.spaces.drawing import draw_mixed_cell, operation_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OpWeights = Sequence[Sequence[float]]
Moment = tuple[str, OpWeights, Architecture, str]

EXAMPLE_SEED = 8
FADING_EPOCHS = 40


def mixed_cell(runs: Sequence[RunFolder]) -> Figure:
    """The mixed cell at the first, middle and last epoch, and the cell its argmax derives.

    Args:
        runs: one run to take operation weights and cells from, or none for a made-up example.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    at_most(1, runs, "mixed-cell")
    heading, space, moments = _moments_of_run(runs[0]) if runs else _moments_of_example()
    figure = Figure(figsize=(11.4, 2.45 * len(moments) + 1.2), layout="constrained")
    axes = figure.subplots(len(moments), 2, squeeze=False)
    for (when, op_weights, cell, worth), (mixed, derived) in zip(moments, axes, strict=True):
        draw_mixed_cell(op_weights, space, mixed, title=f"{when}: operation weights")
        draw_cell(cell, derived, title=f"{when}: argmax of each edge{worth}")
    handles = [
        Line2D([], [], color=colour, linewidth=4, label=name)
        for name, colour in zip(space.operations, operation_colours(space), strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        title="width of a stroke: weight of the operation on that edge",
        frameon=False,
    )
    figure.suptitle(heading, fontsize=12)
    return figure


def _moments_of_run(run: RunFolder) -> tuple[str, Space, list[Moment]]:
    config, records = run.read_config(), run.read_epochs()
    if not records:
        raise UserError(
            "the run has no records yet", where=run.path, remedy="wait for its first epoch"
        )
    space = build_space(config["space"], where=run.config)
    dataset = next(iter(records[0]["benchmark"]["accuracy"]), None)
    moments = []
    for place in sorted({0, len(records) // 2, len(records) - 1}):
        record = records[place]
        bench = record["benchmark"]
        worth = f", {bench['accuracy'][dataset]:.2f} %" if dataset else ""
        cell = space.parse(record["architecture"], where=run.epochs)
        moments.append((f"epoch {record['epoch']}", record["op_weights"], cell, worth))
    heading = f"{config['algorithm']['name']}, seed {config['search']['seed']}"
    if dataset:
        asked = f"{NAMES.get(dataset, dataset)} {bench['split']}, table {bench['table']}"
        heading = f"{heading}; percent: {asked}"
    return heading, space, moments


def _moments_of_example() -> tuple[str, Space, list[Moment]]:
    space, moments = default_space(), []
    # Logits at the end of a search that never took place; the figure says so.
    shape = (space.edge_count, space.operation_count)
    late = np.random.default_rng(EXAMPLE_SEED).normal(scale=0.7, size=shape)
    early = np.roll(late, 2, axis=1)
    for when, share in (("early", 0.0), ("middle", 0.5), ("late", 1.5)):
        odds = np.exp(0.3 * (1 - share) * early + share * late)
        op_weights = (odds / odds.sum(axis=1, keepdims=True)).tolist()
        cell = space.architecture([row.index(max(row)) for row in op_weights])
        moments.append((when, op_weights, cell, ""))
    return "example with made-up operation weights, not a run", space, moments


def auxiliary_skip(runs: Sequence[RunFolder]) -> Figure:
    """An edge with the auxiliary skip of DARTS-, and the skip's weight over the epochs.

    Args:
        runs: none.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    at_most(0, runs, "auxiliary-skip")
    figure = Figure(figsize=(11.6, 4.8))
    edge = figure.add_axes((0.0, 0.0, 0.6, 1.0))
    edge.set_xlim(0, 6.96)
    edge.set_ylim(0, 4.8)
    edge.set_axis_off()
    _draw_edge_with_skip(edge)
    curve = figure.add_axes((0.68, 0.17, 0.29, 0.64))
    epochs = list(range(1, FADING_EPOCHS + 1))
    rates = [1 - Progress(epoch, FADING_EPOCHS).fraction for epoch in epochs]
    curve.step(epochs, rates, where="mid", color=WEIGHT_COLOUR, linewidth=2)
    curve.set_xlabel("epoch $t$")
    curve.set_ylabel("$\\beta_t\\,/\\,\\beta$")
    curve.set_xlim(0, FADING_EPOCHS + 1)
    curve.set_ylim(0, 1.08)
    curve.grid(alpha=0.25)
    curve.spines[["top", "right"]].set_visible(False)
    curve.set_title(
        f"$\\beta_t = \\beta\\,(1 - (t - 1)\\,/\\,E)$, here $E = {FADING_EPOCHS}$ epochs",
        fontsize=11,
        color=INK,
        pad=10,
    )
    return figure


def _draw_edge_with_skip(ax: Axes) -> None:
    from matplotlib.patches import Circle

    y, left, right, radius = 1.75, 0.75, 6.2, 0.36
    space = default_space()
    rises = 0.46 * ((space.operation_count - 1) / 2 - np.arange(space.operation_count))
    for rise, name, colour in zip(rises, space.operations, operation_colours(space), strict=True):
        dx, dy = radius * float(np.cos(0.8 * rise)), radius * float(np.sin(0.8 * rise))
        label = f"$A_{{e,o}}$ {name}"
        bow(ax, (left + dx, y + dy), (right - dx, y + dy), rise - dy, colour, label, 2.4)
    top = y + radius
    auxiliary = "auxiliary skip  $\\beta_t\\,x_j$"
    bow(ax, (left, top), (right, top), 1.62, INK, auxiliary, 3.0, dashed=True)
    for x, label in ((left, "$x_j$"), (right, "$x_i$")):
        ax.add_patch(Circle((x, y), radius, facecolor="white", edgecolor=INK, zorder=3))
        say(ax, (x, y), label, size=13)
    middle = (left + right) / 2
    total = "$x_i = \\sum_j\\,\\left(\\sum_o A_{e,o}\\,o(x_j) + \\beta_t\\,x_j\\right)$"
    say(ax, (middle, 4.42), total, size=12)
    say(ax, (middle, top + 1.3), "role 1: carries gradients", colour=FAINT)
    say(ax, (middle, 0.3), "role 2: one of the candidates of the argmax", colour=FAINT)
