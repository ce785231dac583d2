"""Tables made by ``optnas benchmark train``: one JSON file each, made, written and read here.

    {"format": 1, "space": ..., "command": ..., "hash": ..., "settings": {...}, "dataset": ...,
     "epochs": ..., "seeds": [...], "environment": {...},
     "functions": [{"cell": ..., "cells": [indices], "valid": [one percentage per seed],
                    "test": ...}]}

Cells that compute the same function (`optnas.spaces.function_string`) share one entry: the first of
them was trained, ``cells`` are the places of all of them in the space's official order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optnas.base.errors import UserError
from optnas.base.folder import Place
from optnas.base.json import parse_json
from optnas.base.toml import read_text
from optnas.spaces import Space
from optnas.spaces.tables.coverage import Coverage
from optnas.spaces.tables.table import Measurements, Table, TableSource

FORMAT = 1
SPLITS = ("test", "valid")
REMAKE = "make it again with optnas benchmark train"


def trained(name: str, path: Place, space: Space) -> TableSource:
    """The declaration of a table that ``optnas benchmark train`` wrote.

    Args:
        name: the table's name.
        path: the file.
        space: the space whose cells it holds.

    Returns:
        The declaration. A file that is missing, damaged or holds another space's cells is a
        `UserError`.
    """
    content = _read(Path(path), space)
    seeds = len(content["seeds"])
    provenance = (
        f"Every function of the space {space.name} trained from scratch on {content['dataset']},"
        f" the mean over {seeds} {'seed' if seeds == 1 else 'seeds'};"
        f" made by: {content['command']}."
    )
    coverage = Coverage.product([content["dataset"]], SPLITS, [content["epochs"]])

    def load(folder: Path | None) -> Table:
        held = {
            question: _measurements(content["functions"], question.split, space)
            for question in coverage.questions
        }
        return Table(name, space.name, provenance, held, folder, space=space)

    obtain = "reinstall optnas"
    return TableSource(
        name, space.name, provenance, coverage, obtain, lambda _: True, load, space=space
    )


def _read(path: Path, space: Space) -> dict[str, Any]:
    try:
        content: dict[str, Any] = parse_json(read_text(path), path, remedy=REMAKE)
        held, same = content["space"], content["format"] == FORMAT
        cells = sorted(cell for each in content["functions"] for cell in each["cells"])
        firsts = [(each["cell"], each["cells"][0]) for each in content["functions"]]
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(
            "not a table of stand-alone trainings", where=path, remedy=REMAKE
        ) from error
    if held != space.name:
        raise UserError(
            f"this table holds cells of {held}, not of {space.name}",
            where=path,
            key="space",
            value=held,
            remedy=f"give the file made by optnas benchmark train {space.name}",
        )
    if not same or cells != list(range(space.size)):
        reason = f"a table of another format, or not of the {space.size} cells of {space.name}"
        raise UserError(reason, where=path, remedy=REMAKE)
    for written, place in firsts:
        due = space.architecture_at(place).string
        if written != due:
            raise UserError(
                f"this table holds cells of another {space.name}: cell {place} of this is {due}",
                where=path,
                key="cell",
                value=written,
                remedy=f"give the space a name of its own, or {REMAKE}",
            )
    return content


def _measurements(functions: Sequence[Any], split: str, space: Space) -> Measurements:
    # The mean over seeds, and their standard deviation with n - 1: not a number for one seed.
    accuracy, spread = np.empty(space.size), np.full(space.size, np.nan)
    count = np.empty(space.size, dtype=np.int64)
    for function in functions:
        values = np.array(function[split], dtype=np.float64)
        cells = function["cells"]
        # Rounded, so that equal numbers of images in another order of seeds are equal means.
        accuracy[cells], count[cells] = values.mean().round(9), len(values)
        if len(values) > 1:
            spread[cells] = values.std(ddof=1)
    return Measurements(accuracy, spread, count)
