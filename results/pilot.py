"""The figures and every quoted number of docs/pilot*.md, from the committed records.

python results/pilot.py     redraw docs/images/pilot-*, rewrite the built parts of the documents

Built parts: see documents.py. Needs the official benchmark table (OPTNAS_DATA) for the lines of
random search, no images. tests/test_pilot.py compares the documents with what is built here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from documents import as_table, built
from exploratory import EXPLORATORY
from summary_table import summary_table

from optnas.analysis import paired as paired_tests
from optnas.analysis.claims.judge import Finding, judge
from optnas.analysis.claims.read import choose_claims
from optnas.analysis.curves import best_and_final
from optnas.analysis.estimates import bootstrap
from optnas.analysis.references import references
from optnas.analysis.summaries import collapse_rates, differences, finals
from optnas.base.files import write_text
from optnas.base.records import find_runs
from optnas.report import named, static
from optnas.report.arms import pair_arms
from optnas.report.data import Drawn, drawn
from optnas.report.material import Material, material_of
from optnas.report.pictures import plot_figure
from optnas.spaces.tables import Table, data_folder, load_table
from optnas.study.tables import table_of

HERE = Path(__file__).parent
RECORDS = HERE / "pairs-cpu"
DOCUMENTS = tuple(
    HERE.parent / "docs" / f"pilot{part}.md"
    for part in ("", "-measures", "-ledger", "-exploratory")
)
IMAGES = HERE.parent / "docs" / "images"
ALGORITHMS = ("darts", "sdarts-rs")
DRAWN = {"F7": named.f7, "F9": named.f9, "F13": named.f13}
# Of the table of measures: column of the tidy table, in words, digits.
MEASURED = (
    ("measure.gap.gap", "discretization gap (pp)", 1),
    ("measure.curvature.op_weights_spectral", "Hessian norm in operation weights (nats)", 2),
    ("measure.landscape.mean_accuracy_drop", "mean drop in the plane (pp)", 2),
    ("unevenness", "unevenness of the plane (residual over drop)", 3),
    ("measure.indicator.tau", "Kendall tau, one-shot against benchmark", 3),
    ("measure.indicator.tau_minus_convolutions", "tau less that of counting 3x3 convolutions", 3),
)


class Smoothed(NamedTuple):
    """SDARTS-RS minus DARTS within seeds, accuracy of the derived cell in percentage points."""

    estimate: float
    low: float
    high: float
    n: int
    p: float


class Pilot:
    """What the records say, computed once.

    Attributes:
        frame: the tidy table.
        material: what figures are made of.
        findings: the ledger, one finding per claim.
        random_cell: mean CIFAR-10 test accuracy of all cells, percent.
        table: the official benchmark table.
    """

    def __init__(self) -> None:
        self.frame: pd.DataFrame = table_of(find_runs(RECORDS), recorded=True)
        self.frame["unevenness"] = (
            self.frame["measure.landscape.accuracy_residual"]
            / self.frame["measure.landscape.mean_accuracy_drop"]
        )
        self.table: Table = load_table("official", folder=data_folder(None))
        lines = references(self.table)
        self.material: Material = material_of(self.frame, find_runs(RECORDS), data_folder(None))
        self.random_cell: float = lines["random cell"]["benchmark.cifar10"]
        self.findings: list[Finding] = judge(
            self.frame, choose_claims([str(RECORDS / "claims")]), lines
        )

    def figures(self) -> dict[str, Drawn]:
        """The figures of these runs, by name."""
        return {name: drawn(name, make(self.material)) for name, make in DRAWN.items()}

    @cached_property
    def collapsed(self) -> dict[str, str]:
        """By algorithm, how many of its searches ended in a collapsed cell."""
        rates = collapse_rates(self.frame, self.random_cell, by=["algorithm.name"])
        return {row[0]: f"{row.events} of {row.n}" for row in rates.itertuples(index=False)}

    @cached_property
    def smoothed(self) -> Smoothed:
        """SDARTS-RS against DARTS."""
        last = finals(self.frame, "benchmark.cifar10")
        accuracy = last.groupby(["search.seed", "algorithm.name"])["benchmark.cifar10"].mean()
        by_seed = accuracy.unstack()
        contrasts = by_seed["sdarts-rs"] - by_seed["darts"]
        test, ends = paired_tests.sign_flip(contrasts), paired_tests.interval(contrasts)
        return Smoothed(ends.estimate, ends.low, ends.high, test.n, test.p)

    def finding(self, name: str) -> Finding:
        """The finding of one claim."""
        return next(finding for finding in self.findings if finding.id == name)


def measured(pilot: Pilot) -> str:
    """What the measures found at the last epoch: means over seeds with bootstrap intervals."""
    heads = ("algorithm", "w + alpha", *(words for _, words, _ in MEASURED))
    rows = []
    for arm in (arm for name in ALGORITHMS for arm in pair_arms(pilot.material.selection, name)):
        ids = pilot.material.runs.settings["id"].iloc[list(arm.runs)]
        last = pilot.frame[pilot.frame["id"].isin(ids)].groupby("id").last()
        cells = [_mean(last[column].dropna(), digits) for column, _, digits in MEASURED]
        rows.append((arm.cell["algorithm.name"], arm.label, *cells))
    return as_table(heads, rows)


def _mean(values: pd.Series, digits: int) -> str:
    if values.empty:
        return "-"
    found = bootstrap([values], partial(np.mean, axis=-1))
    mean, low, high = (f"{number:.{digits}f}" for number in found)
    return f"{mean} [{low}, {high}], n = {len(values)}"


def ledger(pilot: Pilot) -> str:
    """Every claim's verdict with its effect, interval, n and p."""
    numbers_of = ("part", "n", "effect", "interval", "p", "Holm p")
    heads = ("", "claim", "verdict", "after Holm", *numbers_of)
    rows = []
    for each in pilot.findings:
        numbers = ["-"] * len(numbers_of)
        if each.verdict != "not testable":
            effect = f"{each.effect:+.3g} {each.unit}".rstrip()
            finite = math.isfinite(each.low)
            interval = f"[{each.low:.3g}, {each.high:.3g}]" if finite else "none"
            ps = [f"{each.p:.3f}", f"{each.p_holm:.3f}"]
            numbers = [each.part or "-", str(each.n), effect, interval, *ps]
        verdict = f"**{each.verdict}**" if each.verdict != "not testable" else each.verdict
        rows.append((each.id, each.text, verdict, each.verdict_holm, *numbers))
    return as_table(heads, rows)


def collapses(pilot: Pilot) -> str:
    """How often the search ended in a collapsed cell."""
    rates = collapse_rates(pilot.frame, random_cell=pilot.random_cell)
    heads = ("algorithm", "w", "alpha", "n", "collapsed", "rate", "95 % interval")
    rows = [
        (*row[:5], f"{row[5]:.2f}", f"[{row[6]:.2f}, {row[7]:.2f}]")
        for row in rates.itertuples(index=False)
    ]
    return as_table(heads, rows)


def paired(pilot: Pilot) -> str:
    """The derived cell's accuracy, one optimizer against the other within seeds."""
    rows = []
    for level, axis in (("w", "weight_optimizer.name"), ("alpha", "arch_optimizer.name")):
        found = differences(pilot.frame, "benchmark.cifar10", axis, "SGD", "Adam")
        rows += [
            (
                f"SGD - Adam on {level}",
                row[0],
                f"{row[1]} on {'alpha' if level == 'w' else 'w'}",
                row.n,
                f"{row.estimate:+.2f} pp "
                + (f"[{row.low:.2f}, {row.high:.2f}]" if math.isfinite(row.low) else "(none)"),
                f"{row.p:.3f}",
                f"{row.improvement:.2f}",
            )
            for row in found.itertuples(index=False)
        ]
    heads = ("contrast", "algorithm", "with", "n", "difference", "p", "prob. of improvement")
    return as_table(heads, rows)


def alpha(pilot: Pilot) -> str:
    """How far from uniform the operation weights ended."""
    entropy = pilot.frame.groupby("id")["alpha_entropy"].last()
    return (
        f"- **Not a decided alpha.** The entropy of the operation weights, a mean over edges, ends "
        f"between {entropy.min():.3f} and {entropy.max():.3f} nats in all {len(entropy)} runs; "
        f"uniform weights have {math.log(5):.3f}. The argmax chooses between nearly equal weights, "
        "and the supernet is that of a mixture."
    )


def displacement(pilot: Pilot) -> str:
    """How much further SGD takes alpha than Adam does."""
    last = finals(pilot.frame, "alpha_displacement_centred")
    means = last.groupby(["algorithm.name", "weight_optimizer.name", "arch_optimizer.name"])
    further = means["alpha_displacement_centred"].mean().unstack()
    ratios = (further["SGD"] / further["Adam"]).unstack()
    told = ", ".join(
        f"{row['SGD']:.1f} and {row['Adam']:.1f} times as far under {name}"
        for name, row in ratios.iterrows()
    )
    return (
        "- **Not the optimizers of alpha at one pace.** Their rates were set for about equal "
        "paths; the distance between alpha's first and last value, rows centred, is not equal: SGD "
        f"takes alpha {told} (with SGD and Adam on w). A contrast of alpha's optimizers is also "
        "one of distances."
    )


def headline(pilot: Pilot) -> str:
    """What was found in plain words, for a reader who knows none of the names."""
    supernet, cells = pilot.finding("H1"), pilot.finding("H3")
    tested = sum(not math.isnan(each.p) for each in pilot.findings)
    chance = (
        f" It is one of {tested} claims tested by these runs; allowing for that, chance could "
        "explain it."
        if supernet.verdict_holm == "inconclusive"
        else ""
    )
    lead = (
        f"Whether SGD gives better derived cells is not settled by {cells.n} seeds"
        if cells.verdict == "inconclusive"
        else f"SGD gives other derived cells (n = {cells.n} paired seeds)"
    )
    smoothed, collapsed = pilot.smoothed, pilot.collapsed
    of_darts = pilot.frame[pilot.frame["algorithm.name"] == "darts"]
    passed = best_and_final(of_darts, "benchmark.cifar10")["drop"]
    lines = (
        f"On a small supernet SGD on the network weights gave {abs(supernet.effect):.1f} points "
        f"{_word(supernet.effect, 'more', 'less')} supernet accuracy than Adam (n = {supernet.n} "
        f"paired seeds, 95 % interval {supernet.low:.1f} to {supernet.high:.1f}).{chance}",
        f"{lead}: they were {abs(cells.effect):.1f} points "
        f"{_word(cells.effect, 'better', 'worse')} than Adam's on the benchmark "
        f"(95 % interval {cells.low:.1f} to {cells.high:.1f}).",
        f"After DARTS the derived cell was {passed.mean():.1f} points worse than the best cell the "
        f"search had passed through (mean of {len(passed)} runs; only the benchmark knows which "
        "cell that was).",
        "With random noise on the operation weights (SDARTS-RS) the derived cells were "
        f"{abs(smoothed.estimate):.1f} points {_word(smoothed.estimate, 'better', 'worse')} than "
        f"those of DARTS (n = {smoothed.n} paired seeds, 95 % interval {smoothed.low:.1f} to "
        f"{smoothed.high:.1f}; a comparison made after the fact), and {collapsed['sdarts-rs']} "
        f"searches collapsed (into identities, or below a random cell) instead of "
        f"{collapsed['darts']}.",
    )
    return "\n".join(f"- {line}" for line in lines)


def _word(effect: float, positive: str, negative: str) -> str:
    return positive if effect > 0 else negative


def verdicts(pilot: Pilot) -> str:
    """The three claims of the deck's first figure, one line each."""
    words = {
        "H1": "supernet validation accuracy, SGD minus Adam on w",
        "H2": "top eigenvalue of the alpha-Hessian, SGD minus Adam on w",
        "H3": "benchmark accuracy of the derived cell, SGD minus Adam on w",
    }
    return "\n".join(
        f"- {name}, {what}: {each.effect:+.3g} {each.unit} [{each.low:.3g}, {each.high:.3g}], "
        f"n = {each.n} paired seeds, p = {each.p:.3f} (Holm over all claims {each.p_holm:.3f}): "
        f"**{each.verdict}**, after Holm {each.verdict_holm}"
        for name, what in words.items()
        for each in [pilot.finding(name)]
    )


def algorithms(pilot: Pilot) -> str:
    """SDARTS-RS against DARTS, within seeds and over the pairs; exploratory."""
    smoothed, collapsed = pilot.smoothed, pilot.collapsed
    return (
        f"- Not a claim of the ledger: SDARTS-RS minus DARTS, benchmark accuracy of the derived "
        f"cell, mean over the pairs: {smoothed.estimate:+.3g} pp [{smoothed.low:.3g}, "
        f"{smoothed.high:.3g}], n = {smoothed.n} paired seeds, p = {smoothed.p:.3f}. The search "
        f"collapsed in {collapsed['darts']} runs of DARTS and in {collapsed['sdarts-rs']} of "
        "SDARTS-RS."
    )


PARTS: dict[str, Callable[[Pilot], str]] = {
    "summary": lambda pilot: summary_table(pilot.material),
    "measured": measured,
    "ledger": ledger,
    "headline": headline,
    "verdicts": verdicts,
    "algorithms": algorithms,
    "alpha": alpha,
    "displacement": displacement,
    "paired": paired,
    "collapses": collapses,
    **EXPLORATORY,
}


def draw(figures: Sequence[Drawn]) -> None:
    """Write the pictures."""
    for figure in figures:
        static.write(figure, IMAGES / f"pilot-{figure.name}.png")


def main() -> None:
    """Draw the figures and rewrite the documents."""
    pilot = Pilot()
    draw(list(pilot.figures().values()))
    runs = [run for run in find_runs(RECORDS) if run.read_measures("landscape")]
    plot_figure("F4", runs, IMAGES / "pilot-F4.png")
    for document in DOCUMENTS:
        write_text(document, built(document.read_text(), PARTS, pilot))


if __name__ == "__main__":
    main()
