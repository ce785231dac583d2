"""A study as one tidy table: a row for each run and epoch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from optnas.analysis.claims.columns import ALONE
from optnas.base.columns import UNITS
from optnas.base.errors import UserError
from optnas.base.escapes import for_csv
from optnas.base.files import write_atomically, writing
from optnas.base.folder import folder_path
from optnas.base.records import Record, RunFolder
from optnas.measures.ways import way_of, written
from optnas.search.own_way import one_way
from optnas.study.axes import arms_of, axes_of
from optnas.study.declare import ID_LENGTH, Study, describe_settings
from optnas.study.folder import opened, require_record, runs_of
from optnas.study.states import State, look_and_read, state_of

if TYPE_CHECKING:
    import pandas as pd

    from optnas.spaces.base import Space
    from optnas.spaces.tables import Table

FORMATS = (".csv", ".parquet")
# A setting of the measure `ALONE`: the hash of a training has the images and the seed of the run in
# it, and differs where cells were trained alike.
HASH = "hash"


def table(
    study: str | None,
    out: str | Path,
    *,
    benchmark: str | None = None,
    data: Path | None = None,
    recorded: bool = False,
    arrays: bool = False,
    numbers_version: int | None = None,
) -> pd.DataFrame:
    """Every epoch of every run of a study.

    Columns: ``id``, ``state``, ``completed`` (whether the run is done); ``arm``, the run's values
    of the study's axes in words, with its labels (not without a study, or an axis); every setting
    under its dotted key, lists as JSON text; every value of the epoch's record under its name;
    ``benchmark.DATASET``, the derived cell's test accuracy in percent, asked of the table again;
    ``percentile.DATASET``, the percent of the table's cells that are not better than it;
    ``op_weight.OPERATION``, the mean of the recorded operation weights over the edges that have
    it as a candidate; and of each measure ``measure.LABEL.KEY``, what it found,
    ``measure.LABEL.status``, and ``measure.LABEL.settings``, with which settings, as JSON text. Of
    a run that was measured in several ways it has the run's own (`optnas.search.own_way.one_way`).

    Args:
        study: a shipped name or the path of a study; None takes every run below ``out``.
        out: the study's folder, or a folder of committed records.
        benchmark: ask this benchmark table instead of each run's own.
        data: the data folder; default: the variable ``OPTNAS_DATA``.
        recorded: take benchmark accuracies as the runs recorded them; needs no table, and has no
            percentiles.
        arrays: also alpha and operation weights, as JSON text.
        numbers_version: of the runs, see `optnas.study.folder.runs_of`.

    Returns:
        The table, runs in the study's order, epochs ascending.

    Raises:
        UserError: the study or a record is wrong, no run has a record yet, or a run was measured
            in several ways of which none is its own.

    Example:
        >>> table("quickstart", "demo").groupby("id").last()  # doctest: +SKIP
    """
    return tabulated(
        study,
        out,
        benchmark=benchmark,
        data=data,
        recorded=recorded,
        arrays=arrays,
        numbers_version=numbers_version,
    )[0]


def tabulated(
    study: str | None,
    out: str | Path,
    *,
    data: Path | None = None,
    numbers_version: int | None = None,
    **chosen: Any,
) -> tuple[pd.DataFrame, list[RunFolder]]:
    """The table of `table`, and the runs that were read for it; arguments as there."""
    if study is None:
        runs = runs_of(None, folder_path(out, "out"), numbers_version=numbers_version)
        return table_of(runs, data=data, **chosen), runs
    loaded, folders = opened(study, folder_path(out, "out"), data, numbers_version)
    runs = list(folders.values())
    return with_arms(table_of(runs, data=data, **chosen), loaded, folders), runs


def with_arms(frame: pd.DataFrame, study: Study, folders: Mapping[str, RunFolder]) -> pd.DataFrame:
    """The table of a study's runs with a column ``arm``, where the study has axes.

    Args:
        frame: of `table_of`; changed.
        study: the study.
        folders: of its runs, by id.
    """
    axes = axes_of(study)
    if axes:
        arms, (known, _) = arms_of(axes, list(study.runs)), known_runs(folders, frame)
        named = frame["id"].map(lambda each: arms[known[each]])
        frame.insert(list(frame).index("completed") + 1, "arm", named)
    return frame


def known_runs(
    folders: Mapping[str, RunFolder], table: pd.DataFrame
) -> tuple[dict[str, str], dict[str, State]]:
    """The run of each id in a table, and the state of each run.

    A record of an earlier numbers version stands in the table by the hash that it had then.
    """
    seen = dict(table[["id", "state"]].drop_duplicates("id").to_numpy().tolist())
    known: dict[str, str] = {}
    states: dict[str, State] = {}
    for name, folder in folders.items():
        own = name
        if name not in seen and state_of(folder) not in ("missing", "unreadable"):
            own = str(folder.read_identity()["hash"])[:ID_LENGTH]
        if own in seen:
            known[own] = name
        states[name] = seen[own] if own in seen else state_of(folder)
    return known, states


def table_of(
    runs: Iterable[RunFolder],
    *,
    benchmark: str | None = None,
    data: Path | None = None,
    recorded: bool = False,
    arrays: bool = False,
) -> pd.DataFrame:
    """The table of `table`, made of run folders.

    Args:
        runs: the runs; those without a record are left out.
        benchmark: ask this benchmark table instead of each run's own.
        data: the data folder.
        recorded: take benchmark accuracies as recorded.
        arrays: also alpha and operation weights.

    Raises:
        UserError: a record is damaged, or no run has one.
    """
    import numpy as np
    import pandas as pd

    ask = None if recorded else _Tables(benchmark, data)
    heads: list[dict[str, Any]] = []
    rows: list[Record] = []
    lengths: list[int] = []
    units: dict[str, str] = {}
    for run in runs:
        (state, _), records = look_and_read(run)
        if not records:
            continue
        config = run.read_config()
        head = describe_settings(config)
        asked = None if ask is None else ask.of(head)
        if asked is not None:
            head["benchmark.table"] = asked[0]
        identity = {"id": config["identity"]["hash"][:ID_LENGTH], "state": state}
        heads.append({**identity, "completed": state == "done", **head})
        measured = _measures(run, config, arrays, units)
        space = _space_if_there(head)
        if space is not None:
            _derive(records, space)
        rows += [_row(each, asked, measured.get(each["epoch"], {}), arrays) for each in records]
        lengths.append(len(records))
    require_record(heads)
    settings = columns_of(heads).take(np.repeat(np.arange(len(heads)), lengths))
    epochs = pd.DataFrame(rows)
    found = pd.concat([settings.reset_index(drop=True), epochs], axis=1)
    found.attrs[UNITS] = {name: unit for name in map(str, epochs) if (unit := _unit(name, units))}
    return found


def _unit(column: str, units: Mapping[str, str]) -> str | None:
    """The unit of a measure's column; a quantity that is a table has a column per entry."""
    while column not in units and "." in column:
        column = column.rpartition(".")[0]
    return units.get(column)


def columns_of(heads: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per run; a column holds numbers, truth values, or text, never a mixture.

    Args:
        heads: state and settings of each run, by column.
    """
    import pandas as pd

    keys = dict.fromkeys(key for head in heads for key in head)
    columns = {}
    for key in keys:
        values = [head.get(key) for head in heads]
        kinds = {type(value) for value in values if value is not None}
        plain = kinds <= {int, float} or kinds in ({bool}, {str})
        columns[key] = values if plain else [_text(value) for value in values]
    return pd.DataFrame(columns)


def _space(head: Mapping[str, Any]) -> Space:
    from optnas.spaces import build_space

    return build_space({k[len("space.") :]: v for k, v in head.items() if k.startswith("space.")})


def _space_if_there(head: Mapping[str, Any]) -> Space | None:
    """The run's space; None where the file of one of the user's own is gone."""
    try:
        return _space(head)
    except UserError:
        return None


def _derive(records: Sequence[Record], space: Space) -> None:
    """Add what follows from the alpha and the operation weights of a run's records.

    A record of an earlier version has no displacement without the mean of each row; alpha says it.
    """
    import numpy as np

    def centred(record: Record) -> Any:
        alpha_EO = np.array(record["alpha"], float)[:, : space.operation_count]
        return alpha_EO - alpha_EO.mean(axis=-1, keepdims=True)

    for record in records:
        record["op_weight"] = space.means(record["op_weights"])
        if "alpha_displacement_centred" not in record:
            moved = float(np.linalg.norm(centred(record) - centred(records[0])))
            record["alpha_displacement_centred"] = moved


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _row(
    record: Record, asked: tuple[str, Any] | None, measured: Mapping[str, Any], arrays: bool
) -> Record:
    recorded = record.pop("benchmark")["accuracy"]
    row = _scalars(record, arrays)
    row |= _answers(recorded) if asked is None else asked[1](record["architecture"])
    row |= measured
    return row


def _answers(accuracies: Mapping[str, float]) -> Record:
    return {f"benchmark.{dataset}": value for dataset, value in accuracies.items()}


def _scalars(record: Mapping[str, Any], arrays: bool, prefix: str = "") -> Record:
    row: Record = {}
    for key, value in record.items():
        if isinstance(value, dict):
            row |= _scalars(value, arrays, f"{prefix}{key}.")
        elif not isinstance(value, list):
            row[prefix + key] = value
        elif arrays:
            row[prefix + key] = json.dumps(value)
    return row


def _measures(
    run: RunFolder, config: Mapping[str, Any], arrays: bool, units: dict[str, str]
) -> dict[int, Record]:
    """What was measured on a run, by epoch, and in which way; the units by column are noted."""
    measured: dict[int, Record] = {}
    for label in run.measures.labels():
        for line in one_way(run, label):
            way = way_of(config, label, line)
            if label == ALONE:
                way.pop(HASH, None)
            told = {**line["values"], "status": line["status"], "settings": written(way)}
            found = _scalars(told, arrays, f"measure.{label}.")
            measured.setdefault(line["epoch"], {}).update(found)
            units |= {f"measure.{label}.{key}": unit for key, unit in line["units"].items()}
    return measured


class _Tables:
    """Benchmark tables by name, and cells by string, each read once."""

    def __init__(self, name: str | None, data: Path | None):
        self._name, self._data = name, data
        self._answers: dict[tuple[str, Space], Any] = {}

    def of(self, settings: Mapping[str, Any]) -> tuple[str, Any]:
        """The table that answers a run, and its question: architecture string to columns."""
        name = self._name or settings["benchmark.table"]
        space = _space(settings)
        key = name, space
        if key not in self._answers:
            self._answers[key] = _question(name, space, self._data)
        return name, self._answers[key]


def _question(name: str, space: Space, data: Path | None) -> Any:
    import functools

    from optnas.spaces.tables import data_folder, load_table
    from optnas.spaces.tables.told import describe_benchmark

    try:
        answers = load_table(name, folder=data_folder(data, "data"))
    except UserError as error:
        recorded = "take the accuracies that the runs recorded (recorded=True): --recorded"
        raise UserError(
            error.reason,
            where=error.where,
            key=error.key,
            value=error.value,
            remedy=f"{error.remedy}, or {recorded}" if error.remedy else recorded,
        ) from error

    @functools.cache
    def ask(architecture: str) -> Record:
        cell = space.parse(architecture)
        ranks = {
            f"percentile.{question.dataset}": answers.percentile(cell, question)
            for question in answers.coverage.headline
        }
        return _answers(describe_benchmark(answers, cell)["accuracy"]) | ranks

    return ask


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table in one step. Text in a CSV never begins as a formula, see `for_csv`.

    Args:
        frame: the table.
        path: a file that ends in .csv or .parquet.

    Raises:
        UserError: it ends in something else, or cannot be written.
    """
    check_format(path)
    kind = path.suffix

    def write(file: IO[bytes]) -> None:
        if kind == ".csv":
            _no_formulas(frame).to_csv(file, index=False)
        else:
            frame.to_parquet(file, index=False)

    with writing("the table", key="-o", path=path):
        write_atomically(path, write)


def _no_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as a CSV holds it: text that a spreadsheet would compute gets an apostrophe."""
    kept = frame.copy(deep=False)
    for name in frame.select_dtypes(exclude=["number", "bool"]):
        kept[name] = frame[name].map(for_csv)
    return kept.rename(columns=for_csv)


def check_format(path: Path) -> None:
    """Refuse a file whose ending is not one of `FORMATS`.

    Raises:
        UserError: its ending is another.
    """
    if path.suffix not in FORMATS:
        raise UserError(
            "not a format of tables",
            key="-o",
            value=str(path),
            remedy=f"end it in {' or '.join(FORMATS)}",
        )


def common_table(table: pd.DataFrame) -> str:
    """The benchmark table that answered most runs."""
    return str(table.drop_duplicates("id")["benchmark.table"].mode()[0])


def answering_table(table: pd.DataFrame, folder: Path | None) -> Table | None:
    """The benchmark table that answered most runs, None if it is not there or none was asked."""
    from optnas.spaces.tables import load_table

    try:
        found = load_table(common_table(table), folder=folder)
    except UserError:
        return None
    return found if found.coverage.questions else None
