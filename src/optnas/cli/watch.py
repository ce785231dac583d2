"""``watch``: curves and progress of runs in the terminal, as long as they go on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optnas.base.errors import UserError
from optnas.cli.common import DataFolder

if TYPE_CHECKING:
    from rich.console import Console

    from optnas.study.following import Following

PAUSE = 1.0  # seconds between looks


def watch(
    target: Annotated[
        str, typer.Argument(metavar="STUDY|RUN", help="a run's folder, one with runs, or a study")
    ],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="the study's folder")] = None,
    once: Annotated[bool, typer.Option("--once", help="one picture of the present")] = False,
    data: DataFolder = None,
) -> None:
    """Follow runs: curves, epochs, time left. Ends when all is over, or with Ctrl-C."""
    from rich.console import Console

    from optnas.study.following import following

    followed = following(target, out, data)
    if not once and not sys.stdout.isatty():
        raise UserError("standard output is no terminal", key="--once", remedy="add --once")
    follow(followed, Console(), once=once)


def follow(followed: Following, console: Console, *, once: bool, pause: float = PAUSE) -> None:
    """Show runs on a console until all are over.

    Args:
        followed: the runs.
        console: where to.
        once: one picture only.
        pause: seconds between looks.
    """
    from rich.live import Live

    from optnas.cli.printing.watch import picture
    from optnas.study.following import OVER

    if once:
        console.print(picture(followed.look(), console.width))
        return
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                seen = followed.look()
                live.update(picture(seen, console.width), refresh=True)
                if all(each.state in OVER for each in seen):
                    return
                time.sleep(pause)
        except KeyboardInterrupt:  # how one leaves
            return
