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
        str, typer.Option(help="official, analog-nasbench, or auto (official if present)")
    ] = "auto",
    data: DataFolder = None,
) -> None:
    """Accuracy, regret, rank and percentile of a cell on every data set of a table."""
    from optnas.benchmarks import data_folder, default_table, load_table
    from optnas.display import print_query
    from optnas.spaces.nasbench201 import NAS_BENCH_201

    folder = data_folder(data)
    is_index = architecture.isascii() and architecture.lstrip("+-").isdigit()
    if is_index:
        cell = NAS_BENCH_201.architecture_at(int(architecture))
    else:
        cell = NAS_BENCH_201.parse(architecture)
    name = default_table(folder) if table == "auto" else table
    print_query(load_table(name, folder=folder), cell)
