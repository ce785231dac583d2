"""docs/results-figures.md: a section for each slide of Shin's comparison; built by results.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deck import SLIDES, Slide
from summary_table import summary_table

from optnas.analysis.claims.declare import Cell, label
from optnas.analysis.runs import plain
from optnas.base.records import RunFolder
from optnas.study.declare import describe_settings

if TYPE_CHECKING:
    from results import Results


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
        label(cell)
        for cell in slide.cells
        if not drawn_of & set(ids[selection.matching(cell)]) and not lost(results, cell)
    ]


def lost(results: Results, cell: Cell) -> bool:
    """Whether an arm has runs, all of which diverged."""
    matching = results.material.selection.matching(cell)
    told = [describe_settings(run.read_config()) for run in results.lost]
    return not matching.any() and any(
        all(plain(settings.get(key)) == plain(value) for key, value in cell.items())
        for settings in told
    )


def slides(results: Results) -> str:
    """A section per slide: what Shin's comparison reports, what is here, what is missing."""
    pictures = set(results.figures)
    pictures |= {each.name for each in SLIDES if each.measure and measured(results, each.measure)}
    told = []
    for slide in SLIDES:
        lines = [f"## {slide.name}: {slide.title}", "", f"Shin's comparison: {slide.reports}", ""]
        missing = lacking(results, slide)
        if slide.claims and slide.name in pictures:
            lines += [f"Here: {_verdicts(results, slide)}.", ""]
        if slide.name in pictures:
            lines += [f"![{slide.title}](images/results-{slide.name}.png)", ""]
        if slide.note and slide.name in pictures:
            lines += [slide.note, ""]
        if slide.name == "T1" and results.runs:
            lines += [summary_table(results.material), ""]
        if not results.runs:
            rest = f" and, for some of its arms, for the study `{slide.study}`"
            lines += [f"*Waits for the first whole block{rest if slide.study else ''}.*", ""]
        elif missing:
            lines += [f"*Waits for {', '.join(missing)} (study `{slide.study}`).*", ""]
        if results.runs and (gone := [label(c) for c in slide.cells if lost(results, c)]):
            lines += [f"*Every run diverged of {', '.join(gone)}.*", ""]
        told.append("\n".join(lines).rstrip("\n"))
    return "\n\n".join(told)


def _verdicts(results: Results, slide: Slide) -> str:
    """What the ledger says of the claims about a slide."""
    told = []
    for claim in slide.claims:
        finding = results.finding(claim)
        if finding is None or finding.verdict == "not testable":
            told.append(f"{claim} waits for runs")
            continue
        change = f"{finding.effect:+.3g} {finding.unit}".rstrip()
        of = f", {finding.part}" if finding.part else ""
        word = finding.verdict_holm or finding.verdict
        told.append(f"[{claim}](results-ledger.md#{claim.lower()}) **{word}** ({change}{of})")
    return "; ".join(told)
