"""Reads the archive NATS-tss-v1_0-3ffb9-simple of the NATS-Bench authors, one cell at a time.

The archive is a folder, or a tar of it, with one file per cell: ``000000.pickle.pbz2`` is a pickle
compressed by bzip2 that maps ``"12"`` and ``"200"``, two separate trainings with their own schedule
of that many epochs, to a state. The state's ``all_results`` maps (data set, seed) to one trial; the
trial's ``eval_acc1es`` maps ``"x-valid@199"`` to the accuracy in percent on a split after an epoch,
counted from 0. Only the last epoch of each training is taken.

What the archive calls ``cifar10-valid`` was trained on half of the 50,000 images and validated on
the other half; ``cifar10`` was trained on all of them and tested on the test images. Hence CIFAR-10
validation is from the first and CIFAR-10 test from the second, as the benchmark's paper has it. For
the other two data sets the test images are halved into ``x-valid`` and ``x-test``.

Reference: NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size, TPAMI 2021.
"""

from __future__ import annotations

import bz2
import collections
import io
import math
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optnas.base.errors import UserError
from optnas.base.files import regular
from optnas.base.pickles import load_restricted
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.tables.coverage import Coverage, Question
from optnas.spaces.tables.table import Accuracies, Counts

ARCHIVE = "NATS-tss-v1_0-3ffb9-simple"
COVERAGE = Coverage.product(["cifar10", "cifar100", "imagenet16-120"], ["test", "valid"], [200, 12])
# Data set and split of ours: data set and split of the archive.
ORIGIN = {
    ("cifar10", "valid"): ("cifar10-valid", "x-valid"),
    ("cifar10", "test"): ("cifar10", "ori-test"),
    ("cifar100", "valid"): ("cifar100", "x-valid"),
    ("cifar100", "test"): ("cifar100", "x-test"),
    ("imagenet16-120", "valid"): ("ImageNet16-120", "x-valid"),
    ("imagenet16-120", "test"): ("ImageNet16-120", "x-test"),
}
CELL_FILE = re.compile(r"(\d{6})\.pickle\.pbz2")
LARGEST_CELL = 2**26  # bytes; a genuine one has 330 kB, 85 kB compressed
FETCH = "fetch the archive again"

Trials = Mapping[Question, list[float]]


class _DataType:
    """Stands for numpy.dtype: keeps the code of a number type, builds nothing."""

    def __init__(self, code: str, *rest: object) -> None:
        if not re.fullmatch(r"[fiu][248]", code):
            raise ValueError(f"no number type: {code!r}")
        self.code = code

    def __setstate__(self, state: object) -> None:
        """The byte order, which is little-endian in the whole archive."""


def _number(kind: _DataType, data: bytes) -> float:
    return float(np.frombuffer(data, f"<{kind.code}")[0])


# All that a genuine file names.
GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "dtype"): _DataType,
    ("numpy.core.multiarray", "scalar"): _number,
}


@dataclass(frozen=True)
class Summary:
    """Trials of every cell in numbers; Q questions of `COVERAGE`, N cells in official order.

    Args:
        accuracy_QN: mean over trials in percent; NaN without a trial.
        spread_QN: s = sqrt(sum (a_i - mean)^2 / (n - 1)), in percentage points; NaN for n < 2.
        count_QN: number n of trials.
    """

    accuracy_QN: Accuracies
    spread_QN: Accuracies
    count_QN: Counts

    @staticmethod
    def empty() -> Summary:
        """Of no trial at all."""
        shape = (len(COVERAGE.questions), NAS_BENCH_201.size)
        unknown = np.full(shape, np.nan)
        return Summary(unknown, unknown.copy(), np.zeros(shape, dtype=np.int64))

    @property
    def held(self) -> np.typing.NDArray[np.bool_]:
        """Which of the N cells have a trial for every question."""
        return np.asarray((self.count_QN > 0).all(axis=0))

    def add(self, index: int, trials: Trials) -> None:
        """Enter the trials of a cell.

        Args:
            index: the cell's index.
            trials: accuracies in percent by question.
        """
        for place, question in enumerate(COVERAGE.questions):
            values = np.array(trials[question])
            self.count_QN[place, index] = len(values)
            if len(values):
                self.accuracy_QN[place, index] = values.mean()
            if len(values) > 1:
                self.spread_QN[place, index] = values.std(ddof=1)


def read_archive(path: Path, on_cell: Callable[[int], None] = lambda done: None) -> Summary:
    """Every cell of an archive; memory for one cell at a time, nothing written to disk.

    Args:
        path: the folder, or a tar of it, compressed or not, which is read once from front to back.
        on_cell: called with the number of cells read so far.

    Returns:
        The summary, in which cells may be missing; see `Summary.held`.

    Raises:
        UserError: there is no archive at the path, or a file of it is damaged, hostile, or of
            another cell than its name says.
    """
    summary, done = Summary.empty(), set[int]()
    for index, data, where in _cell_files(path):
        if index in done:
            raise UserError(f"cell {index} is there twice", where=where, remedy=FETCH)
        done.add(index)
        summary.add(index, read_cell(data, index, where=where))
        on_cell(len(done))
    if not done:
        raise UserError(
            "holds no file such as 000000.pickle.pbz2",
            where=path,
            remedy=f"give the folder {ARCHIVE} itself, or a tar of it",
        )
    return summary


def _cell_files(path: Path) -> Iterator[tuple[int, bytes, object]]:
    try:
        yield from _of_folder(path) if path.is_dir() else _of_tar(path)
    except tarfile.TarError as error:
        raise UserError(
            f"no whole tar file ({error})",
            where=path,
            remedy=f"give the folder {ARCHIVE}, or a tar of it; other archives are not read",
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot read it ({error.strerror or error})", where=path, remedy="check the path"
        ) from error


def _of_folder(path: Path) -> Iterator[tuple[int, bytes, object]]:
    for file in sorted(path.iterdir()):
        if match := CELL_FILE.fullmatch(file.name):
            with regular(file).open("rb") as opened:
                yield int(match[1]), opened.read(LARGEST_CELL), file


def _of_tar(path: Path) -> Iterator[tuple[int, bytes, object]]:
    with tarfile.open(regular(path), "r|*") as tar:
        for member in tar:
            # The tar keeps every header that it has read, of which there are thousands.
            tar.members.clear()  # type: ignore[attr-defined]
            match = CELL_FILE.fullmatch(member.name.rpartition("/")[2])
            content = tar.extractfile(member) if match else None
            if match and content:
                yield int(match[1]), content.read(LARGEST_CELL), f"{path}: {member.name}"


def read_cell(data: bytes, index: int, *, where: object) -> Trials:
    """The trials in the file of a cell.

    Args:
        data: the file's bytes.
        index: the cell that the file's name says.
        where: the file, for the error.

    Returns:
        Accuracies in percent by question, one per trial; none is an empty list.

    Raises:
        UserError: the bytes are damaged or hostile, belong to another cell, or an accuracy is no
            percentage.
    """
    unpack = bz2.BZ2Decompressor()
    try:
        content = unpack.decompress(data, LARGEST_CELL)
    except OSError as error:
        raise UserError(f"no bzip2 file ({error})", where=where, remedy=FETCH) from error
    if not unpack.eof:
        reason = "larger than any cell" if unpack.needs_input is False else "the file is truncated"
        raise UserError(reason, where=where, remedy=FETCH)
    document = load_restricted(io.BytesIO(content), GLOBALS, where=where)
    try:
        return _trials(document, NAS_BENCH_201.architecture_at(index).string)
    except UserError as error:
        raise error.at(where) from error
    # The document is of whatever shape its author chose.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"not a cell of {ARCHIVE} ({type(error).__name__}: {error})"
        raise UserError(reason, where=where, remedy=FETCH) from error


def _trials(document: Mapping[str, Any], string: str) -> Trials:
    found = {}
    for question in COVERAGE.questions:
        state = document[str(question.epochs)]
        if state["arch_str"] != string:
            reason = f"the file's name says {string}"
            raise UserError(reason, key="arch_str", value=str(state["arch_str"]), remedy=FETCH)
        dataset, split = ORIGIN[question.dataset, question.split]
        key = f"{split}@{(question.epochs or 0) - 1}"
        results = [r for (name, _), r in state["all_results"].items() if name == dataset]
        found[question] = [_percent(result["eval_acc1es"][key], key) for result in results]
    return found


def _percent(value: Any, key: str) -> float:
    number = float(value)
    if not (math.isfinite(number) and 0 <= number <= 100):
        raise UserError("no percentage from 0 to 100", key=key, value=value, remedy=FETCH)
    return number
