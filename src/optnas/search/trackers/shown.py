"""What trackers show of a run, the same in all of them: curves, and which run it is.

A curve is a number of every epoch under a tag: of the record (``benchmark/accuracy/cifar10``), of
alpha and the operation weights by edge and operation (``alpha/0-1/skip_connect``, of several kinds
of cell ``alpha/normal/0-2/skip_connect``), and of the
measures taken during the search (``measures/LABEL/NAME``).
"""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Iterator, Mapping, Sequence

from optnas.base.columns import RECORD
from optnas.base.errors import UserError
from optnas.base.files import present, write_text
from optnas.base.records import Record, RunFolder
from optnas.base.toml import flat, read_text
from optnas.search.settings.model import Settings
from optnas.spaces import build_space

# Every record has this number, and no two searches have it alike: an epoch is shown if it is.
WITNESS = "valid_loss"
MATRICES = [key for key, each in RECORD.items() if each.unit.endswith("edges x operations")]


class Curves:
    """The numbers of a run's epochs, by tag.

    Args:
        settings: of the run.
        folder: of the run; its measures are read.
        alpha: also one curve per edge and operation, of alpha and of the operation weights.
    """

    def __init__(self, settings: Settings, folder: RunFolder, alpha: bool):
        self._folder, self._measures, self._alpha = folder, settings.measures, alpha
        self._space = build_space(settings.space.model_dump())

    def of(self, records: Sequence[Record]) -> Iterator[tuple[Record, dict[str, float]]]:
        """Each record with its epoch's numbers by tag."""
        measured = {label: self._measured(label) for label in self._measures}
        for record in records:
            curves = {key: value for key, value in record.items() if key != "epoch"}
            for key in MATRICES:
                matrix = curves.pop(key)
                if self._alpha:
                    curves[key] = self._by_name(matrix)
            for label, by_epoch in measured.items():
                values = by_epoch.get(record["epoch"], {})
                # What a measure puts into the record is shown once.
                own = record if label == self._measures[label].own_name else ()
                curves[f"measures.{label}"] = {k: v for k, v in values.items() if k not in own}
            yield record, _numbers(curves)

    def _by_name(self, matrix_EO: list[list[float]]) -> dict[str, dict[str, float]]:
        further = range(self._space.operation_count + 1, len(matrix_EO[0]) + 1)
        names = [*self._space.column_names, *(f"column {place}" for place in further)]
        wirings = self._space.wirings
        edges = [
            (f"{wiring.name}/" if len(wirings) > 1 else "") + f"{source}-{target}"
            for wiring in wirings
            for source, target in wiring.edges
        ]
        rows = [dict(zip(names, row, strict=True)) for row in matrix_EO]
        return dict(zip(edges, rows, strict=True))

    def _measured(self, label: str) -> dict[int, Mapping[str, float]]:
        """What a measure found during the search, by epoch."""
        return {
            line["epoch"]: line["values"]
            for line in self._folder.read_measures(label)
            if line["settings"] == self._measures[label].settings
        }


def _numbers(document: Mapping[str, object]) -> dict[str, float]:
    return {
        key.replace(".", "/"): value
        for key, value in flat(document).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def identifier(folder: RunFolder) -> str:
    """What a tracker knows a run by at every start, even if its folder moves: 8 hex digits.

    Kept in the run's file ``tracking-id``.
    """
    path = folder.path / "tracking-id"
    if not present(path):
        write_text(path, uuid.uuid4().hex[:8] + "\n")
    return read_text(path).strip()


def demand_packages(name: str, *packages: str) -> None:
    """Refuse a tracker whose library is not installed.

    Args:
        name: the tracker's, and of the extra that brings the library.
        *packages: to be found.

    Raises:
        UserError: one is not.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"the package {package} is not installed",
                key="tracking.name",
                value=name,
                remedy=f'run: pip install "optnas[{name}]", or leave tracking.name out',
            )
