"""Learning rates chosen by sweeps, and what the study that comes next has to declare for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.base.folder import folder_path
from optnas.base.toml import flat, inline_toml
from optnas.measures.ways import difference
from optnas.search.settings.layers import Layer, resolve
from optnas.study.declare import ARM, PAIR, Study, describe_settings
from optnas.study.folder import opened
from optnas.study.states import state_of
from optnas.study.tables import columns_of, known_runs, table_of

COMPARES = "the study that compares"

if TYPE_CHECKING:
    import pandas as pd

    from optnas.analysis.tuning import RateArm


@dataclass(frozen=True)
class Tuned:
    """What one sweep says of learning rates, or two: of w, and of alpha after it.

    Args:
        studies: the sweeps.
        arm: the learning-rate arm, with its remarks.
        responses: of each sweep the loss at every rate, see `optnas.analysis.sweeps.responses`.
        leads: what the declaration is for.
        declare: TOML: the base of the next sweep, or grids of the study that compares.
    """

    studies: tuple[str, ...]
    arm: RateArm
    responses: tuple[pd.DataFrame, ...]
    leads: str
    declare: str


def tune(
    studies: Sequence[str],
    out: str | Path,
    *,
    data: Path | None = None,
    numbers_version: int | None = None,
) -> Tuned:
    """Choose learning rates by the supernet's validation loss, of what the studies declare.

    Args:
        studies: a sweep by name or path; or one of w alone and then one of alpha alone, of which
            w's rates are chosen first.
        out: the folder that holds their runs.
        data: the data folder; default: the variable ``OPTNAS_DATA``.
        numbers_version: of the runs, see `optnas.study.folder.runs_of`.

    Returns:
        The rates. Runs that are declared and have not ended are remarked.

    Raises:
        UserError: a study is wrong, no run of one has a record yet, no seed has ended at every rate
            of one, or as `optnas.analysis.tuning.tune` and `tune_in_turn`.
    """
    from optnas.analysis.tuning import (
        arm_of,
        best_of,
        responses,
        settings_of,
        tune_in_turn,
    )
    from optnas.analysis.tuning import tune as tune_pairs

    if len(studies) > 2:
        raise UserError(
            f"{len(studies)} studies",
            key="STUDY",
            value=", ".join(studies),
            remedy="name one sweep, or that of w and then that of alpha",
        )
    loaded = [opened(each, folder_path(out, "out"), data, numbers_version) for each in studies]
    tables = [_sweep(*each) for each in loaded]
    declared = [study for study, _ in loaded]
    names = tuple(study.name for study in declared)
    sources = dict(zip(PAIR, (declared[0], declared[-1]), strict=True))
    if len(tables) == 2:
        arm = tune_in_turn(*tables)
        curves = [
            responses(each, ("algorithm.name", f"{section}.name"))
            for each, section in zip(tables, PAIR, strict=True)
        ]
        return Tuned(names, arm, tuple(curves), COMPARES, _grids(arm, sources))
    (table,) = tables
    varied = [section for section in PAIR if len(settings_of(table, section)) > 1]
    if len(varied) != 1:
        arm = tune_pairs(table)
        return Tuned(names, arm, (responses(table),), COMPARES, _grids(arm, sources))
    (section,) = varied
    by = ("algorithm.name", f"{section}.name")
    choice = best_of(table, section)
    best = {str(key): value for key, value in choice.best.iloc[0].items()}
    other = "alpha" if section == PAIR[0] else "w"
    line = f"{section} = {inline_toml(_section(best, section, sources))}"
    arm = arm_of(choice, by)
    return Tuned(names, arm, (choice.found,), f"the base of a sweep of {other}", line)


def _sweep(study: Study, folders: Mapping[str, Any]) -> pd.DataFrame:
    """The table of a sweep; a run that is declared and has no record is one row without a loss."""
    import pandas as pd

    frame = table_of(folders.values(), recorded=True)
    known, _ = known_runs(folders, frame)
    rows = []
    for name in [each for each in study.runs if each not in known.values()]:
        row = {"id": name, "state": state_of(folders[name]), "epoch": 0}
        rows.append(row | describe_settings(study.runs[name].settings.document()))
    return pd.concat([frame, columns_of(rows)]) if rows else frame


def _grids(arm: RateArm, sources: Mapping[str, Study]) -> str:
    """One grid if the pairs are a product, else one for each row of the arm."""
    algorithms = {row["algorithm.name"]: None for row in arm.rows}
    parts = [_distinct(arm.rows, section, sources) for section in PAIR]
    if len(arm.rows) == len(algorithms) * len(parts[0]) * len(parts[1]):
        return _grid(list(algorithms), parts)
    return "\n\n".join(
        _grid([row["algorithm.name"]], [_distinct([row], section, sources) for section in PAIR])
        for row in arm.rows
    )


def _distinct(
    rows: Sequence[Mapping[str, Any]], section: str, sources: Mapping[str, Study]
) -> list[dict[str, Any]]:
    found = {
        (row[f"{section}.name"], row[f"{section}.lr"]): _section(row, section, sources)
        for row in rows
    }
    return list(found.values())


def _grid(algorithms: Sequence[str], parts: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    lines = ["[[grid]]", f'{ARM} = "tuned"', f'"algorithm.name" = {inline_toml(algorithms)}']
    for section, values in zip(PAIR, parts, strict=True):
        lines += [f"{section} = [", *(f"    {inline_toml(value)}," for value in values), "]"]
    return "\n".join(lines)


def _section(row: Mapping[str, Any], section: str, sources: Mapping[str, Study]) -> dict[str, Any]:
    """The section of an optimizer as its sweep has it, as far as the protocol does not say so.

    Raises:
        UserError: the sweep has it in two ways, as with an optimizer of alpha each.
    """
    wanted = row["algorithm.name"], row[f"{section}.name"], row[f"{section}.lr"]
    documents = [run.settings.document() for run in sources[section].runs.values()]
    found = [
        each
        for each in documents
        if (each["algorithm"]["name"], each[section]["name"], each[section].get("lr")) == wanted
    ]
    document, own = found[0], found[0][section]
    for other in (each[section] for each in found[1:]):
        if (told := difference([flat(own), flat(other)])) is not None:
            key, one, another = told
            raise UserError(
                f"is {one} in some runs of {wanted[1]} at {wanted[2]:g} and {another} in others",
                where=f"the study '{sources[section].name}'",
                key=f"{section}.{key}",
                remedy="declare a study for each of these values",
            )
    rest = {key: document[key] for key in document if key not in ("format", "identity")}
    bare = resolve([Layer("the sweep", rest | {section: {"name": own["name"]}})])
    return {"name": own["name"], "lr": own["lr"]} | _beyond(own, bare.document()[section])


def _beyond(own: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """What a section says that its protocol's does not; a part inside of it by its name."""
    told: dict[str, Any] = {}
    for key, value in own.items():
        held = plain.get(key)
        if value == held:
            continue
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            same = value.get("name") == held.get("name")
            inner = _beyond(value, held) if same else dict(value)
            told[key] = {"name": value["name"]} | inner if "name" in value else inner
        else:
            told[key] = value
    return told
