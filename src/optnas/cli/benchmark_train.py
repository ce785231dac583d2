"""``benchmark train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optnas.cli.common import DataFolder
from optnas.cli.printing.text import say


def train(
    space: Annotated[str, typer.Argument(help="name of a space, or ./file.py:Object")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="the table's .json file")],
    protocol: Annotated[
        str, typer.Option(help="training protocol: a shipped name, or a TOML file")
    ] = "digits",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 1,
    data: DataFolder = None,
) -> None:
    """Train every function of a space and write its table; started again, it goes on."""
    from optnas.base import registry
    from optnas.base.errors import UserError
    from optnas.cli.printing.tables import print_training
    from optnas.search.standalone.settings import load_settings
    from optnas.search.standalone.table import make_table
    from optnas.spaces import build_space

    if out.suffix != ".json":
        raise UserError(
            "a table is a JSON file", key="--out", value=str(out), remedy="end it in .json"
        )
    registry.find("space", space, key="SPACE")  # told as the argument that it is
    cells = build_space({"name": space})
    settings = load_settings(cells, protocol, folder=data)
    make_table(cells, settings, out, threads=threads, on_training=print_training)
    say(f"wrote {out}")
