"""What a claim is made of: responses, contrasts, a direction, controls. Declarations only."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from optnas.analysis.claims.columns import column_of

Value = str | bool | int | float
# A setting's value, or a bound on it: {above = 0}.
Condition = Value | Annotated[dict[Literal["above", "below"], float], Field(min_length=1)]
Cell = dict[str, Condition]
Average = dict[str, Annotated[tuple[Condition, ...], Field(min_length=1)]]
Direction = Literal["greater", "less", "equivalent", "less-than-half", "inverted-u", "u"]

NAMES = ("algorithm.name", "weight_optimizer.name", "arch_optimizer.name")
# lr / (1 - momentum) of the weight optimizer: no setting of its own, and held for nobody.
EFFECTIVE_RATE = "weight_optimizer.effective_lr"

# What is made of a column to get one number per run, from epoch 1 to E on: epoch 0 is before any
# step, and counts in none of them (`optnas.analysis.curves.searched`).
TRANSFORMS = {
    "final": "value of the last epoch",
    "log-final": "natural logarithm of the value of the last epoch",
    "max": "largest value over epochs 1 to E (an oracle: the response itself chooses the epoch)",
    "drop": "max - final (never negative)",
    "auc": "mean over epochs 1 to E: the area under the curve, divided by E",
    "slope": "least-squares slope over epochs 1 to E, per epoch",
    "early": "mean over the first quarter of the epochs 1 to E",
    "early-late": "mean over the first quarter minus mean over the last quarter",
    "ratio": "final value over the final value of another column",
    "difference": "final value minus the final value of another column",
    "rank-correlation": "Spearman correlation with another column over epochs 1 to E",
    "partial-rank-correlation": "the same, with the epoch partialled out",
    "at-equal-train-loss": "value where the train loss first falls to the lowest loss that every"
    " run compared within the seed reaches, linear between epochs",
    "collapse": "1 if skips >= 4, or the value of the last epoch is below the random cell; else 0",
}
# Those that are a level of the column itself, so that a reference can stand beside them.
LEVELS = ("final", "max", "auc", "early", "at-equal-train-loss")
WITH_ANOTHER = ("difference", "ratio", "rank-correlation", "partial-rank-correlation")


class Declared(pydantic.BaseModel):
    """A declaration: frozen, nothing in it that is not known, and every number finite.

    Against nan every contrast would differ, and within an infinite margin each would be equal.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Response(Declared):
    """One number per run: a column of the tidy table, and what is made of it.

    ``column`` and ``other`` are names of `optnas.analysis.claims.columns.NAMES` or columns
    themselves; ``other`` is for transforms that need a second one.
    """

    column: str
    transform: str = "final"
    other: str | None = None

    @pydantic.model_validator(mode="after")
    def _known(self) -> Self:
        if self.transform not in TRANSFORMS:
            raise ValueError(
                f"no transform '{self.transform}'; use one of: {', '.join(TRANSFORMS)}"
            )
        if (self.transform in WITH_ANOTHER) != (self.other is not None):
            need = "needs" if self.other is None else "has no use for"
            raise ValueError(f"transform '{self.transform}' {need} another column ('other')")
        return self

    def unit(self, of_column: str, *, difference: bool) -> str:
        """The unit of the response, or of a difference of two, from that of the column."""
        if self.transform in ("rank-correlation", "partial-rank-correlation", "ratio"):
            return ""
        if self.transform == "collapse":
            return "rate"
        if self.transform == "log-final":
            return "log"
        relative = difference or self.transform in ("drop", "early-late", "difference", "slope")
        unit = "pp" if relative and of_column == "%" else of_column
        return f"{unit} per epoch" if self.transform == "slope" else unit

    def __str__(self) -> str:
        of = f"{self.column} and {self.other}" if self.other else self.column
        return f"{self.transform} {of}"


class Axis(Declared):
    """A difference along one setting: runs with ``plus`` minus runs with ``minus``."""

    axis: str
    plus: Condition
    minus: Condition


class Term(Declared):
    """A cell of a contrast and its weight; weights of one sign are scaled to sum to one."""

    weight: float
    cell: Cell

    @pydantic.field_validator("weight")
    @classmethod
    def _counts(cls, weight: float) -> float:
        if not weight:
            raise ValueError("a cell of weight 0 is no part of a contrast; leave it out")
        return weight


class Other(Declared):
    """Another contrast of the same response, to measure one against: parts as of `Part`."""

    where: Cell = {}
    contrast: tuple[Axis, ...]
    average: Average = {}


class Part(Declared):
    """One contrast of a claim, one number per seed.

    The contrast is the product of the differences in ``contrast`` (two make an interaction), or the
    weighted cells of ``terms``, or with neither the level itself; within ``where``, averaged over
    every combination of ``average``. ``along`` names the setting of a curve, for the two shapes.
    ``half_of`` is the contrast that direction ``less-than-half`` measures this one against: less
    than half as large, whatever the signs.
    ``margin`` is that of direction ``equivalent``; a level of a benchmark accuracy may leave it to
    the noise floor of the table, the smallest deviation of one training.
    ``against`` is the value to compare with, or the name of a reference such as ``random cell``.
    A part that is not ``primary`` is reported and does not decide; with a ``gate`` it is asked only
    once the part of that name is decided.
    """

    name: str
    response: Response
    where: Cell = {}
    contrast: tuple[Axis, ...] = ()
    terms: tuple[Term, ...] = ()
    average: Average = {}
    along: str | None = None
    direction: Direction
    margin: float | None = Field(None, gt=0)
    half_of: Other | None = None
    against: float | str = 0.0
    primary: bool = True
    gate: str | None = None

    @pydantic.model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.contrast and self.terms:
            raise ValueError("give 'contrast' or 'terms', not both")
        # A benchmark's noise floor is the margin where a claim on its accuracies fixes none.
        column = column_of(self.response.column).name
        floor = column.startswith("benchmark.") and self.response.transform in LEVELS
        equivalent = self.direction == "equivalent"
        if (self.margin is not None) != equivalent and not (equivalent and floor):
            raise ValueError("'margin' belongs to direction 'equivalent', and to no other")
        if (self.direction == "less-than-half") != (self.half_of is not None):
            raise ValueError("'half_of' belongs to direction 'less-than-half', and to no other")
        if (self.direction in ("inverted-u", "u")) != (self.along is not None):
            raise ValueError("'along' belongs to directions 'inverted-u' and 'u', and to no other")
        if self.along is not None and (self.contrast or self.terms):
            raise ValueError("a curve ('along') is no contrast")
        return self

    def expanded(self) -> list[tuple[float, Cell]]:
        """The contrast as weighted cells; weights of an average add up to its own weight."""
        terms: list[tuple[float, Cell]] = self._scaled_terms() or [(1.0, {})]
        for axis in self.contrast:
            terms = [
                (sign * weight, {**cell, axis.axis: value})
                for weight, cell in terms
                for sign, value in ((1.0, axis.plus), (-1.0, axis.minus))
            ]
        mixes = [
            dict(zip(self.average, values, strict=True))
            for values in itertools.product(*self.average.values())
        ]
        return [
            (weight / len(mixes), {**self.where, **mix, **cell})
            for weight, cell in terms
            for mix in mixes
        ]

    @property
    def other(self) -> Part | None:
        """The contrast of ``half_of`` as a part."""
        if self.half_of is None:
            return None
        return Part(
            name=f"half of {self.name}",
            response=self.response,
            where=self.half_of.where,
            contrast=self.half_of.contrast,
            average=self.half_of.average,
            direction="greater",
            margin=None,
        )

    @property
    def at_any_rate(self) -> bool:
        """Whether it names the effective rate, and so the rate of the weight optimizer varies."""
        return EFFECTIVE_RATE in self.where

    def _scaled_terms(self) -> list[tuple[float, Cell]]:
        total = {-1.0: 0.0, 1.0: 0.0}
        for term in self.terms:
            total[math.copysign(1.0, term.weight)] += abs(term.weight)
        return [
            (term.weight / total[math.copysign(1.0, term.weight)], term.cell) for term in self.terms
        ]

    @property
    def balanced(self) -> bool:
        """Whether swapping exchangeable arms turns the sign of the contrast of ``terms``."""
        return len({abs(weight) for weight, _ in self._scaled_terms()}) <= 1

    @property
    def formula(self) -> str:
        """The contrast in words."""
        inner = str(self.response)
        if self.along:
            inner += f" along {self.along}"
        for axis in self.contrast:
            inner += f" x ({axis.axis}: {_value(axis.plus)} - {_value(axis.minus)})"
        if self.terms:
            told = (f"{weight:+.3g} [{label(cell)}]" for weight, cell in self._scaled_terms())
            inner += f" x ({' '.join(told)})"
        if self.average:
            inner = f"mean over {', '.join(self.average)} of [{inner}]"
        if self.where:
            inner += f", where {_told(self.where)}"
        return inner

    @property
    def hypothesis(self) -> str:
        """What the claim says of the contrast."""
        if self.direction == "equivalent":
            margin = "one training's deviation" if self.margin is None else f"{self.margin:g}"
            return f"within {margin} of {_value(self.against)}"
        if self.half_of is not None:
            axes = "".join(
                f" x ({each.axis}: {_value(each.plus)} - {_value(each.minus)})"
                for each in self.half_of.contrast
            ).removeprefix(" x ")
            where = f", where {_told(self.half_of.where)}" if self.half_of.where else ""
            return f"less than half of {axes}{where}"
        if self.direction in ("inverted-u", "u"):
            return {"inverted-u": "an inverted U", "u": "a U"}[self.direction]
        return f"{'>' if self.direction == 'greater' else '<'} {_value(self.against)}"


class Control(Declared):
    """A check without which a claim is empty: a ratio of two arms that must lie within bounds.

    Per seed, the mean of ``response`` over the cells with ``plus`` is divided by that over those
    with ``minus``, for each combination of ``average`` apart; every median over seeds must lie
    ``within``.
    """

    name: str
    response: Response
    contrast: Axis
    where: Cell = {}
    average: Average = {}
    within: tuple[float, float]
    remedy: str

    @pydantic.field_validator("within")
    @classmethod
    def _in_order(cls, within: tuple[float, float]) -> tuple[float, float]:
        if within[0] > within[1]:
            raise ValueError("the lower bound comes first; no ratio lies between these")
        return within

    def pairs(self) -> list[tuple[Cell, Cell]]:
        """The two cells of each ratio."""
        found = []
        for values in itertools.product(*self.average.values()):
            cell = {**self.where, **dict(zip(self.average, values, strict=True))}
            axis = self.contrast
            found.append(({**cell, axis.axis: axis.plus}, {**cell, axis.axis: axis.minus}))
        return found


class Change(Declared):
    """What was changed in a claim after it was first written, when, and what had been seen."""

    date: datetime.date
    what: str
    seen: str


class Claim(Declared):
    """A sentence that somebody said, and the contrasts that must all hold for it to be true.

    ``minimum_n`` is the fewest seeds with which a verdict is given at all. ``version`` is that of
    the rules it was written under: in version 1, the pilot's, terms could have unequal weights.
    """

    id: str
    version: Literal[1, 2] = 2
    text: str
    source: str
    note: str = ""
    parts: tuple[Part, ...] = Field(min_length=1)
    controls: tuple[Control, ...] = ()
    minimum_n: int = Field(6, ge=2)
    changes: tuple[Change, ...] = ()

    @pydantic.model_validator(mode="after")
    def _decidable(self) -> Self:
        if not any(part.primary for part in self.parts):
            raise ValueError("no part is primary: nothing would decide")
        if self.version > 1 and not all(part.balanced for part in self.parts):
            raise ValueError(
                "'terms' need as many cells with a plus as with a minus, all of one weight: sign"
                " flips are exact only then; write 'better than each' as one part per comparison"
            )
        deciding = [part.name for part in self.parts if part.primary]
        for part in self.parts:
            if part.gate is not None and (part.primary or part.gate not in deciding):
                raise ValueError("'gate' names a primary part, and belongs to one that is not")
        return self


def _value(value: Condition) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{k} {v:g}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _told(cell: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {'' if isinstance(value, Mapping) else '= '}{_value(value)}"
        for key, value in cell.items()
    )


def label(cell: Mapping[str, Any]) -> str:
    """A cell in words: algorithm and optimizer pair first, such as ``darts: SGD + Adam``.

    Args:
        cell: values by dotted setting.

    Returns:
        The words; settings beyond the three names follow in their dotted form.

    Example:
        >>> label({"weight_optimizer.name": "SGD", "algorithm.name": "darts", "data.name": "x"})
        'darts: SGD + any, data.name = x'
    """
    names = [cell.get(f"{part}.name") for part in ("weight_optimizer", "arch_optimizer")]
    pair = " + ".join("any" if name is None else _value(name) for name in names)
    algorithm = cell.get("algorithm.name")
    head = [] if algorithm is None else [_value(algorithm)]
    head += [] if names == [None, None] else [pair]
    rest = {k: v for k, v in cell.items() if k not in NAMES}
    return ", ".join(filter(None, [": ".join(head), _told(rest)]))
