"""Figures of the measure ``landscape``: runs side by side, and the deck's figure F4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optnas.base.records import RunFolder
from optnas.base.registry import register
from optnas.measures.landscape.panels import draw_f4, draw_landscapes
from optnas.measures.landscape.read import LABEL, f4_data, read_landscapes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register("figure", "landscape")
def landscape(
    runs: Sequence[RunFolder],
    label: str = LABEL,
    epoch: int = -1,
    plane: str = "",
    space: str = "",
    statistics: str = "",
) -> Figure:
    """Accuracy around A, the benchmark's view of the plane, and the path to the derived cell.

    Args:
        runs: a column each.
        label: under which they were measured.
        epoch: the epoch; -1 for the last measured one.
        plane: as measured; empty where there is but one.
        space: as measured; empty where there is but one.
        statistics: as measured; empty where there is but one.

    Returns:
        The drawing, axes and colours in common.
    """
    wanted = _given(plane=plane, space=space, statistics=statistics)
    return draw_landscapes(read_landscapes(runs, label, epoch, **wanted))


@register("figure", "F4")
def f4(
    runs: Sequence[RunFolder],
    label: str = LABEL,
    epoch: int = -1,
    plane: str = "",
    space: str = "",
    statistics: str = "",
) -> Figure:
    """DARTS, SDARTS-RS and SDARTS-ADV side by side: accuracy around A, and its scalars by seed.

    Args:
        runs: of the three algorithms; the lowest seed of each is drawn, all are counted.
        label: see `landscape`.
        epoch: see `landscape`.
        plane: see `landscape`.
        space: see `landscape`.
        statistics: see `landscape`.

    Returns:
        The drawing, axes and colours in common.
    """
    wanted = _given(plane=plane, space=space, statistics=statistics)
    return draw_f4(f4_data(runs, label, epoch, **wanted))


def _given(**options: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value}
