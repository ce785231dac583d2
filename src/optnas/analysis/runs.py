"""A tidy table as runs: which settings they have, which of their runs can be compared.

The table has one row per run and epoch, with columns ``id``, ``state``, ``epoch``, ``search.seed``,
every setting by its dotted key, and every recorded or measured number.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from optnas.analysis.alike import MEASURE, SETTINGS, label_of, unlike
from optnas.analysis.claims.columns import NAMES, Column, column_of, quantity_in
from optnas.analysis.claims.declare import EFFECTIVE_RATE, Cell, Condition, Response
from optnas.analysis.estimates import Floats
from optnas.analysis.transforms import Epochs, respond
from optnas.base.columns import OF_MEASURES, UNITS, quantity_of, symbol
from optnas.base.errors import UserError, did_you_mean
from optnas.search.settings.model import NOT_IDENTITY, PLACES, Settings

Mask = npt.NDArray[np.bool_]
NEEDED = ("id", "state", "epoch", "search.seed")
SEED = "search.seed"
FAMILIES = ("benchmark.", "percentile.")  # columns of which there is one per data set of a table
SECTIONS = Settings.model_fields.keys() - {"fingerprint", "sources", *NOT_IDENTITY}
# The seed, and settings that say where the images lie.
# The effective rate follows from two settings.
IDLE = (SEED, EFFECTIVE_RATE, *(f"data.{place}" for place in PLACES))


class Runs:
    """The runs of a tidy table that are done, and access to their epochs.

    Args:
        table: one row per run and epoch.

    Raises:
        UserError: a column that every tidy table has is missing.
    """

    def __init__(self, table: pd.DataFrame):
        for column in NEEDED:
            if column not in table:
                raise UserError(
                    "is not a tidy table: a column is missing",
                    where="table",
                    key=column,
                    remedy="make it with: optnas study table STUDY -o table.csv",
                )
        first = table.drop_duplicates("id")
        counts = first.loc[first["state"] != "done", "state"].value_counts()
        self.unfinished = {str(state): int(count) for state, count in counts.items()}
        self.table = table[table["state"] == "done"].sort_values(["id", "epoch"], kind="stable")
        self._units: Mapping[str, str] = table.attrs.get(UNITS, {})
        self.table.attrs = {}  # pandas copies them, deeply, with every column that is read
        self.settings = self.table.drop_duplicates("id").reset_index(drop=True)
        ids = self.table["id"].to_numpy()
        starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])[: len(ids)])
        ends = np.append(starts, len(ids))[1:]
        self._slices = [slice(a, b) for a, b in zip(starts, ends, strict=True)]
        rates = [f"weight_optimizer.{name}" for name in ("lr", "momentum")]
        if set(rates) <= set(self.settings):
            lr, momentum = (pd.to_numeric(self.settings[name], errors="coerce") for name in rates)
            self.settings[EFFECTIVE_RATE] = lr / (1 - momentum)
        self._columns: dict[str, Floats] = {}
        self._has: dict[str, bool] = {}
        self._values: dict[Any, float] = {}

    def __len__(self) -> int:
        return len(self.settings)

    def has(self, column: str) -> bool:
        """Whether any run recorded a number in this column."""
        if column not in self._has:
            self._has[column] = column in self.table and bool(self._numbers(column).notna().any())
        return self._has[column]

    def column(self, name: str) -> Column:
        """The column behind a name, as `column_of`, with what these runs say of it.

        Of a measure that is unit and direction by the name in the runs' settings, else the unit in
        its lines; where the column is missing, which others there are in its place.
        """
        found = column_of(name)
        if found.name.startswith(FAMILIES) and not self.has(found.name):
            family = found.name.partition(".")[0]
            others = self._below(f"{family}.")
            told = f"name {' or '.join(others)}, which these runs have, or {found.supplied_by}"
            return found._replace(supplied_by=told) if others else found
        label = label_of(found.name, self.table.columns)
        if label is None and found.name not in self.table and quantity_of(found.name) is None:
            words = [*NAMES, *self._below("")]
            near = difflib.get_close_matches(found.name, words, n=1, cutoff=0.8)
            return found._replace(supplied_by=f"did you mean {near[0]}?") if near else found
        if label is None or found.name in OF_MEASURES:
            return found
        start = f"{MEASURE}{label}."
        names = self.settings.get(f"measures.{label}.name", pd.Series(dtype=object)).dropna()
        declared = [
            quantity_in(str(each), found.name.removeprefix(start).partition(".")[0])
            for each in names.unique()[:1]
        ]
        unit = self._units.get(found.name)
        if declared and declared[0] is not None:
            found = found._replace(better=declared[0].better, unit=symbol(declared[0].unit))
        elif unit is not None:
            found = found._replace(unit=symbol(unit))
        if not self.has(found.name):
            told = ", ".join(self._below(start)) or "no number"
            found = found._replace(supplied_by=f"'{label}' found {told}")
        return found

    def _below(self, start: str) -> list[str]:
        """The columns of numbers whose names begin so."""
        return [c for c in map(str, self.table) if c.startswith(start) and self.has(c)]

    def epochs(self, run: int, column: str) -> Floats:
        """One run's values of a column, NaN where it has none."""
        if column not in self._columns:
            self._columns[column] = self._numbers(column).to_numpy(float, na_value=np.nan)
        return self._columns[column][self._slices[run]]

    def _numbers(self, column: str) -> pd.Series[Any]:
        return pd.to_numeric(self.table[column], errors="coerce")

    def unlike(self, runs: Iterable[int], response: Response) -> str | None:
        """What tells the ways apart in which runs took a measure that a response reads.

        Args:
            runs: their positions.
            response: the response.

        Returns:
            As `optnas.analysis.alike.unlike`; None where all were measured alike.
        """
        chosen = list(runs)
        for column in (column_of(name).name for name in names_of(response)):
            label = label_of(column, self.table.columns)
            if label is None:
                continue
            settings = self.table[f"{MEASURE}{label}{SETTINGS}"].to_numpy()
            found: set[object] = set()
            for run in chosen:
                found |= {*settings[self._slices[run]][~np.isnan(self.epochs(run, column))]}
            if (told := unlike(label, found)) is not None:
                return told
        return None

    def value(self, run: int, response: Response, random_cell: float, level: float) -> float:
        """A response of one run.

        Args:
            run: its position.
            response: the column and what is made of it.
            random_cell: for ``collapse``: the mean accuracy of all cells of the table.
            level: for ``at-equal-train-loss``: the loss to compare at.

        Returns:
            The number, NaN where the run does not have it.
        """
        key = (run, response, level)
        if key not in self._values:
            epochs = self._of(run, response, random_cell, level)
            self._values[key] = respond(response.transform, epochs)
        return self._values[key]

    def _of(self, run: int, response: Response, random_cell: float, level: float) -> Epochs:
        values = self.epochs(run, column_of(response.column).name)
        other = self.epochs(run, column_of(response.other).name) if response.other else values
        extra = {name: self.epochs(run, column_of(name).name) for name in extra_columns(response)}
        return Epochs(self.epochs(run, "epoch"), values, other, extra, level, random_cell)


def names_of(response: Response) -> list[str]:
    """Names of every column that a response reads, its own first."""
    return [response.column, *extra_columns(response)] + [n for n in [response.other] if n]


def extra_columns(response: Response) -> tuple[str, ...]:
    """Names of the columns that a transform reads beside those of the response."""
    return {"at-equal-train-loss": ("train loss",), "collapse": ("skips",)}.get(
        response.transform, ()
    )


def plain(value: Any) -> str:
    """A setting's value as text that is equal where values are: 0 and 0.0, a list and its text."""
    if isinstance(value, str) and value.startswith("["):
        with contextlib.suppress(ValueError, RecursionError):  # a table holds a list as JSON text
            value = json.loads(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return f"[{', '.join(_element(each) for each in value)}]"
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, float, np.integer, np.floating)):
        return f"{float(value):.12g}"
    return str(value)


def _element(value: Any) -> str:
    """An element of a list: text in quotes, so that no comma of it makes two of one."""
    return json.dumps(value) if isinstance(value, str) else plain(value) or "null"


def addressed(name: str, known: Iterable[str]) -> str:
    """The address of what is called by its own name, where one alone of those known ends in it.

    Args:
        name: a value, such as the name of a class.
        known: values, such as ``optnas-objects/EG-1f3870be274f.py:EG``.

    Example:
        >>> addressed("EG", ["Adam", "./own.py:EG"])
        './own.py:EG'
    """
    there = set(known)
    found = [each for each in there if name and each.endswith(f":{name}")]
    return found[0] if name not in there and len(found) == 1 else name


def setting_columns(settings: pd.DataFrame) -> list[str]:
    """The columns of a table that are settings able to move its numbers."""
    return [
        column
        for column in map(str, settings)
        if (column.split(".")[0] in SECTIONS or column == "benchmark.table") and column not in IDLE
    ]


class Selection:
    """Runs that may be compared: at one value of every setting that a contrast does not name.

    A setting that varies in the table is held at the value given, else at that of most runs (among
    those of the same component, and of the same part of it, so that SGD's momentum is held among
    runs of SGD). Where two values are equally common there is no such value, and a contrast that
    needs one finds no runs.

    Args:
        runs: all runs.
        allowed: which of them belong to the learning-rate arm.
        hold: values to hold, by dotted setting.

    Raises:
        UserError: a setting to hold is unknown or never has that value.
    """

    def __init__(self, runs: Runs, allowed: Mask, hold: Mapping[str, Any]):
        self.runs, self.allowed = runs, allowed
        self._keys = {
            column: np.array([plain(value) for value in runs.settings[column]], dtype=object)
            for column in setting_columns(runs.settings)
        }
        self.seeds = runs.settings[SEED].to_numpy()
        self.at_base: dict[str, Mask] = {}
        self.tied: dict[str, Mask] = {}
        for column in hold:
            if column not in self._keys:
                raise UserError(
                    "is no setting of this table",
                    key=column,
                    value=hold[column],
                    remedy=did_you_mean(column, self._keys),
                )
        for column, keys in self._keys.items():
            held = addressed(plain(hold[column]), keys) if column in hold else None
            if held is not None or len(set(keys[allowed])) > 1:
                self._find_base(column, keys, held)
        if EFFECTIVE_RATE in runs.settings:
            values = runs.settings[EFFECTIVE_RATE]
            self._keys[EFFECTIVE_RATE] = np.array([plain(x) for x in values], dtype=object)

    def _groups(self, column: str) -> list[Mask]:
        """The allowed runs by the names of all components around a setting, a nested one's too."""
        parts = column.split(".")
        around = (".".join([*parts[:depth], "name"]) for depth in range(1, len(parts)))
        names = [self._keys[each] for each in around if each in self._keys and each != column]
        told = list(zip(*names, strict=True)) or [()] * len(self.allowed)
        groups = {told[run]: np.zeros(len(told), bool) for run in np.flatnonzero(self.allowed)}
        for run in np.flatnonzero(self.allowed):
            groups[told[run]][run] = True
        return [groups[each] for each in sorted(groups)]

    def _find_base(self, column: str, keys: npt.NDArray[np.object_], held: str | None) -> None:
        base, tied = np.zeros(len(keys), bool), np.zeros(len(keys), bool)
        if held is not None and held not in set(keys):
            raise UserError(
                "no run has this value",
                key=column,
                value=held,
                remedy=did_you_mean(held, set(keys)),
            )
        for group in self._groups(column):
            values, counts = np.unique(keys[group].astype(str), return_counts=True)
            most = values[counts == counts.max()]
            # A component without the setting has nothing to hold.
            if held is not None and list(values) != [""]:
                base |= group & (keys == held)
            elif len(most) == 1:
                base |= group & (keys == most[0])
            else:
                tied |= group
        if not base[self.allowed].all():
            self.at_base[column], self.tied[column] = base, tied

    @property
    def columns(self) -> list[str]:
        """The settings by which runs are told apart."""
        return list(self._keys)

    def values(self, column: str) -> list[str]:
        """A setting of every run in words, as of `plain`; none where no run has it."""
        return [str(each) for each in self._keys.get(column, ())]

    def matching(self, cell: Cell) -> Mask:
        """The allowed runs with these values, whatever their other settings."""
        mask = self.allowed.copy()
        for column, condition in cell.items():
            if column not in self._keys:
                return np.zeros(len(mask), bool)
            mask &= self._meets(column, condition)
        return mask

    def _meets(self, column: str, condition: Condition) -> Mask:
        if not isinstance(condition, Mapping):
            return np.asarray(self._keys[column] == addressed(plain(condition), self._keys[column]))
        numbers = pd.to_numeric(self.runs.settings[column], errors="coerce").to_numpy(float)
        mask = ~np.isnan(numbers)
        for kind, bound in condition.items():
            mask &= numbers > bound if kind == "above" else numbers < bound
        return mask

    def comparable(self, cell: Cell, named: set[str]) -> Mask:
        """The runs of a cell that are at the held value of every setting not named."""
        mask = self.matching(cell)
        for column, base in self.at_base.items():
            if column not in named:
                mask &= base
        return mask

    def ties(self, cell: Cell, named: set[str]) -> list[str]:
        """Settings because of which a cell finds no runs: two values are equally common."""
        matching = self.matching(cell)
        return [
            column
            for column, tied in self.tied.items()
            if column not in named and (matching & tied).any()
        ]

    def held_elsewhere(self, cell: Cell, named: set[str]) -> dict[str, str]:
        """Values that are held and that runs of a cell do not have, by setting."""
        matching = self.matching(cell)
        return {
            column: " or ".join(sorted(set(map(str, self._keys[column][base])) - {""}))
            for column, base in self.at_base.items()
            if column not in named and matching.any() and not (matching & base).any()
        }

    def by_seed(self, mask: Mask) -> dict[int, list[int]]:
        """Positions of runs by seed."""
        found: dict[int, list[int]] = {}
        for run in np.flatnonzero(mask):
            found.setdefault(int(self.seeds[run]), []).append(int(run))
        return found

    def unlike(self, mask: Mask, response: Response) -> str | None:
        """What tells the ways apart in which runs took a measure, as of `Runs.unlike`."""
        return self.runs.unlike(map(int, np.flatnonzero(mask)), response)

    def levels(self, column: str, mask: Mask) -> list[float]:
        """The values of a numeric setting among runs, ascending."""
        if column not in self._keys:
            return []
        numbers = pd.to_numeric(self.runs.settings.loc[mask, column], errors="coerce")
        return sorted(set(numbers.dropna()))

    def held(self, mask: Mask, named: set[str]) -> dict[str, str]:
        """What was held among settings that vary in the table, for these runs."""
        return {
            column: ", ".join(sorted(set(self._keys[column][mask]) - {""}))
            for column in self.at_base
            if column not in named
        }
