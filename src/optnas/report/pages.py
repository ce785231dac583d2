"""The pages of single runs: their curves, alpha over epochs, the cell at its changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optnas.base.columns import TOP_EIGENVALUE, titled
from optnas.base.records import Record
from optnas.base.toml import dump_toml
from optnas.report.cells import cell_svg
from optnas.report.data import plain, thinned
from optnas.report.inventory import Entry
from optnas.search.settings.model import PLACES
from optnas.spaces import Space, build_space
from optnas.spaces.drawing import operation_colours

SERIES = (
    ("supernet accuracy", "%", (("train_accuracy", "train"), ("valid_accuracy", "validation"))),
    ("loss", "nats", (("train_loss", "train"), ("valid_loss", "validation"))),
    (*titled(TOP_EIGENVALUE)[:2], ((TOP_EIGENVALUE, "top eigenvalue"),)),
    (
        "way of alpha that softmax sees",
        "",
        (
            ("alpha_path_length_centred", "path length"),
            ("alpha_displacement_centred", "displacement"),
        ),
    ),
)


@dataclass(frozen=True)
class Moment:
    """A drawing of the cell at an epoch."""

    title: str
    architecture: str
    drawing: str


@dataclass(frozen=True)
class Page:
    """One run: what it is, its drawings, what its charts are made of, its settings as TOML."""

    entry: Entry
    moments: list[Moment]
    changes: int
    data: dict[str, Any]
    settings: str


def page(entry: Entry) -> Page:
    """The page of a run.

    Args:
        entry: the run; it has a record.

    Raises:
        UserError: a file of the run is damaged.
    """
    config, records = entry.folder.read_config(), entry.folder.read_epochs()
    space = build_space(config["space"], where=entry.folder.config)
    settings = {k: v for k, v in config.items() if k != "identity"}
    settings["data"] = {k: v for k, v in config["data"].items() if k not in PLACES}
    changes = _changes(records)
    return Page(
        entry=entry,
        moments=[_moment(space, records, at, changes) for at in _three(changes)],
        changes=len(changes) - 1,
        data=_data(space, records),
        settings=dump_toml(settings),
    )


def _changes(records: Sequence[Record]) -> list[int]:
    """Positions of the first record and of those whose derived cell is another than before."""
    cells = [record["architecture"] for record in records]
    return [at for at in range(len(cells)) if at == 0 or cells[at] != cells[at - 1]]


def _three(changes: Sequence[int]) -> list[int]:
    return sorted({changes[0], changes[len(changes) // 2], changes[-1]})


def _moment(space: Space, records: Sequence[Record], at: int, changes: Sequence[int]) -> Moment:
    record = records[at]
    until = next((c for c in changes if c > at), len(records)) - 1
    stays = "" if until == at else f" to {records[until]['epoch']}"
    worth = next(iter(record["benchmark"]["accuracy"].values()), None)
    told = "" if worth is None else f": {worth:.2f} %"
    cell = space.parse(record["architecture"])
    return Moment(
        f"epoch {record['epoch']}{stays}{told}",
        record["architecture"],
        cell_svg(space, record["op_weights"], cell),
    )


def _data(space: Space, records: Sequence[Record]) -> dict[str, Any]:
    drawn = [records[at] for at in thinned(len(records))]
    charts = [
        {
            "title": title,
            "unit": unit,
            "lines": [
                {"label": label, "values": _values([record.get(key) for record in drawn])}
                for key, label in lines
            ],
        }
        for title, unit, lines in SERIES
        if any(key in drawn[-1] for key, _ in lines)
    ]
    benchmark = drawn[0]["benchmark"]
    if benchmark["accuracy"]:
        dataset = next(iter(benchmark["accuracy"]))
        values = _values([record["benchmark"]["accuracy"][dataset] for record in drawn])
        title = f"{dataset} {benchmark['split']} accuracy, table {benchmark['table']}"
        charts.insert(2, {"title": title, "unit": "%", "lines": [{"label": "", "values": values}]})
    return {
        "epochs": [record["epoch"] for record in drawn],
        "charts": charts,
        "operations": list(space.operations),
        "colours": list(operation_colours(space)),
        "candidates": [list(space.columns_at(edge)) for edge in range(space.edge_count)],
        "edges": [f"{source} to {target}" for source, target in space.edges],
        "op_weights": [
            [[round(weight, 3) for weight in weights] for weights in record["op_weights"]]
            for record in drawn
        ],
        "cells": [list(space.parse(record["architecture"]).operations) for record in drawn],
        "every": len(drawn) == len(records),
    }


def _values(values: Sequence[float | None]) -> list[float | None]:
    return plain([float("nan") if value is None else value for value in values])
