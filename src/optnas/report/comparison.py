"""The arms of a study compared, as words, files and a picture; computes no statistic."""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from optnas.analysis.compare import Pair, too_few
from optnas.base.escapes import for_csv, for_latex
from optnas.base.files import write_text, writing
from optnas.measures.drawing import COLOURS, FORMATS, PLAIN, write_figure
from optnas.study.comparing import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "compare"
NO_PAIR = "no pair has a common seed yet"
WIDTH, ROW, HEAD, FOOT, LETTER = 7.2, 0.26, 0.45, 0.5, 0.052  # inches
NAME_LINE = 0.125  # inches, a line of a pair's name
MOST_DRAWN = 60  # pairs of a comparison in the forest plot
LONGEST = 56  # letters of a line that names a pair
READING = (
    "strokes: seeds; bar: exact 95 % interval (six seeds at least); filled: told apart by p after "
    "Holm or by E"
)
DPI = 300
GREY = "#666666"


# --- words --------------------------------------------------------------------------------------


def minus(pair: Pair) -> str:
    """Such as ``(SGD + EG) - (SGD + Adam)``, or ``EG - Adam at darts`` within an algorithm."""
    return " - ".join(_arms(pair)) + _at(pair)


def _arms(pair: Pair) -> list[str]:
    """Their names, bracketed where an arm is a pair itself."""
    return [f"({arm})" if " + " in arm else arm for arm in pair.short or pair.arms]


def _at(pair: Pair) -> str:
    return f" at {pair.group}" if pair.group else ""


def interval(pair: Pair) -> str:
    """Both ends, or that there are none."""
    if not math.isfinite(pair.low):
        return "none"
    return f"[{pair.low:.3g}, {pair.high:.3g}]"


def tick(pair: Pair) -> str:
    """By what the arms are told apart: ``yes (p)``, ``yes (p, E)`` or ``no``."""
    return f"yes ({', '.join(pair.evidence)})" if pair.evidence else "no"


def heading(comparison: Comparison) -> str:
    """What is compared, with its unit and the better direction."""
    unit = f" ({comparison.unit})" if comparison.unit else ""
    told = "" if comparison.better == "neither" else f", {comparison.better} is better"
    return f"{comparison.words}{unit}{told}"


def remarks(comparison: Comparison) -> list[str]:
    """What a reader has to know of a comparison, a line each."""
    told = []
    if comparison.over or comparison.within:
        told.append(f"arms by {', '.join(comparison.by)}{_how(comparison)}")
    m = sum(pair.n > 0 for pair in comparison.pairs)
    if m:
        over = f"Holm over the {m} pairs of this table at" if m > 1 else "one pair, at"
        told.append(f"rates of error: {over} {comparison.alpha:g}; intervals are 95 % each")
        told.append(
            f"p is for a number of seeds fixed beforehand; where seeds are added, E of "
            f"{comparison.threshold:g} decides instead"
        )
    told += filter(None, [comparison.noise, *comparison.remarks])
    most = max((pair.n for pair in comparison.pairs), default=0)
    if len(comparison.by) > 1 and m > 1 and too_few(most, m, comparison.alpha):
        told.append(f"fewer pairs: --by {' or --by '.join(comparison.by)}")
    empty = [minus(pair) for pair in comparison.pairs if not pair.n]
    if empty and m:
        told.append(f"no seed has both: {', '.join(empty)}")
    for arm, states in comparison.unfinished.items():
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        told.append(f"left out of {arm or 'the runs'}, not done: {counts}")
    return told


def _how(comparison: Comparison) -> str:
    """At what each pair is, and over what it is averaged."""
    told = ""
    if comparison.within:
        told += f"; each pair at one value of {', '.join(comparison.within)}"
    if comparison.over:
        told += f"; averaged within a seed over {', '.join(comparison.over)}"
    return told


# --- files --------------------------------------------------------------------------------------


def as_plain(comparison: Comparison) -> dict[str, Any]:
    """Everything, ready for strict JSON: what is infinite or not a number is None."""
    return {
        "by": list(comparison.by),
        "within": list(comparison.within),
        "averaged_over": list(comparison.over),
        "response": comparison.response,
        "unit": comparison.unit,
        "unit_of_difference": comparison.of_difference,
        "better": comparison.better,
        "alpha": comparison.alpha,
        "correction": "Holm over the rows",
        "threshold": _finite(comparison.threshold),
        "arms": [
            {"arm": each.arm, "n": each.n, "mean": _finite(each.mean), "iqm": _finite(each.iqm)}
            for each in comparison.arms
        ],
        "rows": [_plain(pair) for pair in comparison.pairs],
        "unfinished": {arm: dict(states) for arm, states in comparison.unfinished.items()},
        "remarks": remarks(comparison),
    }


def _plain(pair: Pair) -> dict[str, Any]:
    return {
        "arms": list(pair.arms),
        "n": pair.n,
        "mean": _finite(pair.means[0]),
        "other_mean": _finite(pair.means[1]),
        "difference": _finite(pair.difference),
        "low": _finite(pair.low),
        "high": _finite(pair.high),
        "p": _finite(pair.p),
        "p_holm": _finite(pair.p_holm),
        "E": _finite(pair.e),
        "improvement": _finite(pair.improvement),
        "evidence": list(pair.evidence),
        "seeds": {str(seed): value for seed, value in pair.seeds.items()},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """A line per pair and response, full precision; no name begins as a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    numbers = (
        "mean",
        "other_mean",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "E",
        "threshold",
        "improvement",
    )
    writer.writerow(["response", "unit", "arm", "minus", "n", *numbers, "evidence"])
    for each in comparisons:
        for pair in each.pairs:
            told = {**_plain(pair), "threshold": _finite(pair.threshold)}
            words = [for_csv(word) for word in (each.response, each.of_difference, *pair.arms)]
            values = [told[name] for name in numbers]
            writer.writerow([*words, pair.n, *values, " ".join(pair.evidence)])
    return text.getvalue()


def as_latex(comparisons: Sequence[Comparison]) -> str:
    r"""One ``tabular`` for ``\usepackage{booktabs}``, a block per response."""
    heads = (
        *("pair", "$n$", "difference", r"95\,\% interval", "$p$", "$p$ (Holm)", "$E$"),
        *(r"$P$(better)", "told apart"),
    )
    blocks = []
    for each in comparisons:
        named = rf"\multicolumn{{{len(heads)}}}{{l}}{{{for_latex(_block(each))}}} \\"
        blocks.append("\n".join([named, *(_latex_row(pair) for pair in each.pairs)]))
    body = "\n\\midrule\n".join([rf"{' & '.join(heads)} \\", *blocks])
    columns = "l" + "r" * (len(heads) - 2) + "l"
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _block(comparison: Comparison) -> str:
    unit = f", differences in {comparison.of_difference}" if comparison.of_difference else ""
    return f"{heading(comparison)}{unit}{_how(comparison)}"


def _latex_row(pair: Pair) -> str:
    named = " $-$ ".join(for_latex(arm) for arm in _arms(pair)) + for_latex(_at(pair))
    cells = [named, str(pair.n)]
    if not pair.n:
        return rf"{' & '.join([*cells, *['--'] * 6, ''])} \\"
    ends = f"$[{pair.low:.3g}, {pair.high:.3g}]$" if math.isfinite(pair.low) else "none"
    cells += [f"${pair.difference:+.3g}$", ends]
    cells += [f"{pair.p:.3f}", f"{pair.p_holm:.3f}", f"{pair.e:.3g}", f"{pair.improvement:.2f}"]
    told = ", ".join(f"${by}$" for by in pair.evidence)
    return rf"{' & '.join([*cells, told or 'no'])} \\"


def by_file(
    comparisons: Sequence[Comparison],
    by: Sequence[str] = (),
    responses: Sequence[str] = (),
    benchmark: str | None = None,
    within: Sequence[str] = (),
) -> dict[str, list[Comparison]]:
    """Comparisons by the name of the files that hold them: what else is asked is in other files.

    Such as ``compare``, ``compare-measure.gap.gap``, ``compare-by-arch_optimizer`` or
    ``compare-table-formula``.

    Args:
        comparisons: what was compared.
        by: the axes that were asked for; none is no part of the name.
        responses: those that were asked for, likewise.
        benchmark: the table that was asked instead of each run's own, likewise.
        within: the axes at each value of which arms were to be compared, likewise.
    """
    found: dict[str, list[Comparison]] = {}
    asked = [f"by-{'-'.join(by)}"] if by else []
    asked += [f"within-{'-'.join(within)}"] if within else []
    asked += [f"table-{Path(benchmark).name}"] if benchmark else []
    for each in comparisons:
        response = [each.response.removeprefix("final ")] if responses else []
        name = re.sub(r"[^\w.-]+", "-", "-".join([NAME, *response, *asked]))
        found.setdefault(name, []).append(each)
    return found


def write_tables(comparisons: Sequence[Comparison], folder: Path, name: str = NAME) -> None:
    """Write ``compare.csv`` and ``compare.tex``; errors as of `write_comparison`."""
    with writing("the comparison", key="--to", path=folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{name}.csv", as_csv(comparisons))
        write_text(folder / f"{name}.tex", as_latex(comparisons))


def write_comparison(
    comparisons: Sequence[Comparison],
    folder: Path,
    by: Sequence[str] = (),
    responses: Sequence[str] = (),
    benchmark: str | None = None,
    within: Sequence[str] = (),
) -> list[Path]:
    """Write ``compare.csv``, ``compare.tex`` and the forest plot in every format.

    Where no pair has a seed in common there is no plot, and none of an earlier time is left.

    Args:
        comparisons: what was compared.
        folder: where to write; made if it is not there.
        by: the axes that were asked for, which name the files, see `by_file`.
        responses: those that were asked for, likewise.
        benchmark: the table that was asked instead of each run's own, likewise.
        within: the axes at each value of which arms were to be compared, likewise.

    Returns:
        The files.

    Raises:
        UserError: the folder cannot be written.
    """
    written: list[Path] = []
    for name, held in by_file(comparisons, by, responses, benchmark, within).items():
        write_tables(held, folder, name)
        written += [folder / f"{name}.{kind}" for kind in ("csv", "tex")]
        pictures = [folder / f"{name}.{kind}" for kind in FORMATS]
        if not any(each.tested for each in held):
            for path in pictures:
                path.unlink(missing_ok=True)
            continue
        drawing = forest(held, name)
        for path in pictures:
            write_figure(drawing, path, dpi=DPI)
        written += pictures
    return written


# --- page ---------------------------------------------------------------------------------------


class Strip(NamedTuple):
    """One pair as the page draws it: places between 0 and 1 from left to right, None for none."""

    pair: Pair
    name: str
    mean: float | None
    low: float | None
    high: float | None
    seeds: list[float]


class Strips(NamedTuple):
    """The pairs of a comparison on one axis: its marks by place, and where 0 is."""

    comparison: Comparison
    marks: list[tuple[float, str]]
    zero: float
    rows: list[Strip]


def strips(comparison: Comparison) -> Strips:
    """A comparison for the page."""
    from matplotlib.ticker import MaxNLocator

    tested = [pair for pair in comparison.pairs if pair.n]
    values = [0.0, *(value for pair in tested for value in pair.seeds.values())]
    values += [end for pair in tested for end in (pair.low, pair.high) if math.isfinite(end)]
    marks = [float(mark) for mark in MaxNLocator(4).tick_values(min(values), max(values))]
    low, span = marks[0], marks[-1] - marks[0]

    def place(value: float) -> float | None:
        return (value - low) / span if math.isfinite(value) else None

    rows = [
        Strip(
            pair,
            minus(pair),
            place(pair.difference),
            place(pair.low),
            place(pair.high),
            [(value - low) / span for value in pair.seeds.values()],
        )
        for pair in comparison.pairs
    ]
    return Strips(comparison, [((m - low) / span, f"{m:g}") for m in marks], -low / span, rows)


# --- picture ------------------------------------------------------------------------------------


def forest(comparisons: Sequence[Comparison], name: str = NAME) -> Figure:
    """A forest plot: a row per pair, its difference in its interval, the seeds behind it.

    Filled where the two arms are told apart by p after Holm, or by E.

    Args:
        comparisons: one below the other.
        name: of the file beside it that has every pair.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    counts = [min(max(1, len(each.pairs)), MOST_DRAWN) for each in comparisons]
    rows = [max(ROW, NAME_LINE * (_lines(each) + 0.5)) for each in comparisons]
    heights = [HEAD + row * n + FOOT for row, n in zip(rows, counts, strict=True)]
    whole = sum(heights) + FOOT / 2
    left = min(0.45, 0.03 + LETTER * min(_longest(comparisons), LONGEST) / WIDTH)
    with rc_context({**PLAIN, "font.size": 7}):
        drawing = Figure(figsize=(WIDTH, whole))
        top = whole
        for each, height in zip(comparisons, heights, strict=True):
            axes = height - HEAD - FOOT
            ends = (left, (top - HEAD - axes) / whole, 0.76 - left, axes / whole)
            over = _how(each).removeprefix("; ")
            if len(each.pairs) > MOST_DRAWN:
                over += f"   the first {MOST_DRAWN} of {len(each.pairs)} pairs; all: {name}.csv"
            drawing.text(0.01, (top - 0.17) / whole, heading(each), va="center", weight="bold")
            drawing.text(0.01, (top - 0.34) / whole, over, va="center", fontsize=6, color=GREY)
            _draw(drawing.add_axes(ends), each)
            top -= height
        drawing.text(0.01, 0.08 / whole, READING, fontsize=6, color=GREY)
    return drawing


def _longest(comparisons: Sequence[Comparison]) -> int:
    return max((len(minus(pair)) for each in comparisons for pair in each.pairs), default=1)


def _name(pair: Pair) -> str:
    """In lines of at most this many letters."""
    return "\n".join(textwrap.wrap(minus(pair), LONGEST, break_on_hyphens=False))


def _lines(comparison: Comparison) -> int:
    """Of the longest name of a pair that is drawn."""
    names = map(_name, comparison.pairs[:MOST_DRAWN])
    return max((name.count("\n") + 1 for name in names), default=1)


def _draw(ax: Axes, comparison: Comparison) -> None:
    pairs = comparison.pairs[:MOST_DRAWN]
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    for place, pair in enumerate(pairs):
        colour = COLOURS[0] if pair.evidence else GREY
        told = f"n = {pair.n}"
        if pair.n:
            seeds = list(pair.seeds.values())
            ax.plot(seeds, [place] * pair.n, "|", color=colour, alpha=0.5, markersize=6)
            if math.isfinite(pair.low):
                ax.plot([pair.low, pair.high], [place] * 2, color=colour, linewidth=1.6)
            filled = colour if pair.evidence else "white"
            ax.plot(pair.difference, place, "o", color=colour, mfc=filled, markersize=4.5)
            told += f", p {pair.p:.3f}, Holm {pair.p_holm:.3f}, E {pair.e:.3g}"
        where = ("axes fraction", "data")
        ax.annotate(told, (1.02, place), xycoords=where, va="center", fontsize=6)
    ax.set_yticks(range(len(pairs)), [_name(pair) for pair in pairs])
    ax.set_ylim(max(len(pairs), 1) - 0.5, -0.5)
    unit = f" ({comparison.of_difference})" if comparison.of_difference else ""
    ax.set_xlabel(f"difference within a seed{unit}")
    ax.grid(axis="x", alpha=0.2, linewidth=0.5)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
