"""docs/results*.md and the conclusions in README, from the records of results/.

optnas study export NAME --out RUNS --to results/NAME     for each study that has new runs;
                               --arrays landscape for optdarts-cpu and optdarts-cpu-figures
python results/results.py      rewrite the built parts, redraw docs/images/results-*

Only whole blocks count: the runs of a seed are quoted once all of them, and of every seed before
it, have ended. Needs the official table and CIFAR-10 (OPTNAS_DATA): its fingerprint is a part of
every run's name. tests/test_results.py compares documents and records.
"""

from __future__ import annotations

import collections
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from deck import FIGURES, SLIDES
from deck import momenta as momentum_cells
from documents import as_table, built, spread
from ledger import by_hand, corrected, ledger
from levels import at_the_floor, by_run, early_late, levels, momenta_in_parts, quarters
from rates import arms
from sizes import by_size, second_order
from slides import measured, slides

from optnas.analysis.claims.declare import Cell, Response
from optnas.analysis.claims.findings import PartFinding
from optnas.analysis.claims.judge import Finding, judge
from optnas.analysis.claims.read import find_claim
from optnas.analysis.claims.reasons import shown_e
from optnas.analysis.references import references
from optnas.analysis.runs import Runs, Selection
from optnas.base.files import write_text
from optnas.base.records import FINISHED, RunFolder, find_runs
from optnas.report import static
from optnas.report.data import Drawn, drawn
from optnas.report.material import Material, material_of
from optnas.report.pictures import plot_figure
from optnas.spaces.tables import data_folder, load_table
from optnas.study.declare import PlannedRun, load_study
from optnas.study.tables import table_of

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
IMAGES = DOCS / "images"
DOCUMENTS = (
    *(DOCS / f"results{part}.md" for part in ("", "-figures", "-sizes", "-ledger", "-exploratory")),
    HERE.parent / "README.md",
)
# Arms of the figures that a block of the confirming study leaves out; drawn as they come.
OF_FIGURES, ADDED = "optdarts-cpu-figures", "optdarts-cpu-further"
CONCLUSIONS = {
    "C1": "Without regularization, SGD beats Adam for the network weights",
    "C2": "Moderate momentum reduces the degradation in the course of a search",
    "C3": "A fully trained supernet does not give a good architecture; a suitable regularizer is "
    "needed",
}
# Which sign speaks for a conclusion.
SIGNS = {"C1": "above", "C2": "below", "C3": "above"}
STUDIES = {
    ADDED: "more seeds for conclusion 1, until it is decided",
    OF_FIGURES: "the rest of the figures: every algorithm under four pairs and four momenta",
    "optdarts-cpu-rates": "which rate of w suits each optimizer, by the supernet's validation loss",
    "optdarts-cpu-rates-alpha": "the same of alpha",
    "optdarts-cpu-arms": "DARTS under four pairs at Shin's and at SmoothDARTS' rates",
    "size": "[whether the sign](results-sizes.md) of the effect on cells depends on channels, "
    "images or epochs",
    "indicator": "[which regularizer](indicator.md) makes the supernet an indicator of good cells",
}
WORDS = {"supported": "holds", "contradicted": "does not hold"}
SIDES = {"supported": "above 0", "contradicted": "below 0"}
# A part that asks for more of an effect, in words that hold for its opposite too.
LESS = {"more so than under SDARTS-RS": "less that under SDARTS-RS"}
PAIRED = 6  # seeds of an arm whose curves are drawn of shared seeds only
UNIT = "percentiles"
DARTS_MOMENTA = momentum_cells("darts")
TRAINED = "measure.alone.test"
CHANCE = 10.0  # percent of ten classes
CELLS_OF = {"darts": "DARTS", "sdarts-rs": "SDARTS-RS"}


@dataclass(frozen=True)
class Source:
    """Records of a study: its name, the runs of a block, and its seeds."""

    study: str
    block: int
    seeds: int
    benchmark: str = "official"

    @functools.cached_property
    def ended(self) -> dict[int, list[RunFolder]]:
        """By seed the runs of whole blocks, those that diverged among them, seeds ascending.

        A block that is not whole, or not there, holds up those after it: come late, it would change
        an E at which a claim had been decided.
        """
        by_seed = {
            seed: [run for run in runs if _status(run) in FINISHED]
            for seed, runs in sorted(self._recorded.items())
        }
        whole = {seed: runs for seed, runs in by_seed.items() if len(runs) == self.block}
        first = min(by_seed, default=0)
        numbered = itertools.takewhile(whole.__contains__, itertools.count(first))
        return {seed: whole[seed] for seed in numbered}

    @functools.cached_property
    def _recorded(self) -> dict[int, list[RunFolder]]:
        found: dict[int, list[RunFolder]] = collections.defaultdict(list)
        for run in find_runs(HERE / self.study) if (HERE / self.study).is_dir() else ():
            found[run.read_config()["search"]["seed"]].append(run)
        return found

    @property
    def held_up(self) -> list[int]:
        """The first seed whose block is not whole, and those recorded after it."""
        later = self._recorded.keys() - self.ended.keys()
        first = max(self.ended) + 1 if self.ended else min(self._recorded, default=0)
        return sorted({first, *later}) if later else []

    @functools.cached_property
    def runs(self) -> list[RunFolder]:
        """The runs of whole blocks that are done, seeds ascending."""
        return [run for runs in self.ended.values() for run in runs if _status(run) == "done"]

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The tidy table of the runs of whole blocks, those that diverged among them."""
        return table_of([run for runs in self.ended.values() for run in runs])

    @property
    def diverged(self) -> list[int]:
        """Seeds of whole blocks that a run of has diverged."""
        return [
            seed for seed, runs in self.ended.items() if any(_status(run) != "done" for run in runs)
        ]


def _status(run: RunFolder) -> str:
    return str((run.read_result() or {}).get("status"))


SHIN = Source("optdarts-cpu", block=12, seeds=24)
MORE = Source(ADDED, block=4, seeds=16)  # of conclusion 1, after those of `SHIN`
PILOT = Source("pairs-cpu", block=8, seeds=6)
MACRO = Source("worlds-macro", block=8, seeds=8, benchmark="nas-bench-macro")
FASHION = Source("worlds-fashion-mnist", block=8, seeds=8)
# The column of a world, its records, the claims for conclusions 1 and 3.
WORLDS = (("NAS-Bench-Macro", MACRO, "m"), ("Fashion-MNIST", FASHION, "f"))
SETTINGS = ("NAS-Bench-Macro, CIFAR-10", "NAS-Bench-201, Fashion-MNIST; cells judged on CIFAR-10")


def judged(
    source: Source, claims: Sequence[str] | None, table: pd.DataFrame | None = None
) -> list[Finding]:
    """The findings of claims on the whole blocks of a study; none without one.

    Args:
        source: the study.
        claims: their names, None for all.
        table: what they are judged on, where it is more than those blocks.
    """
    if not source.ended:
        return []
    lines = references(load_table(source.benchmark, folder=data_folder(None)))
    return judge(source.table if table is None else table, claims, lines)


@functools.cache
def _declared(study: str) -> Mapping[str, PlannedRun]:
    return load_study(study).runs


@functools.cache
def own_runs(study: str) -> dict[int, list[str]]:
    """By seed the names of the runs of a study that the confirming one does not have."""
    of_blocks, found = _declared(SHIN.study), collections.defaultdict(list)
    for name, run in _declared(study).items():
        if name not in of_blocks:
            found[run.settings.search.seed].append(name)
    return found


def own_records(study: str) -> dict[str, RunFolder]:
    """What is recorded of these runs, by name."""
    if not (HERE / study).is_dir():
        return {}
    names = {name for names in own_runs(study).values() for name in names}
    return {run.path.name: run for run in find_runs(HERE / study) if run.path.name in names}


class Results:
    """What the records say, computed once."""

    @functools.cached_property
    def runs(self) -> list[RunFolder]:
        """The runs at Shin's own settings that are shown.

        Both studies have the pairs of DARTS and SDARTS-RS: those count with their block, once.
        """
        return [run for run in SHIN.runs + self.of_figures if _status(run) == "done"]

    @functools.cached_property
    def of_figures(self) -> list[RunFolder]:
        """The runs of `OF_FIGURES` alone, of seeds whole there; diverged ones among them."""
        if not (recorded := own_records(OF_FIGURES)):
            return []
        ended = {k: run for k, run in recorded.items() if _status(run) in FINISHED}
        whole = [names for names in own_runs(OF_FIGURES).values() if ended.keys() >= {*names}]
        return [ended[name] for names in whole for name in names]

    @functools.cached_property
    def lost(self) -> list[RunFolder]:
        """The runs that diverged."""
        of_blocks = [run for runs in SHIN.ended.values() for run in runs]
        return [run for run in of_blocks + self.of_figures if _status(run) != "done"]

    @functools.cached_property
    def blocks(self) -> int:
        """Whole blocks of the confirming study."""
        return len(SHIN.ended)

    @property
    def ended(self) -> bool:
        """Whether every block of the plan is whole."""
        return self.blocks == SHIN.seeds

    @functools.cached_property
    def _whole(self) -> pd.DataFrame:
        """Every run that is shown or judged, read once."""
        runs = [*SHIN.ended.values(), self.of_figures, *self.added.values()]
        return table_of(itertools.chain.from_iterable(runs))

    def _rows(self, runs: Iterable[RunFolder]) -> pd.DataFrame:
        kept = self._whole["id"].isin([run.path.name for run in runs])
        return self._whole[kept].reset_index(drop=True)

    def _with_blocks(self, more: Iterable[RunFolder] = ()) -> pd.DataFrame:
        """The rows of whole blocks, and of further runs."""
        return self._rows([*itertools.chain.from_iterable(SHIN.ended.values()), *more])

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """The tidy table of these runs; only where there are some."""
        return self._rows(self.runs)

    @functools.cached_property
    def material(self) -> Material:
        """What figures are made of; only where there are runs."""
        return material_of(self.frame, self.runs, data_folder(None))

    @functools.cached_property
    def figures(self) -> dict[str, Drawn]:
        """The figures that have runs, by name; F4 is drawn from arrays, see `main`."""
        if not self.runs:
            return {}
        cells = {slide.name: slide.cells for slide in SLIDES}
        made = {name: make(self.paired(cells[name])) for name, make in FIGURES.items()}
        return {
            name: drawn(name, figure)
            for name, figure in made.items()
            if any(row.panels for row in figure.rows)
        }

    def paired(self, cells: Sequence[Cell]) -> Material:
        """The material of a figure: of the seeds that its arms share, so that curves are paired.

        An arm of fewer than `PAIRED` seeds keeps its own: two seeds of the attack would leave two
        of every arm beside it.
        """
        selection, settings = self.material.selection, self.material.runs.settings
        seeds = [{*settings["search.seed"][selection.matching(cell)]} for cell in cells]
        shared = [each for each in seeds if len(each) >= PAIRED]
        if len({frozenset(each) for each in shared}) < 2:
            return self.material
        kept = set.intersection(*shared)
        apart = np.zeros(len(settings), bool)
        for cell, own in zip(cells, seeds, strict=True):
            if len(own) >= PAIRED:
                apart |= selection.matching(cell) & ~settings["search.seed"].isin(kept).to_numpy()
        frame = self.frame[~self.frame["id"].isin(settings["id"][apart])]
        runs = Runs(frame)
        return replace(
            self.material, runs=runs, selection=Selection(runs, np.ones(len(runs), bool), {})
        )

    @functools.cached_property
    def findings(self) -> list[Finding]:
        """The whole ledger: what was added to the blocks counts in no primary claim but its own."""
        if not self.of_figures and not self.added:
            return judged(SHIN, None)
        added = itertools.chain.from_iterable(self.added.values())
        every = judged(SHIN, None, self._with_blocks(self.of_figures))
        primary = judged(SHIN, list(CONCLUSIONS), self._with_blocks(added))
        return primary + [f for f in every if f.id not in CONCLUSIONS]

    @property
    def added(self) -> dict[int, list[RunFolder]]:
        """By seed the runs added for conclusion 1, once every block of the plan is whole."""
        return MORE.ended if self.ended else {}

    @functools.cached_property
    def as_planned(self) -> Finding:
        """Conclusion 1 by the seeds of the plan alone."""
        return judged(SHIN, ["C1"], self._with_blocks())[0]

    def finding(self, name: str) -> Finding | None:
        """The finding of a claim, None while no block is whole."""
        return next((each for each in self.findings if each.id == name), None)

    @functools.cached_property
    def worlds(self) -> dict[str, Finding]:
        """The findings of conclusions 1 and 3 in the other worlds."""
        return {
            finding.id: finding
            for _, source, letter in WORLDS
            for finding in judged(source, [f"W1{letter}", f"W3{letter}"])
        }

    @functools.cached_property
    def quarters(self) -> list[pd.DataFrame]:
        """A row per run of whole blocks: here, in the pilot, in each of the other worlds."""
        others = [source.table for source in (PILOT, MACRO, FASHION)]
        return [by_run(each) for each in (self._with_blocks(), *others)]

    @functools.cached_property
    def pilot(self) -> dict[str, Finding]:
        """The contrasts of C1 and C3 on the pilot, which was seen before they were written."""
        third = find_claim("C3")
        own = [
            find_claim("C1").model_copy(update={"id": "1"}),
            third.model_copy(
                update={"id": "3", "parts": tuple(p for p in third.parts if p.name != "DARTS-")}
            ),
        ]
        return {finding.id: finding for finding in judge(PILOT.table, own)}


# --- numbers in words -----------------------------------------------------------------------------


def verdict(finding: Finding | None) -> str:
    """Holds, does not hold, or open; a secondary claim after its family's correction."""
    return "open" if finding is None else WORDS.get(finding.verdict_holm or finding.verdict, "open")


def effect(part: Finding | PartFinding | None) -> str:
    """An effect in its interval, with n."""
    if part is None or not part.n:
        return "n = 0"
    ends = f" [{part.low:.3g}, {part.high:.3g}]" if math.isfinite(part.low) else ""
    return f"{part.effect:+.3g}{ends}, n = {part.n}"


def effects(finding: Finding | None) -> str:
    """The effects of all parts that decide; the third conclusion is about three algorithms."""
    parts = () if finding is None else [part for part in finding.parts if part.primary]
    if len(parts) < 2:
        return effect(parts[0] if parts else None)
    return "; ".join(f"{part.name}: {effect(part)}" for part in parts)


def qualifier(finding: Finding | None) -> str:
    """What is said of the part of a claim that waits for another: its own verdict, once asked."""
    if finding is None:
        return ""
    # "More so" is about an effect that is there: of its opposite only a sign can be told.
    turned = finding.verdict == "contradicted"
    words = SIDES if turned else WORDS
    told = []
    for part in finding.parts:
        if not part.gate:
            continue
        asked = part.verdict != "not asked"
        e = f", E {shown_e(part.e, finding.threshold)}" if part.n else ""
        word = f"**{words.get(part.verdict, 'open')}** ({effect(part)}{e})"
        name = LESS[part.name] if turned else part.name
        told.append(f"{name}: {word if asked else 'not asked yet'}")
    return "; ".join(told)


def decided(finding: Finding) -> bool:
    """Whether a claim holds or does not."""
    return finding.verdict in WORDS


def when(finding: Finding | None) -> str:
    """With which seed a conclusion was decided, and by which of several parts."""
    if finding is None or finding.decided_at is None:
        return ""
    of_part = f" by {finding.part}" if finding.part and finding.verdict == "contradicted" else ""
    return f"decided{of_part} with seed {finding.decided_at}"


def e_in_words(finding: Finding) -> str:
    """The largest E so far, which way it speaks, and the part that it is of."""
    deciding = [part for part in finding.parts if part.primary]
    is_for = min(p.e_for for p in deciding) >= max(p.e_against for p in deciding) / len(deciding)
    part = f", {finding.part}" if finding.part else ""
    return f"{shown_e(finding.e, finding.threshold)} ({'for' if is_for else 'against'} it{part})"


def outlook(finding: Finding | None) -> str:
    """What an open conclusion lacks, or the part of a decided one that is asked then."""
    if finding is None or finding.verdict == "not testable":
        return "the first block"
    if decided(finding):
        open_ = [part for part in finding.parts if part.gate and part.verdict == "inconclusive"]
        told = [
            "as seen, no number of seeds would decide its second part"
            if part.seeds_to_add is None
            else f"its second part: add about {part.seeds_to_add} seeds"
            for part in open_
        ]
        return "; ".join(told)
    return finding.settle.partition(": ")[2]


# --- docs/results.md ------------------------------------------------------------------------------


def conclusions(results: Results) -> str:
    """Each conclusion at Shin's own settings: verdict, effect, E, what it lacks."""
    heads = (
        "Shin's conclusion",
        "verdict",
        f"effect ({UNIT})",
        "largest E so far (60 decides)",
        "to decide it",
    )
    rows = []
    for number, (name, words) in enumerate(CONCLUSIONS.items(), start=1):
        finding = results.finding(name)
        e = "-" if finding is None or math.isnan(finding.e) else e_in_words(finding)
        told = "; ".join(filter(None, [effects(finding), qualifier(finding)]))
        word = ", ".join(filter(None, [f"**{verdict(finding)}**", when(finding)]))
        cells = (word, told, e, outlook(finding))
        rows.append((f"{number}. {words}", *cells))
    return as_table(heads, rows)


def momenta(results: Results) -> str:
    """Conclusion 2 before its contrast is taken: early and late cells by momentum of w."""
    part = None if (found := results.finding("C2")) is None else found.parts[0]
    if part is None or not part.n:
        return "By momentum of w, cells of the first and last quarter: with the first whole block."
    runs, selection = results.material.runs, results.material.selection
    asked = [Response(column="percentile", transform=each) for each in ("early", "early-late")]
    rows = []
    for cell in DARTS_MOMENTA:
        of_arm = [
            run
            for seed, found_runs in selection.by_seed(selection.comparable(cell, set(cell))).items()
            if seed in part.values
            for run in found_runs
        ]
        early, drop = (
            np.mean([runs.value(run, each, math.nan, 0.0) for run in of_arm]) for each in asked
        )
        rows.append(
            (
                f"{cell['weight_optimizer.momentum']:g}",
                *(f"{value:.1f}" for value in (early, early - drop, drop)),
            )
        )
    heads = ("momentum of w", "first quarter", "last quarter", "drop")
    return as_table(heads, rows)


def progress(results: Results) -> str:
    """How far the confirming study has come."""
    told = (
        f"{results.blocks} of {SHIN.seeds} whole blocks are done, {SHIN.block} runs each "
        f"([which runs there are](../results/{SHIN.study}/README.md)); a block that is not whole "
        "counts nowhere on these pages."
    )
    if SHIN.diverged:
        seeds = ", ".join(map(str, SHIN.diverged))
        told += f" Runs diverged, and are missing in the effects that need them, of seeds: {seeds}."
    if SHIN.held_up:
        first, *rest = map(str, SHIN.held_up)
        later = f", which holds up {'seeds' if rest[1:] else 'seed'} {', '.join(rest)}"
        told += f" The block of seed {first} is not whole{later if rest else ''}."
    open_ = [
        name
        for name in CONCLUSIONS
        if (finding := results.finding(name)) is None or not decided(finding)
    ]
    if not open_:
        told += " All three conclusions are decided: the study has ended."
    elif results.ended:
        told += f" The study has ended; what stays open: {', '.join(open_)}."
    if results.added:
        planned = results.as_planned
        told += (
            f" For conclusion 1, {len(results.added)} further seeds are whole of the "
            f"{MORE.seeds} that [were added](statistics/families.md) before the last block was "
            f"seen; by the {SHIN.seeds} of the plan alone it is {verdict(planned)} "
            f"({effects(planned)}, E {shown_e(planned.e, planned.threshold)})."
        )
    return told


def alpha(results: Results) -> str:
    """How far from uniform the operation weights ended."""
    if not results.runs:
        return "  (How decided alpha was in these runs is told here with the first whole block.)"
    final = results.frame.groupby("id")["alpha_entropy"].last()
    return (
        f"  In these {len(final)} runs the entropy of the operation weights, a mean over edges, "
        f"ends between {final.min():.3f} and {final.max():.3f} nats; uniform weights have "
        f"{math.log(5):.3f}."
    )


def further(results: Results) -> str:
    """The studies that ask what this one leaves open, and how many of their runs are recorded."""
    rows = []
    for study, question in STUDIES.items():
        declared = sum(map(len, own_runs(study).values()))
        rows.append((f"`{study}`", question, f"{len(own_records(study))} of {declared}"))
    return as_table(("study", "what it asks", "runs of its own recorded"), rows)


def worlds(results: Results) -> str:
    """A column per world, a line per contrast."""
    heads = (
        "",
        "Shin's settings, reduced",
        "SmoothDARTS' rates ([pilot](pilot.md))",
        *(f"{title}" for title, *_ in WORLDS),
    )
    rows = [
        ("space, images of the search", *["NAS-Bench-201, CIFAR-10"] * 2, *SETTINGS),
        ("whole blocks", *_blocks()),
        _of_worlds(results, "1: SGD minus Adam on w, DARTS", "C1", "percentile over epochs"),
        _of_worlds(
            results, "1: the same less that of SDARTS-RS", "C1", "more so than under SDARTS-RS"
        ),
        ("2: momentum of w, drop", _cell(results.finding("C2")), *["not varied"] * 3),
        _of_worlds(results, "3: first minus last quarter, DARTS", "C3", "DARTS"),
        _of_worlds(results, "3: the same, SDARTS-RS", "C3", "SDARTS-RS"),
        *(
            (
                f"level of {words}: first, last quarter (a random cell has 50)",
                *(early_late(runs, name) for runs in results.quarters),
            )
            for name, words in CELLS_OF.items()
        ),
        (
            "verdict on 1; on 3",
            "; ".join(f"**{verdict(results.finding(name))}**" for name in ("C1", "C3")),
            "none: seen before the claims",
            *(
                "; ".join(f"**{verdict(results.worlds.get(f'W{k}{letter}'))}**" for k in (1, 3))
                for _, _, letter in WORLDS
            ),
        ),
    ]
    return as_table(heads, rows)


def trained(results: Results) -> str:
    """What the last cells of a search on Fashion-MNIST are worth, trained on it alone."""
    del results
    if not FASHION.runs:
        return "No cell was trained yet."
    frame = table_of(FASHION.runs, recorded=True)
    last = frame[frame[TRAINED].notna()]
    keys = ["algorithm.name", "weight_optimizer.name", "search.seed"]
    means = last.groupby(keys)[TRAINED].mean()
    apart = {name: (means[name]["SGD"] - means[name]["Adam"]).tolist() for name in CELLS_OF}
    told = [f"{spread(apart[name], '+.2f')} under {words}" for name, words in CELLS_OF.items()]
    # Seeds and optimizers of alpha of which neither cell lets nothing through.
    by_pair = last.set_index([*keys, "arch_optimizer.name"])[TRAINED].unstack(
        "weight_optimizer.name"
    )
    whole = by_pair[(by_pair > CHANCE).all(axis=1)]
    of_whole = (whole["SGD"] - whole["Adam"]).groupby(["algorithm.name", "search.seed"]).mean()
    rest = [
        f"{spread(of_whole[name].tolist(), '+.2f')} under {words}"
        for name, words in CELLS_OF.items()
    ]
    cells = last.drop_duplicates("architecture")
    through = cells[cells[TRAINED] > CHANCE]
    nothing = (last[TRAINED] <= CHANCE).groupby(last["weight_optimizer.name"]).sum()
    rho, without = (
        each[TRAINED].corr(each["benchmark.cifar10"], method="spearman")
        for each in (cells, through)
    )
    return (
        f"The last cells of the {len(last)} runs on Fashion-MNIST, trained on it alone (one "
        "training each, 10,000 test images; no claim, so nothing is decided by it): SGD minus Adam "
        f"on w, points, {' and '.join(told)}, n = {last['search.seed'].nunique()}. The cells of "
        f"{nothing['SGD']} runs with SGD and {nothing['Adam']} with Adam let nothing through; "
        f"without the pairs of runs with one of these it is {' and '.join(rest)}. The "
        f"rank correlation (Spearman) with the table of CIFAR-10 is {rho:.2f} over the "
        f"{len(cells)} different cells, {without:.2f} over the {len(through)} that are connected."
    )


def _blocks() -> list[str]:
    sources = (SHIN, PILOT, *(source for _, source, _ in WORLDS))
    return [f"{len(each.ended)} of {each.seeds}" for each in sources]


def _of_worlds(results: Results, words: str, claim: str, part: str) -> tuple[str, ...]:
    number = claim[1]
    findings = (
        results.finding(claim),
        results.pilot[number],
        *(results.worlds.get(f"W{number}{letter}") for _, _, letter in WORLDS),
    )
    return words, *(_cell(finding, part) for finding in findings)


def _cell(finding: Finding | None, name: str = "") -> str:
    parts = [] if finding is None else [p for p in finding.parts if p.name == name or not name]
    told = effect(parts[0] if parts else None)
    return f"{told} (not asked yet)" if parts and parts[0].verdict == "not asked" else told


# --- README ---------------------------------------------------------------------------------------


def sentences(results: Results) -> str:
    """The three conclusions with their verdicts; effects once an interval has the level."""
    lines = []
    for number, (name, words) in enumerate(CONCLUSIONS.items(), start=1):
        finding = results.finding(name)
        told = [f"{results.blocks} of {SHIN.seeds} blocks"]
        if name == "C1" and results.added:
            told = [f"{told[0]} and {len(results.added)} added seeds of its own"]
        if finding is not None and math.isfinite(finding.low):
            told.append(f"{effects(finding)}, {SIGNS[name]} 0 speaks for it")
            if decided(finding):
                told += [when(finding), qualifier(finding)]
        told.append(outlook(finding))
        lines.append(
            f"{number}. {words}: **{verdict(finding)}** ({'; '.join(filter(None, told))})."
        )
    return "\n".join(lines)


def elsewhere(results: Results) -> str:
    """Conclusions 1 and 3 in the other worlds, a line each."""
    lines = []
    for title, source, letter in WORLDS:
        blocks = f"{len(source.ended)} of {source.seeds} blocks"
        if source is FASHION:
            blocks += "; no table knows its images: cells are judged on CIFAR-10"
        findings = {number: results.worlds.get(f"W{number}{letter}") for number in (1, 3)}
        told = [f"{n} **{verdict(each)}** ({effects(each)})" for n, each in findings.items()]
        lines.append(f"- {title} ({blocks}): {'; '.join(told)}")
    return "\n".join(lines)


PARTS: dict[str, Callable[[Results], str]] = {
    "conclusions": conclusions,
    "momenta": momenta,
    "progress": progress,
    "alpha": alpha,
    "further": further,
    "arms": arms,
    "worlds": worlds,
    "trained": trained,
    "at-the-floor": at_the_floor,
    "levels": levels,
    "momenta-in-parts": momenta_in_parts,
    "quarters": quarters,
    "by-size": by_size,
    "second-order": second_order,
    "slides": slides,
    "ledger": ledger,
    "corrected": corrected,
    "by-hand": by_hand,
    "sentences": sentences,
    "elsewhere": elsewhere,
}


def main() -> None:
    """Draw the figures and rewrite the documents."""
    results = Results()
    for figure in results.figures.values():
        static.write(figure, IMAGES / f"results-{figure.name}.png")
    for slide in SLIDES:
        if slide.measure and (runs := measured(results, slide.measure)):
            plot_figure(slide.name, runs, IMAGES / f"results-{slide.name}.png")
    for document in DOCUMENTS:
        write_text(document, built(document.read_text(), PARTS, results))


if __name__ == "__main__":
    main()
