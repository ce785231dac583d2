"""``exam``."""

from __future__ import annotations

from typing import Annotated

import typer

from optnas.cli.common import Overrides, dotted_settings
from optnas.errors import EXIT_DONE, EXIT_FAILED


def exam(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET]",
            help="a name, ./file.py, ./file.py:NAME or module:Object; default: all that is there",
        ),
    ] = None,
    overrides: Overrides = None,
    *,
    kind: Annotated[
        str | None, typer.Option(help="what it is, such as algorithm, relaxation or metric")
    ] = None,
) -> None:
    """Examine components, one's own and the package's: same seed, same result, and much more."""
    from optnas.api import nest
    from optnas.errors import COMMAND_LINE

    settings = nest(dotted_settings(overrides), COMMAND_LINE)
    from optnas.display import print_outcomes
    from optnas.exam import examine, subjects

    found = subjects(target, kind, settings)
    failed = print_outcomes(outcome for subject in found for outcome in examine(subject))
    raise typer.Exit(EXIT_FAILED if failed else EXIT_DONE)
