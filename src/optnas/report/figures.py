"""F7 to F13: from the runs of a study to the data of a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from optnas.analysis.claims.declare import Cell, label
from optnas.analysis.runs import Runs, Selection
from optnas.measures.drawing import NAMES
from optnas.measures.record import SUPERNET_ACCURACY, TOP_EIGENVALUE, titled
from optnas.report.arms import (
    ALGORITHM,
    ARCH,
    TRADITIONAL,
    WEIGHT,
    Arm,
    Momentum,
    algorithm_arms,
    momentum_arms,
    pair_arms,
    pair_of,
    pairs_in,
)
from optnas.report.data import Curve, Figure, Line, Panel, Row, curve, range_of, remarks_of
from optnas.report.inventory import Entry, declared

SUPERNET, SHARPNESS = titled(SUPERNET_ACCURACY), titled(TOP_EIGENVALUE)
PAIR_LEGEND = "weight optimizer + architecture optimizer"
DECK = {
    "darts": "DARTS",
    "darts-minus": "DARTS-",
    "sdarts-rs": "SDARTS-RS",
    "sdarts-adv": "SDARTS-ADV",
}
# Whose momentum, under which partner: w with Adam on alpha, alpha with SGD on w.
MOMENTA: tuple[tuple[str, Cell, Momentum], ...] = (
    ("momentum of SGD on w", {WEIGHT: "SGD", ARCH: "Adam"}, Momentum("SGD", "weight_optimizer")),
    ("first beta of Adam on w", {WEIGHT: "Adam", ARCH: "Adam"}, Momentum("Adam", WEIGHT[:-5])),
    ("momentum of SGD on alpha", {WEIGHT: "SGD", ARCH: "SGD"}, Momentum("SGD", ARCH[:-5])),
    ("first beta of Adam on alpha", {WEIGHT: "SGD", ARCH: "Adam"}, Momentum("Adam", ARCH[:-5])),
)


@dataclass(frozen=True)
class Benchmark:
    """What the benchmark panel shows.

    Args:
        column: of the tidy table, such as ``benchmark.cifar10``; empty if the runs asked no table.
        title: what it is, with data set, split and table.
        lines: random search, a random cell, the best cell.
        remark: why there are no lines; mostly empty.
    """

    column: str
    title: str
    lines: list[Line] = field(default_factory=list)
    remark: str = ""


@dataclass(frozen=True)
class Material:
    """What figures are made of: runs that may be compared, the benchmark, the study's runs."""

    runs: Runs
    selection: Selection
    benchmark: Benchmark
    entries: Sequence[Entry]

    @property
    def searched(self) -> str:
        """The data sets of the searches, in words."""
        names = dict.fromkeys(self.runs.settings["data.name"].astype(str))
        return f"search on {', '.join(NAMES.get(name, name) for name in names)}"


def panel(
    material: Material,
    arms: Sequence[Arm],
    title: str,
    unit: str,
    column: str,
    lines: Sequence[Line] = (),
) -> Panel:
    """A panel: one curve for each arm that recorded the column.

    Args:
        material: runs and benchmark.
        arms: its curves.
        title: what it shows.
        unit: its unit.
        column: the response.
        lines: to compare with.

    Returns:
        The panel; without a curve, its remark says so.
    """
    runs = material.runs
    if not runs.has(column):
        return Panel(title, unit, [], remarks=["these runs did not record it"])
    found = [(arm, curve(runs, arm, column)) for arm in arms]
    curves: list[Curve] = [each for _, each in found if each is not None]
    lengths = np.array(
        [
            max(int((~np.isnan(runs.epochs(run, column))).sum()) for run in arm.runs)
            for arm, each in found
            if each is not None
        ]
    )
    ends = range_of(curves, list(lines))
    return Panel(title, unit, curves, list(lines), remarks_of(curves, lengths), ends)


def benchmark_panel(material: Material, arms: Sequence[Arm], title: str = "") -> Panel:
    """The benchmark accuracy of the derived cell, with its reference lines."""
    asked = material.benchmark
    if not asked.column:
        return Panel("benchmark accuracy", "%", [], remarks=["these runs asked no benchmark table"])
    found = panel(material, arms, title or asked.title, "%", asked.column, asked.lines)
    return replace(found, remarks=[*found.remarks, *filter(None, [asked.remark])])


def three_panels(material: Material, arms: Sequence[Arm]) -> list[Panel]:
    """Supernet accuracy, top eigenvalue, benchmark accuracy."""
    return [
        panel(material, arms, *SUPERNET),
        panel(material, arms, *SHARPNESS),
        benchmark_panel(material, arms),
    ]


def missing(material: Material, cells: Sequence[Cell], needed: str) -> list[str]:
    """What a row would need, and what the study has of it.

    Args:
        material: the study's runs.
        cells: the arms that would make it.
        needed: what they are, in words.

    Returns:
        A sentence, and a line an arm.
    """
    lines = [f"It needs {needed}:"]
    for cell in cells:
        ties = material.selection.ties(cell, set(cell))
        told = declared(material.entries, cell)
        if ties:
            told += f"; two values are equally common, none is held: {', '.join(ties)}"
        lines.append(f"{label(cell)} ({told})")
    return lines


def pair_row(material: Material, algorithm: str) -> Row:
    """A row of three panels: one curve a pair, under one algorithm."""
    arms = pair_arms(material.selection, algorithm)
    title = f"{DECK[algorithm]}, {material.searched}"
    if arms:
        return Row(title, PAIR_LEGEND, three_panels(material, arms))
    cells: list[Cell] = [{ALGORITHM: algorithm, **pair} for pair in TRADITIONAL]
    return Row(
        title,
        PAIR_LEGEND,
        missing=missing(material, cells, "finished runs of one of these arms at least"),
    )


def momentum_rows(material: Material, algorithm: str) -> list[Row]:
    """Rows of three panels: one curve a momentum, w and alpha apart, SGD and Adam apart."""
    rows = []
    for words, pair, momentum in MOMENTA:
        where = {ALGORITHM: algorithm, **pair}
        arms = momentum_arms(material.selection, where, momentum)
        title = f"{DECK[algorithm]}, {words} (pair {pair_of(pair)}), {material.searched}"
        if arms:
            rows.append(Row(title, words, three_panels(material, arms)))
            continue
        needed = f"finished runs under two values or more of {momentum.column}"
        rows.append(Row(title, words, missing=missing(material, [where], needed)))
    return rows


def pair_figure(name: str, *algorithms: str) -> Callable[[Material], Figure]:
    """F7 to F9: optimizer comparison.

    Args:
        name: the figure's name.
        *algorithms: a row each.

    Returns:
        A function from the material to the figure.
    """

    def draw(material: Material) -> Figure:
        rows = [pair_row(material, algorithm) for algorithm in algorithms]
        return Figure(
            name,
            f"Optimizer comparison: {', '.join(DECK[a] for a in algorithms)}",
            "One curve an optimizer pair. Supernet accuracy is that of the clean operation weights;"
            " the eigenvalue is the algebraically largest of the Hessian of the validation loss in"
            " alpha; the benchmark accuracy is that of the cell that the argmax of alpha gives at"
            " that epoch.",
            rows,
        )

    return draw


def momentum_figure(name: str, *algorithms: str) -> Callable[[Material], Figure]:
    """F10 to F12: momentum comparison.

    Args:
        name: the figure's name.
        *algorithms: four rows each.

    Returns:
        A function from the material to the figure.
    """

    def draw(material: Material) -> Figure:
        rows = [row for each in algorithms for row in momentum_rows(material, each)]
        return Figure(
            name,
            f"Momentum comparison: {', '.join(DECK[a] for a in algorithms)}",
            "One curve a momentum, from dark (little) to light (much). The momentum of Adam is its"
            " first beta. Momentum of w and of alpha are told apart.",
            rows,
        )

    return draw


def algorithm_figure(material: Material) -> Figure:
    """F13: benchmark accuracy over epochs by algorithm, a panel for each pair."""
    panels = []
    for pair in pairs_in(material.selection, {}):
        arms = algorithm_arms(material.selection, pair)
        if arms:
            panels.append(benchmark_panel(material, arms, f"pair {pair_of(pair)}"))
    title = f"{material.benchmark.title}, {material.searched}"
    if any(drawn.curves for drawn in panels):
        rows = [Row(title, "algorithm", _on_one_scale(panels))]
    else:
        cells: list[Cell] = [{ALGORITHM: name, WEIGHT: "SGD", ARCH: "Adam"} for name in DECK]
        rows = [
            Row(
                title,
                "algorithm",
                missing=missing(material, cells, "finished runs of one of these arms at least"),
            )
        ]
    return Figure(
        "F13",
        "Algorithm comparison",
        "Benchmark accuracy of the derived cell over epochs, a panel for each optimizer pair.",
        rows,
    )


def _on_one_scale(panels: Sequence[Panel]) -> list[Panel]:
    ends = [drawn.range for drawn in panels if drawn.range is not None]
    common = min(low for low, _ in ends), max(high for _, high in ends)
    return [replace(drawn, range=common) for drawn in panels]


FIGURES: dict[str, Callable[[Material], Figure]] = {
    "F7": pair_figure("F7", "darts"),
    "F8": pair_figure("F8", "darts-minus"),
    "F9": pair_figure("F9", "sdarts-rs", "sdarts-adv"),
    "F10": momentum_figure("F10", "darts"),
    "F11": momentum_figure("F11", "darts-minus"),
    "F12": momentum_figure("F12", "sdarts-rs", "sdarts-adv"),
    "F13": algorithm_figure,
}
