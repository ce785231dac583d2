"""Runs that are followed: curves of one in full, of many by arm, and how long it will take."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optnas.base.columns import RECORD, SUPERNET_ACCURACY, TOP_EIGENVALUE, symbol
from optnas.base.escapes import for_terminal
from optnas.search.showing import duration
from optnas.study.following import OVER, Seen, mean_curve
from optnas.study.progress import counts

BLOCKS = "▁▂▃▄▅▆▇█"
# Bits of the eight dots of a braille sign, from the top: left column, right column.
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
HEIGHT = 6  # lines of a curve
SPARK = 24  # signs of an arm's curve
MOST = 12  # runs under way, and runs that failed, that are shown

Curve = Sequence[float | None]


def picture(seen: Sequence[Seen], width: int) -> RenderableType:
    """What there is to see at one moment.

    Args:
        seen: the runs.
        width: of the terminal, in signs.
    """
    return _one(seen[0], width) if len(seen) == 1 else _many(seen)


def _text(text: str, style: str = "") -> Text:
    return Text(for_terminal(text), style=style, no_wrap=True, overflow="ellipsis")


def _one(seen: Seen, width: int) -> RenderableType:
    run = seen.run
    head = f"{run.arm}, seed {run.seed}: {seen.state}, epoch {seen.done} of {run.epochs}"
    if seen.left:
        head += f", about {duration(seen.left)} left"
    told = [_text(head, "bold"), _text(f"{run.folder.path}")]
    told += [_text(seen.reason, "red")] if seen.reason else []
    columns = [
        (RECORD[name].words, symbol(RECORD[name].unit), [record[name] for record in seen.records])
        for name in (SUPERNET_ACCURACY, "train_loss", TOP_EIGENVALUE)
    ]
    if seen.records:
        asked = seen.records[0]["benchmark"]
        for name in [*asked["accuracy"]][:1]:
            curve = [record["benchmark"]["accuracy"][name] for record in seen.records]
            columns.insert(1, (f"benchmark ({asked['table']}), {name}", "%", curve))
    grid = Table.grid(padding=(1, 2, 0, 0))
    across = max(20, min(60, width // 2 - 4))
    panels = [_panel(words, unit, curve, across, run.epochs) for words, unit, curve in columns]
    for at in range(0, len(panels), 2):
        grid.add_row(*panels[at : at + 2])
    last = [_text(f"cell: {seen.records[-1]['architecture']}")] if seen.records else []
    return Group(*told, grid, *last)


def _panel(words: str, unit: str, curve: Curve, width: int, epochs: int) -> RenderableType:
    known = [value for value in curve if value is not None]
    if not known:
        return Group(_text(words, "bold"), Text("nothing yet"))
    told = f"{words}: {known[-1]:.4g} {unit}".rstrip()
    ends = f"{min(known):.4g} to {max(known):.4g}, epoch 0 to {epochs}"
    lines = [Text(line, style="cyan") for line in braille(curve, width, HEIGHT, epochs)]
    return Group(_text(told, "bold"), *lines, _text(ends, "dim"))


def braille(curve: Curve, width: int, height: int, epochs: int) -> list[str]:
    """A curve in dots, two across and four down in each sign.

    Args:
        curve: values from epoch 0 on; None is no dot.
        width: in signs.
        height: in lines.
        epochs: the last epoch, which is at the right end.

    Returns:
        Lines of signs; the lowest value is at the bottom, the highest at the top.
    """
    known = [value for value in curve if value is not None]
    low, high = min(known), max(known)
    signs = [[0] * width for _ in range(height)]
    across, down = (2 * width - 1) / max(1, epochs, len(curve) - 1), 4 * height - 1
    points = [
        (round(epoch * across), (high - value) / ((high - low) or 1) * down)
        for epoch, value in enumerate(curve)
        if value is not None
    ]
    for (x, y), (to, end) in itertools.pairwise([points[0], *points]):
        for place in range(x, to + 1):
            at = round(end if to == x else y + (end - y) * (place - x) / (to - x))
            signs[at // 4][place // 2] |= DOTS[at % 4][place % 2]
    return ["".join(chr(0x2800 + bits) for bits in line) for line in signs]


def spark(curve: Sequence[float], low: float, high: float, width: int, epochs: int) -> str:
    """A curve in blocks of eight heights.

    Args:
        curve: values from epoch 0 on.
        low: the value of the lowest block.
        high: that of the highest.
        width: signs of all epochs.
        epochs: the last epoch.

    Returns:
        As many signs as epochs have come, of each the last value that falls on it.
    """
    at = {round(e / max(1, epochs) * (width - 1)): value for e, value in enumerate(curve)}
    signs, value = "", curve[0] if curve else 0.0
    for place in range(max(at, default=-1) + 1):
        value = at.get(place, value)
        signs += BLOCKS[round((value - low) / ((high - low) or 1) * (len(BLOCKS) - 1))]
    return signs


def _many(seen: Sequence[Seen]) -> RenderableType:
    running = [each for each in seen if each.state == "running"]
    done = sum(each.done for each in seen)
    total = sum(each.done if each.state in OVER else each.run.epochs for each in seen)
    head = f"{counts(Counter(each.state for each in seen))}; {done}/{total} epochs"
    head += _left(seen, len(running))
    shown: list[RenderableType] = [_text(head, "bold"), _arms(seen)]
    for title, chosen in (
        ("under way", running),
        ("went wrong", [each for each in seen if each.reason and each.state != "done"]),
    ):
        if chosen:
            shown += [Text(), _runs(title, chosen[:MOST])]
        if len(chosen) > MOST:
            shown.append(_text(f"and {len(chosen) - MOST} more"))
    return Group(*shown)


def _left(seen: Sequence[Seen], abreast: int) -> str:
    """Time for what is not over, at the mean pace of all epochs so far."""
    took = [record["seconds"] for each in seen for record in each.records[1:]]
    to_come = sum(each.run.epochs - each.done for each in seen if each.state not in OVER)
    if not took or not to_come or not abreast:
        return ""
    seconds = sum(took) / len(took) * to_come / abreast
    return f"; about {duration(seconds)} left with {abreast} at a time"


def _arms(seen: Sequence[Seen]) -> Table:
    arms: dict[str, list[Seen]] = {}
    for each in seen:
        arms.setdefault(each.run.arm, []).append(each)
    curves = {arm: mean_curve(runs) for arm, runs in arms.items()}
    values = [value for curve in curves.values() for value in curve if math.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("arm", overflow="fold")  # what tells two apart may be its end
    table.add_column("done", justify="right", no_wrap=True)
    table.add_column("valid %", justify="right", no_wrap=True)
    title = f"mean of so far, {low:.3g} to {high:.3g} %" if values else "mean of so far"
    table.add_column(title, no_wrap=True, min_width=SPARK)
    for arm, runs in arms.items():
        over = sum(each.state in ("done", "diverged") for each in runs)
        curve, epochs = curves[arm], max(each.run.epochs for each in runs)
        table.add_row(
            Text(for_terminal(arm)),
            f"{over}/{len(runs)}",
            f"{curve[-1]:.2f}" if curve else "-",
            Text(spark(curve, low, high, SPARK, epochs), style="cyan"),
        )
    return table


def _runs(title: str, runs: Sequence[Seen]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title, overflow="fold")
    table.add_column("epoch", justify="right", no_wrap=True)
    table.add_column("valid %", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for each in runs:
        valid = f"{each.records[-1][SUPERNET_ACCURACY]:.2f}" if each.records else "-"
        left = f"about {duration(each.left)} left" if each.left else ""
        told = f"{each.state}: {each.reason}" if each.reason else left
        seed = "" if each.run.seed is None else f", seed {each.run.seed}"
        table.add_row(
            Text(for_terminal(f"{each.run.arm}{seed}")),
            f"{each.done}/{each.run.epochs}",
            valid,
            Text(for_terminal(told)),
        )
    return table
