"""The figure of the measure `agreement`, a column a run. Draws what was measured."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import run_label
from optnas.measures.lines import data_names, epochs_of, finish, measured, operation_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HALVES = {"valid": "validation", "train": "training"}
SPREAD = 0.5  # of the distance of two measured epochs, over which bars of operations are set apart


@register("figure", "agreement")
def agreement(runs: Sequence[RunFolder], batches: int = 0, batch_size: int = -1) -> Figure:
    """Cosines of both halves' gradients by operation, and the gradients of alpha, by epoch.

    Args:
        runs: runs measured by `agreement`.
        batches: lines of this setting of the measure; 0 for any.
        batch_size: likewise; -1 for any.

    Returns:
        The drawing.

    Raises:
        UserError: there is no run, one has no such lines, or their settings differ.
    """
    from matplotlib.figure import Figure

    chosen = ({"batches": batches} if batches else {}) | (
        {"batch_size": batch_size} if batch_size >= 0 else {}
    )
    found, configs = measured("agreement", runs, **chosen), [run.read_config() for run in runs]
    settings = found[0][0]["settings"]
    size = settings["batch_size"] or configs[0]["search"]["batch_size"]
    figure = Figure(figsize=(max(3.8 * len(runs), 7.5) + 0.5, 9), layout="constrained")
    rows = figure.subplots(3, len(runs), squeeze=False, sharex="col", sharey="row")
    for config, lines, column in zip(configs, found, rows.T, strict=True):
        _draw_cosines(column[0], lines)
        for ax, half in zip(column[1:], HALVES, strict=True):
            _draw_gradients(ax, lines, half)
        column[0].set_title(f"{run_label(config)}\nseed {config['search']['seed']}", fontsize=10)
        column[2].set_xlabel("epoch")
    rows[0, 0].set_ylabel("cosine of training and\nvalidation gradient in A")
    rows[0, 0].set_ylim(-1.05, 1.05)
    for ax, words in zip(rows[1:, 0], HALVES.values(), strict=True):
        ax.set_ylabel(f"mean gradient of alpha (nats)\n{words} half; below 0 it gains")
    figure.suptitle(
        f"gradients in the architecture, {data_names(configs)}, {epochs_of(found)}\n"
        f"n = {settings['batches']} batches of {size} images a half; "
        "bars: 95 % interval over batches",
        fontsize=11,
    )
    handles, labels = rows[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_cosines(ax: Axes, lines: Sequence[Line]) -> None:
    epochs = [line["epoch"] for line in lines]
    names = [*lines[0]["values"]["cosine_by_operation"]]
    for name, look in operation_styles(names).items():
        values = [line["values"]["cosine_by_operation"][name] for line in lines]
        known = [(e, v) for e, v in zip(epochs, values, strict=True) if v is not None]
        shown = ([e for e, _ in known], [v for _, v in known])
        ax.plot(*shown, markersize=4, linewidth=1.2, label=name, **look)
    values = [line["values"]["cosine"] for line in lines]
    ax.plot(epochs, values, "--", color="black", linewidth=2, label="all operations")
    ax.axhline(0, color="0.6", linewidth=0.6)
    finish(ax)


def _draw_gradients(ax: Axes, lines: Sequence[Line], half: str) -> None:
    key = f"alpha_gradient_{half}"
    epochs = [line["epoch"] for line in lines]
    step = min((b - a for a, b in itertools.pairwise(epochs)), default=1)
    styles = operation_styles([*lines[0]["values"][key]])
    for position, (name, look) in enumerate(styles.items()):
        moved = SPREAD * step * (position / max(1, len(styles) - 1) - 0.5)
        at = [epoch + moved for epoch in epochs]
        values, low, high = (
            [line["values"][f"{key}{end}"][name] for line in lines] for end in ("", "_low", "_high")
        )
        ax.plot(at, values, markersize=4, linewidth=1, **look)
        ax.vlines(at, low, high, color=look["color"], alpha=0.5, linewidth=1.5)
    ax.axhline(0, color="0.6", linewidth=0.6)
    finish(ax)
