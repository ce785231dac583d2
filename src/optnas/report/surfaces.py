"""F4: validation accuracy around the operation weights, algorithms side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.landscape.panels import TABLE, caption, short_unit, told
from optnas.measures.landscape.read import F4, LABEL, Column, columns_of
from optnas.report.arms import ALGORITHM, TRADITIONAL, pair_of, runs_of
from optnas.report.figures import Material

TITLE = "Landscape of the validation accuracy"


@dataclass(frozen=True)
class Surfaces:
    """The figure F4.

    Attributes:
        pair: of all its runs, such as ``SGD + Adam``.
        columns: an algorithm each; empty where nothing is drawn.
        why: why algorithms, or all of it, are not drawn.
    """

    pair: str = ""
    columns: list[Column] = field(default_factory=list)
    why: str = ""

    name: str = "F4"
    title: str = TITLE

    @property
    def drawn(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.columns)

    @property
    def caption(self) -> str:
        """What the charts show."""
        shown = [column.shown for column in self.columns]
        return (
            f"{', '.join(caption(shown).splitlines())}, on a plane of {shown[0].settings['plane']} "
            f"directions, pair {self.pair}; one colour scale. Drawn is the lowest seed of each "
            "algorithm; the table has mean ± sd over the seeds. The picture in paper quality shows "
            "the same grids as surfaces."
        )

    @property
    def scalars(self) -> list[tuple[str, list[str]]]:
        """Rows of the table: a quantity with its unit, then a cell an algorithm."""
        rows = []
        for key, (words, digits) in TABLE.items():
            found = [column.scalars[key] for column in self.columns]
            cells = [f"{told(each, digits)}, n = {each.n}" for each in found]
            rows.append((f"{words} ({short_unit(found[0].unit)})", cells))
        return rows

    def document(self) -> dict[str, Any]:
        """What the page draws: grids indexed [y][x], and the ends of their common scale."""
        grids = [column.shown.arrays["accuracy"] for column in self.columns]
        return {
            "surfaces": [
                {
                    "title": column.algorithm,
                    "seed": column.shown.seed,
                    "seeds": list(column.seeds),
                    "axis": column.shown.arrays["axis"].round(6).tolist(),
                    "accuracy": grid.T.round(3).tolist(),
                }
                for column, grid in zip(self.columns, grids, strict=True)
            ],
            "scale": [
                round(float(min(grid.min() for grid in grids)), 3),
                round(float(max(grid.max() for grid in grids)), 3),
            ],
        }


def surfaces(material: Material) -> Surfaces:
    """F4 from the finished runs of a study that were measured, all of one optimizer pair.

    Args:
        material: the study's runs; those of an algorithm are at one value of every other setting.

    Returns:
        The figure, of the traditional pair with landscapes of most algorithms; with the reason
        where there is none.
    """
    of_pairs = {pair_of(pair): _measured(material, pair) for pair in TRADITIONAL}
    pair = max(of_pairs, key=lambda each: len(of_pairs[each]))
    absent = [name for name in F4 if name not in of_pairs[pair]]
    if len(absent) == len(F4):
        return Surfaces(
            why=f"no finished run of {', '.join(F4)} has a landscape. Take it from the runs' "
            f"checkpoints, then report again: optnas measure RUN... {LABEL}"
        )
    try:
        columns = columns_of([run for runs in of_pairs[pair].values() for run in runs])
    except UserError as error:
        return Surfaces(why=str(error))
    why = f"No landscape of {', '.join(absent)} under this pair." if absent else ""
    return Surfaces(pair, columns, why)


def _measured(material: Material, pair: Mapping[str, str]) -> dict[str, list[RunFolder]]:
    """The folders of comparable runs with a landscape, by algorithm; algorithms without are out."""
    folders = {entry.id: entry.folder for entry in material.entries}
    ids = material.runs.settings["id"].astype(str)
    found = {}
    for name in F4:
        positions = runs_of(material.selection, {ALGORITHM: name, **pair})
        runs = [folders[ids.iloc[place]] for place in positions]
        found[name] = [
            run
            for run in runs
            if any(line["status"] != "failed" for line in run.read_measures(LABEL))
        ]
    return {name: runs for name, runs in found.items() if runs}
