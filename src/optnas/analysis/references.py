"""Lines that every comparison is drawn against: a random cell, and a search that only guesses."""

from __future__ import annotations

from collections.abc import Mapping

from optnas.spaces.tables.noise import noise_floor, noise_told
from optnas.spaces.tables.random_search import random_search, random_searches
from optnas.spaces.tables.table import Noise, Table

RANDOM_CELL = "random cell"
BUDGET = 10
# By name of the reference, then by column of the tidy table.
References = Mapping[str, Mapping[str, float]]


def references(table: Table, cells: int = BUDGET) -> dict[str, dict[str, float]]:
    """A random cell and a random search, from the benchmark table that answered the runs.

    The two accuracies are exact expectations, see `optnas.spaces.tables.random_search`. The search
    keeps the best of some cells by the table's validation accuracy; by the test accuracy itself
    where the table has no other, which is called an oracle, because no search could do that. Beside
    it are the searches that choose by another table of the space, where one is there.

    Args:
        table: the benchmark table.
        cells: how many cells the random search looks at.

    Returns:
        By name, then by column of the tidy table (``benchmark.cifar10``), percent.

    Example:
        >>> from optnas.spaces.tables import load_table
        >>> list(references(load_table("analog-nasbench", folder=None)))
        ['random cell', 'best of 10 random cells (oracle: by test)']
    """
    found: dict[str, dict[str, float]] = {}
    for question in table.coverage.headline:
        column = f"benchmark.{question.dataset}"
        found.setdefault(RANDOM_CELL, {})[column] = random_search(table, question, 1).mean
        for search in random_searches(table, question, cells):
            found.setdefault(search.label, {})[column] = search.mean
    return found


def noise_of(table: Table) -> dict[str, Noise]:
    """The noise floors of a table's headline, by column of the tidy table."""
    floors = {f"benchmark.{q.dataset}": noise_floor(table, q) for q in table.coverage.headline}
    return {column: floor for column, floor in floors.items() if floor}


def noise_words(table: Table) -> dict[str, str]:
    """The same in words."""
    told = {f"benchmark.{q.dataset}": noise_told(table, q) for q in table.coverage.headline}
    return {column: words for column, words in told.items() if words}
