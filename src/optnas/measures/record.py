"""The columns of a run's record, epochs.jsonl: the one place that says what each of them is.

Whoever shows, tabulates or judges a column takes its unit and its name in words from here. Keys are
those of a record; what a record nests (the benchmark's answers) or an algorithm adds (validation
accuracies under further relaxations) is found by `quantity_of`.
"""

from __future__ import annotations

from optnas.measures.base import Quantity

TOP_EIGENVALUE = "alpha_hessian_max"
LOWEST_EIGENVALUE = "alpha_hessian_min"
SUPERNET_ACCURACY = "valid_accuracy"

RECORD: dict[str, Quantity] = {
    "epoch": Quantity("epochs", words="finished passes over the training half"),
    "train_loss": Quantity("nats", "lower", "train loss"),
    "train_accuracy": Quantity("percent", "higher", "train accuracy"),
    "weight_lr": Quantity("1", words="learning rate of the network weights"),
    "arch_lr": Quantity("1", words="learning rate of alpha"),
    "valid_loss": Quantity("nats", "lower", "supernet validation loss"),
    SUPERNET_ACCURACY: Quantity("percent", "higher", "supernet validation accuracy"),
    "alpha": Quantity("1, edges x operations", words="architecture parameters"),
    "op_weights": Quantity("1, edges x operations", words="clean operation weights"),
    "architecture": Quantity("architecture string", words="derived cell"),
    "skips": Quantity("edges", words="skip connections of the derived cell"),
    "nones": Quantity("edges", words="edges of the derived cell that carry nothing"),
    "alpha_entropy": Quantity("nats", words="entropy of softmax(alpha)"),
    "alpha_margin": Quantity("1", words="margin of softmax(alpha)"),
    "alpha_displacement": Quantity("1", words="displacement of alpha"),
    "alpha_path_length": Quantity("1", words="path length of alpha"),
    "alpha_displacement_centred": Quantity("1", words="displacement of alpha that softmax sees"),
    "alpha_path_length_centred": Quantity("1", words="path length of alpha that softmax sees"),
    "weight_norm": Quantity("1", words="norm of the network weights"),
    "benchmark": Quantity("percent", "higher", "benchmark accuracy of the derived cell"),
    TOP_EIGENVALUE: Quantity("nats", words="top eigenvalue of the alpha-Hessian"),
    LOWEST_EIGENVALUE: Quantity("nats", words="lowest eigenvalue of the alpha-Hessian"),
    "seconds": Quantity("s", words="wall time of the epoch"),
}
# Columns that are a measure's: it supplies them where it is due.
OF_MEASURES = (TOP_EIGENVALUE, LOWEST_EIGENVALUE)
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
