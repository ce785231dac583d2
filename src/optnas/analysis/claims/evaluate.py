"""One part of a claim before one selection of runs: one number per seed, a test, a verdict.

A verdict can be read from the interval: *supported* if all of it lies on the claim's side,
*contradicted* if all of it lies on the other, *inconclusive* else.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from optnas.analysis import paired
from optnas.analysis.alike import REMEDY as MEASURE_ALIKE
from optnas.analysis.claims.columns import column_of
from optnas.analysis.claims.declare import LEVELS, Cell, Part, Response, label
from optnas.analysis.claims.evidence import with_evidence
from optnas.analysis.claims.findings import Line, PartFinding, Setting, decide
from optnas.analysis.claims.missing import missing_runs, unknown_setting
from optnas.analysis.curves import common_loss, searched
from optnas.analysis.estimates import Floats, bootstrap
from optnas.analysis.references import RANDOM_CELL
from optnas.analysis.runs import Runs, Selection, names_of
from optnas.analysis.shape import two_lines

FEWEST_LEVELS = 3  # of a curve


def evaluate(part: Part, selection: Selection, setting: Setting, minimum_n: int) -> PartFinding:
    """Judge one part.

    Args:
        part: the part.
        selection: the runs that may be compared.
        setting: references and level.
        minimum_n: fewest seeds for a verdict.

    Returns:
        The finding; ``not testable`` where columns, references or runs are missing.
    """
    missing = _missing_columns(part, selection, setting)
    if missing is None and part.along is not None:
        return _curve(part, selection, setting, minimum_n)
    if missing is None:
        return with_evidence(part, _contrast(part, selection, setting, minimum_n), setting)
    return _untestable(part, setting, selection.runs, *missing)


def arms_are_there(part: Part, selection: Selection) -> bool:
    """Whether there are runs of each arm of a part, or of enough levels, whatever they recorded."""
    cells = [cell for _, cell in part.expanded()]
    cells += [cell for _, cell in part.other.expanded()] if part.other is not None else []
    masks = [selection.matching(cell) for cell in cells]
    if part.along is not None:
        return len(selection.levels(part.along, np.logical_or.reduce(masks))) >= FEWEST_LEVELS
    return all(mask.any() for mask in masks)


def _lines_of(part: Part, setting: Setting) -> dict[str, float]:
    """A random cell and a random search, where they can stand beside the arms."""
    level = part.response.transform in LEVELS
    return setting.lines(column_of(part.response.column).name) if level else {}


def _told(part: Part, setting: Setting, runs: Runs) -> dict[str, object]:
    hypothesis, column = part.hypothesis, runs.column(part.response.column)
    value = setting.reference(part.against, column.name) if isinstance(part.against, str) else None
    return {
        "name": part.name,
        "formula": part.formula,
        "hypothesis": hypothesis if value is None else f"{hypothesis} ({value:.4g})",
        "unit": part.response.unit(
            column.unit, difference=bool(part.contrast or part.terms or part.along)
        ),
        "of_level": part.response.unit(column.unit, difference=False),
        "primary": part.primary,
        "gate": part.gate,
    }


def _untestable(part: Part, setting: Setting, runs: Runs, missing: str, supply: str) -> PartFinding:
    return PartFinding(
        **_told(part, setting, runs),  # type: ignore[arg-type]
        verdict="not testable",
        missing=missing,
        supply=supply,
    )


def _missing_columns(part: Part, selection: Selection, setting: Setting) -> tuple[str, str] | None:
    response = part.response
    for name in names_of(response):
        column = selection.runs.column(name)
        if not selection.runs.has(column.name):
            return f"no run has the column {column.name}", column.supplied_by
    if part.direction == "equivalent" and part.margin is None:
        return (
            f"no noise floor of {response.column} is known, which would be the margin",
            "write a margin into the claim, or give a benchmark table with a noise floor",
        )
    needed = [part.against] if isinstance(part.against, str) else []
    needed += [RANDOM_CELL] if response.transform == "collapse" else []
    for name in needed:
        column_name = column_of(response.column).name
        if setting.reference(name, column_name) is None:
            return (
                f"the reference '{name}' is not given for {column_name}",
                "give it as a reference: it comes from the whole benchmark table",
            )
    return None


def _named(part: Part) -> set[str]:
    """Settings that a part names itself, so that they are not held."""
    named = {column for _, cell in part.expanded() for column in cell}
    named |= _named(part.other) if part.other is not None else set()
    named |= (
        {"weight_optimizer.lr", "weight_optimizer.schedule.final_lr"} if part.at_any_rate else set()
    )
    return named | ({part.along} if part.along else set())


def _seed_values(
    cells: Sequence[Mapping[int, list[int]]],
    response: Response,
    selection: Selection,
    random_cell: float,
) -> dict[int, Floats]:
    """The response of each cell (the mean over its runs) for each seed that has them all."""
    runs = selection.runs
    found = {}
    for seed in sorted(set.intersection(*(set(cell) for cell in cells))):
        level = 0.0
        if response.transform == "at-equal-train-loss":
            level = _common_level([run for cell in cells for run in cell[seed]], selection)
        values = np.array(
            [
                np.mean([runs.value(run, response, random_cell, level) for run in cell[seed]])
                for cell in cells
            ]
        )
        if np.isfinite(values).all():
            found[seed] = values
    return found


def _common_level(chosen: Sequence[int], selection: Selection) -> float:
    runs, column = selection.runs, column_of("train loss").name
    losses = [runs.epochs(run, column)[searched(runs.epochs(run, "epoch"))] for run in chosen]
    known = [loss_E[~np.isnan(loss_E)] for loss_E in losses]
    return common_loss(known) if all(len(loss_E) for loss_E in known) else math.nan


def _contrast(part: Part, selection: Selection, setting: Setting, minimum_n: int) -> PartFinding:
    terms, named = part.expanded(), _named(part)
    # A contrast to measure it against comes from the same seeds.
    others = part.other.expanded() if part.other is not None else []
    everything = [cell for _, cell in [*terms, *others]]
    masks = [selection.comparable(cell, named) for cell in everything]
    empty = [cell for cell, mask in zip(everything, masks, strict=True) if not mask.any()]
    if empty:
        return _untestable(part, setting, selection.runs, *missing_runs(empty, selection, named))
    if unlike := selection.unlike(np.logical_or.reduce(masks), part.response):
        return _untestable(part, setting, selection.runs, unlike, MEASURE_ALIKE)
    column = column_of(part.response.column).name
    random_cell = setting.level(RANDOM_CELL, column)
    cells = [selection.by_seed(mask) for mask in masks]
    by_seed = _seed_values(cells, part.response, selection, random_cell)
    weights = np.array([weight for weight, _ in terms])
    values = {seed: float(weights @ each[: len(terms)]) for seed, each in by_seed.items()}
    incomplete = tuple(sorted(set.union(*(set(cell) for cell in cells)) - set(values)))
    if not values:
        return _untestable(
            part,
            setting,
            selection.runs,
            "no seed has a value in every arm",
            "run the same seeds in every arm: search.seed",
        )
    against = part.against
    if isinstance(against, str):
        against = setting.level(against, column)
    contrast_N = np.array(list(values.values()))
    other_N = np.zeros_like(contrast_N)
    if others:
        weights = np.array([weight for weight, _ in others])
        other_N = np.array([weights @ each[len(terms) :] for each in by_seed.values()])
    p_for, p_against = sides_of(part, contrast_N, against, other_N)
    effect, low, high = paired.interval(contrast_N, 1 - setting.alpha)
    margin = (part.margin or 0.0) + abs(other_N.mean()) / 2
    return PartFinding(
        **_told(part, setting, selection.runs),  # type: ignore[arg-type]
        verdict=decide(p_for, p_against, len(values), minimum_n, setting.alpha),
        n=len(values),
        values=values,
        other=dict(zip(values, other_N.tolist(), strict=True)) if others else {},
        effect=effect,
        low=low,
        high=high,
        gap=abs(abs(effect - against) - margin),
        smallest_p=paired.smallest_p(len(values)) * (2 if others else 1),
        p_for=p_for,
        p_against=p_against,
        incomplete=incomplete,
        arms=_arms(part, everything, cells, selection, random_cell, by_seed),
        lines=_lines_of(part, setting),
        held=selection.held(np.logical_or.reduce(masks), named),
    )


def sides_of(
    part: Part, contrast_N: Floats, against: float, other_N: Floats | None = None
) -> tuple[float, float]:
    """One-sided p-values for a part that is no curve, and against it.

    Args:
        part: its direction and margin.
        contrast_N: one number per seed.
        against: the value to compare with.
        other_N: for ``less-than-half``: the contrast that it is measured against.

    Returns:
        Small speaks for the part; small speaks against it.
    """
    if part.direction == "equivalent":
        assert part.margin is not None
        shifted = contrast_N - against
        return paired.equivalence(shifted, part.margin), paired.beyond(shifted, part.margin)
    if part.direction == "less-than-half":
        assert other_N is not None
        return paired.less_than_half(contrast_N, other_N), paired.less_than_half(
            other_N / 2, 2 * contrast_N
        )
    test = paired.sign_flip(contrast_N, against)
    sides = (test.p_greater, test.p_less)
    return sides if part.direction == "greater" else (sides[1], sides[0])


def _arms(
    part: Part,
    declared: Sequence[Cell],
    cells: Sequence[Mapping[int, list[int]]],
    selection: Selection,
    random_cell: float,
    by_seed: Mapping[int, Floats],
) -> tuple[Line, ...]:
    """The arms of a contrast; at equal train loss they are over the shared seeds only."""
    found: dict[str, Line] = {}
    mean_C = np.mean(list(by_seed.values()), axis=0)
    for position, (cell, of_cell) in enumerate(zip(declared, cells, strict=True)):
        if part.response.transform == "at-equal-train-loss":
            values = [float(each[position]) for each in by_seed.values()]
        else:
            runs = [run for each in of_cell.values() for run in each]
            values = [selection.runs.value(run, part.response, random_cell, 0.0) for run in runs]
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            found[label(cell)] = Line(label(cell), float(mean_C[position]), *_centre(tuple(finite)))
    return tuple(found.values())


@functools.lru_cache(maxsize=1024)
def _centre(values: tuple[float, ...]) -> tuple[int, float, float, float]:
    """n, interquartile mean and its ends; kept, since many claims compare the same arms."""
    return len(values), *bootstrap([values])


def _curve(part: Part, selection: Selection, setting: Setting, minimum_n: int) -> PartFinding:
    assert part.along is not None
    named = _named(part)
    column = column_of(part.response.column).name
    random_cell = setting.level(RANDOM_CELL, column)
    mixes = [cell for _, cell in part.expanded()]
    mask = np.logical_or.reduce([selection.comparable(cell, named) for cell in mixes])
    levels = selection.levels(part.along, mask)
    unknown = unknown_setting(part.along, selection, mixes[0])
    if unknown is not None:
        return _untestable(part, setting, selection.runs, *unknown)
    if len(levels) < FEWEST_LEVELS:
        return _untestable(
            part,
            setting,
            selection.runs,
            f"where {label(mixes[0])}, values of {part.along}: {len(levels)}; a curve needs"
            f" {FEWEST_LEVELS}",
            f'add to the study\'s grid: "{part.along}" = [0.0, 0.5, 0.9, 0.99]',
        )
    if unlike := selection.unlike(mask, part.response):
        return _untestable(part, setting, selection.runs, unlike, MEASURE_ALIKE)
    curves = []
    for level in levels:
        cells = [
            selection.by_seed(selection.comparable({**cell, part.along: level}, named))
            for cell in mixes
        ]
        curves.append(
            {
                seed: float(each.mean())
                for seed, each in _seed_values(cells, part.response, selection, random_cell).items()
            }
        )
    seeds = sorted(set.intersection(*(set(curve) for curve in curves)))
    incomplete = tuple(sorted(set.union(*(set(curve) for curve in curves)) - set(seeds)))
    if not seeds:
        return _untestable(
            part,
            setting,
            selection.runs,
            f"no seed has all {len(levels)} values of {part.along}",
            "run the same seeds at every value: search.seed",
        )
    y_NL = np.array([[curve[seed] for curve in curves] for seed in seeds])
    lines = two_lines(levels, y_NL)
    turn = levels.index(lines.breakpoint)
    bow_N = y_NL[:, turn] - (y_NL[:, 0] + y_NL[:, -1]) / 2
    effect, low, high = paired.interval(bow_N, 1 - setting.alpha)
    p_for, p_against = lines.p_inverted, lines.p_upright
    if part.direction == "u":
        p_for, p_against = p_against, p_for
    return PartFinding(
        **_told(part, setting, selection.runs),  # type: ignore[arg-type]
        verdict=decide(p_for, p_against, len(seeds), minimum_n, setting.alpha),
        n=len(seeds),
        values=dict(zip(seeds, bow_N.tolist(), strict=True)),
        effect=effect,
        low=low,
        high=high,
        smallest_p=min(1.0, (len(levels) - 2) * paired.smallest_p(len(seeds))),
        p_for=p_for,
        p_against=p_against,
        incomplete=incomplete,
        arms=tuple(
            Line(f"{part.along} = {level:g}", float(y_N.mean()), *_centre(tuple(y_N)))
            for level, y_N in zip(levels, y_NL.T, strict=True)
        ),
        lines=_lines_of(part, setting),
        held=selection.held(mask, named),
    )
