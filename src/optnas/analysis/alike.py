"""Whether runs were measured alike: a tidy table says it in the columns ``measure.LABEL.settings``.

Numbers of one measure that were taken in several ways (`optnas.measures.ways`) are not compared.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable

from optnas.base.columns import OF_MEASURES
from optnas.measures.ways import difference

MEASURE, SETTINGS = "measure.", ".settings"
RECORDED_BY = "sharpness"  # the measure that supplies `OF_MEASURES`
REMEDY = "measure all runs alike"


def label_of(column: str, known: Container[str]) -> str | None:
    """The measure of a column of a tidy table, where the table says how it was taken.

    Args:
        column: the column.
        known: the table's columns.

    Returns:
        The label; None of what no measure found, and of a table without its settings.
    """
    parts = [RECORDED_BY, ""] if column in OF_MEASURES else column.split(".")[1:]
    if not (column in OF_MEASURES or column.startswith(MEASURE)):
        return None
    # A label may have dots in it, and so may a key.
    labels = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
    return next((each for each in labels if f"{MEASURE}{each}{SETTINGS}" in known), None)


def unlike(label: str, settings: Iterable[object]) -> str | None:
    """What tells the ways apart in which a measure was taken.

    Args:
        label: of the measure.
        settings: values of its column of settings; what is no text is left out.

    Returns:
        Such as ``gap was measured with batches = 10 in some of these runs and 50 in others``,
        whatever the order of the rows; None where all were measured alike.
    """
    texts = sorted({each for each in settings if isinstance(each, str)})
    found = difference(map(json.loads, texts))
    if found is None:
        return None
    key, one, other = found
    return f"{label} was measured with {key} = {one} in some of these runs and {other} in others"
