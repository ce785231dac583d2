"""F7 to F13: optimizers, momenta and algorithms by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optnas.analysis.claims.declare import Cell, label
from optnas.analysis.runs import Runs
from optnas.base.columns import SUPERNET_ACCURACY, TOP_EIGENVALUE, symbol, titled
from optnas.measures.curvature_optdarts import QUANTITIES
from optnas.measures.figures import Curve, Figure, Line, Panel, Row, Seed
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
from optnas.report.inventory import declared
from optnas.report.material import Material

SUPERNET, SHARPNESS = titled(SUPERNET_ACCURACY), titled(TOP_EIGENVALUE)
AS_OPTDARTS = (
    QUANTITIES["top_eigenvalue"].words,
    symbol(QUANTITIES["top_eigenvalue"].unit),
    "measure.curvature-optdarts.top_eigenvalue",
)
PAIR_LEGEND = "weight optimizer + architecture optimizer"
# Those that the figures compare, and how titles spell them.
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
    curves = [curve(runs, arm, column) for arm in arms]
    return Panel(title, unit, [each for each in curves if each is not None], lines)


def curve(runs: Runs, arm: Arm, column: str) -> Curve | None:
    """The values of an arm's runs.

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
    if np.isnan(values_SE).all():
        return None
    named = runs.settings
    seeds = [
        Seed(int(named["search.seed"].iloc[run]), str(named["id"].iloc[run]), row.tolist())
        for run, row in zip(arm.runs, values_SE, strict=True)
    ]
    return Curve(arm.label, every_E.astype(int).tolist(), seeds, arm.colour, arm.dash)


def benchmark_panel(material: Material, arms: Sequence[Arm], title: str = "") -> Panel:
    """The benchmark accuracy of the derived cell, with its reference lines."""
    asked = material.benchmark
    if not asked.column:
        return Panel("benchmark accuracy", "%", [], remarks=["these runs asked no benchmark table"])
    found = panel(material, arms, title or asked.title, "%", asked.column, asked.lines)
    return replace(found, remarks=[*found.remarks, *filter(None, [asked.remark])])


def three_panels(material: Material, arms: Sequence[Arm], where: Cell) -> list[Panel]:
    """Supernet accuracy, top eigenvalue, benchmark accuracy.

    Args:
        material: runs and benchmark.
        arms: the curves.
        where: what the arms have in common; runs of it that no arm holds are told.
    """
    first = panel(material, arms, *SUPERNET)
    return [
        replace(first, remarks=[*first.remarks, *_left_out(material, arms, where)]),
        panel(material, arms, *_sharpness(material, arms)),
        benchmark_panel(material, arms),
    ]


def _sharpness(material: Material, arms: Sequence[Arm]) -> tuple[str, str, str]:
    """The eigenvalue that Shin's program records, where all runs have it, else the record's."""
    runs, (*_, column) = material.runs, AS_OPTDARTS
    there = runs.has(column) and all(
        np.isfinite(runs.epochs(run, column)).any() for arm in arms for run in arm.runs
    )
    return AS_OPTDARTS if there else SHARPNESS


def _left_out(material: Material, arms: Sequence[Arm], where: Cell) -> list[str]:
    """Runs that are not drawn: not done, or at other values of what is held."""
    said = [f"not drawn: {n} {state}" for state, n in material.runs.unfinished.items()]
    others = int(material.selection.matching(where).sum()) - sum(len(arm.runs) for arm in arms)
    if others:
        said.append(f"not drawn: {others} at other values of what is held, or of a seed again")
    return said


def missing(material: Material, cells: Sequence[Cell], needed: str) -> list[str]:
    """What a row would need, and what the study has of it.

    Args:
        material: the study's runs.
        cells: the arms that would make it.
        needed: what they are, in words.

    Returns:
        A sentence, and one line per arm.
    """
    lines = [f"It needs {needed}:"]
    for cell in cells:
        ties = material.selection.ties(cell, set(cell))
        told = [declared(material.entries, cell)] if material.entries else []
        if ties:
            told.append(
                f"several values are equally common of {', '.join(ties)}, and none is held; "
                "choose one by --hold KEY=VALUE"
            )
        lines.append(f"{label(cell)} ({'; '.join(told) or 'none is here'})")
    return lines


def pair_row(material: Material, algorithm: str) -> Row:
    """A row of three panels: one curve per pair, under one algorithm."""
    arms = pair_arms(material.selection, algorithm)
    title = f"{DECK[algorithm]}, {material.searched}"
    if arms:
        return Row(title, three_panels(material, arms, {ALGORITHM: algorithm}), PAIR_LEGEND)
    cells: list[Cell] = [{ALGORITHM: algorithm, **pair} for pair in TRADITIONAL]
    return Row(
        title,
        missing=missing(material, cells, "finished runs of one of these arms at least"),
    )


def momentum_rows(material: Material, algorithm: str) -> list[Row]:
    """Rows of three panels: one curve per momentum, w and alpha apart, SGD and Adam apart."""
    rows = []
    for words, pair, momentum in MOMENTA:
        where = {ALGORITHM: algorithm, **pair}
        arms = momentum_arms(material.selection, where, momentum)
        title = f"{DECK[algorithm]}, {words} (pair {pair_of(pair)}), {material.searched}"
        if arms:
            rows.append(Row(title, three_panels(material, arms, where), words))
            continue
        needed = f"finished runs under two values or more of {momentum.column}"
        rows.append(Row(title, missing=missing(material, [where], needed)))
    return rows


def _if_there(material: Material, algorithms: Sequence[str]) -> str:
    """Why nothing is drawn though there are runs of these algorithms."""
    there = any(material.selection.matching({ALGORITHM: each}).any() for each in algorithms)
    return " with every other setting held" if there else ""


def pair_figure(material: Material, *algorithms: str) -> Figure:
    """Optimizer comparison, a row for each algorithm."""
    words = ", ".join(DECK[a] for a in algorithms)
    alike = _if_there(material, algorithms)
    return Figure(
        f"Optimizer comparison: {words}",
        [pair_row(material, algorithm) for algorithm in algorithms],
        "One curve per optimizer pair. Supernet accuracy is that of the clean operation weights; "
        "the eigenvalue is the algebraically largest of the Hessian of the validation loss in "
        "alpha (as OptDARTS has it: of one augmented batch, alpha's decay on the diagonal); the "
        "benchmark accuracy is that of the cell that the argmax of alpha gives at that "
        "epoch.",
        missing=f"no finished run of {words.replace(', ', ' or ')}{alike}",
    )


def momentum_figure(material: Material, *algorithms: str) -> Figure:
    """Momentum comparison, four rows for each algorithm."""
    words = ", ".join(DECK[a] for a in algorithms)
    alike = _if_there(material, algorithms)
    return Figure(
        f"Momentum comparison: {words}",
        [row for each in algorithms for row in momentum_rows(material, each)],
        "One curve per momentum, from dark (little) to light (much). The momentum of Adam is its "
        "first beta. Momentum of w and of alpha are told apart.",
        missing=f"no two momenta under {words.replace(', ', ' or ')}{alike}",
    )


def algorithm_figure(material: Material) -> Figure:
    """Benchmark accuracy over epochs by algorithm, a panel for each pair."""
    panels: list[Panel] = []
    every: list[Arm] = []
    for pair in pairs_in(material.selection, {}):
        arms = algorithm_arms(material.selection, pair)
        found = benchmark_panel(material, arms, f"pair {pair_of(pair)}")
        if arms and found.curves:
            panels.append(replace(found, scale="accuracy"))
            every += arms
    if panels:
        left = _left_out(material, every, {})
        panels[0] = replace(panels[0], remarks=[*panels[0].remarks, *left])
    title = ", ".join(filter(None, [material.benchmark.title, material.searched]))
    cells: list[Cell] = [{ALGORITHM: name, WEIGHT: "SGD", ARCH: "Adam"} for name in DECK]
    needed = "finished runs of one of these arms at least, answered by a benchmark table"
    row = (
        Row(title, panels, "algorithm")
        if panels
        else Row(title, missing=missing(material, cells, needed))
    )
    return Figure(
        "Algorithm comparison",
        [row],
        "Benchmark accuracy of the derived cell over epochs, a panel for each optimizer pair.",
        missing="no finished run with a benchmark accuracy",
    )
