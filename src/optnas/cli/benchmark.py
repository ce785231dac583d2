"""``benchmark query``."""

from __future__ import annotations

from typing import Annotated

import typer

from optnas.cli.common import DataFolder

app = typer.Typer(help="Ask a benchmark table.")


@app.command()
def query(
    architecture: Annotated[str, typer.Argument(metavar="ARCH|INDEX", help="string or index")],
    table: Annotated[
        str, typer.Option(help="name of a table, or auto: the preferred one that is there")
    ] = "auto",
    data: DataFolder = None,
) -> None:
    """Accuracy, regret, rank and percentile of a cell for all that a table can be asked."""
    from optnas import registry
    from optnas.benchmarks import data_folder, default_table, find_source
    from optnas.display import print_query

    folder = data_folder(data)
    source = find_source(default_table(folder) if table == "auto" else table)
    cells = registry.find("space", source.space_name)()
    is_index = architecture.isascii() and architecture.lstrip("+-").isdigit()
    cell = cells.architecture_at(int(architecture)) if is_index else cells.parse(architecture)
    print_query(source.load(folder), cell)
