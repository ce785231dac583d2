"""Reference accuracies in a picture: horizontal lines named at the right edge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from optnas.base.errors import UserError
from optnas.spaces.tables import Question, load_table
from optnas.spaces.tables.references import DEFAULT, KEY, Reference, check_names, references

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#555555"
FONT = 6.5  # points
SPACING = 0.036  # of the panel's height, from one name to the next
NONE = ("none",)


def find_references(
    names: Sequence[str] | None, table: str, question: Question | None, folder: Path | None
) -> tuple[list[Reference], str]:
    """The rows to draw, and what to say if there are none to be had.

    Args:
        names: names of `optnas.spaces.tables.references`, ``none`` alone for no line, or None for
            the usual ones if the table is there.
        table: name of the table.
        question: what the accuracies of the picture are of, None if the runs asked no table.
        folder: the data folder.

    Returns:
        The rows, and a remark for the picture, mostly empty.

    Raises:
        UserError: lines that were asked for cannot be had.
    """
    if names is not None and tuple(names) == NONE:
        return [], ""
    if question is None:
        check_names(names or ())
        if names is None:
            return [], ""
        raise UserError(
            "the runs asked no benchmark table",
            key=KEY,
            value=",".join(names),
            remedy="leave it out, or ask a table: --table NAME",
        )
    try:
        return references(names or DEFAULT, load_table(table, folder=folder), question), ""
    except UserError as error:
        if names is not None:
            raise
        return [], f"no reference lines: {error.reason}"


def draw_references(ax: Axes, rows: Sequence[Reference], remark: str) -> None:
    """Draw lines across a panel whose curves are drawn; equal accuracies share one line and name.

    Args:
        ax: the panel, accuracies in percent upwards.
        rows: what to draw.
        remark: what to say in a corner.
    """
    if any(row.band is not None for row in rows):
        remark = "; ".join(filter(None, (remark, "grey: where 90 % of random searches end")))
    if remark:
        ax.text(0.01, 0.01, remark, transform=ax.transAxes, fontsize=FONT, color=GREY)
    merged: dict[tuple[float, bool], list[Reference]] = {}
    for row in sorted(rows, key=lambda row: row.accuracy):
        merged.setdefault((round(row.accuracy, 2), row.is_published), []).append(row)
    for (accuracy, is_published), equal in merged.items():
        style = (0, (1, 2)) if is_published else (0, (6, 2))
        ax.axhline(accuracy, color=GREY, linewidth=0.7, linestyle=style, zorder=1)
        for low, high in (row.band for row in equal if row.band is not None):
            ax.axhspan(low, high, color=GREY, alpha=0.12, linewidth=0, zorder=0)
    bottom, top = ax.get_ylim()
    wanted = [(accuracy - bottom) / (top - bottom) for accuracy, _ in merged]
    for (accuracy, _), equal, at in zip(merged, merged.values(), spread(wanted), strict=True):
        names = " / ".join(row.label for row in equal)
        ax.annotate(
            f"{names} {accuracy:.2f}",
            xy=(1, accuracy),
            xycoords=ax.get_yaxis_transform(),
            xytext=(1.08, at),
            textcoords="axes fraction",
            fontsize=FONT,
            color=GREY,
            va="center",
            annotation_clip=False,
            arrowprops={
                **{"arrowstyle": "-", "color": GREY, "linewidth": 0.4},
                **{"relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 0},
            },
        )
    ax.set_ylim(bottom, top)


def spread(wanted: Sequence[float], spacing: float = SPACING) -> list[float]:
    """Places for names that want to be at some heights and must not overlap.

    Each name is pushed up by the one below it; what was pushed beyond the top pushes back.

    Args:
        wanted: heights in ascending order, 0 the bottom and 1 the top.
        spacing: the least distance between neighbours.

    Returns:
        The places, ascending.
    """
    places: list[float] = []
    for height in wanted:
        places.append(height if not places else max(height, places[-1] + spacing))
    limit = 1.0 + spacing
    for place in reversed(range(len(places))):
        limit = places[place] = min(places[place], limit - spacing)
    return places
