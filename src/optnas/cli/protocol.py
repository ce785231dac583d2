"""``protocol show`` and ``protocol diff``."""

from __future__ import annotations

from typing import Annotated

import typer

from optnas.cli.printing.text import say

app = typer.Typer(help="Look at search protocols.")


@app.command()
def show(name: Annotated[str, typer.Argument(help="a shipped name or a path")]) -> None:
    """Print a protocol."""
    from optnas.search import protocols

    say(protocols.text_of(name), end="")


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="a shipped name or a path")],
    b: Annotated[str, typer.Argument(help="another")],
) -> None:
    """Print the settings in which two protocols differ."""
    from optnas.cli.printing.lists import print_differences
    from optnas.search import protocols

    print_differences(a, protocols.load(a)[1], b, protocols.load(b)[1])
