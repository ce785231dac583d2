"""``doctor``: whether this machine can search, and what to do where it cannot."""

from __future__ import annotations

from typing import Annotated

import typer

from optnas.base.errors import EXIT_DONE, EXIT_FAILED
from optnas.cli.common import DataFolder, Device


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="a list with an entry per check")] = False,
    device: Device = None,
    data: DataFolder = None,
) -> None:
    """Look at versions, device, data, tables, cache and disk, and search for two steps."""
    from optnas.base.json import dump_json
    from optnas.cli.printing.text import say
    from optnas.search.doctor import examine_machine

    seen = []
    for check in examine_machine(data, device or "auto"):
        seen.append(check)
        if not as_json:
            say(f"{check.state:<6}  {check.subject}: {check.seen}", flush=True)
            if check.remedy:
                say(f"{'':<6}    to do: {check.remedy}", flush=True)
    wrong = sum(check.state == "wrong" for check in seen)
    if as_json:
        say(dump_json([check._asdict() for check in seen], indent=1))
    else:
        say(f"{wrong} wrong" if wrong else "nothing is wrong")
    raise typer.Exit(EXIT_FAILED if wrong else EXIT_DONE)
