"""Converted tables in the user's cache folder, see `optnas.base.cache`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from optnas.base import cache
from optnas.spaces.tables.table import Accuracies

LAYOUT = "v1"


def cached(
    name: str,
    checksum: str,
    datasets: tuple[str, ...],
    cells: int,
    convert: Callable[[], Mapping[str, Accuracies]],
) -> Mapping[str, Accuracies]:
    """Accuracies from the cache, or converted now and stored for the next time.

    Args:
        name: the table's name.
        checksum: SHA-256 of the source data, in hexadecimal.
        datasets: the data sets the table must have.
        cells: the number of accuracies of each.
        convert: reads the source data.

    Returns:
        Data set to accuracies.
    """

    def good(found: cache.Arrays) -> bool:
        return all(
            dataset in found
            and found[dataset].shape == (cells,)
            and found[dataset].dtype == np.float64
            for dataset in datasets
        )

    return cache.cached("tables", f"{name}-{LAYOUT}-{checksum}", good, convert)
