"""Which trainings are finished: one line that says what is trained, then one line per training.

Each is synced as it ends. A killed command loses the training under way, or, where that has a
checkpoint, its last epoch; the same command goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optnas.base.contents import check_trainings
from optnas.base.errors import UserError
from optnas.base.files import append_text, lock
from optnas.base.folder import BusyError
from optnas.base.json import read_lines
from optnas.base.toml import flat, read_text
from optnas.search.standalone.train import Trained
from optnas.spaces import Architecture

Entry = dict[str, Any]
# What two trainings differ in beside settings, or as a consequence of them.
BESIDE = re.compile(r"^(format|hash|images\..*|identity\.(hash|searched))$|(^|\.)training\.seeds$")
MOST_TOLD = 4


def entry_of(cell: Architecture, seed: int, trained: Trained, seconds: float) -> Entry:
    """The line of a finished training.

    Args:
        cell: what was trained.
        seed: of it.
        trained: what came of it.
        seconds: how long it took.
    """
    has_index = not cell.space.keeps_some
    return {
        **({"index": cell.space.whole.index(cell.in_whole)} if has_index else {}),
        "cell": cell.string,
        "seed": seed,
        "train_loss": trained.train_loss,
        "valid": trained.valid,
        "test": trained.test,
        "seconds": seconds,
    }


@contextlib.contextmanager
def held(journal: Path, out: Path) -> Iterator[None]:
    """Hold a journal alone, made if it is not there.

    Args:
        journal: the file.
        out: what the user named, for errors.

    Yields:
        Nothing; the file is held inside the block. Bad input that is found there before the first
        training is finished leaves no journal behind.

    Raises:
        BusyError: another process holds it.
        UserError: it cannot be written.
    """
    busy = BusyError(
        "another process is training here",
        where=journal,
        remedy="wait for it, or choose another --out",
    )
    made = not journal.exists()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(journal, busy))
        except OSError as error:
            raise UserError(
                f"cannot write here ({error.strerror})",
                key="--out",
                value=str(out),
                remedy="choose a folder that is there and can be written",
            ) from error
        try:
            yield
        except UserError:
            # What stood here before stays, for the command that began it.
            if made and read_text(journal).count("\n") <= 1:
                journal.unlink()
            raise


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """The settings in which two trainings differ, in words; seeds may.

    Example:
        >>> differences({"training": {"epochs": 3}}, {"training": {"epochs": 4}})
        'training.epochs 3 there, 4 asked'
    """
    held, wanted = flat(there), flat(asked)
    told = [
        f"{key} {held.get(key, 'not set')!s:.120} there, {wanted.get(key, 'not set')!s:.120} asked"
        for key in {**held, **wanted}
        if held.get(key) != wanted.get(key) and not BESIDE.search(key)
    ]
    return "; ".join(told[:MOST_TOLD])


def begin(
    journal: Path,
    facts: Mapping[str, Any],
    there: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
    *,
    indexed: bool = False,
) -> list[Entry]:
    """Write the first line, or check it and drop a torn last one.

    The file is changed where it is: it is the one that is held, and another would not be.

    Args:
        journal: the file, held.
        facts: what is trained; ``format`` and ``hash`` have to be those of the first line.
        there: the settings it was begun with, for the error; by default those of its first line.
        asked: the settings that were asked; by default ``facts``.
        indexed: whether every line names its cell by an index.

    Returns:
        The finished trainings.

    Raises:
        UserError: its first line is of other settings, or a line tells no training.
    """
    text = read_text(journal)
    whole = text[: text.rfind("\n") + 1]
    os.truncate(journal, len(whole.encode()))
    if not whole:
        append_text(journal, json.dumps(facts) + "\n")
        return []
    first, *entries = read_lines(journal)
    if any(first.get(key) != facts[key] for key in ("format", "hash")):
        before, now = there or first, asked or facts
        # Earlier first lines hold no sections.
        told = differences(before, {key: now[key] for key in now if key in before})
        raise UserError(
            f"holds trainings of other settings, data or another space{told and f': {told}'}",
            where=journal,
            remedy="choose another --out, or the settings it was begun with",
        )
    check_trainings(entries, journal, indexed=indexed)
    return entries


def add(journal: Path, entry: Entry) -> None:
    """Append the line of a finished training."""
    append_text(journal, json.dumps(entry, allow_nan=False) + "\n")
