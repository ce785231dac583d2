"""What the percentiles show without having been asked: docs/results-exploratory.md; by results.py.

Also the levels in the table of the other worlds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from documents import as_table, spread

from optnas.analysis.proportions import collapsed
from optnas.spaces import build_space, is_connected
from optnas.spaces.tables import data_folder, load_table

if TYPE_CHECKING:
    from results import Results

QUARTERS = (1, 2, 3, 4)
OF_GUESSING = 50.0  # mean percentile of a cell that is drawn among all
SEED, ALGORITHM, WEIGHT, ARCH, MOMENTUM = (
    "search.seed",
    "algorithm.name",
    "weight_optimizer.name",
    "arch_optimizer.name",
    "weight_optimizer.momentum",
)
CELLS_OF = {"darts": "DARTS", "sdarts-rs": "SDARTS-RS", "darts-minus": "DARTS-"}
# A contrast of momenta of w: its words, and what is added and subtracted.
CONTRASTS: Mapping[str, tuple[Sequence[float], Sequence[float]]] = {
    "0.5 and 0.9 minus 0 and 0.99 (the claim's)": ((0.5, 0.9), (0.0, 0.99)),
    "0.5 minus 0": ((0.5,), (0.0,)),
    "0.9 minus 0.99": ((0.9,), (0.99,)),
}


def by_run(table: pd.DataFrame) -> pd.DataFrame:
    """A row per run that is done: its arm, percentiles (mean by quarter, over all), last cell.

    With epochs 1 to E, E a multiple of four, these are the quarters of the claims.
    """
    epochs = table[table["completed"] & (table["epoch"] > 0)]
    percentile = epochs["percentile.cifar10"]
    means = by_quarter(epochs, percentile)
    means["all"] = percentile.groupby(epochs["id"]).mean()
    last = epochs.groupby("id").last()
    arms = last.reindex(columns=[SEED, ALGORITHM, WEIGHT, ARCH, MOMENTUM])
    arms["skips"], arms["accuracy"] = last["skips"], last["benchmark.cifar10"]
    arms["percentile"] = last["percentile.cifar10"]
    return pd.concat([arms, means], axis=1)


def by_quarter(epochs: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """A row per run of the means of its epochs' values, a column per quarter of epochs 1 to E."""
    quarter = np.ceil(4 * epochs["epoch"] / epochs.groupby("id")["epoch"].transform("max"))
    return values.groupby([epochs["id"], quarter.astype(int)]).mean().unstack()


def at_pairs(runs: pd.DataFrame, algorithm: str) -> pd.DataFrame:
    """The runs of an algorithm at the momentum of the pairs."""
    usual = runs[MOMENTUM].isna() | (runs[MOMENTUM] == 0.9)
    return runs[usual & (runs[ALGORITHM] == algorithm)]


def at_momentum(runs: pd.DataFrame, algorithm: str, momentum: float) -> pd.DataFrame:
    """The runs of an algorithm under SGD + Adam with a momentum of w."""
    pair = (runs[WEIGHT] == "SGD") & (runs[ARCH] == "Adam") & (runs[MOMENTUM] == momentum)
    return runs[pair & (runs[ALGORITHM] == algorithm)]


def of_seeds(runs: pd.DataFrame, column: int | str) -> pd.Series:
    """By seed the mean over an arm's runs, of seeds that have all of them."""
    found = runs.groupby(SEED)[column].agg(["mean", "count"])
    return found["mean"][found["count"] == found["count"].max()]


def early_late(runs: pd.DataFrame, algorithm: str) -> str:
    """Mean percentiles of the first and the last quarter; a dash without runs."""
    if (own := at_pairs(runs, algorithm)).empty:
        return "-"
    first, last = (of_seeds(own, quarter).mean() for quarter in (1, 4))
    return f"{first:.0f}, {last:.0f}"


def levels(results: Results) -> str:
    """Percentiles against guessing, and how many last cells are a collapse."""
    if not results.runs:
        return "*Waits for the first whole block.*"
    shin, _, macro, fashion = results.quarters
    arms = [
        ("DARTS, the four pairs", at_pairs(shin, "darts"), True),
        ("SDARTS-RS, the four pairs", at_pairs(shin, "sdarts-rs"), True),
        ("DARTS-, SGD + Adam", at_momentum(shin, "darts-minus", 0.9), True),
        *(
            (f"DARTS, SGD + Adam, momentum {each:g}", at_momentum(shin, "darts", each), True)
            for each in (0.0, 0.5, 0.9, 0.99)
        ),
        *(
            (f"{CELLS_OF[name]}, the four pairs, {words}", at_pairs(runs, name), of_cells)
            for words, runs, of_cells in (
                ("NAS-Bench-Macro", macro, False),
                ("Fashion-MNIST (judged on CIFAR-10)", fashion, True),
            )
            for name in ("darts", "sdarts-rs")
        ),
    ]
    guessed = random_accuracy()
    rows = []
    for words, runs, of_cells in arms:
        first, last = (of_seeds(runs, quarter) - OF_GUESSING for quarter in (1, 4))
        gone = collapsed(runs["skips"], runs["accuracy"], guessed).sum()
        told = f"{gone} of {len(runs)}" if of_cells else "-"
        ends = (spread(each.tolist(), "+.1f") for each in (first, last))
        rows.append((words, len(first), *ends, told))
    heads = ("searches", "n", "first quarter, less 50", "last quarter, less 50", "collapsed")
    return as_table(heads, rows)


def random_accuracy() -> float:
    """The mean accuracy of all cells of the official table."""
    table = load_table("official", folder=data_folder(None))
    question = next(q for q in table.coverage.headline if q.dataset == "cifar10")
    return float(np.mean(table.values(question)))


def at_the_floor(results: Results) -> str:
    """How bad the networks are that searches on NAS-Bench-Macro find."""
    macro = results.quarters[2]
    worst, above = ((macro["percentile"] <= 5).sum(), (macro["percentile"] > OF_GUESSING).sum())
    return (
        f"On NAS-Bench-Macro every algorithm passes through networks far below a random one from "
        f"the first quarter on; after the last epoch {worst} of {len(macro)} are at or below "
        f"percentile 5 and {above} above 50, with {macro['skips'].mean():.1f} of 8 layers identity "
        "on average. So conclusion 1 is asked near the floor there, where little can differ."
    )


def momenta_in_parts(results: Results) -> str:
    """The contrast of conclusion 2 before its difference of quarters, and by pairs of momenta."""
    if not results.runs:
        return "*Waits for the first whole block.*"
    shin = results.quarters[0]
    rows = []
    for words, (more, less) in CONTRASTS.items():
        told = []
        for column in (1, 4, "all"):
            of_arms = {
                each: of_seeds(at_momentum(shin, "darts", each), column) for each in (*more, *less)
            }
            table = pd.DataFrame(of_arms).dropna()
            apart = table[list(more)].mean(axis=1) - table[list(less)].mean(axis=1)
            told.append(spread(apart.tolist(), "+.1f"))
        rows.append((words, len(apart), *told))
    heads = ("momenta of w", "n", "first quarter", "last quarter", "all epochs")
    return as_table(heads, rows)


def quarters(results: Results) -> str:
    """Percentiles by quarter under SGD + Adam, and how often the cell lets nothing through."""
    if not results.runs:
        return "*Waits for the first whole block.*"
    shin = results.quarters[0]
    gone = _unconnected(results)
    rows = []
    for name in ("darts", "darts-minus", "sdarts-rs"):
        own = at_momentum(shin, name, 0.9)
        cells = (
            f"{own[quarter].mean():.1f} ({100 * gone.loc[own.index, quarter].mean():.0f} %)"
            for quarter in QUARTERS
        )
        rows.append((CELLS_OF[name], len(own), *cells))
    own = at_momentum(shin, "darts-minus", 0.9)
    fall = (of_seeds(own, 3) - of_seeds(own, 4)).tolist()
    above = sum(each > 0 for each in fall)
    heads = ("algorithm", "n", "first", "second", "third", "last")
    return as_table(heads, rows) + (
        f"\n\nUnder DARTS- the third quarter minus the last is {spread(fall, '+.1f')} percentiles, "
        f"above 0 for {above} of {len(fall)} seeds; the third was chosen after looking."
    )


def _unconnected(results: Results) -> pd.DataFrame:
    """By run and quarter the share of epochs whose cell has no path from input to output."""
    space = build_space({"name": "nas-bench-201"})
    frame = results.frame[results.frame["epoch"] > 0]
    known = {each: is_connected(space.parse(each)) for each in frame["architecture"].unique()}
    return by_quarter(frame, ~frame["architecture"].map(known).astype(bool))
