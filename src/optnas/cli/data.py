"""``data check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optnas.base.errors import COMMAND_LINE, EXIT_DONE, EXIT_FAILED
from optnas.base.files import inside
from optnas.cli.common import DataFolder, dotted_settings
from optnas.cli.printing.text import say

app = typer.Typer(help="Look at labelled images before a search does.")


@app.command()
def check(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|DIR",
            help="a data set, a folder with a sub-folder of images per class, or parquet files",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="its settings, such as data.side=64"),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of words")] = False,
    data: DataFolder = None,
) -> None:
    """Read every image once: sizes, balance, duplicates; exit code 1 if an image is refused."""
    from optnas.base.json import dump_json
    from optnas.base.toml import nest
    from optnas.cli.printing.data import print_report
    from optnas.data.check import check as read_all
    from optnas.search.settings.complete import open_dataset

    asked = nest(dotted_settings(overrides, data=data), COMMAND_LINE)
    report = read_all(open_dataset({**_section(what), **asked.get("data", {})}))
    if as_json:
        say(dump_json(report.document(), indent=1))
    else:
        print_report(report)
    raise typer.Exit(EXIT_FAILED if report.refused else EXIT_DONE)


def _section(what: str) -> dict[str, str]:
    """The section ``data`` that a name or a path stands for."""
    path = Path(what)
    if path.suffix == ".parquet" or inside(path, "train-*.parquet"):
        return {"name": "parquet", "path": what}
    # With a colon it may be ./file.py:NAME, a data set of the user's own.
    if path.is_dir() or ("/" in what and ":" not in what):
        return {"name": "folder", "path": what}
    return {"name": what}
