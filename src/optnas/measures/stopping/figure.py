"""Where each stopping rule ends a search and which cell it returns; one column per run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.drawing import COLOURS, NAMES, require_runs, run_label
from optnas.measures.lines import MARKERS, data_names, finish
from optnas.measures.stopping import Replay, Rule, Trajectory, choose, local_means, replay
from optnas.measures.stopping.replay import trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@register("figure", "stopping")
def stopping(
    runs: Sequence[RunFolder],
    window: int | None = None,
    ratio: float | None = None,
    start: int | None = None,
    delta: int | None = None,
    every: int | None = None,
    skips: int | None = None,
    patience: int | None = None,
    epoch: int | None = None,
    dataset: str = "",
) -> Figure:
    """Top eigenvalue with local means, and benchmark accuracy, with the marks of each rule.

    From the records alone. Between both panels each rule has a line of its own: a cross where it
    stops, a point at the epoch whose cell it returns; a rule that never stops returns the last.

    Args:
        runs: the runs.
        window: of the rules that have it, as the next seven; None for what a rule has by default.
        ratio: growth that stops a search.
        start: earliest epoch to return.
        delta: evaluations between two means.
        every: only evaluations at multiples of it; 0 for all.
        skips: of the rule ``skips``.
        patience: of the rule ``patience``.
        epoch: of the rule ``fixed``.
        dataset: benchmark accuracy on this data set; empty for the first.

    Raises:
        UserError: there is no run, or one has no records or lacks the data set.
    """
    from matplotlib.figure import Figure

    require_runs("stopping", runs)
    asked = {"window": window, "ratio": ratio, "start": start, "delta": delta, "every": every}
    asked |= {"skips": skips, "patience": patience, "epoch": epoch}
    given = {key: value for key, value in asked.items() if value is not None}
    rules = choose(given=given)
    smoothed = next((rule.settings for rule in rules.values() if "window" in rule.settings), {})
    configs = [run.read_config() for run in runs]
    figure = Figure(figsize=(max(4.4 * len(runs), 6.5) + 0.6, 8), layout="constrained")
    rows = figure.subplots(
        3, len(runs), squeeze=False, sharex="col", sharey="row", height_ratios=(3, 1.6, 3)
    )
    for run, config, column in zip(runs, configs, rows.T, strict=True):
        path = trajectory(run, dataset or None)
        found = replay(path, rules)
        _draw_curvature(column[0], path, smoothed)
        _draw_rules(column[1], found)
        _draw_accuracy(column[2], path, found)
        for ax in (column[0], column[2]):
            _mark(ax, found)
        for ax in column:
            finish(ax)
        column[0].set_title(f"{run_label(config)}\nseed {config['search']['seed']}", fontsize=10)
        column[2].set_xlabel("epoch")
    rows[0, 0].set_ylabel("top eigenvalue of the\nalpha-Hessian (nats)")
    rows[1, 0].set_yticks(range(len(rules)), rules)
    rows[1, 0].set_ylim(len(rules) - 0.5, -0.5)
    rows[2, 0].set_ylabel(_benchmark(runs[0], dataset))
    longest = max(config["search"]["epochs"] for config in configs)
    figure.suptitle(
        f"stopping rules replayed: search on {data_names(configs)}, {longest} epochs, "
        f"n = {len(runs)} run{'s' if len(runs) > 1 else ''}\n"
        + "; ".join(filter(None, map(_settings, rules.values()))),
        fontsize=10,
    )
    _legend(figure, rules)
    return figure


def _settings(rule: Rule) -> str:
    """Such as ``patience: patience 10``; nothing for a rule without settings."""
    told = ", ".join(f"{k} {v}" for k, v in rule.settings.items() if v is not None)
    return f"{rule.name}: {told}" if told else ""


def _benchmark(run: RunFolder, dataset: str) -> str:
    told = run.read_some_epochs()[0]["benchmark"]
    named = dataset or next(iter(told["accuracy"]), None)
    if named is None:
        return "no benchmark was asked"
    where = f"{NAMES.get(named, named)} {told['split']}, table {told['table']}"
    return f"benchmark accuracy of the cell (%)\n{where}"


def _draw_curvature(ax: Axes, path: Trajectory, smoothed: Mapping[str, Any]) -> None:
    """The evaluations, and their local means as the rule with a ``window`` takes them."""
    used = path.curvature.every(smoothed.get("every", 0))
    ax.plot(*used, "o", color="0.55", markersize=4)
    means = local_means(used.values, smoothed.get("window", 1))
    ax.plot(used.epochs, means, "-", color="black", linewidth=1.6)
    if not used.epochs:
        ax.text(0.5, 0.5, "no Hessian was evaluated", ha="center", transform=ax.transAxes)


def _looks(found: Sequence[Replay]) -> list[tuple[Replay, dict[str, Any]]]:
    return [(each, {"color": colour}) for each, colour in zip(found, cycle(COLOURS), strict=False)]


def _draw_rules(ax: Axes, found: Sequence[Replay]) -> None:
    """One line per rule, from the epoch it returns to the one it stops at."""
    for height, (each, look) in enumerate(_looks(found)):
        if each.stop_epoch is None:
            ax.plot([each.cell_epoch], [height], "o", markerfacecolor="white", **look)
            continue
        ax.plot([each.cell_epoch, each.stop_epoch], [height] * 2, "-", linewidth=2, **look)
        ax.plot([each.cell_epoch], [height], "o", markersize=7, **look)
        ax.plot([each.stop_epoch], [height], "x", markersize=9, markeredgewidth=2, **look)


def _draw_accuracy(ax: Axes, path: Trajectory, found: Sequence[Replay]) -> None:
    known = [(e, a) for e, a in zip(path.epochs, path.accuracy, strict=True) if a is not None]
    ax.plot([e for e, _ in known], [a for _, a in known], "-", color="0.55", linewidth=1.2)
    for (each, look), marker in zip(_looks(found), cycle(MARKERS), strict=False):
        if each.accuracy is not None:
            filled: dict[str, Any] = {}
            if each.stop_epoch is None:
                filled["markerfacecolor"] = "white"
            ax.plot([each.cell_epoch], [each.accuracy], marker, markersize=8, **look, **filled)


def _mark(ax: Axes, found: Sequence[Replay]) -> None:
    for each, look in _looks(found):
        if each.stop_epoch is not None:
            ax.axvline(each.stop_epoch, linestyle="--", linewidth=1, alpha=0.8, **look)
            ax.axvline(each.cell_epoch, linestyle="-", linewidth=1, alpha=0.8, **look)


def _legend(figure: Figure, rules: Iterable[str]) -> None:
    from matplotlib.lines import Line2D

    grey, none = "0.35", "None"
    shown: list[tuple[str, dict[str, Any]]] = [
        ("evaluation", {"marker": "o", "linestyle": none, "color": "0.55"}),
        ("local mean", {"color": "black"}),
        ("stops here", {"marker": "x", "linestyle": "--", "color": grey, "markersize": 8}),
        ("returns this cell", {"marker": "o", "linestyle": "-", "color": grey}),
        (
            "never stops: the last cell",
            {"marker": "o", "linestyle": none, "color": grey, "markerfacecolor": "white"},
        ),
    ]
    shown += [
        (name, {"marker": marker, "linestyle": none, "color": colour, "markersize": 8})
        for name, marker, colour in zip(rules, cycle(MARKERS), cycle(COLOURS), strict=False)
    ]
    figure.legend(
        [Line2D([], [], **look) for _, look in shown],
        [name for name, _ in shown],
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=8,
    )
