"""The ledger of claims before the runs of a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.analysis.claims.read import choose_claims
from optnas.base.errors import UserError
from optnas.base.records import FINISHED, RunFolder, find_runs
from optnas.study.states import State, look, state_of
from optnas.study.tables import table_of, tabulated

if TYPE_CHECKING:
    import pandas as pd

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
        left_out: of each run that cannot be read, also of the sweep, the reason.
    """

    name: str
    states: Mapping[State, int]
    findings: list[Finding]
    table: str
    remark: str
    tuned: str
    left_out: list[str]


def judge(
    study: str | None,
    out: str | Path,
    claims: Iterable[str] | None = None,
    *,
    benchmark: str | None = None,
    data: Path | None = None,
    recorded: bool = False,
    hold: Mapping[str, Any] | None = None,
    sweep: str | Path | None = None,
    numbers_version: int | None = None,
) -> Ledger:
    """Judge claims by the runs of a study.

    Args:
        study: a shipped name or the path of a study; None takes every run below ``out``.
        out: the study's folder, or a folder of committed records.
        claims: names, files, folders of files, ``all`` for the registered ones; default: those.
        benchmark: ask this benchmark table instead of each run's own.
        data: the data folder; default: the variable ``OPTNAS_DATA``.
        recorded: take benchmark accuracies as the runs recorded them.
        hold: see `optnas.analysis.claims.judge`.
        sweep: folder of a learning-rate sweep, such as the study ``fair-lr``: adds the
            learning-rate arm ``tuned``, with the rates it prefers.
        numbers_version: of the runs, see `optnas.study.folder.runs_of`.

    Raises:
        UserError: the study, a record or a claim is wrong, or no run has a record yet.
    """
    from optnas.analysis.claims.judge import judge as judge_table

    chosen = choose_claims(claims)
    frame, runs = tabulated(
        study,
        out,
        benchmark=benchmark,
        data=data,
        recorded=recorded,
        numbers_version=numbers_version,
    )
    name = _table_name(frame, benchmark, hold or {})
    lines, noise, remark = _references(name, data)
    swept = [] if sweep is None else find_runs(Path(sweep))
    arms = [] if sweep is None else [_tuned(Path(sweep), swept)]
    looks = [look(run) for run in runs]
    return Ledger(
        name=str(out) if study is None else study,
        states=Counter(state for state, _ in looks),
        findings=judge_table(frame, chosen, lines, noise=noise, lr_arms=arms, hold=hold),
        table=name,
        remark=remark,
        tuned="; ".join(map(str, arms)),
        left_out=[why for state, why in [*looks, *map(look, swept)] if state == "unreadable"],
    )


def _table_name(frame: pd.DataFrame, asked: str | None, hold: Mapping[str, Any]) -> str:
    """The table of most runs, which the judgement holds as any other setting."""
    held = asked or hold.get("benchmark.table")
    return str(held or frame.drop_duplicates("id")["benchmark.table"].mode().iloc[0])


def _references(table: str, data: Path | None) -> tuple[References, Mapping[str, Noise], str]:
    """Random cell and searches, the noise floor, and this in words, or why they are not there."""
    from optnas.analysis.references import noise_of, noise_words, references
    from optnas.spaces.tables import NO_TABLE, data_folder, load_table

    if table == NO_TABLE.name:
        return {}, {}, "no reference lines: the runs asked no benchmark table"
    try:
        answering = load_table(table, folder=data_folder(data))
        told = "; ".join(f"{column}: {words}" for column, words in noise_words(answering).items())
        return references(answering), noise_of(answering), told
    except UserError as error:
        return {}, {}, f"no reference lines: {error.reason}; {error.remedy}"


def _tuned(sweep: Path, runs: list[RunFolder]) -> RateArm:
    from optnas.analysis.tuning import tune

    # Rates are chosen by the validation loss, so that no benchmark table is needed.
    if not any(state_of(run) in FINISHED for run in runs):
        raise UserError(
            "no run is finished there",
            key="--sweep",
            value=str(sweep),
            remedy="name the folder of a learning-rate sweep, such as the study fair-lr",
        )
    return tune(table_of(runs, recorded=True))
