"""docs/indicator.md and docs/indicator-found.md, from the records of the study indicator.

optnas study export indicator --out RUNS --to results/indicator
python results/indicator.py      rewrite the built parts, redraw docs/images/indicator.png

Only whole blocks count: the runs of a seed are quoted once all of them are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from documents import as_table, built, spread
from results import Source, judged, verdict

from optnas.analysis.claims.findings import PartFinding
from optnas.analysis.claims.judge import Finding
from optnas.analysis.claims.read import find_claim
from optnas.analysis.runs import Runs, Selection
from optnas.base.files import write_text

DOCS = Path(__file__).parent.parent / "docs"
IMAGES = DOCS / "images"
DOCUMENTS = (DOCS / "indicator.md", DOCS / "indicator-found.md")
STUDY = Source("indicator", block=32, seeds=12)
NONE = "none"
NOTHING = "No block is whole yet."
ENOUGH = 4  # blocks, each of all fifteen regularizers
OPTIMIZERS = ("SGD", "Adam")
TAU = "measure.indicator.tau"
TOP = "measure.indicator.tau_top"
COUNTING = "_minus_convolutions"
# What a cell is worth to the benchmark and the supernet, beside the responses of the claims.
LEVELS = {
    "tau": (TAU, "+.3f"),
    "tau, best tenth": (TOP, "+.3f"),
    "less counting's": (TOP + COUNTING, "+.3f"),
    "supernet, %": ("valid_accuracy", ".1f"),
    "derived cell, %": ("benchmark.cifar10", ".1f"),
    "its skips": ("skips", ".1f"),
}
# The claims that have a part per regularizer: the head of their column.
COLUMNS = {
    "I1": "I1: tau less counting's",
    "I2": "I2: tau",
    "I3": "I3: tau, best tenth",
    "I4": "I4: over epochs",
}


class Arm(NamedTuple):
    """A regularizer and the optimizer of w."""

    regularizer: str
    optimizer: str


class Found:
    """What the whole blocks say, computed once."""

    @property
    def blocks(self) -> int:
        """Whole blocks."""
        return len(STUDY.runs) // STUDY.block

    @cached_property
    def findings(self) -> dict[str, Finding]:
        """The claims on the question, by name."""
        return {each.id: each for each in judged(STUDY, [f"I{number}" for number in range(1, 7)])}

    def part(self, claim: str, name: str) -> PartFinding | None:
        """What a claim says of a regularizer."""
        return next((part for part in self.findings[claim].parts if part.name == name), None)

    @cached_property
    def arms(self) -> Mapping[Arm, Mapping[str, list[float]]]:
        """After the last epoch, by arm and column: a value per seed."""
        runs = Runs(STUDY.table)
        selection = Selection(runs, np.ones(len(runs), bool), {})
        columns = [TAU + COUNTING, *(column for column, _ in LEVELS.values())]

        def values(where: Mapping[str, Any], optimizer: str) -> dict[str, list[float]]:
            cell = {**where, "weight_optimizer.name": optimizer}
            chosen = np.flatnonzero(selection.comparable(cell, set(cell)))
            return {name: [float(runs.epochs(run, name)[-1]) for run in chosen] for name in columns}

        return {
            Arm(part.name, optimizer): values(part.where, optimizer)
            for part in find_claim("I1").parts
            for optimizer in OPTIMIZERS
        }

    @cached_property
    def order(self) -> list[str]:
        """The regularizers by their tau, highest first."""

        def level(name: str) -> float:
            return float(np.mean([self.arms[Arm(name, each)][TAU] for each in OPTIMIZERS]))

        return sorted(dict.fromkeys(arm.regularizer for arm in self.arms), key=level, reverse=True)


def status(found: Found) -> str:
    """How far the study is, and the verdicts."""
    if not found.blocks:
        return "**Open: no block has finished yet.**"
    told = f"{found.blocks} of {STUDY.seeds} blocks of {STUDY.block} runs are done"
    if found.blocks < ENOUGH:
        return f"**Open: {told}, too few to say anything.**"
    words = "; ".join(f"{name} *{verdict(each)}*" for name, each in found.findings.items())
    return f"**{told}.** Claims, after Holm's correction: {words}."


def parts(found: Found) -> str:
    """What each regularizer does, in the response of each claim."""
    if not found.blocks:
        return NOTHING
    rows = [
        (name, *(_effect(found.part(claim, name), found.blocks) for claim in COLUMNS))
        for name in found.order
    ]
    return as_table((f"n = {found.blocks} seeds", *COLUMNS.values()), rows)


def _effect(part: PartFinding | None, blocks: int) -> str:
    """An effect in its interval; where seeds have no such number, how many have."""
    values = [] if part is None else [each for each in part.values.values() if isfinite(each)]
    if part is None or not values:
        return "-"
    told = spread(values, "+.2f") + (f", n = {len(values)}" if len(values) < blocks else "")
    return f"**{told}**" if part.verdict in ("supported", "contradicted") else told


def always(found: Found) -> str:
    """The regularizers whose seeds all lie on one side."""
    if not found.blocks:
        return NOTHING
    rows = []
    for claim, head in COLUMNS.items():
        values_of = {part.name: [*part.values.values()] for part in found.findings[claim].parts}
        known = {
            name: values
            for name, values in values_of.items()
            if len(values) == found.blocks and all(map(isfinite, values))
        }
        sides = (
            [name for name, values in known.items() if all(sign * each > 0 for each in values)]
            for sign in (1, -1)
        )
        told = (", ".join(names) if len(names) < len(known) else "all" for names in sides)
        rows.append([head, *(each or "none" for each in told)])
    heads = (f"in each of {found.blocks} seeds", "above", "below")
    return as_table(heads, rows)


def why(found: Found) -> str:
    """Trace and slope under noise and attack."""
    if not found.blocks:
        return NOTHING
    rows = [
        (claim, part.name, spread(list(part.values.values()), "+.3g"), f"{_p(part):.3f}")
        for claim in ("I5", "I6")
        for part in found.findings[claim].parts
        if part.n
    ]
    return as_table(("claim", "less none", "effect", "p"), rows)


def _p(part: PartFinding) -> float:
    return min(1.0, 2 * min(part.p_for, part.p_against))


def levels(found: Found) -> str:
    """Means of each arm."""
    if not found.blocks:
        return NOTHING
    rows = [
        (
            name,
            optimizer,
            *(
                f"{np.mean(found.arms[Arm(name, optimizer)][c]):{form}}"
                for c, form in LEVELS.values()
            ),
        )
        for name in found.order
        for optimizer in OPTIMIZERS
    ]
    return as_table(("regularizer", "w", *LEVELS), rows)


PARTS = {"status": status, "parts": parts, "always": always, "why": why, "levels": levels}


def draw(found: Found, path: Path) -> None:
    """Tau of every arm, a point per seed, beside that of counting 3x3 convolutions.

    Args:
        found: with whole blocks.
        path: of the picture.
    """
    import matplotlib.pyplot as plt

    names = found.order[::-1]
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(9, 6.2), layout="constrained")
    heads = {TAU: "uniform cells", TOP: "cells of the best tenth"}
    for panel, (column, title) in zip(axes, heads.items(), strict=True):
        panel.axvline(0, color="black", lw=0.8)
        for optimizer, color, shift in zip(OPTIMIZERS, ("C0", "C1"), (0.15, -0.15), strict=True):
            for place, name in enumerate(names):
                values = found.arms[Arm(name, optimizer)][column]
                y = place + shift
                panel.plot(values, [y] * len(values), "o", ms=3, alpha=0.5, color=color)
                panel.plot(np.mean(values), y, "|", ms=11, mew=2.5, color=color)
            panel.plot([], [], "o", color=color, label=f"{optimizer} on w")
        panel.set(title=title, xlabel="Kendall's tau")
        panel.grid(axis="y", alpha=0.3)
        of_all = found.arms.values()
        counting = [np.subtract(each[column], each[column + COUNTING]) for each in of_all]
        panel.axvline(
            np.mean(counting), color="gray", ls="--", label="counting 3x3 convolutions, mean"
        )
    axes[0].set_yticks(range(len(names)), names)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"A point per seed, n = {found.blocks}; bar: mean", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Rewrite and redraw."""
    found = Found()
    for document in DOCUMENTS:
        write_text(document, built(document.read_text(), PARTS, found))
    if found.blocks:
        draw(found, IMAGES / "indicator.png")


if __name__ == "__main__":
    main()
