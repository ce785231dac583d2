"""Hessians that others stored, as JSON lines {"epoch": e, "H": [[...]]}."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from optnas.base.errors import UserError
from optnas.base.json import parse_object
from optnas.base.toml import read_text
from optnas.measures.stopping.rules import Evaluations

FORM = 'write {"epoch": 0, "H": [[1.0, 0.0], [0.0, 1.0]]} on each line'
LEAVE_OUT = "leave out this epoch and all after it"


def read_hessians(path: Path) -> Evaluations:
    """The largest eigenvalue of each stored Hessian, of (H + H') / 2.

    Args:
        path: the file; further keys of a line are ignored.

    Returns:
        Epochs and eigenvalues.

    Raises:
        UserError: a line is not of the form, a matrix is not square or not finite, the epochs do
            not ascend, or there is no line.
    """
    found = Evaluations([], [])
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        content = parse_object(line, where, remedy=LEAVE_OUT)
        epoch = _epoch(content, where)
        if found.epochs and epoch <= found.epochs[-1]:
            raise UserError(
                f"does not come after epoch {found.epochs[-1]}",
                where=where,
                key="epoch",
                value=epoch,
                remedy="sort the lines, one per epoch",
            )
        found.epochs.append(epoch)
        found.values.append(_top_eigenvalue(content, where))
    if not found.epochs:
        raise UserError("holds no Hessian", where=path, remedy=FORM)
    return found


def _value(content: dict[str, Any], key: str, where: str) -> Any:
    if key not in content:
        raise UserError("is missing", where=where, key=key, remedy=FORM)
    return content[key]


def _epoch(content: dict[str, Any], where: str) -> int:
    epoch = _value(content, "epoch", where)
    if type(epoch) is not int or epoch < 0:
        shown = str(epoch)[:40]
        raise UserError(
            "is no epoch", where=where, key="epoch", value=shown, remedy="use 0, 1, 2, ..."
        )
    return epoch


def _top_eigenvalue(content: dict[str, Any], where: str) -> float:
    rows = _value(content, "H", where)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise UserError("is no list of rows", where=where, key="H", remedy=FORM)
    if not rows or any(len(row) != len(rows) for row in rows):
        widths = sorted({len(row) for row in rows})
        raise UserError(
            f"is not square ({len(rows)} rows of length {', '.join(map(str, widths)) or 0})",
            where=where,
            key="H",
            remedy="store the whole matrix",
        )
    if not all(type(entry) in (int, float) for row in rows for entry in row):
        raise UserError("holds something that is no number", where=where, key="H", remedy=FORM)
    try:
        matrix = np.array(rows, dtype=np.float64)
        top = float(np.linalg.eigvalsh(matrix / 2 + matrix.T / 2)[-1])
    except (OverflowError, np.linalg.LinAlgError):
        top = np.nan
    if not np.isfinite(top):
        raise UserError("is not finite", where=where, key="H", remedy=LEAVE_OUT)
    return top
