"""What the files of a run may hold, and the one place where it is checked as they are read.

Records (epochs.jsonl), how a run ended (result.json), its starts (environment.json), the lines of
measures, and stand-alone trainings (trainings.jsonl, training.toml). The columns of a record are
declared in `optnas.base.columns`; what a measure or an algorithm adds to them may be any JSON. No
number is NaN or infinite: `optnas.base.json` reads none.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, Literal, NoReturn

import pydantic
from pydantic import Field, StringConstraints

from optnas.base.columns import RECORD, Answer, Matrix
from optnas.base.errors import Fault, UserError
from optnas.base.refusals import validated

RESTORE = "restore the file"
STRICT = pydantic.ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
PLACE = ("epoch", "settings", "source")  # what no two lines of a measure have in common

# How a run ends.
Status = Literal["done", "interrupted", "diverged", "failed", "timeout"]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]


class Ended(pydantic.BaseModel):
    """How a run ended, whichever way."""

    model_config = STRICT

    status: Status
    reason: str = ""
    fault: Fault = "program"
    traceback: list[str] = []


class Done(Ended):
    """How a run ended that is done."""

    hash: str
    epochs: Count
    seconds: Seconds
    note: str = ""
    architecture: str
    genotype: str = ""  # of spaces whose cells leave edges out
    benchmark: Answer
    valid_accuracy: float
    alpha_path_length: float = 0.0  # of numbers version 1
    alpha_path_length_centred: float = 0.0


class Start(pydantic.BaseModel):
    """One start of a run: versions and machine."""

    model_config = STRICT

    started: str = ""
    command: list[str] = []
    packages: dict[str, str | None] = {}


class Event(pydantic.BaseModel):
    """A line of a start log: a process begins a run, or how its execution ended."""

    model_config = STRICT

    event: Literal["start", Status]
    time: str = ""
    host: str = ""
    process: int = 0


class Measured(pydantic.BaseModel):
    """A line of a measure."""

    model_config = STRICT

    epoch: Count
    status: Literal["ok", "not-finite", "failed"]
    reason: str = ""
    settings: dict[str, Any]
    source: str | None = None
    values: dict[str, Any]
    units: dict[str, str]
    arrays: Annotated[str, StringConstraints(pattern=r"^[^/\\]+\.npz$")] | None = None
    cost: dict[str, float] = {}


class Trained(pydantic.BaseModel):
    """A line of a journal of trainings: what came of one."""

    model_config = STRICT

    index: Count | None = None  # of spaces whose cells have one
    cell: str
    seed: Count
    train_loss: float | None
    valid: float | None
    test: float | None
    seconds: Seconds


class _Network(pydantic.BaseModel):
    model_config = STRICT

    channels: Size
    cells: Size
    auxiliary_weight: float = 0.0


class _Images(pydantic.BaseModel):
    model_config = STRICT

    classes: Size
    channels: Size
    class_names: list[str]
    mean: list[float]
    std: list[float]


class _Data(pydantic.BaseModel):
    model_config = STRICT

    resolution: Size


class _Training(pydantic.BaseModel):
    model_config = STRICT

    seeds: Annotated[list[Count], Field(min_length=1)]
    epochs: Size


class _Identity(pydantic.BaseModel):
    model_config = STRICT

    hash: str


class _Space(pydantic.BaseModel):
    model_config = STRICT

    name: str


class TrainingFile(pydantic.BaseModel):
    """What of a training.toml says which network was trained."""

    model_config = STRICT

    architecture: str
    space: _Space
    network: _Network
    data: _Data
    training: _Training
    images: _Images
    identity: _Identity


@functools.cache
def _record() -> type[pydantic.BaseModel]:
    columns: dict[str, Any] = {
        name: (column.holds, ... if column.required else None) for name, column in RECORD.items()
    }
    return pydantic.create_model("Record", __config__=STRICT, **columns)


def _check(model: type[pydantic.BaseModel], document: Mapping[str, Any], where: object) -> None:
    try:
        validated(model, document)
    except UserError as error:
        _refuse(error.reason, where, error.key, error.value)


def _refuse(reason: str, where: object, key: str | None = None, value: Any = None) -> NoReturn:
    raise UserError(reason, where=where, key=key, value=value, remedy=RESTORE)


def check_records(records: Sequence[Mapping[str, Any]], path: object) -> None:
    """Refuse records that are not those of epochs 0, 1, 2, ..., with every column, of one shape.

    Args:
        records: the lines of the file.
        path: the file.
    """
    for epoch, record in enumerate(records):
        where = f"{path} line {epoch + 1}"
        _check(_record(), record, where)
        if record["epoch"] != epoch:
            _refuse(
                f"the record of epoch {epoch} belongs here (0, 1, 2, ..., each once)",
                where,
                "epoch",
                record["epoch"],
            )
        for column in ("alpha", "op_weights"):
            if _shape(record[column]) != _shape(records[0][column]):
                _refuse("has not the shape of epoch 0", where, column)
        answered = [set(each["benchmark"]["accuracy"]) for each in (record, records[0])]
        if answered[0] != answered[1]:
            _refuse(
                "has not the data sets of epoch 0",
                where,
                "benchmark.accuracy",
                ", ".join(sorted(answered[0])),
            )


def _shape(matrix: Matrix) -> tuple[int, set[int]]:
    return len(matrix), {len(row) for row in matrix}


def check_result(result: Mapping[str, Any], path: object) -> None:
    """Refuse an end that is no `Status`, or that of a run that is done and names no cell.

    Args:
        result: the content of the file.
        path: the file.
    """
    _check(Done if result.get("status") == "done" else Ended, result, path)


def check_starts(starts: Sequence[Any], path: object) -> None:
    """Refuse what says no time, command or packages where it should.

    Args:
        starts: the content of the file.
        path: the file.
    """
    for number, start in enumerate(starts, start=1):
        where = f"{path} start {number}"
        if not isinstance(start, dict):
            _refuse("not a JSON object", where)
        _check(Start, start, where)


def check_measured(lines: Sequence[Mapping[str, Any]], path: object) -> None:
    """Refuse lines of a measure that are out of order or give numbers without their units.

    Args:
        lines: the lines of the file.
        path: the file.
    """
    places = set()
    for number, line in enumerate(lines, start=1):
        where = f"{path} line {number}"
        _check(Measured, line, where)
        place = _hashable([line.get(key) for key in PLACE])
        if number > 1 and line["epoch"] < lines[number - 2]["epoch"]:
            _refuse("comes after a later epoch", where, "epoch", line["epoch"])
        if place in places:
            _refuse("this epoch was measured with these settings on another line", where)
        places.add(place)
        if line["values"].keys() != line["units"].keys():
            differing = sorted(line["values"].keys() ^ line["units"].keys())
            _refuse(f"values and units are not of the same numbers: {differing}", where)


def _hashable(value: Any) -> Hashable:
    """A JSON value as one that a set takes: equal where the values are."""
    if isinstance(value, Mapping):
        return frozenset((key, _hashable(each)) for key, each in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def check_event(event: Mapping[str, Any], where: object) -> None:
    """Refuse what is no line of a start log.

    Args:
        event: the line.
        where: the file and the number of the line.
    """
    _check(Event, event, where)


def check_trainings(lines: Sequence[Mapping[str, Any]], path: object, *, indexed: bool) -> None:
    """Refuse lines of a journal that tell no training.

    Args:
        lines: those after the first, which says what is trained.
        path: the file.
        indexed: whether each names its cell by an index.
    """
    for number, line in enumerate(lines, start=2):
        where = f"{path} line {number}"
        _check(Trained, line, where)
        if indexed and line.get("index") is None:
            _refuse("is missing", where, "index")


def check_training(document: Mapping[str, Any], path: object) -> None:
    """Refuse a training.toml that does not say which network was trained.

    Args:
        document: the content of the file.
        path: the file.
    """
    _check(TrainingFile, document, path)
    images = document["images"]
    for key in ("mean", "std"):
        if len(images[key]) != images["channels"]:
            _refuse(
                f"is one number for each of {images['channels']} channels",
                path,
                f"images.{key}",
                images[key],
            )
