"""``exam``."""

from __future__ import annotations

from typing import Annotated

import typer

from optnas.base.errors import COMMAND_LINE, EXIT_DONE, EXIT_FAILED, UserError
from optnas.cli.common import dotted_settings, told_apart


def exam(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET] [KEY=VALUE]...",
            help="a name, ./file.py, ./file.py:NAME or module:Object (default: all that is "
            "registered), and settings of it",
        ),
    ] = None,
    *,
    kind: Annotated[
        str | None, typer.Option(help="what it is, such as algorithm, relaxation or measure")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="a list with an entry per check")] = False,
) -> None:
    """Examine components, one's own and the package's."""
    from optnas.search.api import nest

    targets, _, given = told_apart(words)
    if len(targets) > 1:
        raise UserError(
            "one component at a time", key="TARGET", value=targets[1], remedy="run it once for each"
        )
    settings = nest(dotted_settings(given), COMMAND_LINE)
    from optnas.base.json import dump_json
    from optnas.cli.printing.lists import outcome_entry, print_outcomes
    from optnas.search.exam import examine, subjects

    found = subjects(targets[0] if targets else None, kind, settings)
    outcomes = (outcome for subject in found for outcome in examine(subject))
    if as_json:
        told = list(outcomes)
        typer.echo(dump_json([outcome_entry(outcome) for outcome in told], indent=1))
        failed = sum(outcome.verdict == "failed" for outcome in told)
    else:
        failed = print_outcomes(outcomes)
    raise typer.Exit(EXIT_FAILED if failed else EXIT_DONE)
