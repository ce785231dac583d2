"""The mixed cell: a matplotlib figure, as strokes along arcs are no curves of a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import NAMES
from optnas.search.settings.layers import default_space
from optnas.spaces import Architecture, Space, build_space, draw_cell
from optnas.spaces.drawing import draw_mixed_cell, operation_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OpWeights = Sequence[Sequence[float]]
Moment = tuple[str, OpWeights, Architecture, str]

EXAMPLE_SEED = 8


@register("figure", "mixed-cell")
def mixed_cell(runs: Sequence[RunFolder]) -> Figure:
    """The mixed cell at the first, middle and last epoch, and the cell its argmax derives.

    Args:
        runs: one run to take operation weights and cells from, or none for a made-up example.

    Raises:
        UserError: there are more runs, or one without a record.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if len(runs) > 1:
        raise UserError(
            "the figure mixed-cell takes one run",
            key="DIR...",
            value=" ".join(str(run.path) for run in runs),
            remedy="give one run folder or none",
        )
    heading, space, moments = _moments_of_run(runs[0]) if runs else _moments_of_example()
    figure = Figure(figsize=(11.4, 2.45 * len(moments) + 1.2), layout="constrained")
    axes = figure.subplots(len(moments), 2, squeeze=False)
    for (when, op_weights, cell, worth), (mixed, derived) in zip(moments, axes, strict=True):
        draw_mixed_cell(op_weights, space, mixed, title=f"{when}: operation weights")
        draw_cell(cell, derived, title=f"{when}: argmax of each edge{worth}")
    colours = operation_colours(space)
    used = sorted({o for edge in range(space.edge_count) for o in space.columns_at(edge)})
    handles = [
        Line2D([], [], color=colours[o], linewidth=4, label=space.operations[o]) for o in used
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
    config, records = run.read_config(), run.read_some_epochs()
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
