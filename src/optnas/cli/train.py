"""``train``: one cell from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optnas.base.errors import COMMAND_LINE
from optnas.cli.common import DataFolder, dotted_settings

EPILOG = "Started again, it goes on. DIR then serves optnas.network(DIR), the trained network."


def train(
    what: Annotated[
        str, typer.Argument(metavar="RUN|ARCH", help="a finished run, a cell, or its index")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="dotted settings, such as data.name=digits"),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="the training's folder")],
    protocol: Annotated[
        str,
        typer.Option(help="training protocol: a shipped name (docs/training.md), or a TOML file"),
    ] = "cpu",
    epochs: Annotated[int | None, typer.Option(help="training.epochs")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="training.seeds, such as 0,1,2; one training each")
    ] = None,
    space: Annotated[str | None, typer.Option(help="space of ARCH")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 1,
    data: DataFolder = None,
) -> None:
    """Train one cell from scratch, on a run's images or data.name=NAME, and judge it."""
    from optnas.cli.printing.training import print_trained, printer
    from optnas.search.standalone.cell import train as train_cell

    dotted = dotted_settings(overrides, data=data)
    given = {
        "training.epochs": epochs,
        "training.seeds": None if seeds is None else _numbers(seeds),
    }
    dotted |= {key: value for key, value in given.items() if value is not None}
    on_start, on_epoch = printer()
    result = train_cell(
        what,
        dotted,
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


def _numbers(text: str) -> list[int]:
    from optnas.base.errors import UserError

    try:
        return [int(each) for each in text.split(",")]
    except ValueError as error:
        raise UserError(
            "is no list of whole numbers",
            key="--seeds",
            value=text,
            remedy="write it as --seeds 0,1,2",
        ) from error
