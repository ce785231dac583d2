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
    *,
    as_json: Annotated[bool, typer.Option("--json", help="a list with an entry per key")] = False,
) -> None:
    """Print the settings in which two protocols differ, defaults included."""
    from optnas.search import protocols
    from optnas.search.protocols.compare import differences

    found = differences(protocols.load(a), protocols.load(b))
    if as_json:
        from optnas.base.json import dump_json

        typer.echo(dump_json([each._asdict() for each in found], indent=1))
        return
    from optnas.cli.printing.lists import print_differences

    print_differences(a, b, found)
