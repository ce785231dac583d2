"""Search splits that were published as lists of rows in a file.

The file is JSON in the form of the benchmark's own scripts, rows counted from 0:

    {"train": ["int", ["0", "5", ...]], "valid": ["int", ["1", "2", ...]]}

Kind ``file`` has the lists ``train`` and ``valid``, which share the training images out. Kind
``test-file`` has ``xvalid`` and ``xtest``, which share the *test* images out: network weights learn
from all training images, alpha from the test images of ``xvalid``, as NAS-Bench-201 does it on
CIFAR-100 and ImageNet16-120.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optnas.base.errors import UserError
from optnas.base.json import parse_json
from optnas.base.toml import read_text
from optnas.data.sets.base import Dataset

# kind -> the two lists of its file
LISTS = {"file": ("train", "valid"), "test-file": ("xvalid", "xtest")}
KINDS = tuple(LISTS)
KEY = "data.split_file"


@dataclass(frozen=True)
class FixedSplit:
    """Rows of the two problems, and what identifies them.

    Args:
        train_N: rows of the training images for the network weights, ``int64``.
        valid_M: rows for alpha, ``int64``.
        valid_dataset: what ``valid_M`` are rows of: the training or the test images.
        fingerprint: SHA-256 of the images that either problem can see and of the file's bytes.
    """

    train_N: np.ndarray
    valid_M: np.ndarray
    valid_dataset: Dataset
    fingerprint: str


def read_split(kind: str, path: Path, dataset: Dataset) -> FixedSplit:
    """Read a published split and check it against the images.

    Args:
        kind: one of `KINDS`.
        path: the file.
        dataset: the training images.

    Returns:
        The split, its rows as the dataset counts them.

    Raises:
        UserError: the file is missing, of another form or made for other images; or the data set
            has no test images, or has them in another order.
    """
    text = read_text(path)
    if kind == "file":
        train_N, valid_M = _shared_out(_lists(text, path, kind), dataset, path)
        identity = dataset.fingerprint() + _digest(text)
        return FixedSplit(train_N, valid_M, dataset, _digest(identity))
    if dataset.test is None:
        raise UserError(
            f"{dataset.name} has no test images to take a validation half from",
            key="data.split",
            value=kind,
            remedy="use halves, random-halves or file",
        )
    test = dataset.test()
    valid_M, _ = _shared_out(_lists(text, path, kind), test, path)
    identity = dataset.fingerprint() + test.fingerprint() + _digest(text)
    return FixedSplit(np.arange(dataset.size), valid_M, test, _digest(identity))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _lists(text: str, path: Path, kind: str) -> dict[str, list[int]]:
    document = parse_json(text, path, remedy="fetch it again")
    keys = set(document) if isinstance(document, dict) else set()
    for other, lists in LISTS.items():
        if keys == set(lists) and other != kind:
            raise UserError(
                f"it has the lists {' and '.join(lists)}, which belong to data.split={other}",
                where=path,
                remedy=f"set data.split={other}, or give another file",
            )
    if keys != set(LISTS[kind]):
        raise UserError(
            f"has no lists {' and '.join(LISTS[kind])} and nothing else",
            where=path,
            remedy="give a published split file",
        )
    return {name: _numbers(document[name], path, name) for name in LISTS[kind]}


def _numbers(value: Any, path: Path, name: str) -> list[int]:
    typed = isinstance(value, list) and len(value) == 2 and value[0] == "int"
    rows = []
    for text in value[1] if typed and isinstance(value[1], list) else [None]:
        if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 19):
            raise UserError(
                'is not of the form ["int", ["0", "1", ...]]',
                where=path,
                key=name,
                value=text,
                remedy="give a published split file",
            )
        rows.append(int(text))
    return rows


def _shared_out(
    lists: dict[str, list[int]], dataset: Dataset, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    # Both lists as the dataset counts its rows; each row has to be in one of them, once.
    seen: set[int] = set()
    for name, rows in lists.items():
        for row in rows:
            if row >= dataset.size or row in seen:
                reason = "is listed twice" if row in seen else f"is not below {dataset.size}"
                raise UserError(
                    f"the row {reason}",
                    where=path,
                    key=name,
                    value=row,
                    remedy=f"give a file that shares {dataset.size} images out",
                )
            seen.add(row)
        if not rows:
            raise UserError("the list is empty", where=path, key=name, remedy="give another file")
    if len(seen) < dataset.size:
        raise UserError(
            f"lists {len(seen)} rows, and there are {dataset.size} images",
            where=path,
            remedy=f"give a file that shares {dataset.size} images out",
        )
    first_N, second_M = (np.array(rows, dtype=np.int64) for rows in lists.values())
    if dataset.published_rows is not None:
        own = dataset.published_rows()
        return own[first_N], own[second_M]
    return first_N, second_M
