"""``cache``: what the user's cache folder holds."""

from __future__ import annotations

from typing import Annotated

import typer


def cache(
    *,
    clear: Annotated[bool, typer.Option("--clear", help="remove it all; it is made again")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table")] = False,
) -> None:
    """What the cache folder holds: converted benchmark tables and decoded halves of data sets."""
    from optnas.base import cache as kept
    from optnas.base.errors import UserError
    from optnas.base.json import dump_json
    from optnas.cli.printing.text import aligned, say

    try:
        folder, found = kept.cache_folder(), kept.contents()
    except RuntimeError as error:
        raise UserError(
            f"there is no cache folder ({error})", remedy="set OPTNAS_HOME to a folder"
        ) from error
    removed = kept.clear() if clear else 0
    if as_json:
        places = {
            place: [{"file": each.path.name, "bytes": each.size} for each in files]
            for place, files in (kept.contents() if clear else found).items()
        }
        answer = {"folder": str(folder), "limit": kept.LIMIT, "removed": removed, **places}
        say(dump_json(answer, indent=1))
        return
    if clear:
        say(f"removed {removed / 1e6:.1f} MB from {folder}")
        return
    rows = [
        [place, str(len(files)), f"{sum(each.size for each in files) / 1e6:.1f} MB"]
        for place, files in found.items()
    ]
    say(f"{folder}, at most {kept.LIMIT / 1e9:.1f} GB each")
    for line in aligned(["what", "<files", "<size"], rows):
        say(line)
    say("remove it all: optnas cache --clear")
