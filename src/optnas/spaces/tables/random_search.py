"""What random search finds on a table, exactly: no draw is made.

Random search of k: draw k different cells, all sets of k equally likely; keep the one with the best
score; report its accuracy. The score is the validation accuracy where the table has one. Scored by
the reported accuracy itself it is an oracle, which no search could be, and is called so. Other
tables of the space may offer a score that has not seen what is reported (`random_searches`).

Let the N cells be sorted by score, ascending, i = 1..N. The kept cell is among the first i if and
only if all k are:

    F(i) = C(i, k) / C(N, k) = prod_{m=i+1}^{N} (m - k) / m    for i >= k, else 0

so that without equal scores the i-th is kept with probability F(i) - F(i-1). A group of equal
scores at i = a..b is met with probability F(b) - F(a-1); one of its drawn members is kept at
random, hence each member with an equal share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optnas.base.errors import UserError
from optnas.spaces.tables.coverage import Question
from optnas.spaces.tables.table import Accuracies, Table, sources

QUANTILES = (0.05, 0.95)


@dataclass(frozen=True)
class RandomSearch:
    """The distribution of the accuracy that random search reports.

    Args:
        cells: k, the number of cells drawn.
        question: what the reported accuracy is of.
        scored_by: what the best of the k was chosen by.
        mean: expected accuracy in percent.
        std: its standard deviation over searches, in percentage points.
        low: the accuracy that 5 % of searches do not exceed.
        high: the accuracy that 95 % of searches do not exceed.
        words: what the best was chosen by, if another table said it.
    """

    cells: int
    question: Question
    scored_by: Question
    mean: float
    std: float
    low: float
    high: float
    words: str = ""

    @property
    def is_oracle(self) -> bool:
        """Whether the choice knew the accuracy that is reported."""
        return self.cells > 1 and self.scored_by == self.question

    @property
    def label(self) -> str:
        """A few words that say how the cell was chosen."""
        if self.cells == 1:
            return "random cell, mean"
        oracle = "oracle: " if self.is_oracle else ""
        return (
            f"best of {self.cells} random cells ({oracle}by {self.words or self.scored_by.split})"
        )


def choice_probabilities(scores: Accuracies, cells: int) -> Accuracies:
    """The probability of each cell to be the best of a draw of k different ones.

    Args:
        scores: one per cell, [N].
        cells: k, from 1 to N.

    Returns:
        Probabilities in the order of the scores, [N], summing to 1.
    """
    descending = np.arange(len(scores), 0, -1)
    factors = np.maximum(descending - cells, 0) / descending
    below = np.concatenate([[1.0], np.cumprod(factors)])[::-1]  # F(0..N)
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    shares = (below[ends] - below[ends - counts]) / counts
    return np.asarray(shares[group])


def random_search(
    table: Table, question: Question, cells: int, scored_by: Question | None = None
) -> RandomSearch:
    """Random search on a table, in closed form.

    Args:
        table: the benchmark table.
        question: what the reported accuracy is of.
        cells: k, the number of different cells drawn.
        scored_by: what the best is chosen by; by default `validation_of` the question.

    Returns:
        Expectation, deviation and quantiles over all sets of k cells.

    Raises:
        UserError: k is not from 1 to the number of cells.
    """
    values = table.ask(question).accuracy
    if not 1 <= cells <= table.size:
        raise UserError(
            f"{table.space_name} has {table.size} cells to draw from",
            key="K",
            value=cells,
            remedy=f"use 1 to {table.size}",
        )
    scored_by = scored_by or validation_of(table, question)
    return _search(values, table.ask(scored_by).accuracy, cells, question, scored_by)


def random_searches(table: Table, question: Question, cells: int) -> list[RandomSearch]:
    """Random search, and the same with the choice left to other tables of the space.

    Args:
        table: the benchmark table.
        question: what the reported accuracy is of.
        cells: k, the number of different cells drawn.

    Returns:
        `random_search`, and for a test accuracy and more than one cell a search for each table that
        is there and says what to choose by on this data set (`TableSource.chooses`).
    """
    found = [random_search(table, question, cells)]
    if question.split != "test" or cells == 1:
        return found
    values = table.ask(question).accuracy
    for source in sources(table.space_name):
        choice = source.chooses.get(question.dataset)
        if choice is None or source.name == table.name or not source.present(table.folder):
            continue
        scores = source.load(table.folder).ask(choice.question).accuracy
        found.append(_search(values, scores, cells, question, choice.question, choice.words))
    return found


def _search(
    values: Accuracies,
    scores: Accuracies,
    cells: int,
    question: Question,
    scored_by: Question,
    words: str = "",
) -> RandomSearch:
    weights = choice_probabilities(scores, cells)
    mean = float(weights @ values)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    # The sum may end a rounding error below 1.
    places = np.minimum(np.searchsorted(reached, QUANTILES), len(values) - 1)
    low, high = values[order][places].tolist()
    std = float(np.sqrt(weights @ (values - mean) ** 2))
    return RandomSearch(cells, question, scored_by, mean, std, low, high, words)


def validation_of(table: Table, question: Question) -> Question:
    """What a search would choose by: the same question on the validation split.

    Args:
        table: the benchmark table.
        question: what will be reported.

    Returns:
        The question on the validation split where the table answers it, else the given question: an
        oracle.
    """
    validation = question._replace(split="valid")
    return validation if validation in table.measurements else question
