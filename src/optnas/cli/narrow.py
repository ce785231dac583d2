"""``narrow``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optnas.base.errors import UserError
from optnas.cli.printing.text import say
from optnas.spaces.narrowing import OfNone


def narrow(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="the folder of a finished run")],
    *,
    keep: Annotated[int, typer.Option(help="candidates that each edge keeps, the strongest")],
    none: Annotated[
        OfNone, typer.Option(help="what becomes of the operation none: ranked is as any other")
    ] = "stays",
    output: Annotated[Path, typer.Option("-o", "--output", help="a .toml file")],
) -> None:
    """Write the settings of a next stage: a run's, in a space narrowed to its strongest operations.

    Give the file to optnas search -c, with what else is to change: a deeper network, other epochs.
    """
    from optnas.base.files import write_text, writing
    from optnas.base.toml import dump_toml
    from optnas.search.narrow import narrow as narrowed

    _check_ending(output)
    document = narrowed(run, keep, none=none)
    with writing("the settings", key="--output", path=output):
        write_text(output, dump_toml(document))
    say(f"wrote {output}: {keep} candidates per edge")


def _check_ending(path: Path) -> None:
    if path.suffix != ".toml":
        raise UserError(
            "not a file of settings", key="--output", value=str(path), remedy="end it in .toml"
        )
