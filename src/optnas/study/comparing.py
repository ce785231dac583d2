"""The arms of a study compared: every pair, on the responses asked for."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.analysis.alike import REMEDY, label_of
from optnas.analysis.claims.columns import ALONE as CELL
from optnas.analysis.claims.columns import MEASURE, NAMES, column_of, in_words
from optnas.analysis.claims.declare import TRANSFORMS, WITH_ANOTHER, Response
from optnas.analysis.compare import ALPHA, Centre, Pair, Value, centres, too_few
from optnas.analysis.compare import compare as compare_values
from optnas.analysis.references import noise_words
from optnas.analysis.runs import Runs
from optnas.base.columns import Better
from optnas.base.errors import UserError, did_you_mean
from optnas.base.folder import folder_path
from optnas.base.records import RunFolder
from optnas.measures.ways import Way, difference, way_of
from optnas.search.own_way import one_way
from optnas.spaces.tables import data_folder
from optnas.study.axes import Axis, arms_of, axes_of, chosen_axes
from optnas.study.declare import Study
from optnas.study.folder import opened
from optnas.study.gathered import gathered
from optnas.study.states import State
from optnas.study.tables import HASH, answering_table, known_runs, table_of

if TYPE_CHECKING:
    import pandas as pd

MOST_ARMS = 12  # of which all pairs are compared unless axes are named
PRIMARY, SUPERNET = "accuracy", "supernet accuracy"
# Accuracy of cells that `optnas study train` trained, the one on images without a part in it first.
TRAINED = (f"{MEASURE}{CELL}.test", f"{MEASURE}{CELL}.valid")
# Of one run alone: nothing that needs another arm or a reference.
ALONE = [
    name for name in TRANSFORMS if name not in (*WITH_ANOTHER, "at-equal-train-loss", "collapse")
]


@dataclass(frozen=True)
class Comparison:
    """Every pair of some arms on one response.

    ``by`` are the axes along which arms differ, ``within`` those at one value of which each pair
    is, ``over`` those that are averaged over within a seed. ``better`` is the direction in which a
    run is better by the response. ``unfinished`` counts the runs of each arm that are not done, by
    state. ``remarks`` say what the number of seeds cannot decide, whether means are of other runs
    than differences, and on which other images a benchmark judges; ``noise`` is the benchmark's
    noise floor, if the response is of it.
    """

    by: tuple[str, ...]
    over: tuple[str, ...]
    response: str
    words: str
    unit: str
    of_difference: str
    better: Better
    arms: tuple[Centre, ...]
    pairs: tuple[Pair, ...]
    unfinished: Mapping[str, Mapping[State, int]]
    remarks: tuple[str, ...]
    noise: str = ""
    alpha: float = ALPHA
    within: tuple[str, ...] = ()

    @property
    def tested(self) -> bool:
        """Whether a pair has a seed in common."""
        return any(pair.n for pair in self.pairs)

    @property
    def threshold(self) -> float:
        """The E that decides one of the pairs; NaN where none could be tested."""
        return max((pair.threshold for pair in self.pairs if pair.n), default=math.nan)


def compare(
    study: str | None,
    out: str | Path,
    by: Sequence[str] = (),
    responses: Sequence[str] = (),
    *,
    within: Sequence[str] = (),
    benchmark: str | None = None,
    data: Path | None = None,
    recorded: bool = False,
    numbers_version: int | None = None,
) -> list[Comparison]:
    """Compare the arms of a study, each pair within seeds.

    Args:
        study: a shipped name, or the path of a study; None takes every run below ``out``, with what
            they differ in for axes.
        out: the study's folder, or a folder of records.
        by: see `compare_runs`.
        responses: see `compare_runs`.
        within: see `compare_runs`.
        benchmark: ask this benchmark table instead of each run's own.
        data: the data folder; default: the variable ``OPTNAS_DATA``.
        recorded: take benchmark accuracies as the runs recorded them; needs no table.
        numbers_version: of the runs; default: the present one, without a study whichever is there.

    Raises:
        UserError: the study, a record, an axis or a response is wrong, or no run has a record yet.
    """
    if study is None:
        loaded, folders = gathered(folder_path(out, "out"), numbers_version)
    else:
        loaded, folders = opened(study, folder_path(out, "out"), data, numbers_version)
    table = table_of(folders.values(), benchmark=benchmark, data=data, recorded=recorded)
    answering = answering_table(table, data_folder(data, "data"))
    noise = noise_words(answering) if answering else {}
    return compare_runs(loaded, folders, table, by, responses, noise, within=within)


def compare_runs(
    study: Study,
    folders: Mapping[str, RunFolder],
    table: pd.DataFrame,
    by: Sequence[str] = (),
    responses: Sequence[str] = (),
    noise: Mapping[str, str] | None = None,
    axes: Sequence[Axis] | None = None,
    within: Sequence[str] = (),
) -> list[Comparison]:
    """Compare the arms of a study whose runs are at hand.

    Args:
        study: the study.
        folders: the folders of its runs by id.
        table: the tidy table of these runs.
        by: axes whose values make the arms, within a seed averaged over the others. By default all
            axes together, where they make `MOST_ARMS` arms at most, else each axis by itself.
        responses: such as ``accuracy``, ``auc accuracy`` or ``final measure.gap.gap``: a column or
            a name that claims use, with one of `ALONE` before it. By default the benchmark's
            accuracy of the derived cell, if a table was asked, that of the cell's own trainings, if
            there are any, and the supernet's.
        noise: what to say of the benchmark's noise beside a column of it.
        axes: of the study, where they are known already.
        within: axes at each value of which arms are compared, and never across values.

    Returns:
        One comparison per set of axes and response. Holm's correction runs over its pairs.

    Raises:
        UserError: the study does not vary an axis, no axis is left to compare along, or no run has
            a response.
    """
    axes = axes_of(study) if axes is None else axes
    fixed = chosen_axes(axes, within, study, "--within") if within else []
    families = _families(study, axes, by, fixed)
    runs = Runs(table)
    asked = [_parsed(each, runs) for each in responses]
    for each in asked:
        _check_measured(each, runs, folders.values())
    alike, told = asked, list[str]()
    if not asked:
        alike, told = _of_alike(default_responses(runs), runs, folders.values())
    known, states = known_runs(folders, table)
    found = (
        _comparison(study, runs, known, states, axes, family, fixed, response, noise or {})
        for family in families
        for response in alike
    )
    return [replace(each, remarks=(*each.remarks, *told)) for each in found]


def _of_alike(
    responses: Sequence[Response], runs: Runs, folders: Collection[RunFolder]
) -> tuple[list[Response], list[str]]:
    """Those of which all runs were measured alike, and why the others are left out."""
    alike, told = [], []
    for each in responses:
        try:
            _check_measured(each, runs, folders)
        except UserError as error:
            told.append(f"{words_of(each)} is not compared: {error.reason}")
        else:
            alike.append(each)
    return alike, told


def _check_measured(response: Response, runs: Runs, folders: Iterable[RunFolder]) -> None:
    """Refuse to compare what was not measured alike, such as epochs of a training."""
    label = label_of(column_of(response.column).name, runs.table.columns)
    if label is None:
        return
    first: dict[str, tuple[Way, RunFolder]] = {}
    for run in folders:
        lines = one_way(run, label)
        if not lines:
            continue
        config = run.read_config()
        way = way_of(config, label, lines[0])
        parts = {"": way}
        if label == CELL and HASH in way:  # only of the same images it says more than the rest
            parts[_images(config)] = {HASH: way.pop(HASH)}
        for images, part in parts.items():
            known, other = first.setdefault(images, (part, run))
            found = difference([known, part])
            if found is not None:
                key, one, two = found
                raise UserError(
                    f"measured with {key} = {one} in {other.path}, with {two} in {run.path}",
                    key="--response",
                    value=str(response),
                    remedy=REMEDY,
                )


def _images(config: Mapping[str, Any]) -> str:
    """What a training takes over from a run: space, images, the seed that draws their halves."""
    sections = [config.get(each) for each in ("space", "data", "augmentation")]
    fingerprint = config["identity"].get("fingerprint")
    return json.dumps([*sections, config["search"]["seed"], fingerprint])


def _families(
    study: Study, axes: Sequence[Axis], by: Sequence[str], fixed: Sequence[Axis] = ()
) -> list[list[Axis]]:
    """Sets of axes along which arms differ, none of them fixed."""
    chosen = chosen_axes(axes, by, study)
    both = [axis.key for axis in chosen if axis in fixed]
    if both and (by or len(both) == len(chosen)):
        raise UserError(
            "arms are to differ along it and to be compared within it"
            if by
            else "no axis is left along which arms differ",
            key="--within",
            value=", ".join(both),
            remedy="leave it out of --by or of --within" if by else "leave one of them out",
        )
    chosen = [axis for axis in chosen if axis not in fixed]
    if by or len(set(arms_of(chosen, list(study.runs)).values())) <= MOST_ARMS:
        return [chosen]
    return [[axis] for axis in chosen]


def undecidable(study: Study, axes: Sequence[Axis]) -> list[str]:
    """What a study cannot decide with the seeds that it has, whatever its runs say.

    Args:
        study: the study.
        axes: its axes.

    Returns:
        A sentence each, as `optnas.analysis.compare.too_few`; empty where it can decide, or where
        it has no two arms.
    """
    names = list(study.runs)
    told: dict[str, None] = {}
    for family in _families(study, axes, ()) if axes else []:
        seeds: dict[str, set[int]] = {}
        for name, arm in arms_of(family, names).items():
            seeds.setdefault(arm, set()).add(study.runs[name].settings.search.seed)
        shared = [len(a & b) for a, b in itertools.combinations(seeds.values(), 2)]
        told |= dict.fromkeys(too_few(max(shared), sum(n > 0 for n in shared)))
    return list(told)


def _comparison(
    study: Study,
    runs: Runs,
    known: Mapping[str, str],
    states: Mapping[str, State],
    axes: Sequence[Axis],
    family: Sequence[Axis],
    fixed: Sequence[Axis],
    response: Response,
    noise: Mapping[str, str],
) -> Comparison:
    named = [*family, *fixed]
    others = [axis for axis in axes if axis not in named]
    names = list(study.runs)
    arms, contexts = arms_of(named, names), arms_of(others, names)
    groups = {arms[name]: group for name, group in arms_of(fixed, names).items()}
    own = {arms[name]: arm for name, arm in arms_of(family, names).items()}
    place = {known[str(each)]: row for row, each in enumerate(runs.settings["id"])}
    # Runs that are not done have no number: a seed counts where every shared context is there.
    values = [
        Value(
            arms[name],
            contexts[name],
            run.settings.search.seed,
            runs.value(place[name], response, math.nan, 0.0) if name in place else math.nan,
        )
        for name, run in study.runs.items()
    ]
    order = list(dict.fromkeys(arms.values()))
    better = _better(response, runs)
    pairs = compare_values(values, order, better, groups=groups)
    if fixed:
        pairs = [
            replace(each, group=groups[each.arms[0]], short=(own[each.arms[0]], own[each.arms[1]]))
            for each in pairs
        ]
    unfinished: dict[str, Counter[State]] = {}
    for name, state in states.items():
        if state != "done":
            unfinished.setdefault(arms[name], Counter())[state] += 1
    column = runs.column(response.column)
    tested = [pair for pair in pairs if pair.n]
    remarks = too_few(max(pair.n for pair in tested), len(tested)) if tested else []
    arms_of_all = tuple(centres(values, order))
    remarks += _of_more_runs(arms_of_all, pairs) + judged_elsewhere(column.name, runs)
    return Comparison(
        by=tuple(axis.key for axis in family),
        over=tuple(axis.key for axis in others),
        response=str(response),
        words=words_of(response),
        unit=response.unit(column.unit, difference=False),
        of_difference=response.unit(column.unit, difference=True),
        better=better,
        arms=arms_of_all,
        pairs=tuple(pairs),
        unfinished=unfinished,
        remarks=tuple(remarks),
        noise=noise.get(column.name, ""),
        within=tuple(axis.key for axis in fixed),
    )


def _of_more_runs(arms: Sequence[Centre], pairs: Sequence[Pair]) -> list[str]:
    """That means of arms are not those of a difference, where they are not."""
    means = {each.arm: each.mean for each in arms}
    apart = (
        mean - means[arm]
        for pair in pairs
        if pair.n
        for arm, mean in zip(pair.arms, pair.means, strict=True)
    )
    if all(math.isclose(each, 0.0, abs_tol=1e-9) for each in apart):
        return []
    return [
        "an arm's mean is of all its runs; a difference, and the means beside it, are of the "
        "settings and seeds that both arms have"
    ]


def judged_elsewhere(column: str, runs: Runs) -> list[str]:
    """That a benchmark's column is about other images than those of the searches.

    Args:
        column: of the tidy table.
        runs: the searches.

    Returns:
        A sentence; none if it is not so, or the column is no benchmark's.
    """
    of_benchmark, _, dataset = column.partition(".")
    searched = sorted({*map(str, runs.settings["data.name"])} - {dataset})
    if of_benchmark not in ("benchmark", "percentile") or not searched:
        return []
    return [f"the benchmark trained cells on {dataset}, not on {' or '.join(searched)}"]


def words_of(response: Response) -> str:
    """A response for the head of a table, such as ``train loss, final``."""
    name = response.column
    if name in TRAINED:
        return f"{name.rpartition('.')[2]} accuracy of the trained cell, {response.transform}"
    return f"{in_words(name)}, {response.transform}"


def _better(response: Response, runs: Runs) -> Better:
    levels = ("final", "log-final", "max", "auc", "early")
    return runs.column(response.column).better if response.transform in levels else "neither"


def default_responses(runs: Runs) -> list[Response]:
    """Of the derived cell by the benchmark and by its own trainings, if any; of the supernet."""
    asked = [c for c in map(str, runs.table) if c.startswith("benchmark.") and runs.has(c)]
    primary = PRIMARY if column_of(PRIMARY).name in asked else next(iter(asked), None)
    trained = next((each for each in TRAINED if runs.has(each)), None)
    return [Response(column=each) for each in (primary, trained, SUPERNET) if each is not None]


def _parsed(text: str, runs: Runs) -> Response:
    """A response from words such as ``auc accuracy``."""
    head, _, rest = text.partition(" ")
    transform, column = (head, rest.strip()) if rest and head in TRANSFORMS else ("final", text)
    if transform not in ALONE:
        raise UserError(
            "is no number of one run alone",
            key="--response",
            value=text,
            remedy=f"use one of: {', '.join(ALONE)}",
        )
    found = column_of(column)
    if not runs.has(found.name):
        if found.name in runs.table and runs.table[found.name].notna().any():
            raise UserError(
                "holds words, not numbers",
                key="--response",
                value=text,
                remedy="name a column of numbers, such as accuracy or train_loss",
            )
        numbers = runs.table.select_dtypes("number")
        known = [each for each in NAMES if runs.has(column_of(each).name)]
        known += [each for each in map(str, numbers) if runs.has(each)]
        near = "" if column in NAMES else did_you_mean(column, known).rstrip("?")
        raise UserError(
            f"no finished run has {'this column' if found.name == column else found.name}",
            key="--response",
            value=text,
            remedy=", or ".join(filter(None, [near, runs.column(column).supplied_by])),
        )
    return Response(column=column, transform=transform)
