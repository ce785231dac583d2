"""The ledger of claims before the runs of a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.analysis.claims.read import Claimed, choose_claims
from optnas.base.errors import UserError
from optnas.base.folder import folder_path
from optnas.base.records import FINISHED, RunFolder, find_runs
from optnas.study.declare import Study
from optnas.study.folder import opened, runs_of
from optnas.study.states import State, look, state_of
from optnas.study.tables import common_table, table_of, with_arms

if TYPE_CHECKING:
    from optnas.analysis.claims.judge import Finding
    from optnas.analysis.references import References
    from optnas.analysis.tuning import RateArm
    from optnas.spaces.tables.table import Noise


@dataclass(frozen=True)
class Ledger:
    """What the runs of a study say of the claims.

    Args:
        name: the study, or the folder whose runs were taken.
        states: how many of its runs are done, missing, and so on.
        findings: one per claim and learning-rate arm.
        table: the benchmark table behind accuracies and reference lines.
        remark: the table's noise floor, or why there are no reference lines.
        tuned: the tuned learning rates, where a sweep was given.
        in_no_arm: how many runs are at rates of no learning-rate arm, and at which.
        left_out: of each run that cannot be read, also of the sweep, the reason.
    """

    name: str
    states: Mapping[State, int]
    findings: list[Finding]
    table: str
    remark: str
    tuned: str
    in_no_arm: str
    left_out: list[str]


def judge(
    study: str | None,
    out: str | Path,
    claims: Iterable[Claimed] | None = None,
    *,
    benchmark: str | None = None,
    data: Path | None = None,
    recorded: bool = False,
    hold: Mapping[str, Any] | None = None,
    sweep: str | Path | Sequence[str | Path] | None = None,
    numbers_version: int | None = None,
) -> Ledger:
    """Judge claims by the runs of a study.

    Args:
        study: a shipped name or the path of a study; None takes every run below ``out``.
        out: the study's folder, or a folder of committed records.
        claims: as of `optnas.analysis.claims.choose_claims`.
        benchmark: ask this benchmark table instead of each run's own.
        data: the data folder; default: the variable ``OPTNAS_DATA``.
        recorded: take benchmark accuracies as the runs recorded them.
        hold: see `optnas.analysis.claims.judge`.
        sweep: folder of a learning-rate sweep, such as the study ``fair-lr``, or two, of a sweep of
            w and of one of alpha that follows it: adds the learning-rate arm ``tuned``, with the
            rates they prefer.
        numbers_version: of the runs, see `optnas.study.folder.runs_of`.

    Raises:
        UserError: the study, a record or a claim is wrong, or no run has a record yet.
    """
    from optnas.analysis.claims.judge import judge as judge_table
    from optnas.analysis.runs import Runs
    from optnas.analysis.tuning import in_no_arm, rate_arms

    chosen = choose_claims(claims)
    arms: list[RateArm] = []
    if study is None:
        runs = runs_of(None, folder_path(out, "out"), numbers_version=numbers_version)
    else:
        loaded, folders = opened(study, folder_path(out, "out"), data, numbers_version)
        runs, arms = list(folders.values()), declared_arms(loaded)
    given = [sweep] if isinstance(sweep, (str, Path)) else sweep or []
    places = [Path(each) for each in given]
    if places and any(arm.name == "tuned" for arm in arms):
        raise UserError(
            f"the study {study} declares the learning-rate arm tuned itself",
            key="--sweep",
            value=", ".join(map(str, places)),
            remedy="leave it out",
        )
    frame = table_of(runs, benchmark=benchmark, data=data, recorded=recorded)
    if study is not None:
        frame = with_arms(frame, loaded, folders)
    held = benchmark or (hold or {}).get("benchmark.table")
    name = str(held or common_table(frame))  # the judgement holds it as any other setting
    lines, noise, remark = _references(name, data)
    swept = [find_runs(place) for place in places]
    tuned = [_tuned(places, swept)] if places else []
    arms += tuned
    found = Runs(frame)
    looks = [look(run) for run in runs]
    others = [look(run) for each in swept for run in each]
    return Ledger(
        name=str(out) if study is None else study,
        states=Counter(state for state, _ in looks),
        findings=judge_table(frame, chosen, lines, noise=noise, lr_arms=arms, hold=hold),
        table=name,
        remark=remark,
        tuned="; ".join(map(str, tuned)),
        in_no_arm=in_no_arm(found, [*rate_arms(found), *arms]),
        left_out=[why for state, why in [*looks, *others] if state == "unreadable"],
    )


def _references(table: str, data: Path | None) -> tuple[References, Mapping[str, Noise], str]:
    """Random cell and searches, the noise floor, and this in words, or why they are not there."""
    from optnas.analysis.references import noise_of, noise_words, references
    from optnas.spaces.tables import NO_TABLE, data_folder, load_table

    if table == NO_TABLE.name:
        return {}, {}, "no reference lines: the runs asked no benchmark table"
    try:
        answering = load_table(table, folder=data_folder(data, "data"))
        told = "; ".join(f"{column}: {words}" for column, words in noise_words(answering).items())
        return references(answering), noise_of(answering), told
    except UserError as error:
        return {}, {}, f"no reference lines: {error.reason}; {error.remedy}"


def declared_arms(study: Study) -> list[RateArm]:
    """The learning-rate arms that a study names."""
    from optnas.analysis.tuning import RateArm

    return [RateArm(name, tuple(rows)) for name, rows in study.rates.items()]


def _tuned(places: Sequence[Path], swept: Sequence[list[RunFolder]]) -> RateArm:
    from optnas.analysis.tuning import tune, tune_in_turn

    if len(places) > 2:
        raise UserError(
            f"{len(places)} sweeps",
            key="--sweep",
            value=", ".join(map(str, places)),
            remedy="give one, or that of w and then that of alpha",
        )
    # Rates are chosen by the validation loss, so that no benchmark table is needed.
    for place, runs in zip(places, swept, strict=True):
        if not any(state_of(run) in FINISHED for run in runs):
            raise UserError(
                "no run is finished there",
                key="--sweep",
                value=str(place),
                remedy="name the folder of a learning-rate sweep, such as the study fair-lr",
            )
    tables = [table_of(runs, recorded=True) for runs in swept]
    return tune(tables[0]) if len(tables) == 1 else tune_in_turn(*tables)
