"""Validation accuracies that are test accuracies under another name.

The "validation accuracy" that NASLib and NAS-Bench-Suite-Zero give for NAS-Bench-201 is the test
accuracy of one training (seed 888): a search that chooses by it is an oracle.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from optnas.spaces.tables.coverage import Question
from optnas.spaces.tables.table import Accuracies, Table, sources

# Points. Two trainings of the better half of cells differ by less on the same images; validation
# and test images by more, be it by their number or because validation leaves fewer for training.
CLOSE = 0.45


def doubts(table: Table) -> list[str]:
    """What to warn of: validation accuracies that are as close to test accuracies as trainings are.

    Args:
        table: the benchmark table; its own test accuracies count, and those of the tables of its
            space that are there.

    Returns:
        A sentence per data set and number of epochs; empty where nothing is doubtful.
    """
    found = []
    for question in table.coverage.questions:
        if question.split == "valid":
            name = next(_as_close(table, question), None)
            if name is not None:
                found.append(
                    f"its validation accuracies ({question}) are test accuracies of the table"
                    f" {name}, or of other trainings on the same images: a search that chooses by"
                    " them is an oracle"
                )
    return found


def _as_close(table: Table, question: Question) -> Iterator[str]:
    """Names of the tables whose test accuracies these are."""
    values = table.values(question)
    better = values >= np.median(values)
    for name, test in _tests(table, question.dataset):
        if float(np.sqrt(np.mean((values - test)[better] ** 2))) < CLOSE:
            yield name


def _tests(table: Table, dataset: str) -> Iterator[tuple[str, Accuracies]]:
    """Test accuracies on a data set, by the name of their table."""
    others = [each for each in sources(table.space_name) if each.name != table.name]
    wanted = {"dataset": dataset, "split": "test"}
    for question in table.coverage.matching(wanted):
        yield table.name, table.values(question)
    for source in others:
        if source.coverage.matching(wanted) and source.present(table.folder):
            loaded = source.load(table.folder)
            for question in loaded.coverage.matching(wanted):
                yield source.name, loaded.values(question)
