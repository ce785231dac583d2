"""A figure ready to draw: means and bands over runs, the ends of axes, what has to be said.

The page and the pictures draw this and nothing else. Shapes: S runs, E values of x.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optnas.analysis.bands import band
from optnas.analysis.estimates import Floats
from optnas.measures.figures import Curve, Figure, Line, Numbers, Panel, Table

Values = list[float | None]
DIGITS = 6  # significant, of what is drawn
POINTS_DRAWN = 250  # of a curve; of longer searches every k-th epoch is drawn, and the last
EPOCHS_CUT = 10  # the fewest whose first tenth an axis may leave out
WIDENING = 1.5  # how much longer an axis may get to hold early epochs and single runs
SEEDS_DRAWN = 24  # thin lines of a curve; mean and band are always of all runs
SPREAD = 0.5  # of the axis between two epochs, over which curves of a single epoch are set apart


@dataclass(frozen=True)
class Thin:
    """One run behind a mean."""

    seed: int
    run: str
    values: Values


@dataclass(frozen=True)
class Mean:
    """A curve: mean and 95 % band over runs at each x, and the runs behind it.

    ``n`` is the number of runs, ``counts`` that of those with a value at each x. ``bars``: low and
    high are a single run's own intervals. ``shift`` sets apart what would lie on one another.
    """

    label: str
    colour: str
    dash: str
    marker: str
    n: int
    x: list[float]
    counts: list[int]
    mean: Values
    low: Values
    high: Values
    seeds: list[Thin]
    bars: bool = False
    shift: float = 0.0


@dataclass(frozen=True)
class Map:
    """A grid as the page has it, values indexed [y][x]."""

    axis: list[float]
    values: list[Values]
    unit: str
    colours: str
    contours: list[Values]
    contours_unit: str
    surface: bool
    way: list[Values]


@dataclass(frozen=True)
class Chart:
    """A panel; ``range`` are the ends of the vertical axis or of the colours, None for any."""

    title: str
    unit: str
    x: str
    curves: list[Mean]
    lines: list[Line]
    notes: list[str]
    range: tuple[float, float] | None
    log: bool
    ticks: list[str]
    grid: Map | None

    @property
    def drawn(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.curves) or self.grid is not None


class Name(NamedTuple):
    """An entry of a legend: a curve's label and look, and the number of its runs in words."""

    label: str
    colour: str
    dash: str
    marker: str
    n: str


@dataclass(frozen=True)
class Strip:
    """Panels side by side that share a legend."""

    title: str
    legend: str
    panels: list[Chart]

    @property
    def names(self) -> list[Name]:
        """What a legend tells of the curves, each once."""
        curves = [curve for panel in self.panels for curve in panel.curves]
        counts: dict[str, set[int]] = {}
        for each in curves:
            counts.setdefault(each.label, set()).add(each.n)
        looks = {each.label: (each.colour, each.dash, each.marker) for each in curves}
        common = len({frozenset(each) for each in counts.values()}) == 1 or not self.legend
        return [
            Name(label, *looks[label], "" if common else _told(counts[label])) for label in counts
        ]

    @property
    def heading(self) -> str:
        """What the legend is of, with the number of runs where that is one for all."""
        counts = {each.n for panel in self.panels for each in panel.curves if each.dash != "none"}
        n = f"n = {counts.pop()}" if self.legend and len(counts) == 1 else ""
        return ", ".join(filter(None, (self.legend, n)))

    @property
    def lines(self) -> list[Line]:
        """The horizontal lines of all panels, each once."""
        return list(dict.fromkeys(line for panel in self.panels for line in panel.lines))


@dataclass(frozen=True)
class Drawn:
    """A figure: its name, and the rows that have something to draw."""

    name: str
    title: str
    caption: str
    rows: list[Strip] = field(default_factory=list)
    table: Table | None = None

    @property
    def reading(self) -> str:
        """What thick, band and thin are, where there are curves over several runs."""
        every = [each for row in self.rows for panel in row.panels for each in panel.curves]
        if all(each.n == 1 for each in every):
            return ""
        return (
            "Thick: mean over runs; band: 95 % percentile bootstrap of the mean at each place, "
            "which with few runs is too short; thin: single runs."
        )


def drawn(name: str, figure: Figure) -> Drawn:
    """A figure ready to draw.

    Args:
        name: the figure's.
        figure: what it is made of; at least one row has a panel.

    Returns:
        Means, bands and axes.
    """
    made = [(row, [_chart(panel) for panel in row.panels]) for row in figure.rows if row.panels]
    every = [
        (panel, chart)
        for row, charts in made
        for panel, chart in zip(row.panels, charts, strict=True)
    ]
    ends: dict[str, tuple[float, float]] = {}
    for panel, chart in every:
        if panel.scale and chart.range is not None:
            low, high = ends.get(panel.scale, chart.range)
            ends[panel.scale] = min(low, chart.range[0]), max(high, chart.range[1])
    rows = [
        Strip(
            row.title,
            row.legend,
            [
                _noted(panel, chart, ends.get(panel.scale, chart.range))
                for panel, chart in zip(row.panels, charts, strict=True)
            ],
        )
        for row, charts in made
    ]
    return Drawn(name, figure.title, figure.caption, rows, figure.table)


def _chart(panel: Panel) -> Chart:
    grid = None
    if panel.grid is not None:
        found = panel.grid
        contours = [] if found.contours is None else [plain(row) for row in found.contours.T]
        grid = Map(
            [float(f"{each:.{DIGITS}g}") for each in found.axis],
            [plain(row) for row in found.values.T],
            found.unit,
            found.colours,
            contours,
            found.contours_unit,
            found.surface,
            [plain(point) for point in found.way],
        )
    curves = _apart([each for curve in panel.curves if (each := mean_of(curve)) is not None])
    lines, remarks, ticks = list(panel.lines), list(panel.remarks), list(panel.ticks)
    early = panel.x == "epoch" and any(len(each.x) > 1 for each in curves)
    ends = _ends_of(grid) if grid else range_of(curves, lines, early=early)
    if panel.log and not grid:
        ends = _ends_on_a_log(curves)
    return Chart(
        *(panel.title, panel.unit, panel.x, curves, lines, remarks, ends, panel.log, ticks, grid)
    )


def _noted(panel: Panel, chart: Chart, ends: tuple[float, float] | None) -> Chart:
    if ends is not None and (chart.grid is None or ends[0] == ends[1]):
        ends = _with_margin(ends, chart.log)
    notes = [*chart.notes, *_cut(panel, ends), *_thinned(panel, chart.curves)]
    if panel.x == "epoch":
        notes += _ended(chart.curves)
    return Chart(
        *(chart.title, chart.unit, chart.x, chart.curves, chart.lines, notes, ends, chart.log),
        *(chart.ticks, chart.grid),
    )


def plain(values: Iterable[float | None]) -> Values:
    """Numbers for JSON: rounded to `DIGITS` significant digits, None for what is not finite.

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


def mean_of(curve: Curve) -> Mean | None:
    """The mean, band and runs of a curve.

    Returns:
        What is drawn of it; None if no run has a value.
    """
    values_SE = np.array([seed.values for seed in curve.seeds], float)
    known_E = ~np.isnan(values_SE).all(axis=0)
    if not known_E.any():
        return None
    values_SE, x_E = values_SE[:, known_E], np.asarray(curve.x, float)[known_E]
    places = np.arange(len(x_E)) if curve.dash == "none" else thinned(len(x_E))
    several, first = len(curve.seeds) > 1, curve.seeds[0]
    bars = not several and len(first.low) > 0
    if several:
        found = band(values_SE)
        n, mean, low, high = found.n, found.mean, found.low, found.high
    else:
        mean = values_SE[0]
        n = (~np.isnan(mean)).astype(int)
        ends = (first.low, first.high) if bars else (np.full(len(known_E), np.nan),) * 2
        low, high = (np.asarray(end, float)[known_E] for end in ends)
    thin = [
        Thin(seed.seed, seed.run, plain(row[places]))
        for seed, row in list(zip(curve.seeds, values_SE, strict=True))[:SEEDS_DRAWN]
    ]
    single = len(x_E) == 1
    return Mean(
        label=curve.label,
        colour=curve.colour,
        dash=curve.dash,
        marker=curve.marker or ("o" if single else ""),
        n=len(curve.seeds),
        x=x_E[places].tolist(),
        counts=n[places].tolist(),
        mean=plain(mean[places]),
        low=plain(low[places]),
        high=plain(high[places]),
        seeds=thin if several else [],
        bars=bars or (several and single),
    )


def _apart(curves: list[Mean]) -> list[Mean]:
    """Curves that have a single x in common, side by side."""
    if len(curves) < 2 or {tuple(each.x) for each in curves} != {tuple(curves[0].x)}:
        return curves
    if len(curves[0].x) > 1:
        return curves
    places = np.linspace(-SPREAD / 2, SPREAD / 2, len(curves)).tolist()
    return [
        Mean(**(vars(each) | {"shift": place})) for each, place in zip(curves, places, strict=True)
    ]


def thinned(count: int) -> npt.NDArray[np.int64]:
    """Which of so many epochs are drawn: all, or every k-th from the last one back.

    Returns:
        Positions, ascending, `POINTS_DRAWN` at most.
    """
    step = -(-count // POINTS_DRAWN)
    return np.arange(count - 1, -1, -step)[::-1]


def range_of(
    curves: Sequence[Mean], lines: Sequence[Line], *, early: bool
) -> tuple[float, float] | None:
    """The ends of a panel's axis, without its margin.

    The axis holds all that is drawn, unless that would make the important part small: then it holds
    every line, and every mean and band but those of the first tenth of the epochs, in which an
    accuracy is that of a network that has hardly begun. The panel's notes say so. Of fewer than
    `EPOCHS_CUT` epochs none is left out.

    Args:
        curves: of the panel.
        lines: of the panel.
        early: whether what is to the right are epochs.

    Returns:
        The ends, None where nothing is drawn.
    """
    core = [line.value for line in lines]
    for each in curves:
        cut = each.x[-1] / 10 if early and each.x[-1] >= EPOCHS_CUT else -math.inf
        late = [place for place, e in enumerate(each.x) if e >= cut]
        rows = (each.mean, each.low, each.high)
        core += [v for row in rows for place in late if (v := row[place]) is not None]
    if not curves:
        return None
    values = [*core, *_values(curves)]
    whole = max(values) - min(values)
    chosen = values if not early or whole <= WIDENING * (max(core) - min(core)) else core
    low, high = min(chosen), max(chosen)
    return low, high


def _ends_on_a_log(curves: Sequence[Mean]) -> tuple[float, float] | None:
    values = [value for value in _values(curves) if value > 0]
    return (min(values), max(values)) if values else None


def _with_margin(ends: tuple[float, float], log: bool) -> tuple[float, float]:
    low, high = ends
    if log:
        return low / 1.2, high * 1.2
    margin = 0.05 * (high - low) or min(1.0, 0.05 * abs(high)) or 1.0
    return low - margin, high + margin


def _ends_of(grid: Map) -> tuple[float, float]:
    """The lowest and the highest value."""
    values = [value for row in grid.values for value in row if value is not None]
    return min(values, default=0.0), max(values, default=0.0)


def _values(curves: Sequence[Mean]) -> list[float]:
    rows = [row for c in curves for row in (c.mean, c.low, c.high, *(s.values for s in c.seeds))]
    return [value for row in rows for value in row if value is not None]


def _told(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


# --- what is not drawn, for the panel to say ---------------------------------------------------


def _cut(panel: Panel, ends: tuple[float, float] | None) -> list[str]:
    """Runs of which an end of the axis hides something, intervals included."""
    if ends is None:
        return []
    runs = [(curve.x, seed) for curve in panel.curves for seed in curve.seeds]
    said = []
    for side, way, sign, end in (("below", "down", -1, ends[0]), ("above", "up", 1, ends[1])):
        beyond = []
        for x, seed in runs:
            values = numbers((seed.low if sign < 0 else seed.high) or seed.values)
            points = zip(x, values, strict=True)
            beyond.append([(place, value) for place, value in points if sign * (value - end) > 0])
        count = sum(map(bool, beyond))
        if count:
            places, hidden = zip(*itertools.chain(*beyond), strict=True)
            first, last = min(places), max(places)
            at = f"{first:g}" if first == last else f"{first:g} to {last:g}"
            leave = f"run{'s' * (len(runs) > 1)} {'leaves' if count == 1 else 'leave'}"
            said.append(
                f"{count} of {len(runs)} {leave} the picture "
                f"{side}, {way} to {sign * max(sign * v for v in hidden):.3g}, at {panel.x} {at}"
            )
    return said


def _thinned(panel: Panel, curves: Sequence[Mean]) -> list[str]:
    said = []
    lengths = {each.label: _length(each) for each in panel.curves}
    if any(len(each.x) < lengths[each.label] for each in curves):
        said.append(f"not every epoch is drawn: at most {POINTS_DRAWN} points per curve")
    if any(len(each.seeds) < each.n for each in curves if each.n > 1):
        said.append(
            f"thin lines: the first {SEEDS_DRAWN} runs of a curve; mean and band are of all"
        )
    return said


def _length(curve: Curve) -> int:
    values_SE: Floats = np.array([seed.values for seed in curve.seeds], float)
    return int((~np.isnan(values_SE)).any(axis=0).sum())


def _ended(curves: Sequence[Mean]) -> list[str]:
    """Runs that end before others of their curve, or before other curves."""
    said = []
    last = max((each.x[-1] for each in curves), default=0.0)
    for each in curves:
        drops = [
            x
            for (_, a), (x, b) in itertools.pairwise(zip(each.x, each.counts, strict=True))
            if b < a
        ]
        if drops and each.counts[-1] < max(each.counts):
            left = f"{each.counts[-1]} of {max(each.counts)} runs"
            said.append(f"{each.label}: from epoch {drops[0]:g} on fewer runs, {left} at the end")
        if each.x[-1] < last:
            said.append(f"{each.label} ends at epoch {each.x[-1]:g}")
    return said


def numbers(values: Numbers) -> list[float]:
    """Numbers for a drawing, NaN for None."""
    return [math.nan if value is None else value for value in values]
