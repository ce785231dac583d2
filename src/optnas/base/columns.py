"""The columns of a run's record, epochs.jsonl: the one place that says what each of them is.

Whoever shows, tabulates or judges a column takes its unit and its name in words from here. Keys are
those of a record; what a record nests (the benchmark's answers) or an algorithm adds (validation
accuracies under further relaxations) is found by `quantity_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pydantic

Better = Literal["higher", "lower", "neither"]
Matrix = list[list[float]]


@dataclass(frozen=True)
class Quantity:
    """One named number, or list or table of such numbers.

    Attributes:
        unit: such as ``percent``, ``percentage points``, ``nats``; ``1`` for a pure number.
        better: the direction in which a search is better by this quantity, if there is one.
        words: what it is called beside numbers and axes, such as ``train loss``; may be empty.
    """

    unit: str
    better: Better = "neither"
    words: str = ""


@dataclass(frozen=True)
class Column(Quantity):
    """A quantity that stands in every record.

    Attributes:
        holds: the type of its values; no float of a record is NaN or infinite.
        required: whether every record has it; not so where an earlier version did not write it.
    """

    holds: Any = float
    required: bool = True


class Answer(pydantic.BaseModel):
    """What a benchmark table says of a cell: accuracies in percent, by data set.

    Without a question there is no split, no budget of epochs and no accuracy.
    """

    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False, extra="allow")

    table: str
    split: str | None
    epochs: int | None
    accuracy: dict[str, float]
    regret: dict[str, float]


TOP_EIGENVALUE = "alpha_hessian_max"
LOWEST_EIGENVALUE = "alpha_hessian_min"
SUPERNET_ACCURACY = "valid_accuracy"

RECORD: dict[str, Column] = {
    "epoch": Column("epochs", words="finished passes over the training half", holds=int),
    "train_loss": Column("nats", "lower", "train loss", holds=float | None),
    "train_accuracy": Column("percent", "higher", "train accuracy", holds=float | None),
    "weight_lr": Column("1", words="learning rate of the network weights", holds=float | None),
    "arch_lr": Column("1", words="learning rate of alpha", holds=float | None),
    "valid_loss": Column("nats", "lower", "supernet validation loss"),
    SUPERNET_ACCURACY: Column("percent", "higher", "supernet validation accuracy"),
    "alpha": Column("1, edges x operations", words="architecture parameters", holds=Matrix),
    "op_weights": Column("1, edges x operations", words="clean operation weights", holds=Matrix),
    "architecture": Column("architecture string", words="derived cell", holds=str),
    "skips": Column("edges", words="skip connections of the derived cell", holds=int),
    "nones": Column("edges", words="edges of the derived cell that carry nothing", holds=int),
    "alpha_entropy": Column("nats", words="entropy of softmax(alpha)"),
    "alpha_margin": Column("1", words="margin of softmax(alpha)"),
    "alpha_displacement": Column("1", words="displacement of alpha"),
    "alpha_path_length": Column("1", words="path length of alpha"),
    "alpha_displacement_centred": Column(
        "1", words="displacement of alpha that softmax sees", required=False
    ),
    "alpha_path_length_centred": Column(
        "1", words="path length of alpha that softmax sees", required=False
    ),
    "weight_norm": Column("1", words="norm of the network weights"),
    "benchmark": Column(
        "percent", "higher", "benchmark accuracy of the derived cell", holds=Answer
    ),
    TOP_EIGENVALUE: Column("nats", words="top eigenvalue of the alpha-Hessian", holds=float | None),
    LOWEST_EIGENVALUE: Column(
        "nats", words="lowest eigenvalue of the alpha-Hessian", holds=float | None
    ),
    "seconds": Column("s", words="wall time of the epoch"),
}
# Columns that are a measure's: it supplies them where it is due.
OF_MEASURES = (TOP_EIGENVALUE, LOWEST_EIGENVALUE)
# Under this attribute a tidy table keeps the units of measures by column, as in their lines.
UNITS = "units"
SYMBOLS = {"percent": "%", "percentage points": "pp", "1": ""}


def quantity_of(column: str) -> Quantity | None:
    """What a column of the record is, also in a tidy table of runs.

    Args:
        column: a key of the record, ``benchmark.DATASET``, or ``valid_accuracy_RELAXATION``.

    Returns:
        The quantity; None for what is no column of a record.

    Example:
        >>> quantity_of("benchmark.cifar100").unit
        'percent'
    """
    if column.startswith(f"{SUPERNET_ACCURACY}_"):
        return RECORD[SUPERNET_ACCURACY]
    return RECORD.get(column.partition(".")[0])


def titled(column: str) -> tuple[str, str, str]:
    """A column of the record in words, its unit beside numbers, and its key."""
    quantity = RECORD[column]
    return quantity.words, symbol(quantity.unit), column


def symbol(unit: str) -> str:
    """A unit as it stands beside numbers: ``%``, ``pp``, nothing for a pure number."""
    each = unit.partition(",")[0]
    return SYMBOLS.get(each, each)
