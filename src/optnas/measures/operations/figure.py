"""The figure of the measure `operations`. Draws what was measured; averages over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import COLOURS, run_label
from optnas.measures.lines import data_names, epochs_of, finish, measured, operation_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Group = list[list[Line]]  # of the seeds of one algorithm and pair

READINGS: dict[str, Literal["-", "--", ":"]] = {"deck": "-", "chain": "--", "path": ":"}
PHI = {
    "phi": ("#000000", "phi"),
    "phi_without_auxiliary": (COLOURS[5], "phi without the auxiliary skip"),
}


@register("figure", "operations")
def operations(runs: Sequence[RunFolder]) -> Figure:
    """Mass and argmax share of each operation, and phi, by epoch; a column an algorithm and pair.

    Seeds of one algorithm and pair share a column: thin lines, and their mean as a thick one.

    Args:
        runs: runs measured by `operations`.

    Returns:
        The drawing.

    Raises:
        UserError: there is no run, or one has no such measurement.
    """
    from matplotlib.figure import Figure

    found, configs = measured("operations", runs), [run.read_config() for run in runs]
    groups: dict[str, Group] = {}
    seeds: dict[str, list[int]] = {}
    for config, lines in zip(configs, found, strict=True):
        groups.setdefault(run_label(config), []).append(lines)
        seeds.setdefault(run_label(config), []).append(config["search"]["seed"])
    names = list(found[0][0]["values"]["mass"])
    figure = Figure(figsize=(max(3.5 * len(groups), 6.5) + 0.5, 9), layout="constrained")
    rows = figure.subplots(3, len(groups), squeeze=False, sharex="col", sharey="row")
    for (label, group), column in zip(groups.items(), rows.T, strict=True):
        _draw_mass(column[0], group, names)
        _draw_share(column[1], group, names)
        _draw_phi(column[2], group)
        told = ", ".join(map(str, sorted(seeds[label])))
        plural = "s" if len(group) > 1 else ""
        column[0].set_title(f"{label}\nn = {len(group)}, seed{plural} {told}", fontsize=10)
        column[2].set_xlabel("epoch")
    rows[0, 0].set_ylabel("mass: mean A over edges")
    rows[1, 0].set_ylabel("share of edges, derived cell")
    rows[2, 0].set_ylabel("phi (log scale)")
    figure.suptitle(
        f"operation weights of the search, {data_names(configs)}, {epochs_of(found)}", fontsize=12
    )
    _legend(figure, rows[0, 0])
    return figure


def _curve(lines: Sequence[Line], value: Callable[[Any], float]) -> dict[int, float]:
    return {line["epoch"]: value(line["values"]) for line in lines}


def _mean(curves: Sequence[dict[int, float]]) -> dict[int, float]:
    """Over the epochs that all of them have."""
    shared = sorted(set.intersection(*map(set, curves)))
    return {epoch: fmean(curve[epoch] for curve in curves) for epoch in shared}


def _draw(ax: Axes, group: Group, value: Callable[[Any], float], **look: Any) -> None:
    curves = [_curve(lines, value) for lines in group]
    if len(curves) > 1:
        for curve in curves:
            ax.plot(
                [*curve],
                [*curve.values()],
                **(look | {"linewidth": 0.7, "markersize": 0, "label": None}),
            )
    mean = _mean(curves)
    ax.plot([*mean], [*mean.values()], **({"linewidth": 1.8} | look))


def _draw_mass(ax: Axes, group: Group, names: Sequence[str]) -> None:
    for name, look in operation_styles(names).items():
        _draw(ax, group, lambda v, name=name: v["mass"][name], label=name, markersize=3.5, **look)  # type: ignore[misc]
    ax.ticklabel_format(axis="y", useOffset=False)
    finish(ax)


def _draw_share(ax: Axes, group: Group, names: Sequence[str]) -> None:
    means = [
        _mean([_curve(lines, lambda v, name=name: v["share"][name]) for lines in group])  # type: ignore[misc]
        for name in names
    ]
    colours = [look["color"] for look in operation_styles(names).values()]
    epochs = [*means[0]]
    below = [0.0] * len(epochs)
    width = min((b - a for a, b in itertools.pairwise(epochs)), default=1)
    for mean, colour in zip(means, colours, strict=True):
        heights = [*mean.values()]
        ax.bar(epochs, heights, width, below, color=colour, edgecolor="white", linewidth=0.4)
        below = [a + b for a, b in zip(below, heights, strict=True)]
    ax.set_ylim(0, 1)
    finish(ax)


def _draw_phi(ax: Axes, group: Group) -> None:
    for position, (reading, style) in enumerate(READINGS.items()):
        for key, (colour, _) in PHI.items():
            _draw(
                ax,
                group,
                lambda v, key=key, reading=reading: v[key][reading],  # type: ignore[misc]
                linestyle=style,
                color=colour,
                linewidth=2.6 - 0.7 * position,
            )
    ax.set_yscale("log")
    finish(ax)


def _legend(figure: Figure, of_operations: Axes) -> None:
    from matplotlib.lines import Line2D

    handles, labels = of_operations.get_legend_handles_labels()
    for colour, words in PHI.values():
        handles.append(Line2D([], [], color=colour, linewidth=2))
        labels.append(words)
    for reading, style in READINGS.items():
        handles.append(Line2D([], [], color="0.4", linestyle=style))
        labels.append(f"reading: {reading}")
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
