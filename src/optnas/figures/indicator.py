"""One-shot accuracy against benchmark accuracy, and the baselines to beat; a row a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optnas.display import run_label
from optnas.errors import UserError
from optnas.measurements import Line
from optnas.plotting import COLOURS, NAMES
from optnas.records import RunFolder
from optnas.registry import register

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    figure = Figure(figsize=(13, ROW_HEIGHT * len(runs) + 0.4), layout="constrained")
    rows = figure.subplots(len(runs), 3, squeeze=False)
    for axes, run in zip(rows, runs, strict=True):
        line = _line(run, epoch)
        config, values, arrays = run.read_config(), line["values"], run.measures.arrays(line)
        asked = values["asked"]
        name = f"{run_label(config)}, seed {config['search']['seed']}, epoch {line['epoch']}"
        data = NAMES.get(config["data"]["name"], config["data"]["name"])
        told = f"{name}; search on {data}, {values['images']} images"
        truth = f"benchmark: {NAMES.get(asked['dataset'], asked['dataset'])} {asked['split']}"
        for ax, part, title in zip(
            axes, ("uniform", "top"), ("uniform", "best tenth"), strict=False
        ):
            _scatter(ax, arrays, part)
            ax.set_xlabel("one-shot accuracy (%)")
            ax.set_ylabel(f"{truth} (%)\ntable {asked['table']}")
            key = "tau" if part == "uniform" else "tau_top"
            ax.set_title(f"{title}, n = {values[part]} cells: {_tau(values, key)}", fontsize=10)
        _bars(axes[2], values)
        axes[0].annotate(told, (0, 1.14), xycoords="axes fraction", fontsize=11, fontweight="bold")
    return figure


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
            if label:
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
    ax.invert_yaxis()
    ax.set_xlabel("Kendall's tau-b with benchmark accuracy")
    ax.set_title("baselines, 95 % intervals over cells", fontsize=10)
    ax.legend(fontsize=8, frameon=False)
    ax.grid(axis="x", alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
