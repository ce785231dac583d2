"""docs/results*.md and the conclusions in README, from the records of results/.

optnas study export NAME --out RUNS --to results/NAME     for each study that has new runs
python results/results.py      rewrite the built parts, redraw docs/images/results-*

Only whole blocks count: the runs of a seed are quoted once all of them have ended. Needs the
official table (OPTNAS_DATA), no images. tests/test_results.py compares documents and records.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from deck import FIGURES, SLIDES, Slide
from deck import momenta as momentum_cells
from documents import as_table, built, spread
from rates import arms
from summary_table import summary_table

from optnas.analysis.claims.declare import Response, label
from optnas.analysis.claims.findings import PartFinding
from optnas.analysis.claims.judge import Finding, judge
from optnas.analysis.claims.read import find_claim
from optnas.analysis.claims.reasons import shown_e
from optnas.analysis.claims.render import (
    by_family,
    by_seed,
    ends,
    evidence,
    in_reach,
    p_in_words,
)
from optnas.analysis.paired import smallest_p
from optnas.analysis.references import references
from optnas.base.files import write_text
from optnas.base.records import FINISHED, RunFolder, find_runs
from optnas.report import static
from optnas.report.data import Drawn, drawn
from optnas.report.material import Material, material_of
from optnas.report.pictures import plot_figure
from optnas.spaces.tables import data_folder, load_table
from optnas.study.declare import load_study
from optnas.study.tables import table_of

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
IMAGES = DOCS / "images"
DOCUMENTS = (
    *(DOCS / f"results{part}.md" for part in ("", "-figures", "-ledger")),
    HERE.parent / "README.md",
)
# Arms of the figures that a block of the confirming study leaves out; drawn as they come.
FURTHER = "optdarts-cpu-figures"
CONCLUSIONS = {
    "C1": "Without regularization, SGD beats Adam for the network weights",
    "C2": "Moderate momentum reduces the degradation in the course of a search",
    "C3": "A fully trained supernet does not give a good architecture",
}
# Which sign speaks for a conclusion.
SIGNS = {"C1": "above", "C2": "below", "C3": "above"}
STUDIES = {
    FURTHER: "the rest of the figures: every algorithm under four pairs and four momenta",
    "optdarts-cpu-rates": "which rate of w suits each optimizer, by the supernet's validation loss",
    "optdarts-cpu-rates-alpha": "the same of alpha",
    "optdarts-cpu-arms": "DARTS under four pairs at Shin's and at SmoothDARTS' rates",
    "size": "whether the sign of the effect on cells depends on channels, images or epochs",
    "indicator": "[which regularizer](indicator.md) makes the supernet an indicator of good cells",
}
WORDS = {"supported": "holds", "contradicted": "does not hold"}
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
    table: str = "official"

    @cached_property
    def ended(self) -> dict[int, list[RunFolder]]:
        """By seed the runs of whole blocks, those that diverged among them, seeds ascending."""
        by_seed: dict[int, list[RunFolder]] = collections.defaultdict(list)
        for run in find_runs(HERE / self.study) if (HERE / self.study).is_dir() else ():
            if _status(run) in FINISHED:
                by_seed[run.read_config()["search"]["seed"]].append(run)
        return {seed: runs for seed, runs in sorted(by_seed.items()) if len(runs) == self.block}

    @cached_property
    def runs(self) -> list[RunFolder]:
        """The runs of whole blocks that are done, seeds ascending."""
        return [run for runs in self.ended.values() for run in runs if _status(run) == "done"]

    @property
    def diverged(self) -> list[int]:
        """Seeds of whole blocks that a run of has diverged."""
        return [
            seed for seed, runs in self.ended.items() if any(_status(run) != "done" for run in runs)
        ]


def _status(run: RunFolder) -> str:
    return str((run.read_result() or {}).get("status"))


SHIN = Source("optdarts-cpu", block=12, seeds=24)
PILOT = Source("pairs-cpu", block=8, seeds=6)
MACRO = Source("worlds-macro", block=8, seeds=8, table="nas-bench-macro")
FASHION = Source("worlds-fashion-mnist", block=8, seeds=8)
# The column of a world, its records, the claims for conclusions 1 and 3.
WORLDS = (("NAS-Bench-Macro", MACRO, "m"), ("Fashion-MNIST", FASHION, "f"))
SETTINGS = ("NAS-Bench-Macro, CIFAR-10", "NAS-Bench-201, Fashion-MNIST; cells judged on CIFAR-10")


def judged(source: Source, claims: Sequence[str] | None) -> list[Finding]:
    """The findings of claims on the whole blocks of a study; none without one."""
    ended = [run for runs in source.ended.values() for run in runs]
    if not ended:
        return []
    lines = references(load_table(source.table, folder=data_folder(None)))
    return judge(table_of(ended), claims, lines)


class Results:
    """What the records say, computed once."""

    @cached_property
    def runs(self) -> list[RunFolder]:
        """The runs at Shin's own settings that are shown.

        Both studies have the pairs of DARTS and SDARTS-RS: those count with their block, once.
        """
        if not (HERE / FURTHER).is_dir():
            return SHIN.runs
        of_blocks = load_study(SHIN.study).runs  # by name
        more = [run for run in find_runs(HERE / FURTHER) if run.path.name not in of_blocks]
        return SHIN.runs + more

    @cached_property
    def blocks(self) -> int:
        """Whole blocks of the confirming study."""
        return len(SHIN.ended)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The tidy table of these runs; only where there are some."""
        return table_of(self.runs)

    @cached_property
    def material(self) -> Material:
        """What figures are made of; only where there are runs."""
        return material_of(self.frame, self.runs, data_folder(None))

    @cached_property
    def figures(self) -> dict[str, Drawn]:
        """The figures that have runs, by name; F4 is drawn from arrays, see `main`."""
        if not self.runs:
            return {}
        made = {name: make(self.material) for name, make in FIGURES.items()}
        return {
            name: drawn(name, figure)
            for name, figure in made.items()
            if any(row.panels for row in figure.rows)
        }

    @cached_property
    def findings(self) -> list[Finding]:
        """The whole ledger."""
        return judged(SHIN, None)

    def finding(self, name: str) -> Finding | None:
        """The finding of a claim, None while no block is whole."""
        return next((each for each in self.findings if each.id == name), None)

    @cached_property
    def worlds(self) -> dict[str, Finding]:
        """The findings of conclusions 1 and 3 in the other worlds."""
        return {
            finding.id: finding
            for _, source, letter in WORLDS
            for finding in judged(source, [f"W1{letter}", f"W3{letter}"])
        }

    @cached_property
    def pilot(self) -> dict[str, Finding]:
        """The contrasts of C1 and C3 on the pilot, which was seen before they were written."""
        third = find_claim("C3")
        own = [
            find_claim("C1").model_copy(update={"id": "1"}),
            third.model_copy(
                update={"id": "3", "parts": tuple(p for p in third.parts if p.name != "DARTS-")}
            ),
        ]
        return {finding.id: finding for finding in judge(table_of(PILOT.runs), own)}


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
    parts = () if finding is None else [part for part in finding.parts if part.gate]
    told = []
    for part in parts:
        asked = part.verdict != "not asked"
        e = f", E {shown_e(part.e, finding.threshold)}" if finding and part.n else ""
        word = f"**{WORDS.get(part.verdict, 'open')}** ({effect(part)}{e})"
        told.append(f"{part.name}: {word if asked else 'not asked yet'}")
    return "; ".join(told)


def decided(finding: Finding) -> bool:
    """Whether a claim holds or does not."""
    return finding.verdict in WORDS


def outlook(finding: Finding | None) -> str:
    """What an open conclusion lacks."""
    if finding is None or finding.verdict == "not testable":
        return "the first block"
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
        e = "-"
        if finding is not None and not math.isnan(finding.e):
            e = shown_e(finding.e, finding.threshold)
        told = "; ".join(filter(None, [effects(finding), qualifier(finding)]))
        cells = (f"**{verdict(finding)}**", told, e, outlook(finding))
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
    if all((finding := results.finding(name)) and decided(finding) for name in CONCLUSIONS):
        told += " All three conclusions are decided: the study has ended."
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
    rows = [
        (
            f"`{study}`",
            question,
            len(find_runs(HERE / study)) if (HERE / study).is_dir() else "none",
        )
        for study, question in STUDIES.items()
    ]
    return as_table(("study", "what it asks", "runs recorded"), rows)


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
    means = last.groupby(["algorithm.name", "weight_optimizer.name", "search.seed"])[TRAINED].mean()
    apart = {name: (means[name]["SGD"] - means[name]["Adam"]).tolist() for name in CELLS_OF}
    told = [f"{spread(apart[name], '+.2f')} under {words}" for name, words in CELLS_OF.items()]
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
        f"{nothing['SGD']} runs with SGD and {nothing['Adam']} with Adam let nothing through. The "
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


# --- docs/results-figures.md ----------------------------------------------------------------------


def measured(results: Results, measure: str) -> list[RunFolder]:
    """The runs on which a measure was taken and whose arrays of it lie there."""
    return [
        run
        for run in results.runs
        if any(run.measures.has_arrays(line) for line in run.read_measures(measure))
    ]


def lacking(results: Results, slide: Slide) -> list[str]:
    """The arms of a slide that have no run, or none with the measure that it is drawn from."""
    if not results.runs:
        return []
    selection, ids = results.material.selection, results.material.runs.settings["id"]
    drawn_of = set(ids)
    if slide.measure:
        drawn_of = {run.path.name for run in measured(results, slide.measure)}
    return [
        label(cell) for cell in slide.cells if not drawn_of & set(ids[selection.matching(cell)])
    ]


def slides(results: Results) -> str:
    """A section per slide: what Shin's comparison reports, what is here, what is missing."""
    pictures = set(results.figures)
    pictures |= {each.name for each in SLIDES if each.measure and measured(results, each.measure)}
    told = []
    for slide in SLIDES:
        lines = [f"## {slide.name}: {slide.title}", "", f"Shin's comparison: {slide.reports}", ""]
        missing = lacking(results, slide)
        if slide.name in pictures:
            lines += [f"![{slide.title}](images/results-{slide.name}.png)", ""]
        if slide.name == "T1" and results.runs:
            lines += [summary_table(results.material), ""]
        if not results.runs:
            rest = f" and, for some of its arms, for the study `{slide.study}`"
            lines += [f"*Waits for the first whole block{rest if slide.study else ''}.*", ""]
        elif missing:
            lines += [f"*Waits for {', '.join(missing)} (study `{slide.study}`).*", ""]
        told.append("\n".join(lines).rstrip("\n"))
    return "\n\n".join(told)


# --- docs/results-ledger.md -----------------------------------------------------------------------


def ledger(results: Results) -> str:
    """The claims whose arms have runs, and the names of the others."""
    if not results.findings:
        return "No block is whole yet: nothing is judged."
    listed, rest = in_reach(results.findings)
    heads = ("claim", "family", "verdict", "in the family", "part", "n", "effect", "interval")
    rows = [
        (
            f"[{each.id}](#{each.id.lower()})",
            each.family,
            each.verdict,
            each.verdict_holm or "-",
            *_numbers(each),
        )
        for each in listed
    ]
    others = f"\n\nNo run is of the arms of: {', '.join(rest)}." if rest else ""
    return as_table((*heads, "evidence"), rows) + others


def _numbers(finding: Finding) -> tuple[str, ...]:
    if finding.verdict == "not testable":
        return ("-",) * 5
    change = f"{finding.effect:+.3g} {finding.unit}".rstrip()
    return finding.part or "-", str(finding.n), change, ends(finding), evidence(finding)


def corrected(results: Results) -> str:
    """What the number of seeds allows a family with Holm's correction."""
    told = []
    for members in by_family(results.findings):
        tested = [each for each in members if not math.isnan(each.p_holm)]
        if all(each.verdict == "not testable" for each in tested):
            continue
        n, m, alpha = results.blocks, len(tested), tested[0].alpha
        least = next(k for k in itertools.count(1) if m * smallest_p(k) <= alpha)
        reach = min(1.0, m * smallest_p(n))
        beyond = "so that none can be decided in it" if reach > alpha else "which decides"
        told.append(
            f"With n = {n} the smallest p is {p_in_words(smallest_p(n))}, and {p_in_words(reach)} "
            f"after Holm's correction for the {m} claims of the family *{tested[0].family}*, "
            f"{beyond}; the first n that can is {least}."
        )
    return "\n".join(told)


def by_hand(results: Results) -> str:
    """Claim by claim what the ledger's numbers are made of: parts, means of arms, seeds."""
    told = []
    for each in in_reach(results.findings)[0]:
        lines = [f"### {each.id}", "", each.text, ""]
        if each.settle and each.role != "computed":
            lines += [f"To settle it: {each.settle}.", ""]
        lines += [_part(part, each) for part in each.parts]
        told.append("\n".join(lines))
    return "\n\n".join(told)


def _part(part: PartFinding, finding: Finding) -> str:
    kind = "" if part.primary else ", decides nothing"
    if not part.n:
        return f"- **{part.name}**{kind}: not testable, {part.missing}."
    p = min(1.0, 2 * min(part.p_for, part.p_against))
    evidence = f"p {p_in_words(p)}"
    if part.scale is not None:
        evidence = f"E {part.e:.3g} now, {evidence}"
    judged = "computed" if finding.role == "computed" else part.verdict
    arms = "; ".join(f"**{arm.mean:.4g}** {arm.arm}" for arm in part.arms)
    level = f" ({part.of_level})" if part.of_level else ""
    means = f"\n  Means{level}: {arms}." if arms else ""
    unit = f" {part.unit}" if part.unit else ""
    return (
        f"- **{part.name}**{kind}: {part.effect:+.4g}{unit} {ends(part)}, n = {part.n}, "
        f"claim {part.hypothesis}, {evidence}: {judged}.{means}\n  "
        f"Contrasts {by_seed(part)}."
    )


# --- README ---------------------------------------------------------------------------------------


def sentences(results: Results) -> str:
    """The three conclusions with their verdicts; effects once an interval has the level."""
    lines = []
    for number, (name, words) in enumerate(CONCLUSIONS.items(), start=1):
        finding = results.finding(name)
        told = [f"{results.blocks} of {SHIN.seeds} blocks"]
        if finding is not None and math.isfinite(finding.low):
            told.append(f"{effects(finding)}, {SIGNS[name]} 0 speaks for it")
            if decided(finding):
                told.append(qualifier(finding))
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
