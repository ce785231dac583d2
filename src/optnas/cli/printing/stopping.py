"""Stopping rules replayed: decisions on stored Hessians, and on runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optnas.cli.printing.text import aligned, say
from optnas.measures.drawing import run_label

if TYPE_CHECKING:
    from optnas.base.records import RunFolder
    from optnas.measures.stopping import Decision, Evaluations, Replay

HEADS = (
    *("run", "algorithm: weight + arch optimizer", "<seed", "rule", "<asked", "<stop", "<cell of"),
    *("<accuracy %", "<regret", "<over final", "cell"),
)
SUMMARY = ("rule", "<runs", "<stopped", "<accuracy %", "<regret", "<over final")


def print_evaluations(used: Evaluations, means: Sequence[float], decision: Decision) -> None:
    """Eigenvalues and their local means by epoch, and where the rule stops."""
    rows = [
        [str(epoch), f"{value:.6g}", f"{mean:.6g}"]
        for epoch, value, mean in zip(*used, means, strict=True)
    ]
    say("\n".join(aligned(("<epoch", "<top eigenvalue", "<local mean"), rows)))
    if decision.stop_epoch is None:
        say(f"never stops (asked {decision.asked} times)")
    else:
        say(f"stops at epoch {decision.stop_epoch}, returns epoch {decision.return_epoch}")


def print_replays(
    runs: Sequence[RunFolder],
    replays: Sequence[Sequence[Replay]],
    found: Sequence[dict[str, Any]],
    table: str,
    dataset: str | None,
) -> None:
    """Each rule on each run, and the means of each rule over the runs."""
    rows = [
        _row(run, run.read_config(), each)
        for run, group in zip(runs, replays, strict=True)
        for each in group
    ]
    say("\n".join(aligned(HEADS, rows)))
    say(f"\nmeans over runs; benchmark: table {table}, {dataset}; the oracle is no rule")
    means = [
        [
            *(each["rule"], str(each["runs"]), str(each["stopped"])),
            *(_text(each[key]) for key in ("accuracy", "regret", "over_final")),
        ]
        for each in found
    ]
    say("\n".join(aligned(SUMMARY, means)))


def _row(run: RunFolder, config: dict[str, Any], each: Replay) -> list[str]:
    stop = "-" if each.stop_epoch is None else str(each.stop_epoch)
    return [
        *(run.path.name, run_label(config), str(config["search"]["seed"]), each.rule),
        *(str(each.asked), stop, str(each.cell_epoch)),
        *(_text(each.accuracy), _text(each.regret), _text(each.over_final), each.cell),
    ]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
