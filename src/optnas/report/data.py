"""What a figure is made of, as plain numbers: the page and the pictures draw nothing else.

Shapes: S seeds, E epochs.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from optnas.analysis.bands import band
from optnas.analysis.estimates import Floats
from optnas.analysis.runs import Runs
from optnas.report.arms import Arm

Values = list[float | None]
DIGITS = 6  # significant, of what is drawn
EPOCHS_DRAWN = 250  # points of a curve; of longer searches every k-th epoch is drawn, and the last
WIDENING = 1.5  # how much longer an axis may get to hold early epochs and single runs
SEEDS_DRAWN = 24  # thin lines of a curve; mean and band are always of all seeds


@dataclass(frozen=True)
class Seed:
    """One run of a curve: its seed, the run's id, a value an epoch."""

    seed: int
    run: str
    values: Values


@dataclass(frozen=True)
class Curve:
    """One arm: mean and 95 % band over seeds at each epoch, and the seeds behind them.

    ``n`` is the number of runs, ``counts`` that of those with a value at each epoch.
    """

    label: str
    colour: str
    dash: str
    n: int
    epochs: list[int]
    counts: list[int]
    mean: Values
    low: Values
    high: Values
    seeds: list[Seed]


@dataclass(frozen=True)
class Line:
    """A horizontal line to compare with; ``band`` is where 90 % of such searches end."""

    label: str
    value: float
    dash: str
    band: tuple[float, float] | None = None


@dataclass(frozen=True)
class Panel:
    """One response over epochs, a curve an arm; ``range`` are the ends of its axis."""

    title: str
    unit: str
    curves: list[Curve]
    lines: list[Line] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    range: tuple[float, float] | None = None

    @property
    def notes(self) -> list[str]:
        """The remarks, and what lies beyond the axis."""
        drawn = _drawn(self.curves)
        if self.range is None or self.range[0] <= min(drawn) <= max(drawn) <= self.range[1]:
            return self.remarks
        ends = f"from {min(drawn):.3g} to {max(drawn):.3g}"
        return [*self.remarks, f"early epochs or single runs lie beyond the axis, {ends}"]


class Name(NamedTuple):
    """An entry of a legend: a curve's label and look, and the number of its runs in words."""

    label: str
    colour: str
    dash: str
    n: str


def _told(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


@dataclass(frozen=True)
class Row:
    """Panels side by side that share a legend; ``missing`` says why there are none."""

    title: str
    legend: str
    panels: list[Panel] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[Name]:
        """What a legend tells of the curves, each once."""
        curves = [curve for panel in self.panels for curve in panel.curves]
        counts: dict[str, set[int]] = {}
        for each in curves:
            counts.setdefault(each.label, set()).add(each.n)
        looks = {each.label: (each.colour, each.dash) for each in curves}
        return [Name(label, *looks[label], _told(counts[label])) for label in counts]

    @property
    def lines(self) -> list[Line]:
        """The horizontal lines of all panels, each once."""
        return list(dict.fromkeys(line for panel in self.panels for line in panel.lines))


@dataclass(frozen=True)
class Figure:
    """A figure of the report."""

    name: str
    title: str
    caption: str
    rows: list[Row]

    @property
    def drawn(self) -> list[Row]:
        """The rows that have something to draw."""
        return [row for row in self.rows if row.panels]

    def document(self) -> dict[str, Any]:
        """The figure as JSON has it, without the rows that have nothing to draw."""
        return dataclasses.asdict(dataclasses.replace(self, rows=self.drawn))


def plain(values: npt.ArrayLike) -> Values:
    """Numbers for JSON: rounded to `DIGITS` significant digits, None for what is not finite.

    Args:
        values: numbers.

    Returns:
        One number or None each.

    Example:
        >>> plain([1.23456789, float("nan")])
        [1.23457, None]
    """
    return [
        float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
        for value in np.asarray(values, float).tolist()
    ]


def curve(runs: Runs, arm: Arm, column: str) -> Curve | None:
    """The mean, band and seeds of an arm.

    Args:
        runs: all runs.
        arm: which of them make the curve.
        column: the response, a column of the tidy table.

    Returns:
        The curve; None if no run of the arm has a value.
    """
    every_E = np.unique(np.concatenate([runs.epochs(run, "epoch") for run in arm.runs]))
    values_SE = np.full((len(arm.runs), len(every_E)), np.nan)
    for place, run in enumerate(arm.runs):
        at = np.searchsorted(every_E, runs.epochs(run, "epoch"))
        values_SE[place, at] = runs.epochs(run, column)
    known_E = ~np.isnan(values_SE).all(axis=0)
    if not known_E.any():
        return None
    values_SE, epochs_E = values_SE[:, known_E], every_E[known_E]
    found = band(values_SE)
    drawn = thinned(len(epochs_E))
    settings = runs.settings
    seeds = [
        Seed(
            int(settings["search.seed"].iloc[run]), str(settings["id"].iloc[run]), plain(row[drawn])
        )
        for run, row in list(zip(arm.runs, values_SE, strict=True))[:SEEDS_DRAWN]
    ]
    return Curve(
        label=arm.label,
        colour=arm.colour,
        dash=arm.dash,
        n=len(arm.runs),
        epochs=epochs_E[drawn].astype(int).tolist(),
        counts=found.n[drawn].tolist(),
        mean=plain(found.mean[drawn]),
        low=plain(found.low[drawn]),
        high=plain(found.high[drawn]),
        seeds=seeds if len(arm.runs) > 1 else [],
    )


def thinned(count: int) -> npt.NDArray[np.int64]:
    """Which of so many epochs are drawn: all, or every k-th from the last one back.

    Args:
        count: the number of epochs.

    Returns:
        Positions, ascending, `EPOCHS_DRAWN` at most.
    """
    step = -(-count // EPOCHS_DRAWN)
    return np.arange(count - 1, -1, -step)[::-1]


def range_of(curves: list[Curve], lines: list[Line]) -> tuple[float, float] | None:
    """The ends of a panel's axis, with a margin.

    They hold all that is drawn, unless that would make what matters small: then they hold every
    line, and every mean and band but those of the first tenth of the epochs, in which an accuracy
    is that of a network that has hardly begun. `Panel.notes` says so.

    Args:
        curves: of the panel.
        lines: of the panel.

    Returns:
        The ends, None where nothing is drawn.
    """
    core = [line.value for line in lines]
    for each in curves:
        late = [place for place, e in enumerate(each.epochs) if e >= each.epochs[-1] / 10]
        rows = (each.mean, each.low, each.high)
        core += [v for row in rows for place in late if (v := row[place]) is not None]
    if not curves:
        return None
    values = [*core, *_drawn(curves)]
    whole = max(values) - min(values)
    chosen = values if whole <= WIDENING * (max(core) - min(core)) else core
    low, high = min(chosen), max(chosen)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _drawn(curves: list[Curve]) -> list[float]:
    rows = [row for c in curves for row in (c.mean, c.low, c.high, *(s.values for s in c.seeds))]
    return [value for row in rows for value in row if value is not None]


def remarks_of(curves: list[Curve], lengths: Floats) -> list[str]:
    """What is not drawn of curves, for their panel to say.

    Args:
        curves: the curves of a panel.
        lengths: the number of epochs that each of them has.

    Returns:
        Sentences, mostly none.
    """
    said = []
    if any(len(each.epochs) < length for each, length in zip(curves, lengths, strict=True)):
        said.append(f"not every epoch is drawn: {EPOCHS_DRAWN} points a curve at most")
    if any(len(each.seeds) < each.n for each in curves if each.n > 1):
        said.append(
            f"thin lines: the first {SEEDS_DRAWN} runs of a curve; mean and band are of all"
        )
    return said
