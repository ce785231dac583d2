"""How far one training of a cell is from another: below it, no difference means much."""

from __future__ import annotations

import numpy as np

from optnas.spaces.tables.coverage import Question
from optnas.spaces.tables.table import Noise, Table


def noise_floor(table: Table, question: Question) -> Noise:
    """The standard deviation of one training, by the accuracy of the cell.

    Args:
        table: the benchmark table.
        question: data set, split, epochs.

    Returns:
        What the table's file declares for the data set; else the root mean square of the deviations
        over trials, of cells above the median and of all that were trained more than once, equal
        cells counted once; nothing where neither is known.
    """
    measured = table.ask(question)
    if question.dataset in table.noise:
        return table.noise[question.dataset]
    if measured.spread is None or np.isnan(measured.spread).all():
        return ()
    both = np.stack([measured.accuracy, measured.spread])
    accuracy_N, spread_N = np.unique(both[:, ~np.isnan(measured.spread)], axis=1)
    median = float(np.median(accuracy_N))
    return tuple(
        (level, float(np.sqrt(np.mean(spread_N[accuracy_N >= level] ** 2))))
        for level in (median, float(accuracy_N.min()))
    )


def noise_told(table: Table, question: Question) -> str:
    """The noise floor in a line; empty where it is not known."""
    told = [f"{sd:.2f} at {level:.4g} % and more" for level, sd in noise_floor(table, question)]
    if not told:
        return ""
    return f"standard deviation of one training, in points: {', '.join(told)}"
