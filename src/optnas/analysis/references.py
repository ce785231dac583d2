"""Lines that every comparison is drawn against: a random cell, and a search that only guesses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import special

from optnas.benchmarks.table import Table

RANDOM_CELL = "random cell"
# By name of the reference, then by column of the tidy table.
References = Mapping[str, Mapping[str, float]]


def best_of(accuracies: npt.ArrayLike, cells: int) -> float:
    """Expected accuracy of the best of some uniformly drawn distinct cells.

    With the N accuracies sorted, E max = sum_i x_(i) C(i-1, k-1) / C(N, k).

    Args:
        accuracies: of all cells, percent.
        cells: k, how many are drawn.

    Returns:
        Percent. The best is picked by the accuracy itself, so this is an oracle: an upper bound of
        any random search that picks by something it can measure.

    Example:
        >>> best_of([1.0, 2.0, 3.0], 2)
        2.6666666666666665
    """
    ascending = np.sort(np.asarray(accuracies, float))
    n = len(ascending)
    below = np.arange(cells - 1, n)
    log_share = (
        special.gammaln(below + 1)
        - special.gammaln(below - cells + 2)
        - special.gammaln(cells)
        - special.gammaln(n + 1)
        + special.gammaln(cells + 1)
        + special.gammaln(n - cells + 1)
    )
    return float(ascending[below] @ np.exp(log_share))


def references(table: Table, cells: int = 10) -> dict[str, dict[str, float]]:
    """A random cell and an oracle random search, from the benchmark table that answered the runs.

    Args:
        table: the benchmark table.
        cells: how many cells the random search looks at.

    Returns:
        By name, then by column of the tidy table (``benchmark.cifar10``), percent.
    """
    return {
        RANDOM_CELL: {f"benchmark.{d}": float(v.mean()) for d, v in table.accuracies.items()},
        f"random search, best of {cells} (oracle)": {
            f"benchmark.{d}": best_of(v, cells) for d, v in table.accuracies.items()
        },
    }
