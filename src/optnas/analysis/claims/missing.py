"""What to say where no run fits an arm of a claim: what is missing, and what would supply it.

A misspelt setting or value is told from an arm that was not run: only of the latter a search helps.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from optnas.analysis.claims.declare import NAMES, Cell, Value, label
from optnas.analysis.runs import Selection, addressed, plain
from optnas.base import registry
from optnas.base.errors import did_you_mean
from optnas.optimizers.signatures import is_torchs

SHOWN = 4  # arms without runs that are named
FEW = 8  # values of a setting that are listed
ARM = "arm"  # the column of a study's table that holds its labels


def missing_runs(cells: Sequence[Cell], selection: Selection, named: set[str]) -> tuple[str, str]:
    """Why no run is of some arms, and what to do.

    Args:
        cells: the arms, one at least.
        selection: the runs that may be compared.
        named: the settings that the part names, which are not held.

    Returns:
        What is missing, and what would supply it.
    """
    ties = sorted({column for cell in cells for column in selection.ties(cell, named)})
    if ties:
        return (
            f"{ties[0]} takes several values, none more common than the others",
            f"say which to hold: {ties[0]}=VALUE",
        )
    cells = sorted(cells, key=label)
    for cell in cells:
        for column in cell:
            if (unknown := unknown_setting(column, selection, cell)) is not None:
                return unknown
    told = ", ".join(f"[{label(cell)}]" for cell in cells[:SHOWN])
    more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    allowed = selection.allowed
    among = "" if allowed.all() else f" among the {allowed.sum()} of {len(allowed)} that count"
    missing = f"no finished runs{among} of {told}{more}"
    held = selection.held_elsewhere(cells[0], named)
    first = {key: cells[0][key] for key in (*NAMES, *cells[0]) if key in cells[0]} | held
    words = " ".join(f"{key}={_word(value)}" for key, value in first.items())
    run = f"run such arms for every seed: optnas search {words} search.seed=SEED"
    if held:
        at = ", ".join(f"{key} = {value}" for key, value in held.items())
        return f"{missing} at {at}, which is held", f"hold another value, or {run}"
    for cell in cells:
        for column, value in cell.items():
            values = sorted(set(selection.values(column)) - {""})
            if (
                not values
                or isinstance(value, Mapping)
                or addressed(plain(value), values) in values
            ):
                continue
            rest = f" and {len(values) - FEW} more" if len(values) > FEW else ""
            there = f"these runs have {column} = {', '.join(values[:FEW])}{rest}"
            return missing, f"{there}; {_instead(column, value, selection, values) or run}"
    return missing, run


def unknown_setting(
    column: str, selection: Selection, cell: Cell | None = None
) -> tuple[str, str] | None:
    """What to say of a setting that no run has.

    Args:
        column: the setting.
        selection: the runs.
        cell: the arm that names it. Where no run is of its component, the arm is what is missing.

    Returns:
        As `missing_runs`; None where runs have it, or the component of it is missing too.
    """
    known = selection.columns
    if column in known or any(
        f"{column}.".startswith(f"{key.removesuffix('name')}")
        and not isinstance(value, Mapping)
        and addressed(plain(value), selection.values(key)) not in selection.values(key)
        for key, value in (cell or {}).items()
        if key.endswith(".name") and key in known
    ):
        return None
    if column in selection.runs.settings:
        return (
            f"{column} tells no arms apart: runs are compared whatever it is",
            "name a setting that moves the numbers of a run",
        )
    return f"no run has the setting {column}", did_you_mean(column, known)


def _instead(column: str, value: Value, selection: Selection, values: Sequence[str]) -> str | None:
    """What to write instead of a value that no search could have either."""
    settings = selection.runs.settings
    if ARM in settings:
        words = [[str(each), *re.split(r": | \+ |, ", str(each))] for each in settings[ARM]]
        labelled = np.array([plain(value) in each for each in words], bool)
        behind = set(np.array(selection.values(column), object)[labelled]) - {""}
        if len(behind) == 1:
            return f"write {column} = {behind.pop()}, which '{value}' is the label of"
    if ":" in str(value) or not column.endswith(".name") or _is_component(str(value)):
        return None
    near = difflib.get_close_matches(str(value), values, n=1)
    return f"did you mean {near[0]}?" if near else f"name one that there is, or {registry.OWN}"


def _is_component(name: str) -> bool:
    """Whether a search could have it: a name that is registered, or an optimizer of torch's."""
    return is_torchs(name) or any(name in registry.names(kind) for kind in registry.KINDS)


def _word(condition: object) -> str:
    return "VALUE" if isinstance(condition, Mapping) else str(condition)
