"""What a figure is: plain numbers, a row per run. Whoever draws them adds means, bands and axes.

A figure is a registered function of runs that returns a `Figure`. The command line, the page of a
study and the files for a paper draw it alike:

    @register("figure", "flatness", in_report=True, needs=("flatness",))
    def flatness(runs: Sequence[RunFolder]) -> Figure:
        panel = by_epoch(measured("flatness", runs), "drop", "drop of accuracy around A")
        return Figure("Flatness", [Row("", [panel])])

``in_report`` puts it into the report of every study whose finished runs have what it ``needs``:
measures, by their labels. The parameters after ``runs`` are options of ``optnas plot --figure
flatness epoch=10``; ``table``, ``reference`` and ``folder`` are supplied, from ``--table``,
``--reference`` and the data folder, to the figures that ask for them.

A figure that cannot be told in these terms returns a matplotlib figure: it is drawn as it is, and
stands in the report as a picture (of optnas's own: ``stopping``, ``mixed-cell``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = Sequence[float | None]  # None or NaN where there is no value
Table2D = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seed:
    """One run of a curve.

    Attributes:
        seed: its seed.
        run: its folder's name or its id.
        values: one per x of the curve.
        low: lower ends of each value's own interval; empty if it has none.
        high: upper ends.
    """

    seed: int
    run: str
    values: Numbers
    low: Numbers = ()
    high: Numbers = ()


@dataclass(frozen=True)
class Curve:
    """The same quantity in runs that differ in their seed.

    Drawn are the mean over runs with its 95 % band, and the runs; of one run its values, with
    their own intervals as bars.

    Attributes:
        label: its name in the legend; curves of one label are one entry.
        x: where the values are.
        seeds: the runs.
        colour: such as ``#0072B2``.
        dash: a name of `optnas.measures.drawing.DASHES`, or ``none`` for points alone.
        marker: one of `optnas.measures.drawing.MARKERS`; empty for none.
    """

    label: str
    x: Sequence[float]
    seeds: Sequence[Seed]
    colour: str
    dash: str = "solid"
    marker: str = ""


@dataclass(frozen=True)
class Line:
    """A horizontal line to compare with; ``band`` is where 90 % of such searches end."""

    label: str
    value: float
    dash: str
    band: tuple[float, float] | None = None


@dataclass(frozen=True)
class Grid:
    """Values on a square grid, as a map of colours.

    Attributes:
        axis: the values of x, and of y.
        values: indexed [x, y].
        unit: of the values.
        colours: a colour map that matplotlib and plotly both have.
        contours: another quantity on the same grid, drawn as white lines; empty for none.
        contours_unit: what it is, with its unit.
        surface: whether pictures show it as a surface too, above the map.
        way: points (x, y) of a trajectory that ends in the middle, drawn as a line.
    """

    axis: Sequence[float]
    values: Table2D
    unit: str
    colours: str = "cividis"
    contours: Table2D | None = None
    contours_unit: str = ""
    surface: bool = False
    way: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: what it shows.
        unit: what is upwards.
        curves: its curves.
        lines: to compare with.
        remarks: what a reader has to know, such as what is left out.
        x: what is to the right.
        scale: panels of a figure that name the same scale share the ends of the vertical axis, or
            of the colours.
        log: whether the vertical axis is logarithmic.
        ticks: names of x = 0, 1, 2, ...; empty for numbers.
        grid: a map instead of curves.
    """

    title: str
    unit: str
    curves: Sequence[Curve] = ()
    lines: Sequence[Line] = ()
    remarks: Sequence[str] = ()
    x: str = "epoch"
    scale: str = ""
    log: bool = False
    ticks: Sequence[str] = ()
    grid: Grid | None = None

    @property
    def drawn(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.curves) or self.grid is not None


@dataclass(frozen=True)
class Row:
    """Panels side by side that share a legend.

    Attributes:
        title: what they have in common.
        panels: from left to right; a row without any is not drawn.
        legend: what its curves are, such as ``optimizer pair``.
        missing: why there are no panels: a sentence, then a line for each thing that is missing.
    """

    title: str
    panels: Sequence[Panel] = ()
    legend: str = ""
    missing: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """Words below a figure: the heads of the columns, and rows of as many cells."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        title: what it is.
        rows: from top to bottom.
        caption: how to read it.
        table: below the rows; None for none.
        missing: why nothing is drawn, in a few words, where no row has a panel.
    """

    title: str
    rows: Sequence[Row]
    caption: str = ""
    table: Table | None = None
    missing: str = ""
