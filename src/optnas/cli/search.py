"""``search`` and ``resume``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from optnas.base.errors import COMMAND_LINE, EXIT_DIVERGED, EXIT_DONE
from optnas.cli.common import Changes, DataFolder, Device, Overrides, Threads, dotted_settings


def _finish(result: dict[str, Any], out: Path) -> None:
    from optnas.cli.printing.runs import print_outcome

    print_outcome(result, out)
    raise typer.Exit(EXIT_DIVERGED if result["status"] == "diverged" else EXIT_DONE)


def search(
    overrides: Overrides = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="the run's folder, new or empty")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="a TOML file of settings")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace a run that lies in the folder")
    ] = False,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Run one search and watch it epoch by epoch."""
    from optnas.cli.printing.runs import EpochTable
    from optnas.search import api

    dotted = dotted_settings(overrides, device=device, threads=threads, data=data)
    with EpochTable(out) as table:
        result = api.run(
            dotted,
            out=out,
            config=config,
            on_epoch=table.add,
            where=COMMAND_LINE,
            overwrite=overwrite,
            progress=False,
        )
    _finish(result, out)


def resume(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="the run's folder")],
    overrides: Changes = None,
    *,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Go on with an interrupted run; a finished one is left as it is."""
    from optnas.cli.printing.runs import EpochTable
    from optnas.search import api

    dotted = dotted_settings(overrides, device=device, threads=threads, data=data)
    with EpochTable(out) as table:
        result = api.resume(out, dotted, on_epoch=table.add, where=COMMAND_LINE, progress=False)
    _finish(result, out)
