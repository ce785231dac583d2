"""What figures of measures share: their lines, their captions, the look of their axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.measures.drawing import COLOURS, NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def measured(name: str, runs: Sequence[RunFolder], **chosen: Any) -> list[list[Line]]:
    """The lines of a measure in each run, all taken with one and the same settings.

    Args:
        name: the measure.
        runs: the runs.
        **chosen: settings of the measure, to choose among several.

    Returns:
        By run, in order of epoch.

    Raises:
        UserError: there is no run, one has no such line, or the settings differ.
    """
    if not runs:
        raise UserError(
            f"the figure {name} is drawn from runs",
            key="DIR...",
            remedy="give one or more run folders",
        )
    words = "".join(f" {key}={value}" for key, value in chosen.items())
    found = []
    for run in runs:
        lines = [each for each in run.read_measures(name, **chosen) if each["status"] == "ok"]
        if not lines:
            raise UserError(
                f"the run has no measurement of {name}" + (f" with{words}" if words else ""),
                where=run.path,
                remedy=f"measure it: optnas measure {run.path} {name}{words}",
            )
        found.append(lines)
    first = found[0][0]["settings"]
    for run, lines in zip(runs, found, strict=True):
        for line in lines:
            differing = [key for key in first if line["settings"].get(key) != first[key]]
            if differing:
                raise UserError(
                    f"{name} was measured with different {', '.join(differing)}",
                    where=run.path,
                    remedy=f"choose, such as {differing[0]}={first[differing[0]]}",
                )
    return found


def data_names(configs: Sequence[Mapping[str, Any]]) -> str:
    """The data sets that runs searched on."""
    return ", ".join(sorted({NAMES.get(c["data"]["name"], c["data"]["name"]) for c in configs}))


def epochs_of(found: Sequence[Sequence[Line]]) -> str:
    """Such as ``epochs 0 to 40``: the first and the last that were measured."""
    every = sorted({line["epoch"] for lines in found for line in lines})
    return f"epoch {every[0]}" if len(every) == 1 else f"epochs {every[0]} to {every[-1]}"


def operation_styles(operations: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each operation, the same in every figure."""
    return {
        name: {"color": COLOURS[o % len(COLOURS)], "marker": MARKERS[o % len(MARKERS)]}
        for o, name in enumerate(operations)
    }


def finish(ax: Axes) -> None:
    """Integer epochs, a light grid, no frame above and to the right."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
