"""``protocol show`` and ``protocol diff``."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Look at search protocols.")


@app.command()
def show(name: Annotated[str, typer.Argument(help="a shipped name or a path")]) -> None:
    """Print a protocol."""
    from optnas import protocols

    typer.echo(protocols.text_of(name), nl=False)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="a shipped name or a path")],
    b: Annotated[str, typer.Argument(help="another")],
) -> None:
    """Print the settings in which two protocols differ."""
    from optnas import protocols
    from optnas.display import print_differences

    print_differences(a, protocols.load(a)[1], b, protocols.load(b)[1])
