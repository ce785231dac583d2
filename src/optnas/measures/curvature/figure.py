"""The figure of the measure `curvature`. Draws what was measured; computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from optnas.base.errors import UserError
from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import COLOURS, NAMES, run_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COORDINATES = {"logits": "logits alpha", "op_weights": "operation weights A, zero row sums"}
ENDS: dict[str, tuple[Literal["-", "--"], str, str]] = {
    "max": ("-", "o", "largest"),
    "min": ("--", "s", "smallest"),
}


@register("figure", "curvature")
def curvature(
    runs: Sequence[RunFolder],
    loss: Literal["valid", "train"] = "valid",
    statistics: Literal["batch", "recalibrated"] = "batch",
    batches: int = 0,
) -> Figure:
    """Extreme eigenvalues by epoch, and the spectrum at the last, in logits and operation weights.

    Points are eigenvalues of the mean Hessian over the batches, bars 95 % intervals of the mean of
    a single batch's eigenvalue, which need not hold the point: the largest eigenvalue of a mean is
    at most the mean of the largest. One colour an algorithm and optimizer pair, a line a run.

    Args:
        runs: the runs, in each of which `curvature` was measured.
        loss: lines of this setting of the measure.
        statistics: likewise.
        batches: likewise; 0 for any number of them.

    Returns:
        The drawing.

    Raises:
        UserError: a run has no such lines, or they were measured with different settings.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    chosen = {"loss": loss, "statistics": statistics} | ({"batches": batches} if batches else {})
    loaded = [(run, _lines(run, chosen)) for run in runs]
    settings = _settings(loaded)
    labels = list(dict.fromkeys(run_label(run.read_config()) for run in runs))
    figure = Figure(figsize=(10, 7.6), layout="constrained")
    axes = figure.subplots(2, 2)
    for column, (coordinates, title) in enumerate(COORDINATES.items()):
        above, below = axes[:, column]
        for run, lines in loaded:
            colour = COLOURS[labels.index(run_label(run.read_config())) % len(COLOURS)]
            _draw_epochs(above, lines, coordinates, colour)
            spectrum = run.measures.arrays(lines[-1])[f"{coordinates}_spectrum"][::-1]
            below.plot(range(1, len(spectrum) + 1), spectrum, ".-", color=colour, linewidth=0.8)
        above.set(title=title, xlabel="epoch", ylabel="eigenvalue of the mean Hessian (nats)")
        below.set(xlabel="rank of the eigenvalue", ylabel="eigenvalue at the last epoch (nats)")
        for ax in (above, below):
            ax.axhline(0, color="0.6", linewidth=0.6)
            ax.grid(alpha=0.25)
            ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_title(loaded, settings), fontsize=11)
    handles = [Line2D([], [], color=COLOURS[i % len(COLOURS)]) for i in range(len(labels))]
    for style, marker, name in ENDS.values():
        handles.append(Line2D([], [], color="0.3", linestyle=style, marker=marker, markersize=4))
        labels.append(name)
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _lines(run: RunFolder, chosen: dict[str, Any]) -> list[Line]:
    found = run.read_measures("curvature", **chosen)
    lines = [line for line in found if line["status"] == "ok"]
    if not lines:
        words = " ".join(f"{key}={value}" for key, value in chosen.items())
        raise UserError(
            f"the run has no curvature with {words}",
            where=run.path,
            remedy=f"measure it: optnas measure {run.path} curvature {words}",
        )
    return lines


def _settings(loaded: Sequence[tuple[RunFolder, list[Line]]]) -> dict[str, Any]:
    if not loaded:
        raise UserError(
            "the figure curvature is drawn from runs",
            key="DIR...",
            remedy="give one or more run folders",
        )
    settings: dict[str, Any] = loaded[0][1][0]["settings"]
    for run, lines in loaded:
        for line in lines:
            if line["settings"] != settings:
                differing = [k for k, v in settings.items() if line["settings"].get(k) != v]
                raise UserError(
                    f"curvature was measured with different {', '.join(differing)}",
                    where=run.path,
                    remedy="choose among them, such as batches=4, or give runs measured alike",
                )
    return settings


def _draw_epochs(ax: Axes, lines: Sequence[Line], coordinates: str, colour: str) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = [line["epoch"] for line in lines]
    for name, (style, marker, _) in ENDS.items():
        values, low, high = (
            [line["values"][f"{coordinates}_{name}{end}"] for line in lines]
            for end in ("", "_low", "_high")
        )
        ax.plot(epochs, values, style, marker=marker, markersize=3, color=colour, linewidth=1.4)
        ax.vlines(epochs, low, high, color=colour, alpha=0.45, linewidth=2.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _title(loaded: Sequence[tuple[RunFolder, list[Line]]], settings: dict[str, Any]) -> str:
    configs = [run.read_config() for run, _ in loaded]
    data = sorted({NAMES.get(c["data"]["name"], c["data"]["name"]) for c in configs})
    seeds = sorted({c["search"]["seed"] for c in configs})
    last = sorted({lines[-1]["epoch"] for _, lines in loaded})
    half = {"valid": "validation", "train": "training"}[settings["loss"]]
    runs = f"{len(loaded)} run{'s' if len(loaded) > 1 else ''}"
    return (
        f"exact Hessian of the {half} loss, {', '.join(data)}, {runs}, "
        f"seed {', '.join(map(str, seeds))}, last epoch {', '.join(map(str, last))}\n"
        f"mean of n = {settings['batches']} batches, {settings['statistics']} statistics; "
        "bars: 95 % interval of the mean of a batch's eigenvalue"
    )
