"""What measures leave behind in a run folder, readable by anyone with JSON and numpy.

    measures/LABEL.jsonl               one strict JSON object per measured epoch, in order of epochs
    measures/LABEL-EPOCH-DIGEST.npz    its arrays, where there are any

A line holds ``epoch``, ``status`` (ok, not-finite, failed), ``reason`` unless ok, ``values`` and
their ``units``, the measure's ``settings``, the name of the file with its ``arrays``, and under
``cost`` what it took in wall and CPU seconds, the one thing that two equal measurements differ in.
A measure that is named by path also leaves ``source``, the SHA-256 of its file. Epoch and settings
identify a line: what an edited file finds takes the place of what it found before. (Versions before
0.2 kept both; `optnas.search.own_way` says which of them a table reads.) Importable without torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optnas.base.contents import check_measured
from optnas.base.errors import UserError
from optnas.base.files import drop_leftovers, present, regular, write_atomically, write_text
from optnas.base.json import dump_json, read_lines

Line = dict[str, Any]
Arrays = Mapping[str, npt.NDArray[Any]]

IDENTITY = ("settings", "source")
_ARRAYS = re.compile(r"(?P<label>.+)-(?P<epoch>\d+)-[0-9a-f]{8}\.npz")


def identity(line: Mapping[str, Any]) -> str:
    """What was measured, without the epoch: settings, and the SHA-256 of a measure's own file."""
    return dump_json({key: line.get(key) for key in IDENTITY})


def place(line: Mapping[str, Any]) -> tuple[int, str]:
    """What no two lines have in common: of one place, a later measurement replaces an earlier."""
    return line["epoch"], dump_json(line["settings"])


def in_order(lines: Iterable[Line]) -> list[Line]:
    """Lines as a file holds them."""
    return sorted(lines, key=lambda line: (line["epoch"], identity(line)))


class Measurements:
    """The folder ``measures`` of one run.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path):
        self.path = path

    def labels(self) -> list[str]:
        """Labels under which something was measured, sorted."""
        return sorted(path.stem for path in self.path.glob("*.jsonl"))

    def read(self, label: str, **settings: Any) -> list[Line]:
        """The lines of one measure.

        Args:
            label: the measure's name, or the label its section gives it.
            **settings: only lines measured with these; settings not named may be any.

        Returns:
            The lines in order of epochs.

        Raises:
            UserError: they are not those of a measure.
        """
        lines = read_lines(self._lines(label), torn=False)
        check_measured(lines, self._lines(label))
        return [line for line in lines if settings.items() <= line["settings"].items()]

    def check(self) -> None:
        """Read everything once.

        Raises:
            UserError: the lines of a measure are not such.
        """
        for label in self.labels():
            self.read(label)

    def has_arrays(self, line: Line) -> bool:
        """Whether the file with a line's arrays is there, damaged or not."""
        return "arrays" in line and present(self.path / line["arrays"])

    def arrays(self, line: Line) -> dict[str, npt.NDArray[Any]]:
        """The arrays of a line, by name; none where it has none.

        Args:
            line: as `read` returned it.

        Raises:
            UserError: their file is missing or damaged.
        """
        if "arrays" not in line:
            return {}
        path = self.path / line["arrays"]
        regular(path)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
                return dict(held)
        # A damaged archive fails in whichever way its bytes decide.
        except Exception as error:
            raise UserError(
                f"cannot read the arrays ({type(error).__name__}: {error})",
                where=path,
                remedy="measure again: optnas measure DIR NAME --again",
            ) from error

    def replace(self, label: str, line: Line) -> None:
        """Write the one line of a label, over all that it had; atomic.

        Args:
            label: the measure.
            line: strict JSON values.
        """
        self.path.mkdir(exist_ok=True)
        self._write(label, [line])

    def put(self, label: str, line: Line, arrays: Arrays) -> None:
        """Write a line in its place, over those of the same epoch and settings; atomic.

        One that an earlier version of the measure's file left there goes, with its arrays.

        Args:
            label: the measure.
            line: strict JSON values.
            arrays: no objects.
        """
        self.path.mkdir(exist_ok=True)
        drop_leftovers(self.path)
        if arrays:
            digest = hashlib.sha256(identity(line).encode()).hexdigest()[:8]
            name = f"{label}-{line['epoch']}-{digest}.npz"
            held: dict[str, Any] = dict(arrays)
            write_atomically(self.path / name, lambda file: np.savez(file, **held))
            line = {**line, "arrays": name}
        there = self.read(label)
        kept = [other for other in there if place(other) != place(line)]
        lines = in_order([*kept, line])
        self._write(label, lines)
        named = {other.get("arrays") for other in lines}
        for gone in {other["arrays"] for other in there if "arrays" in other} - named:
            (self.path / gone).unlink(missing_ok=True)

    def cut(self, epoch: int) -> None:
        """Drop what was measured after an epoch, as a resume does.

        Args:
            epoch: the last one that counts.
        """
        for label in self.labels():
            lines = self.read(label)
            kept = [line for line in lines if line["epoch"] <= epoch]
            if len(kept) < len(lines):
                self._write(label, kept)
        for path, of_epoch in self._array_files():
            if of_epoch > epoch:
                path.unlink()

    def _array_files(self) -> Iterator[tuple[Path, int]]:
        for path in sorted(self.path.glob("*.npz")):
            match = _ARRAYS.fullmatch(path.name)
            if match:
                yield path, int(match["epoch"])

    def _lines(self, label: str) -> Path:
        return self.path / f"{label}.jsonl"

    def _write(self, label: str, lines: list[Line]) -> None:
        if lines:
            write_text(self._lines(label), "".join(dump_json(line) + "\n" for line in lines))
        else:
            self._lines(label).unlink()
