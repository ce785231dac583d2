"""T1: algorithm and pair against final and best accuracy, drop, eigenvalue, supernet accuracy."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optnas.analysis.bands import band
from optnas.analysis.claims.declare import NAMES
from optnas.analysis.curves import searched
from optnas.analysis.power import fewest_seeds
from optnas.analysis.runs import plain
from optnas.base.columns import RECORD, SUPERNET_ACCURACY, TOP_EIGENVALUE, symbol
from optnas.base.escapes import for_csv, for_latex
from optnas.measures.drawing import pair_look
from optnas.report.arms import (
    ALGORITHM,
    ALGORITHM_LOOKS,
    Arm,
    pair_arms,
    pair_of,
    pairs_in,
    runs_of,
)
from optnas.report.labels import Labels
from optnas.report.material import Material

# Name, unit, digits after the point.
COLUMNS = (
    ("final accuracy", "%", 2),
    ("best epoch's accuracy (oracle)", "%", 2),
    ("drop from it", "pp", 2),
    ("top eigenvalue", symbol(RECORD[TOP_EIGENVALUE].unit), 3),
    ("supernet accuracy", symbol(RECORD[SUPERNET_ACCURACY].unit), 2),
)
RECORDED = (TOP_EIGENVALUE, SUPERNET_ACCURACY)  # the last of them
# As a comparison of arms: fewer runs have no interval of 95 %.
FEWEST = fewest_seeds()
BRACKETS = (
    f"mean over runs [its 95 % percentile bootstrap interval]; fewer than {FEWEST} runs have none"
)


@dataclass(frozen=True)
class Estimate:
    """A mean over runs, how many have the number, and its 95 % interval, of `FEWEST` or more."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Line:
    """A line of T1: an arm, and one estimate per column of `COLUMNS`.

    Both names also have the values of settings of which no value is that of most runs.
    """

    algorithm: str
    pair: str
    colour: str
    dash: str
    n: int
    estimates: list[Estimate]


def summary(material: Material, labels: Labels | None = None) -> list[Line]:
    """The lines of T1: every algorithm and pair with finished runs.

    A setting that varies is held at the value of most runs. Where two values are equally common
    there is none, and each value is a line.

    Args:
        material: the runs.
        labels: what their study calls them.

    Returns:
        The lines, pairs in the order of the legend, algorithms in that of `ALGORITHM_LOOKS`; others
        behind them in that of the runs.
    """
    names = dict.fromkeys(material.runs.settings.get(ALGORITHM, []))
    known = [name for name in ALGORITHM_LOOKS if name in names]
    ordered = [*known, *(name for name in names if name not in known)]
    return [
        Line(
            *_names(material, arm, labels),
            arm.colour,
            arm.dash,
            len(arm.runs),
            [_estimate(values) for values in _responses(material, arm)],
        )
        for name in ordered
        for arm in _arms(material, str(name))
    ]


def _arms(material: Material, algorithm: str) -> list[Arm]:
    """One arm per pair and value of each tied setting."""
    selection, named = material.selection, set(NAMES)
    arms = {arm.label: arm for arm in pair_arms(selection, algorithm)}
    found: list[Arm] = []
    for pair in pairs_in(selection, {ALGORITHM: algorithm}):
        cell = {ALGORITHM: algorithm, **pair}
        label = pair_of(cell)
        tied = selection.ties(cell, named)
        if not tied:
            found += [arms[label]] if label in arms else []
            continue
        shown = selection.runs.settings.loc[selection.comparable(cell, {*named, *tied}), tied]
        values = {tuple(map(plain, row)): row for row in shown.itertuples(index=False)}
        for key in sorted(values, key=_by_number):
            held = dict(zip(tied, values[key], strict=True))
            runs = runs_of(selection, {**cell, **held})
            found.append(Arm(label, *pair_look(label), {**cell, **held}, runs))
    return found


def _names(material: Material, arm: Arm, labels: Labels | None) -> tuple[str, str]:
    """Algorithm and pair of an arm, each with the settings in which it is one of several."""

    def label(axis: str | None) -> str:
        if labels is None or axis is None:
            return ""
        ids = material.runs.settings["id"].iloc[list(arm.runs)].astype(str)
        return labels.word(axis, ids) or ""

    algorithm, *pair = (label(key.removesuffix(".name")) or str(arm.cell[key]) for key in NAMES)
    told: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for key, value in arm.cell.items():
        axis = labels.said(key) if labels else None
        # Nothing is said of a setting that the component does not have.
        words = label(axis) or (f"{key} {plain(value)}" if plain(value) else "")
        if words and key not in NAMES and not (label(axis) and f"{axis}.name" in NAMES):
            told[key.startswith(ALGORITHM.removesuffix("name"))][words] = None
    return ", ".join([algorithm, *told[True]]), ", ".join([" + ".join(pair), *told[False]])


def _by_number(values: Sequence[str]) -> list[tuple[float, str]]:
    """Values of settings in the order of their numbers, words last."""

    def number(value: str) -> float:
        try:
            return float(value)
        except ValueError:
            return math.inf

    return [(number(value), value) for value in values]


def _responses(material: Material, arm: Arm) -> list[list[float]]:
    """For each column one number per run, from epoch 1: the last known, or the largest."""
    accuracy = [_known(material, run, material.benchmark.column) for run in arm.runs]
    final, best = _last(accuracy), [max(values, default=math.nan) for values in accuracy]
    return [
        final,
        best,
        [b - f for b, f in zip(best, final, strict=True)],
        *(_last([_known(material, run, column) for run in arm.runs]) for column in RECORDED),
    ]


def _known(material: Material, run: int, column: str) -> list[float]:
    if not column or not material.runs.has(column):
        return []
    values_E = material.runs.epochs(run, column)[searched(material.runs.epochs(run, "epoch"))]
    return [float(value) for value in values_E[~np.isnan(values_E)]]


def _last(of_runs: Sequence[Sequence[float]]) -> list[float]:
    return [values[-1] if values else math.nan for values in of_runs]


def _estimate(values: Sequence[float]) -> Estimate:
    found = band(np.array(values)[:, None])
    numbers = (float(end[0]) for end in (found.mean, found.low, found.high))
    mean, low, high = (number if math.isfinite(number) else None for number in numbers)
    n = int(found.n[0])
    return Estimate(mean, low, high, n) if n >= FEWEST else Estimate(mean, None, None, n)


def as_csv(lines: Sequence[Line]) -> str:
    """T1 as comma-separated values, full precision; no name begins as a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("mean", "low", "high", "n")
    heads = [f"{name} ({unit}) {part}" for name, unit, _ in COLUMNS for part in parts]
    writer.writerow(["algorithm", "pair", "runs", *heads])
    for line in lines:
        numbers = [(e.mean, e.low, e.high, e.n) for e in line.estimates]
        names = [for_csv(line.algorithm), for_csv(line.pair)]
        writer.writerow([*names, line.n, *(n for each in numbers for n in each)])
    return text.getvalue()


def as_latex(lines: Sequence[Line]) -> str:
    r"""T1 as a ``tabular`` for ``\usepackage{booktabs}``; a comment says what is in brackets."""
    heads = " & ".join(for_latex(f"{name} ({unit})") for name, unit, _ in COLUMNS)
    rows = [
        " & ".join(
            [for_latex(line.algorithm), for_latex(line.pair), str(line.n)]
            + [told(e, digits) for e, (_, _, digits) in zip(line.estimates, COLUMNS, strict=True)]
        )
        + r" \\"
        for line in lines
    ]
    body = "\n".join([rf"algorithm & pair & $n$ & {heads} \\", r"\midrule", *rows])
    columns = "llr" + "r" * len(COLUMNS)
    inside = f"\\toprule\n{body}\n\\bottomrule"
    tabular = f"\\begin{{tabular}}{{{columns}}}\n{inside}\n\\end{{tabular}}"
    return f"% n: finished runs; {BRACKETS}\n{tabular}\n"


def told(estimate: Estimate, digits: int) -> str:
    """An estimate in words, such as ``92.10 [91.00, 93.20]``."""
    if estimate.mean is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"
