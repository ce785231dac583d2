"""One-shot accuracy against benchmark accuracy, and the baselines to beat; a row a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import COLOURS, NAMES, run_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

ROW_HEIGHT = 3.9
BARS = {
    "convolutions_3x3": "number of 3x3 convolutions",
    "fewer_skips": "minus number of skips",
    "parameters": "parameters",
    "flops": "FLOPs",
}


@register("figure", "indicator")
def indicator(runs: Sequence[RunFolder], epoch: int = -1) -> Figure:
    """Scatters of uniform cells and of the top tenth, and bars of tau with its intervals.

    Args:
        runs: runs measured by `indicator`.
        epoch: of the measurement; -1 for the last one of each run.

    Returns:
        The drawing.

    Raises:
        UserError: there is no run, or one has no such measurement.
    """
    from matplotlib.figure import Figure

    if not runs:
        raise UserError(
            "the figure indicator is drawn from runs",
            key="DIR...",
            remedy="give one or more run folders",
        )
    figure = Figure(figsize=(14, ROW_HEIGHT * len(runs)), layout="constrained")
    rows = figure.subfigures(len(runs), 1, squeeze=False)[:, 0]
    for row, run in zip(rows, runs, strict=True):
        _draw(row, run, _line(run, epoch))
    return figure


def _draw(figure: SubFigure, run: RunFolder, line: Line) -> None:
    config, values, arrays = run.read_config(), line["values"], run.measures.arrays(line)
    asked, data = values["asked"], config["data"]["name"]
    truth = f"benchmark: {NAMES.get(asked['dataset'], asked['dataset'])} {asked['split']}"
    figure.suptitle(
        f"{run_label(config)}, seed {config['search']['seed']}, epoch {line['epoch']};"
        f" search on {NAMES.get(data, data)}, {values['images']} validation images",
        fontsize=12,
    )
    axes = figure.subplots(1, 3)
    connected = values["uniform"] - values["disconnected"]
    for ax, part, title, key, count in (
        (axes[0], "uniform", "uniform cells", "tau", connected),
        (axes[1], "top", "cells of the best tenth", "tau_top", values["top"]),
    ):
        _scatter(ax, arrays, part)
        ax.set_xlabel("one-shot accuracy (%)")
        ax.set_ylabel(f"{truth} (%)\ntable {asked['table']}")
        ax.set_title(f"{title}: {_tau(values, key)}, n = {count}", fontsize=10)
    _bars(axes[2], values)


def _line(run: RunFolder, epoch: int) -> Line:
    lines = [line for line in run.read_measures("indicator") if line["status"] != "failed"]
    found = [line for line in lines if epoch in (-1, line["epoch"])]
    if not found:
        raise UserError(
            "the run has no measurement of indicator" + ("" if epoch == -1 else " at this epoch"),
            where=run.path,
            key="epoch",
            value=epoch,
            remedy=f"optnas measure {run.path} indicator",
        )
    return found[-1]


def _tau(values: Mapping[str, Any], key: str) -> str:
    if values[key] is None:
        return "tau not defined"
    low, high = values[f"{key}_low"], values[f"{key}_high"]
    return f"tau = {values[key]:.2f} [{low:.2f}, {high:.2f}]"


def _scatter(ax: Axes, arrays: Mapping[str, Any], part: str) -> None:
    for connected, marker, colour, label in (
        (True, "o", COLOURS[0], None),
        (False, "x", COLOURS[1], "not connected, not in tau"),
    ):
        keep = arrays[part] & (arrays["connected"] == connected)
        if keep.any():
            ax.scatter(
                arrays["accuracy"][keep],
                arrays["benchmark"][keep],
                s=12,
                marker=marker,
                color=colour,
                alpha=0.5,
                linewidths=0 if connected else 1,
                label=label,
            )
    if ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize=8, frameon=False, loc="lower right")
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _bars(ax: Axes, values: Mapping[str, Any]) -> None:
    """Tau of the supernet and of each baseline, uniform and top, with intervals."""
    labels = ["one-shot accuracy", *BARS.values()]
    for offset, key, colour, label in (
        (-0.2, "tau", COLOURS[0], "uniform"),
        (0.2, "tau_top", COLOURS[4], "best tenth"),
    ):
        own = [values[key], values[f"{key}_low"], values[f"{key}_high"]]
        rows = [own, *(values["baselines"][name][key] for name in BARS)]
        for place, (value, low, high) in enumerate(rows):
            if value is None:
                continue
            ax.barh(
                place + offset,
                value,
                height=0.36,
                color=colour,
                xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                ecolor="#333333",
                capsize=2,
                label=label if place == 0 else None,
            )
    ax.axvline(0, color="#333333", linewidth=0.8)
    ax.set_yticks(range(len(labels)), labels, fontsize=9)
    ax.set_ylim(len(labels) + 0.1, -0.6)  # from above, with room for the legend below
    ax.set_xlabel("Kendall's tau-b with benchmark accuracy")
    ax.set_title("against ranking without training, 95 % intervals", fontsize=10)
    ax.legend(fontsize=8, frameon=False, loc="lower right", ncols=2)
    ax.grid(axis="x", alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
