"""A table of stand-alone accuracies: every function of a space, trained once per seed.

Beside the table ``NAME.json`` lies ``NAME.trainings.jsonl``: one line that says what is trained,
then one line per training, synced as it ends. A killed command loses the training under way; the
same command goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.base.files import append_text, lock, write_text
from optnas.base.json import read_lines
from optnas.base.toml import read_text
from optnas.search.environment import cpu_threads, describe_environment
from optnas.search.settings.model import RunSection
from optnas.search.standalone.settings import TrainingSettings
from optnas.spaces import Space, functions
from optnas.spaces.tables.trained import FORMAT, SPLITS

if TYPE_CHECKING:
    from optnas.search.standalone.train import Parts

Training = dict[str, Any]
# The finished training, how many there are now, and how many there will be.
OnTraining = Callable[[Training, int, int], None]


def make_table(
    space: Space,
    settings: TrainingSettings,
    out: Path,
    *,
    threads: int = 1,
    on_training: OnTraining = lambda training, done, total: None,
) -> None:
    """Train what is missing, then write the table.

    Args:
        space: whose cells are trained.
        settings: the training protocol.
        out: the table's file.
        threads: CPU threads.
        on_training: called after each training.

    Raises:
        UserError: the file is taken, cannot be written, or trainings of other settings lie beside
            it; nothing was changed.
    """
    from optnas.search.standalone.train import load_parts

    journal = out.with_suffix(".trainings.jsonl")
    _refuse_occupied(out, journal)
    parts = load_parts(settings)
    with _held(journal, out):
        _begin(journal, settings)
        groups = list(functions(space).values())
        trainings = {(t["index"], t["seed"]): t for t in read_lines(journal)[1:]}
        wanted = [(places[0], seed) for seed in settings.training.seeds for places in groups]
        missing = [each for each in wanted if each not in trainings]
        with cpu_threads(threads):
            for training in _train(space, settings, parts, missing):
                append_text(journal, json.dumps(training, allow_nan=False) + "\n")
                trainings[training["index"], training["seed"]] = training
                done = sum(each in trainings for each in wanted)
                on_training(training, done, len(wanted))
        environment = describe_environment(RunSection(threads=threads, device="cpu"))
        write_text(out, _table_text(space, settings, groups, trainings, environment))


def _refuse_occupied(out: Path, journal: Path) -> None:
    if out.exists() and not journal.exists():
        raise UserError(
            "there is a file already, and not the trainings it was made from",
            key="--out",
            value=str(out),
            remedy="choose another name",
        )


@contextlib.contextmanager
def _held(journal: Path, out: Path) -> Iterator[None]:
    busy = UserError(
        "another process is training this table",
        where=journal,
        remedy="wait for it, or choose another --out",
    )
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
            # Bad input that only training finds: nothing may be left of it.
            if read_text(journal).count("\n") <= 1:
                journal.unlink()
            raise


def _begin(journal: Path, settings: TrainingSettings) -> None:
    """Write the first line, or check it and drop a torn last one.

    The file is changed where it is: it is the one that is held, and another would not be.

    Raises:
        UserError: its first line is of other settings, or no JSON.
    """
    text = read_text(journal)
    whole = text[: text.rfind("\n") + 1]
    os.truncate(journal, len(whole.encode()))
    if not whole:
        facts = {"format": FORMAT, "space": settings.space["name"], "hash": settings.hash}
        append_text(journal, json.dumps(facts) + "\n")
        return
    first = read_lines(journal)[0]
    if (first.get("format"), first.get("hash")) != (FORMAT, settings.hash):
        raise UserError(
            "holds trainings of other settings, data or another space",
            where=journal,
            remedy="choose another --out, or the settings it was begun with",
        )


def _train(
    space: Space, settings: TrainingSettings, parts: Parts, missing: list[tuple[int, int]]
) -> Iterator[Training]:
    from optnas.search.standalone.train import train

    for index, seed in missing:
        cell = space.architecture_at(index)
        started = time.perf_counter()
        trained = train(settings, parts, cell, seed)
        yield {
            "index": index,
            "cell": cell.string,
            "seed": seed,
            "train_loss": trained.train_loss,
            "valid": trained.valid,
            "test": trained.test,
            "seconds": time.perf_counter() - started,
        }


def _table_text(
    space: Space,
    settings: TrainingSettings,
    groups: list[list[int]],
    trainings: dict[tuple[int, int], Training],
    environment: dict[str, Any],
) -> str:
    """One line per function, so that two tables can be compared line by line."""
    head = {
        "format": FORMAT,
        "space": space.name,
        "command": " ".join(environment.pop("command")),
        "hash": settings.hash,
        "settings": settings.document(),
        "dataset": settings.data.name,
        "epochs": settings.training.epochs,
        "seeds": settings.training.seeds,
        "environment": environment,
    }
    rows = [
        {
            "cell": space.architecture_at(places[0]).string,
            "cells": places,
            **{
                split: [trainings[places[0], seed][split] for seed in settings.training.seeds]
                for split in SPLITS
            },
        }
        for places in groups
    ]
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    listed = ",\n ".join(json.dumps(row) for row in rows)
    return "{" + ",\n".join(lines) + f',\n"functions": [\n {listed}\n]}}\n'
