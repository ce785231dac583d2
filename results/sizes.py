"""docs/results-sizes.md: the effect of w's optimizer by size, and second order under four pairs.

Parts of results.py. What a study varies is read from its declaration, its runs from results/ by
their settings, so that no images are needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from deck import pairs
from documents import as_table, spread

from optnas.analysis.claims.declare import NAMES, Cell, Part, Response
from optnas.analysis.claims.evaluate import evaluate
from optnas.analysis.claims.findings import Setting
from optnas.analysis.claims.judge import judge
from optnas.analysis.claims.read import find_claim
from optnas.analysis.runs import SEED, Runs, Selection
from optnas.base.records import FINISHED, find_runs
from optnas.base.toml import flat
from optnas.report.arms import ALGORITHM, ARCH, WEIGHT
from optnas.search import protocols
from optnas.study.declare import STUDIES
from optnas.study.tables import table_of

if TYPE_CHECKING:
    from results import Results

HERE = Path(__file__).parent
SIZE, FIGURES, PROTOCOL = "size", "optdarts-cpu-figures", "optdarts-cpu"
ALGORITHMS = {"darts": "DARTS", "sdarts-rs": "SDARTS-RS"}
CHANNELS, EPOCHS = "supernet.channels", "search.epochs"
TRAIN, VALID = "data.train_size", "data.valid_size"
ORDER = "algorithm.hypergradient"
FIRST = "first-order"
ORDERS = {
    FIRST: "first order",
    "unrolled-optdarts": "second order as in Shin's program",
    "unrolled": "second order, exact",
}
CLAIM = "S1"
LAST = {
    "percentile": (Response(column="percentile"), ".3g"),
    "accuracy (%)": (Response(column="accuracy"), ".2f"),
    "skips": (Response(column="skips"), ".3g"),
}
WAITS = "waits"


def declared(study: str) -> dict[str, Any]:
    """The declaration of a shipped study."""
    return STUDIES.load(study)[1]


def number(values: Iterable[float], form: str) -> str:
    """A mean over seeds, with what `spread` says of it; waits without a seed."""
    told = list(values)
    return spread(told, form) if told else WAITS


# --- size -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """One size: a factor of the study, its level in words, and the value of every factor."""

    factor: str
    level: str
    cell: Cell
    own: bool

    @property
    def words(self) -> str:
        """Such as ``16 channels``; the protocol's size stands with each factor and is one."""
        return "the protocol's size" if self.own else f"{self.level} {self.factor}"


def own_size() -> Cell:
    """The size of the protocol, which is that of the confirming study."""
    _, document = protocols.load(PROTOCOL)
    images = document["datasets"]["cifar10"]
    return {
        CHANNELS: document["supernet"]["channels"],
        TRAIN: images["train_size"],
        VALID: images["valid_size"],
        EPOCHS: document["search"]["epochs"],
    }


def sizes_of_study() -> list[Size]:
    """Factors as the study declares them, one varied at a time, levels ascending."""
    factors = {CHANNELS: "channels", "data": "images per half", EPOCHS: "epochs"}
    own, found = own_size(), list[Size]()
    for grid in declared(SIZE)["grid"]:
        (key,) = factors.keys() & grid.keys()
        levels = [
            {name: value for name, value in flat({key: each}).items() if name in own}
            for each in grid[key]
        ]
        for level in sorted(levels, key=lambda each: next(iter(each.values()))):
            cell = own | level
            shown = f"{next(iter(level.values())):,}"
            found.append(Size(factors[key], shown, cell, cell == own))
    return found


def _selection(frame: pd.DataFrame) -> Selection:
    runs = Runs(frame)
    return Selection(runs, np.ones(len(runs), bool), {})


def _contrast(selection: Selection, where: Cell, **changed: Any) -> dict[int, float]:
    """SGD minus Adam on w by seed: the first part of C1, elsewhere."""
    part: Part = find_claim("C1").parts[0].model_copy(update={"where": where, **changed})
    return dict(evaluate(part, selection, Setting({}, alpha=0.05), minimum_n=2).values)


def frame_of_sizes(results: Results) -> pd.DataFrame | None:
    """The table of the study's seeds: its own runs, and those of the pages; a run once."""
    folder, seeds = HERE / SIZE, declared(SIZE)["study"]["seeds"]
    own = find_runs(folder) if folder.is_dir() else []
    once = {run.path.name: run for run in [*results.runs, *own]}  # named by their hash
    chosen = [run for run in once.values() if run.read_config()["search"]["seed"] in seeds]
    chosen = [run for run in chosen if (run.read_result() or {}).get("status") in FINISHED]
    return table_of(chosen) if chosen else None


def by_size(results: Results) -> str:
    """A row per factor and level, and whether the signs agree."""
    return told_by_size(frame_of_sizes(results))


def told_by_size(frame: pd.DataFrame | None) -> str:
    """The effects and their signs, from the tidy table of the study's seeds; None without runs."""
    seeds, selection = declared(SIZE)["study"]["seeds"], None
    if frame is not None:
        selection = _selection(frame)
    rows, incomplete, found = [], list[str](), dict[tuple[str, str], dict[int, float]]()
    for size in sizes_of_study():
        cells: list[object] = []
        for name, words in ALGORITHMS.items():
            values = dict[int, float]()
            if selection is not None:
                where = {ALGORITHM: name, ARCH: "Adam", **size.cell}
                values = _contrast(selection, where, average={})
            cells += [number(values.values(), "+.3g"), len(values)]
            missing = [str(seed) for seed in seeds if seed not in values]
            if values and (name, size.words) not in found:
                found[name, size.words] = values
                if missing:
                    incomplete.append(f"{', '.join(missing)} ({words}, {size.words})")
        level = f"{size.level} (the protocol's)" if size.own else size.level
        rows.append((size.factor, level, *cells))
    heads = [each for words in ALGORITHMS.values() for each in (words, "n")]
    told = [as_table(("factor", "level", *heads), rows), "", signs(found)]
    if incomplete:
        told += ["", f"Seeds that lack a run, or of which one diverged: {'; '.join(incomplete)}."]
    return "\n".join(told)


def signs(found: Mapping[tuple[str, str], Mapping[int, float]]) -> str:
    """One sentence: whether the effects of all sizes and algorithms have one sign.

    Args:
        found: effects by seed, by algorithm and size.
    """
    if len({size for _, size in found}) < 2:
        return "Fewer than two sizes have runs: whether the sign depends on the size is open."
    means = {key: float(np.mean([*values.values()])) for key, values in found.items()}
    alike = sum(
        all(np.sign(value) == np.sign(means[key]) for value in values.values())
        for key, values in found.items()
    )
    seeds = f"in {alike} of them every seed has the sign of the mean"
    above, below = ({key for key, mean in means.items() if s * mean > 0} for s in (1, -1))
    if len(means) in (len(above), len(below)):
        side = "above" if above else "below"
        return f"The {len(means)} effects have one sign, {side} 0; {seeds}."
    told = []
    for name, words in ALGORITHMS.items():
        sizes = [size for algorithm, size in means if algorithm == name]
        up = [size for size in sizes if (name, size) in above]
        which = f" ({', '.join(up)})" if up else ""
        told.append(f"{len(up)} of {len(sizes)} are above 0 under {words}{which}")
    return f"The {len(means)} effects do not have one sign: {'; '.join(told)}; {seeds}."


# --- second order ---------------------------------------------------------------------------------


def orders() -> dict[str, Cell]:
    """The hypergradients compared, by their words: cells of the tidy table."""
    (grid,) = (each for each in declared(FIGURES)["grid"] if ORDER in each)
    return {
        ORDERS[each["name"]]: {f"{ORDER}.{key}": value for key, value in each.items()}
        for each in ({"name": FIRST}, *grid[ORDER])
    }


def seeds_of_second_order() -> list[int]:
    """The seeds of the study's runs of second order."""
    (grid,) = (each for each in declared(FIGURES)["grid"] if ORDER in each)
    return list(grid["seeds"])


def second_order(results: Results) -> str:
    """Derived cells and the contrast of C1 by hypergradient, on the same seeds."""
    if not results.runs:
        return told_by_order(None)
    frame = results.frame
    return told_by_order(frame[frame[SEED].isin(seeds_of_second_order())])


def told_by_order(frame: pd.DataFrame | None) -> str:
    """The tables of second order from the tidy table of its seeds, and the claim's verdict."""
    if frame is None or frame.empty:
        return "Waits for the first run."
    selection = _selection(frame)
    heads = ("hypergradient", "w + alpha", "n", *LAST, "percentiles, less those of first order")
    cells = as_table(heads, _rows_of_cells(selection))
    heads = ("hypergradient", "n", "SGD minus Adam on w", "less that of first order")
    finding = judge(frame, [CLAIM])[0]
    verdict = f"Claim {CLAIM}: {finding.verdict}; {finding.reason}."
    if finding.absent:
        verdict = f"Claim {CLAIM} waits for runs of both."
    return "\n\n".join([cells, as_table(heads, _rows_of_contrasts(selection)), verdict])


def _rows_of_cells(selection: Selection) -> list[tuple[object, ...]]:
    rows = []
    for words, order in orders().items():
        for pair in pairs("darts"):
            found, first = (
                _last(selection, {**pair, **cell}) for cell in (order, orders()[ORDERS[FIRST]])
            )
            shared = [seed for seed in found if seed in first]
            change = [found[seed]["percentile"] - first[seed]["percentile"] for seed in shared]
            told = (
                number((each[name] for each in found.values()), form)
                for name, (_, form) in LAST.items()
            )
            less = "-" if order[f"{ORDER}.name"] == FIRST else number(change, "+.3g")
            rows.append((words, f"{pair[WEIGHT]} + {pair[ARCH]}", len(found), *told, less))
    return rows


def _last(selection: Selection, cell: Cell) -> dict[int, dict[str, float]]:
    """By seed what is said of the last cell."""
    named = {*NAMES, *(key for order in orders().values() for key in order)}
    found = {}
    for seed, runs in selection.by_seed(selection.comparable(cell, named)).items():
        (run,) = runs  # a run of these settings and this seed is there once
        found[seed] = {
            name: selection.runs.value(run, response, math.nan, 0.0)
            for name, (response, _) in LAST.items()
        }
    return found


def _rows_of_contrasts(selection: Selection) -> list[tuple[object, ...]]:
    found = {
        words: _contrast(selection, {ALGORITHM: "darts", **order})
        for words, order in orders().items()
    }
    first = found[ORDERS[FIRST]]
    rows = []
    for words, values in found.items():
        change = [value - first[seed] for seed, value in values.items() if seed in first]
        less = "-" if words == ORDERS[FIRST] else number(change, "+.3g")
        rows.append((words, len(values), number(values.values(), "+.3g"), less))
    return rows
