"""``train``: one cell from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from optnas.base.errors import COMMAND_LINE, UserError
from optnas.cli.common import DataFolder, dotted_settings

EPILOG = "Started again, it goes on. DIR then serves optnas.network(DIR), the trained network."

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="dotted settings, such as data.name=digits"),
]
Protocol = Annotated[
    str, typer.Option(help="training protocol: a shipped name (docs/training.md), or a TOML file")
]
Epochs = Annotated[int | None, typer.Option(help="training.epochs")]
Seeds = Annotated[str | None, typer.Option(help="training.seeds, such as 0,1,2; one training each")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads")]


def train(
    what: Annotated[
        str, typer.Argument(metavar="RUN|ARCH", help="a finished run, a cell, or its index")
    ],
    overrides: Words = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="the training's folder")],
    protocol: Protocol = "cpu",
    epochs: Epochs = None,
    seeds: Seeds = None,
    space: Annotated[str | None, typer.Option(help="space of ARCH")] = None,
    device: Device = "auto",
    threads: Threads = 1,
    data: DataFolder = None,
) -> None:
    """Train one cell from scratch, on a run's images or data.name=NAME, and judge it."""
    from optnas.cli.printing.training import print_trained, printer
    from optnas.search.standalone.cell import train as train_cell

    on_start, on_epoch = printer()
    result = train_cell(
        what,
        given(overrides, epochs, seeds, data),
        out=out,
        protocol=protocol,
        space=space,
        device=device,
        threads=threads,
        on_start=on_start,
        on_epoch=on_epoch,
        where=COMMAND_LINE,
    )
    print_trained(result, out)


def given(
    overrides: list[str] | None, epochs: int | None, seeds: str | None, data: Path | None
) -> dict[str, Any]:
    """Dotted settings from words and from the options that have a key of their own.

    Raises:
        UserError: a word is no setting, or the seeds are no list.
    """
    dotted = dotted_settings(overrides, data=data)
    if epochs is not None:
        dotted["training.epochs"] = epochs
    if seeds is not None:
        try:
            dotted["training.seeds"] = [int(each) for each in seeds.split(",")]
        except ValueError as error:
            raise UserError(
                "is no list of whole numbers",
                key="--seeds",
                value=seeds,
                remedy="write it as --seeds 0,1,2",
            ) from error
    return dotted
