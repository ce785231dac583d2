"""``benchmark query``, ``tables``, ``import``, ``published``, ``random-search``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from optnas.cli.common import DataFolder
from optnas.cli.printing.text import say

app = typer.Typer(help="Ask a benchmark table.")


@app.command()
def query(
    architecture: Annotated[
        str,
        typer.Argument(
            metavar="ARCH|INDEX", help="string, operation indices such as 3,1,3,1,1,1, or index"
        ),
    ],
    table: Annotated[
        str, typer.Option(help="name of a table, or auto: the preferred one that is there")
    ] = "auto",
    space: Annotated[
        str | None, typer.Option(help="space of the cell; default: that of the table")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="only this data set")] = None,
    split: Annotated[str | None, typer.Option(help="only this split, test or valid")] = None,
    epochs: Annotated[int | None, typer.Option(help="only after so many epochs")] = None,
    data: DataFolder = None,
) -> None:
    """What a table says of a cell: accuracy, spread, trials, regret, rank and percentile."""
    from optnas.cli.printing.tables import print_query
    from optnas.search.settings.layers import default_space
    from optnas.spaces import build_space
    from optnas.spaces.tables import data_folder, default_table, find_source

    folder = data_folder(data)
    named = None if space is None else build_space({"name": space})
    if table == "auto":
        table = default_table(folder, named or default_space())
    source = find_source(table)
    cells = named or source.space or build_space({"name": source.space_name})
    if cells.name == source.space_name:
        source.check_holds(cells, value=space)
    is_index = re.fullmatch(r"[+-]?[0-9]{1,20}", architecture)  # Python reads 4,300 digits
    cell = cells.architecture_at(int(architecture)) if is_index else cells.parse(architecture)
    loaded = source.load(folder)
    parts = {"dataset": dataset, "split": split, "epochs": epochs}
    wanted = {part: value for part, value in parts.items() if value is not None}
    print_query(loaded, cell, loaded.questions(**wanted))


@app.command()
def tables(data: DataFolder = None) -> None:
    """List the tables: what each can be asked, whether it is there, its provenance."""
    from optnas.cli.printing.tables import print_tables
    from optnas.spaces.tables import data_folder, sources

    print_tables(sources(), data_folder(data))


@app.command("import")
def import_archive(
    path: Annotated[Path, typer.Argument(help="NATS-tss-v1_0-3ffb9-simple, or a tar of it")],
    allow_partial: Annotated[
        bool, typer.Option(help="import a part; it answers queries for its cells, no search")
    ] = False,
    data: DataFolder = None,
) -> None:
    """Convert the official NATS-Bench archive, once, to the small table nats-tss."""
    from optnas.cli.printing.tables import CellProgress
    from optnas.spaces.tables import data_folder, nats

    with CellProgress(nats.CELLS) as progress:
        imported = nats.import_archive(
            path, data_folder(data), allow_partial=allow_partial, on_cell=progress.show
        )
    say(f"wrote {imported.path}: {imported.held} of {imported.size} cells")
    if imported.held < imported.size:
        say("a part: it answers queries for its cells, and no search")


@app.command()
def published(
    every: Annotated[
        bool, typer.Option("--all", help="also rows that were not read in a document")
    ] = False,
) -> None:
    """Print published results, their sources and what to know of each."""
    from optnas.cli.printing.tables import print_published
    from optnas.spaces.tables.published import published as load

    print_published(load(), unverified=every)


@app.command("random-search")
def random_search(
    cells: Annotated[list[int] | None, typer.Argument(metavar="[K]...", help="cells drawn")] = None,
    table: Annotated[
        str, typer.Option(help="name of a table, or auto: the preferred one that is there")
    ] = "auto",
    data: DataFolder = None,
) -> None:
    """What the best of K random cells is worth on a table, exactly; K = 1, 10, 100 by default."""
    from optnas.cli.printing.tables import print_random_search
    from optnas.search.settings.layers import default_space
    from optnas.spaces.tables import data_folder, default_table, find_source
    from optnas.spaces.tables.random_search import random_searches
    from optnas.spaces.tables.references import BUDGETS

    folder = data_folder(data)
    name = default_table(folder, default_space()) if table == "auto" else table
    loaded = find_source(name).load(folder)
    loaded.require_whole()
    budgets = cells or [k for k in BUDGETS if k <= loaded.size]
    found = [
        each
        for question in loaded.coverage.headline
        for k in budgets
        for each in random_searches(loaded, question, k)
    ]
    print_random_search(loaded, found)
