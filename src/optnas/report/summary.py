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
from optnas.base.columns import RECORD, SUPERNET_ACCURACY, TOP_EIGENVALUE, symbol
from optnas.base.escapes import for_csv, for_latex
from optnas.report.arms import ALGORITHM, Arm, pair_arms
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


@dataclass(frozen=True)
class Estimate:
    """A mean over runs, its 95 % interval, and how many runs have the number."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Line:
    """A line of T1: an arm, and one estimate per column of `COLUMNS`."""

    algorithm: str
    pair: str
    colour: str
    dash: str
    n: int
    estimates: list[Estimate]


def summary(material: Material) -> list[Line]:
    """The lines of T1: every algorithm and pair with finished runs.

    Returns:
        The lines, algorithms in the order of the runs, pairs in that of the legend.
    """
    names = dict.fromkeys(material.runs.settings.get(ALGORITHM, []))
    known = [n for n in ("darts", "darts-minus", "sdarts-rs", "sdarts-adv", "random") if n in names]
    ordered = [*known, *(name for name in names if name not in known)]
    return [
        Line(
            str(arm.cell[NAMES[0]]),
            arm.label,
            arm.colour,
            arm.dash,
            len(arm.runs),
            [_estimate(values) for values in _responses(material, arm)],
        )
        for name in ordered
        for arm in pair_arms(material.selection, str(name))
    ]


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
    return Estimate(mean, low, high, int(found.n[0]))


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
    r"""T1 as a ``tabular`` for ``\usepackage{booktabs}``; intervals in brackets."""
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
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def told(estimate: Estimate, digits: int) -> str:
    """An estimate in words, such as ``92.10 [91.00, 93.20]``."""
    if estimate.mean is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"
